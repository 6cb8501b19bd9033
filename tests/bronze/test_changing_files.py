"""Files that change while they are read, and records that cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.bronze.files import Landing
from pipelines.steps import ingest_files
from tests.bronze.landing import BROKEN, A, Ingest, warnings


def after_inspection(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any]) -> None:
    """Let something happen between the inspection of the files and the reading of their lines."""
    look = ingest_files._look

    def then(*given: Any) -> Any:
        found = look(*given)
        happens()
        return found

    monkeypatch.setattr(ingest_files, "_look", then)


CHANGES: dict[str, Callable[[Path], Any]] = {
    "grows": lambda path: path.write_bytes(b"one\ntwo\n"),
    "shrinks": lambda path: path.write_bytes(b""),
    "other bytes": lambda path: path.write_bytes(b"ONE\n"),
    "vanishes": lambda path: path.unlink(),
    "broken": lambda path: path.write_bytes(BROKEN["truncated"]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("reader", ["ingest", "ingest_by_spark"])
@pytest.mark.fault(
    of="files",
    injected="a file changes between its inspection and its reading",
    holds="nothing of it is taken; the next run takes it whole",
)
def test_a_file_that_changes_before_its_lines_are_read_is_left_for_the_next_run(
    request: pytest.FixtureRequest, landing: Path, monkeypatch: pytest.MonkeyPatch, reader: str, change: str
) -> None:
    ingest: Ingest = request.getfixturevalue(reader)
    path = landing / "b.jsonl"
    path.write_bytes(b"one\n")
    with monkeypatch.context() as patch:
        after_inspection(patch, lambda: CHANGES[change](path))
        run = ingest(landing)
    assert (ingest.lines(), run.new_records) == (A, 3)
    assert warnings(run) == {"files_left_for_the_next_run": 1}

    ingest(landing)
    expected = {"grows": ["one", "two"], "other bytes": ["ONE"]}.get(change, [])
    assert [raw for name, _, raw in ingest.lines() if name == "b.jsonl"] == expected


@pytest.mark.parametrize("change", ["grows", "vanishes"])
@pytest.mark.fault(
    of="files",
    injected="a file grows or vanishes while it is inspected",
    holds="it is left for the next run, which is told",
)
def test_a_file_that_changes_while_it_is_inspected_is_left_for_the_next_run(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = landing / "b.jsonl"
    path.write_bytes(b"one\n")
    listed = Landing.list

    def then(self: Landing) -> Any:
        found = listed(self)
        CHANGES[change](path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Landing, "list", then)
        run = ingest(landing)
    assert (ingest.lines(), warnings(run)) == (A, {"files_left_for_the_next_run": 1})


@pytest.mark.fault(
    of="crashes",
    injected="the disk is full while records are written",
    holds="the run fails; the next one takes everything",
)
def test_a_failure_to_write_is_no_change_of_a_file(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ingest.lake, "append_batches", full)
        with pytest.raises(OSError, match="No space left"):
            ingest(landing)
    assert ingest(landing).new_records == 3
