"""The index of taken files: lost, damaged or behind, nothing doubles and nothing is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.bronze import events
from pipelines.bronze.files import Landing
from pipelines.lake import Lake
from pipelines.steps import file_index
from tests.bronze.landing import PACKED, A, Ingest


def lose(lake: Lake) -> None:
    shutil.rmtree(lake.path("bronze.files"))


def lose_log(lake: Lake) -> None:
    shutil.rmtree(Path(lake.path("bronze.files"), "_delta_log"))


def spoil_log(lake: Lake) -> None:
    for path in Path(lake.path("bronze.files"), "_delta_log").glob("*.json"):
        path.write_text("{ no json")


def lose_first_commit(lake: Lake) -> None:
    Path(lake.path("bronze.files"), "_delta_log", f"{0:020}.json").unlink()


def lose_data(lake: Lake) -> None:
    next(Path(lake.path("bronze.files")).glob("*.parquet")).unlink()


def spoil_data(lake: Lake) -> None:
    for path in Path(lake.path("bronze.files")).glob("*.parquet"):
        path.write_bytes(b"no Parquet")


def lose_rows(lake: Lake) -> None:
    lake.replace_rows("bronze.files", lake.rows("bronze.files")[:1])


def lose_rows_of_one_batch(lake: Lake) -> None:
    lake.replace_rows("bronze.files", [row for row in lake.rows("bronze.files") if row["batch_id"] == 1])


DAMAGES = [lose, lose_log, spoil_log, lose_first_commit, lose_data, spoil_data, lose_rows, lose_rows_of_one_batch]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.fault(
    of="lost state",
    injected="the index of taken files is lost, damaged or incomplete",
    holds="nothing doubles, nothing is skipped, the index is made again",
)
def test_whatever_happens_to_the_index_nothing_doubles_and_nothing_is_skipped(
    ingest: Ingest, landing: Path, damage: Callable[[Lake], None]
) -> None:
    ingest.settings["max_record_bytes"] = 100
    (landing / "it's.jsonl").write_bytes(b"\xff\n" + b"x" * 200 + b"\n")
    (landing / "empty.jsonl").write_bytes(b"")
    ingest(landing)
    (landing / "b.gz").write_bytes(PACKED)
    (landing / "a.jsonl").write_bytes(b"changed\n")
    ingest(landing)
    before, index = ingest.lines(), indexed(ingest)
    damage(ingest.lake)

    assert ingest(landing).new_records == 0
    assert ingest.lines() == before
    assert [row for row in indexed(ingest) if row[1]] == [row for row in index if row[1]]
    (landing / "a.jsonl").write_bytes(b"changed again\n")
    (landing / "new.jsonl").write_bytes(b"new\n")
    assert ingest(landing).new_records == 2
    assert ingest(landing).new_records == 0


@pytest.mark.parametrize("compared_lines", [1, 2, 5, 1000])
def test_files_of_any_length_are_found_again_line_by_line(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch, compared_lines: int
) -> None:
    monkeypatch.setattr(file_index, "_COMPARED_LINES", compared_lines)
    for number in range(8):
        (landing / f"{number}.jsonl").write_text("".join(f"{number} {line}\n" for line in range(number)))
    ingest(landing)
    lose(ingest.lake)
    (landing / "4.jsonl").write_text("4 0\n4 1\n4 2\n4 other\n")

    assert ingest(landing).new_records == 4
    assert ingest(landing).new_records == 0


def indexed(ingest: Ingest) -> list[tuple[str, int, int]]:
    rows = ingest.lake.rows("bronze.files")
    return sorted((Path(row["path"]).name, row["records"], row["batch_id"]) for row in rows)


@pytest.mark.fault(
    of="lost state",
    injected="a file changes while the index of files is lost",
    holds="it is compared line by line, and taken as new",
)
def test_a_file_that_changed_while_the_index_was_lost_is_new(ingest: Ingest, landing: Path) -> None:
    ingest(landing)
    lose(ingest.lake)
    (landing / "a.jsonl").write_bytes(b"one\n\nTHREE")  # as many lines

    assert ingest(landing).new_records == 3
    assert [raw for _, _, raw in ingest.lines()] == ["one", "", "three", "one", "", "THREE"]
    assert ingest(landing).new_records == 0


def test_an_entry_that_was_made_again_is_completed_so_that_its_file_is_read_once(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(landing)
    before = ingest.lake.rows("bronze.files")
    lose(ingest.lake)
    ingest(landing)
    assert ingest.lake.rows("bronze.files") == before
    monkeypatch.setattr(Landing, "open", None)
    assert ingest(landing).new_records == 0


@pytest.mark.fault(
    of="crashes",
    injected="a stop between the records and the index of files",
    holds="the records are found in bronze and not taken again",
)
def test_a_stop_between_the_records_and_the_index_doubles_nothing(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(file_index, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest(landing)
    assert ingest(landing).new_records == 0
    assert ingest.lines() == A


@pytest.mark.fault(
    of="lost state",
    injected="the index names a batch that bronze does not hold",
    holds="the entry does not count, the file is taken",
)
def test_entries_of_a_batch_that_bronze_does_not_reflect_do_not_count(ingest: Ingest, landing: Path) -> None:
    ingest(landing)
    rows = ingest.lake.rows("bronze.files")
    path = landing / "b.jsonl"
    path.write_bytes(b"new\n")
    stat = path.stat()
    left_over = {**rows[0], "path": str(path), "size_bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
    ingest.lake.append_rows("bronze.files", [{**left_over, "batch_id": 2}])

    assert ingest(landing).new_records == 1
    assert indexed(ingest) == [("a.jsonl", 3, 1), ("b.jsonl", 1, 2)]


def test_batches_of_topics_are_not_the_business_of_the_index_of_files(ingest: Ingest, landing: Path) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    text = pa.array(["{}"])
    given: dict[str, Any] = {"source": "web", "origin": "topic-0", "ingested_at": at, "batch_id": 1}
    part = events.record_batch(text, pa.nulls(1, pa.string()), 7, **given)
    ingest.lake.append_batches("bronze.events", [part], 1)

    ingest(landing)
    assert indexed(ingest) == [("a.jsonl", 3, 2)]
