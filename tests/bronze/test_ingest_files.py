"""Landing files → bronze.events: each file once, whatever is wrong with it or with the others."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from pipelines.bronze import events
from pipelines.bronze.content import Tap
from pipelines.bronze.files import Landing, LandingFile
from pipelines.errors import ConfigurationError, DataRefusedError, InfrastructureError
from pipelines.lake import Lake
from pipelines.progress import Progress
from pipelines.run import Run
from pipelines.steps import file_index, ingest_files
from pipelines.steps.ingest_files import take_files
from pipelines.steps.salvage import salvage
from tests.conftest import MakeContext
from tests.runs import CANONICAL

SOURCE = CANONICAL.source


def no_spark() -> SparkSession:
    raise AssertionError("small files and irregular ones need no session")


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b"one\n\nthree")
    return folder


class Ingest:
    """Runs over one lake; on a `cluster` every regular file goes through Spark."""

    def __init__(self, root: Path, context: MakeContext) -> None:
        self.lake = Lake(str(root), {}, no_spark)
        self._context = context
        self.settings: dict[str, Any] = {}
        self.cluster = False

    def run(self) -> Run:
        spark = {"master": "yarn"} if self.cluster else {}
        context = self._context(landing=self.settings, spark=spark)
        return Run(self.lake, context, Progress("test-run", human=False), "test-run")

    def __call__(self, landing: Path) -> Run:
        run = self.run()
        take_files(run, CANONICAL, str(landing))
        return run

    def lines(self) -> list[tuple[str, int, str]]:
        """Every record as (name of its file, position, raw)."""
        rows = self.lake.rows("bronze.events", "select origin, position, raw, batch_id from t")
        rows.sort(key=lambda row: (row["batch_id"], row["origin"], row["position"]))
        return [(Path(row["origin"]).name, row["position"], row["raw"]) for row in rows]

    def quarantined(self) -> dict[str, str]:
        return {Path(row["path"]).name: row["reason"] for row in self.lake.rows("ops.quarantined_files")}


@pytest.fixture
def ingest(tmp_path: Path, context: MakeContext) -> Ingest:
    return Ingest(tmp_path / "lake", context)


@pytest.fixture
def ingest_by_spark(ingest: Ingest, spark: SparkSession) -> Ingest:
    ingest.lake.session = lambda: spark
    ingest.settings["small_batch_bytes"] = 0
    ingest.cluster = True
    return ingest


A = [("a.jsonl", 1, "one"), ("a.jsonl", 2, ""), ("a.jsonl", 3, "three")]


def warnings(run: Run) -> dict[str, float]:
    return {result.check.name: result.check.value for result in run.results if not result.success}


# --- each file once -------------------------------------------------------------------------------------------------


def test_small_files_are_taken_once_and_without_spark(ingest: Ingest, landing: Path) -> None:
    assert ingest(landing).new_records == 3
    assert ingest.lines() == A

    assert ingest(landing).new_records == 0
    assert ingest.lines() == A
    assert ingest.lake.batch("bronze.events") == 1


def test_on_one_machine_much_is_taken_without_spark_too(ingest: Ingest, landing: Path) -> None:
    ingest.settings["small_batch_bytes"] = 0
    assert ingest(landing).new_records == 3


def start_spark_beside(run: Run, landing: Path) -> None:
    take_files(run, CANONICAL, str(landing))
    for thread in threading.enumerate():
        if thread.name == "start-spark":
            thread.join()


def test_spark_starts_while_files_are_read_where_something_is_new_and_steps_follow(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(ingest.lake, "session", lambda: asked.append(1))
    start_spark_beside(ingest.run(), landing)
    assert asked == []

    (landing / "b.jsonl").write_bytes(b"new\n")
    (landing / "c.jsonl").write_bytes(b"new\n")
    for _ in range(2):  # once for all that is new, and not for what is known
        run = ingest.run()
        run.goes_on = True
        start_spark_beside(run, landing)
        assert asked == [1]


def test_a_spark_that_cannot_start_fails_the_step_that_needs_it(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> SparkSession:
        raise InfrastructureError("Spark could not start")

    monkeypatch.setattr(ingest.lake, "session", broken)
    run = ingest.run()
    run.goes_on = True
    start_spark_beside(run, landing)
    assert run.new_records == 3
    with pytest.raises(InfrastructureError, match="could not start"):
        run.warm_up()


def test_spark_takes_the_same(ingest_by_spark: Ingest, landing: Path) -> None:
    assert ingest_by_spark(landing).new_records == 3
    assert ingest_by_spark(landing).new_records == 0
    assert ingest_by_spark.lines() == A
    rows = ingest_by_spark.lake.rows("bronze.events", "select defect, source, batch_id from t")
    assert rows == [{"defect": None, "source": SOURCE, "batch_id": 1}] * 3


def test_regular_files_and_others_become_two_batches(ingest_by_spark: Ingest, landing: Path) -> None:
    (landing / "b.zst").write_bytes(pa.compress(b"packed\n", "zstd", asbytes=True))
    (landing / "12:30.jsonl").write_bytes(b"named by the clock\n")
    (landing / "c.gz").write_bytes(b"not packed\n")
    (landing / "d.jsonl").write_bytes(gzip.compress(b"packed all the same\n"))

    assert ingest_by_spark(landing).new_records == 7

    assert ingest_by_spark.lines() == [
        ("12:30.jsonl", 1, "named by the clock"),
        ("b.zst", 1, "packed"),
        ("c.gz", 1, "not packed"),
        ("d.jsonl", 1, "packed all the same"),
        *A,
    ]
    assert ingest_by_spark.lake.batch("bronze.events") == 2
    assert ingest_by_spark(landing).new_records == 0


@pytest.mark.fault(
    of="files", injected="a file that grew under its name", holds="it is taken again whole; its old lines are repeats"
)
def test_a_file_that_grew_is_taken_anew_as_a_whole(ingest: Ingest, landing: Path) -> None:
    ingest(landing)
    (landing / "a.jsonl").write_bytes(b"one\n\nthree\nfour\n")

    assert ingest(landing).new_records == 4
    assert ingest.lines() == [*A, *A, ("a.jsonl", 4, "four")]


@pytest.mark.fault(
    of="files",
    injected="a file with a new modification time and the same bytes",
    holds="it is known by its checksum and not taken again",
)
def test_a_touched_file_is_known_and_read_only_once_more(
    ingest: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(landing)
    os.utime(landing / "a.jsonl", ns=(1, 1))
    assert ingest(landing).new_records == 0

    monkeypatch.setattr(Landing, "open", None)
    assert ingest(landing).new_records == 0


@pytest.mark.fault(of="files", injected="a file that is changed and then put back", holds="each content is taken once")
def test_a_file_that_is_put_back_as_it_was_is_known(ingest: Ingest, landing: Path) -> None:
    for content in (b"one\n", b"other\n", b"one\n"):
        (landing / "a.jsonl").write_bytes(content)
        ingest(landing)
    assert ingest.lines() == [("a.jsonl", 1, "one"), ("a.jsonl", 1, "other")]


@pytest.mark.fault(
    of="files",
    injected="the same bytes under another name",
    holds="they are received again, and told from the first by silver as repeats",
)
def test_the_same_bytes_under_another_name_are_new(ingest: Ingest, landing: Path) -> None:
    ingest(landing)
    shutil.copy(landing / "a.jsonl", landing / "copy.jsonl")
    assert ingest(landing).new_records == 3


@pytest.mark.fault(of="files", injected="an empty file", holds="it is taken once, with a warning")
def test_a_file_without_lines_is_taken_once(ingest: Ingest, landing: Path) -> None:
    (landing / "a.jsonl").write_bytes(b"")
    assert warnings(ingest(landing)) == {"records": 0}
    assert warnings(ingest(landing)) == {}


@pytest.mark.fault(
    of="records",
    injected="wrong encoding, a NUL, an oversized line among good ones",
    holds="each is kept with its defect, the good ones are as they were",
)
def test_lines_that_cannot_be_used_are_kept_with_their_defect(ingest: Ingest, landing: Path) -> None:
    ingest.settings["max_record_bytes"] = 10
    (landing / "a.jsonl").write_bytes(b"fine\n\xff\xfe\xfd?\n" + b"x" * 11 + b"\nnul \0\n")

    ingest(landing)

    rows = ingest.lake.rows("bronze.events", "select position, raw, defect from t order by position")
    assert [tuple(row.values()) for row in rows] == [
        (1, "fine", None),
        (2, "//79Pw==", "not_utf8"),
        (3, "x" * 11, "too_large: 11 bytes"),
        (4, "nul \0", None),
    ]


@pytest.mark.fault(
    of="files",
    injected="a reader gives lines of a file that nobody listed",
    holds="the gate refuses them, nothing is written",
)
def test_lines_of_a_file_that_was_not_listed_are_refused(
    ingest_by_spark: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = landing.parent / "stray.jsonl"
    stray.write_bytes(b"stray\n")
    really = events.read_lines
    monkeypatch.setattr(events, "read_lines", lambda session, paths: really(session, [*paths, str(stray)]))
    with pytest.raises(DataRefusedError, match="lines_of_unlisted_files: 1"):
        ingest_by_spark(landing)
    assert ingest_by_spark.lines() == []


@pytest.mark.fault(
    of="files",
    injected="Spark gives fewer lines of a file than are in it",
    holds="the file is taken by the plain reader, whole",
)
def test_what_spark_reads_otherwise_than_it_is_goes_through_the_plain_reader(
    ingest_by_spark: Ingest, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (landing / "b.jsonl").write_bytes(b"fine\n")
    really = events.read_lines
    monkeypatch.setattr(
        events, "read_lines", lambda session, paths: really(session, paths).where("raw not in ('', 'three')")
    )
    assert ingest_by_spark(landing).new_records == 4
    assert ingest_by_spark.lines() == [*A, ("b.jsonl", 1, "fine")]
    assert ingest_by_spark(landing).new_records == 0


# --- quarantine -----------------------------------------------------------------------------------------------------

PACKED = gzip.compress("".join(f"line {i} {random.Random(i).random()}\n" for i in range(3000)).encode())
BROKEN = {
    "truncated": PACKED[:-1000],
    "corrupt": PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:],
    "bomb": gzip.compress(b"\n" * 80_000_000),
    "wide_encoding": '{"a": "é"}\nzwei\n'.encode("utf-16"),
    "binary": b"PK\x03\x04 and so on",
}


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


# --- files that change while they are read ----------------------------------------------------------------------------


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


# --- the index --------------------------------------------------------------------------------------------------------


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
    given = {"source": "web", "origin": "topic-0", "ingested_at": at, "batch_id": 1}
    part = events.record_batch(text, pa.nulls(1, pa.string()), 7, **given)  # type: ignore[arg-type]
    ingest.lake.append_batches("bronze.events", [part], 1)

    ingest(landing)
    assert indexed(ingest) == [("a.jsonl", 3, 2)]
