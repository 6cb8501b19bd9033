"""Landing files → bronze.events: each file once, read here or by Spark."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from pipelines.bronze import events
from pipelines.bronze.files import Landing
from pipelines.errors import DataRefusedError, InfrastructureError
from pipelines.run import Run
from pipelines.steps.ingest_files import take_files
from tests.bronze.landing import SOURCE, A, Ingest, warnings
from tests.runs import CANONICAL


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
