"""Files that cannot be read: set aside with a reason, told in every run, salvaged where this is asked for."""

from __future__ import annotations

import gzip
import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pipelines.bronze.content import Tap
from pipelines.bronze.files import Landing, LandingFile
from pipelines.errors import ConfigurationError, DataRefusedError
from pipelines.steps.ingest_files import take_files
from pipelines.steps.salvage import salvage
from tests.bronze.landing import BROKEN, PACKED, SOURCE, A, Ingest, warnings
from tests.runs import CANONICAL


@pytest.mark.parametrize("reason", BROKEN)
@pytest.mark.fault(
    of="files",
    injected="a truncated or corrupt gzip, a gzip bomb, UTF-16, a binary file",
    holds="it is quarantined with its reason, the other files are taken, every run tells it",
)
def test_a_file_that_cannot_be_read_is_set_aside_and_the_others_are_taken(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    (landing / "broken.jsonl.gz").write_bytes(BROKEN[reason])

    first = ingest(landing)

    assert (ingest.quarantined(), ingest.lines()) == ({"broken.jsonl.gz": reason}, A)
    assert warnings(first) == {"quarantined_files": 1}
    monkeypatch.setattr(Landing, "open", None)  # told every time, but not read again
    assert warnings(ingest(landing)) == {"quarantined_files": 1}


@pytest.mark.parametrize("reason", ["truncated", "wide_encoding"])
@pytest.mark.fault(of="files", injected="a complete file takes the place of a quarantined one", holds="it is taken")
def test_a_complete_file_that_replaces_a_broken_one_is_taken(ingest: Ingest, landing: Path, reason: str) -> None:
    (landing / "b.gz").write_bytes(BROKEN[reason])
    ingest(landing)
    (landing / "b.gz").write_bytes(gzip.compress(b"whole\n"))

    run = ingest(landing)

    assert (run.new_records, ingest.quarantined(), warnings(run)) == (1, {}, {})


@pytest.mark.fault(
    of="files", injected="a file without the right to read it", holds="it is quarantined and tried in every run"
)
def test_a_file_that_may_not_be_opened_is_tried_in_every_run(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (landing / "b.jsonl").write_bytes(b"secret\n")
    really = Landing.open

    def refused(self: Landing, file: LandingFile) -> Any:
        if file.path.endswith("b.jsonl"):
            raise PermissionError(13, "Permission denied")
        return really(self, file)

    monkeypatch.setattr(Landing, "open", refused)
    assert warnings(ingest(landing)) == {"quarantined_files": 1}
    version = ingest.lake.version("ops.quarantined_files")
    assert warnings(ingest(landing)) == {"quarantined_files": 1}
    assert ingest.lake.version("ops.quarantined_files") == version
    assert ingest.lake.rows("ops.quarantined_files")[0]["detail"] == "Permission denied"
    monkeypatch.undo()

    assert ingest(landing).new_records == 1
    assert ingest.quarantined() == {}


def test_a_file_that_is_listed_with_bytes_but_gives_none_is_set_aside(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Landing, "open", lambda *_: nullcontext(Tap(io.BytesIO(b""))))
    assert ingest(landing).new_records == 0
    assert ingest.lake.rows("ops.quarantined_files")[0]["detail"] == "it gave 0 of 10 bytes"


def test_what_is_quarantined_for_one_source_stays_when_another_comes(ingest: Ingest, landing: Path) -> None:
    (landing / "b.gz").write_bytes(BROKEN["truncated"])
    ingest(landing)
    take_files(ingest.run(), CANONICAL.model_copy(update={"source": "other"}), str(landing))
    assert sorted(row["source"] for row in ingest.lake.rows("ops.quarantined_files")) == [SOURCE, "other"]


# --- salvage --------------------------------------------------------------------------------------------------------


@pytest.mark.fault(
    of="files",
    injected="a salvage of a truncated file, asked for twice",
    holds="its whole lines are taken once, the cut one never",
)
def test_the_whole_lines_of_a_truncated_file_can_be_salvaged_once(ingest: Ingest, landing: Path) -> None:
    path = landing / "b.gz"
    path.write_bytes(BROKEN["truncated"])
    ingest(landing)

    records = salvage(ingest.run(), SOURCE, str(path))

    whole = gzip.decompress(PACKED).decode().splitlines()
    assert 2500 < records < 3000
    assert [raw for name, _, raw in ingest.lines() if name == "b.gz"] == whole[:records]
    assert warnings(ingest(landing)) == {}
    with pytest.raises(ConfigurationError, match=r"b\.gz: its readable lines were taken at"):
        salvage(ingest.run(), SOURCE, str(path))


@pytest.mark.fault(
    of="crashes",
    injected="a salvage stopped between its records and its note",
    holds="asked for again, it takes nothing twice",
)
def test_a_salvage_that_was_stopped_before_its_note_doubles_nothing(ingest: Ingest, landing: Path) -> None:
    path = landing / "b.gz"
    path.write_bytes(BROKEN["truncated"])
    ingest(landing)
    before = {table: ingest.lake.rows(table) for table in ("bronze.files", "ops.quarantined_files")}
    records = salvage(ingest.run(), SOURCE, str(path))
    for table, rows in before.items():
        ingest.lake.replace_rows(table, rows)

    assert salvage(ingest.run(), SOURCE, str(path)) == records
    assert len(ingest.lines()) == 3 + records


def test_utf_16_is_salvaged_as_utf_8(ingest: Ingest, landing: Path) -> None:
    path = landing / "wide.jsonl"
    path.write_bytes(BROKEN["wide_encoding"])
    ingest(landing)
    assert salvage(ingest.run(), SOURCE, str(path)) == 2
    assert [raw for name, _, raw in ingest.lines() if name == "wide.jsonl"] == ['{"a": "é"}', "zwei"]


def test_a_bomb_is_salvaged_only_where_this_is_asked_for(ingest: Ingest, landing: Path) -> None:
    ingest.settings["max_expanded_bytes"] = 1000
    path = landing / "b.gz"
    path.write_bytes(gzip.compress(b"ten bytes\n" * 101))
    ingest(landing)
    with pytest.raises(DataRefusedError, match=r"bomb .* only where this is asked for"):
        salvage(ingest.run(), SOURCE, str(path))
    assert salvage(ingest.run(), SOURCE, str(path), unpack_bomb=True) == 101


def test_what_holds_no_lines_or_is_not_in_quarantine_cannot_be_salvaged(ingest: Ingest, landing: Path) -> None:
    (landing / "b.gz").write_bytes(BROKEN["binary"])
    ingest(landing)
    with pytest.raises(DataRefusedError, match=r"binary .* nothing in it can be read as lines"):
        salvage(ingest.run(), SOURCE, str(landing / "b.gz"))
    with pytest.raises(ConfigurationError, match=r"a\.jsonl: not in quarantine"):
        salvage(ingest.run(), SOURCE, str(landing / "a.jsonl"))


def test_a_file_that_changed_since_it_was_quarantined_is_not_salvaged(ingest: Ingest, landing: Path) -> None:
    path = landing / "b.gz"
    path.write_bytes(BROKEN["truncated"])
    ingest(landing)
    path.write_bytes(PACKED)
    with pytest.raises(ConfigurationError, match="changed since it was quarantined"):
        salvage(ingest.run(), SOURCE, str(path))
