"""Writing Delta: what a commit's marks do and do not do, and slices that become empty."""

from __future__ import annotations

import secrets
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines import lake_files, lake_frames
from pipelines.bronze.events import record_batch
from pipelines.contracts import contract
from pipelines.delta_types import arrow_schema
from pipelines.errors import InfrastructureError
from pipelines.lake import Lake
from pipelines.lake_frames import Few, Staged
from pipelines.slices import EVERYTHING, NOTHING, Slices
from tests.rows import Row, events_frame, user_days_frame

DAY, NEXT = date(2026, 1, 5), date(2026, 1, 6)
REQUEST: Row = {
    "batch_id": 1,
    "kind": "replay",
    "selection": "true",
    "requested_at": datetime(2026, 1, 7, tzinfo=UTC),
    "run_id": "r1",
}


def lake_at(root: Path, spark: SparkSession | None = None) -> Lake:
    """A lake for a test; one without a session cannot use Spark."""

    def session() -> SparkSession:
        assert spark is not None
        return spark

    return Lake(str(root), {}, session)


def touching(lake: Lake, batch: int, slices: Slices) -> None:
    """A commit that says it touched these slices by event_date."""
    page = arrow_schema(contract("silver.events")).empty_table()
    lake.append("silver.events", Staged(frame_unread(), 0, {}, page), batch, {"event_date": slices})


def frame_unread() -> Any:
    """In place of a frame where the page is written."""
    return None


def days(spark: SparkSession, *people: tuple[str, str]) -> DataFrame:
    return user_days_frame(spark, people)


def stored(lake: Lake) -> list[tuple[Any, ...]]:
    rows = lake.rows("silver.user_days", "select person_id, date from t order by person_id, date")
    return [(row["person_id"], str(row["date"])) for row in rows]


@pytest.fixture(params=["deltalake", "spark"])
def writer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to write: few rows without Spark, more with it."""
    if request.param == "spark":
        monkeypatch.setattr(lake_frames, "_PAGE", -1)
    return str(request.param)


# --- batches and their marks ------------------------------------------------------------------------------------------


def test_a_table_is_made_again_for_another_date_at_the_same_batch(
    spark: SparkSession, tmp_path: Path, writer: str
) -> None:
    lake = lake_at(tmp_path, spark)
    assert lake.made_for("silver.user_days") is None
    for person, made_for in (("ann", {"": "2026-01-05"}), ("bob", {"": "2026-01-06", "shop": "2026-01-05"})):
        staged = lake.stage("silver.user_days", days(spark, (person, "2026-01-05")))
        lake.overwrite("silver.user_days", staged, 1, {}, made_for)
        assert stored(lake) == [(person, "2026-01-05")]
        assert lake.made_for("silver.user_days") == made_for
        assert lake.batch("silver.user_days") == 1


@pytest.mark.fault(
    of="delta",
    injected="an append whose transaction version is equal to the table's last, or lower",
    holds="Delta drops it without a word: so a batch number is always the lake's last plus one, never a date",
)
def test_an_append_of_a_batch_that_the_table_reflects_is_skipped_and_the_next_number_is_not(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = lake_at(tmp_path, spark)
    lake.append("silver.user_days", days(spark, ("ann", "2026-01-05")), 20260107)
    for batch in (20260107, 7):
        lake.append("silver.user_days", days(spark, ("bob", "2026-01-05")), batch)
    assert stored(lake) == [("ann", "2026-01-05")]
    lake.append("silver.user_days", days(spark, ("bob", "2026-01-05")), lake.batch("silver.user_days") + 1)
    assert stored(lake) == [("ann", "2026-01-05"), ("bob", "2026-01-05")]


def test_the_last_batch_is_of_records_or_of_requests(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    assert lake.last_batch() == 0
    for batch, table in ((1, "bronze.events"), (2, "ops.requests"), (3, "bronze.events")):
        lake.append_rows(table, [], batch)
        assert lake.last_batch() == batch


# --- upserts ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["a page", "collected", "from files", "by Spark"])
def way_of_upserts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Files written anew by this process, as for few rows, for many on an object store and beside it, and partitions
    by Spark, as for still more."""
    if request.param != "a page":
        monkeypatch.setattr(lake_frames, "_PAGE", -1)
    if request.param == "collected":
        monkeypatch.setattr(Lake, "scratch", nullcontext)
    if request.param == "by Spark":
        monkeypatch.setattr(lake_frames, "_KEYS", -1)
    return str(request.param)


NOON = [datetime(2026, 1, number, 12, tzinfo=UTC) for number in (5, 6, 7)]


def events_of(lake: Lake) -> list[tuple[str, int, int, str]]:
    rows = lake.rows("silver.events")
    return sorted((r["event_id"], r["event_utc_date"].day, r["event_date"].day, r["person_id"]) for r in rows)


@pytest.mark.parametrize("by_days", [False, True])
@pytest.mark.usefixtures("way_of_upserts")
def test_an_upsert_can_move_a_row_to_another_key(spark: SparkSession, tmp_path: Path, by_days: bool) -> None:
    lake = lake_at(tmp_path, spark)
    lake.append("silver.events", events_frame(spark, [{"event_id": "a", "event_time": at} for at in NOON[:2]]), 1)
    new = events_frame(spark, [{"event_id": name, "event_time": NOON[2]} for name in "ab"])
    was = F.when(F.col("event_id") == "a", F.lit(NOON[0].date())).otherwise(F.col("event_utc_date"))
    told = new.withColumns({"was_event_utc_date": was, "is_new": F.col("event_id") == "b"})
    staged = lake.stage("silver.events", told, told=["was_event_utc_date", "is_new"])
    places = [at.date() for at in NOON] if by_days else None
    with lake.scratch():
        lake.upsert("silver.events", staged, 2, {"event_date": EVERYTHING}, places)
    assert lake.batch("silver.events") == 2
    assert events_of(lake) == [("a", 6, 6, "ann"), ("a", 7, 7, "ann"), ("b", 7, 7, "ann")]


def test_an_upsert_patches_and_removes_rows_and_leaves_the_files_of_others(
    spark: SparkSession, tmp_path: Path, way_of_upserts: str
) -> None:
    lake = lake_at(tmp_path, spark)
    lake.append("silver.events", events_frame(spark, [{"event_id": "x", "event_time": NOON[0]}]), 1)
    stored = [{"event_id": name, "event_time": at} for at in NOON[:2] for name in "abc"]
    lake.append("silver.events", events_frame(spark, stored), 2)
    before = {file["path"] for file in files_of(lake, "silver.events")}
    key = ["site_id", "event_id", "event_utc_date"]
    first = events_frame(spark, [{"event_id": name, "event_time": NOON[0]} for name in "abc"])
    patch = first.where("event_id = 'b'").select(*key, F.lit("bob").alias("person_id"))
    removed = first.where("event_id = 'c'").select(*key)
    staged = lake.stage("silver.events", events_frame(spark, [{"event_id": "d", "event_time": NOON[2]}]))
    everywhere = [at.date() for at in NOON]
    with lake.scratch():
        lake.upsert("silver.events", staged, 3, {}, everywhere, Few(patch, 1), Few(removed, 1))
        assert (tmp_path / ".scratch").exists() == (way_of_upserts == "from files")
    assert events_of(lake) == [
        *[("a", 5, 5, "ann"), ("a", 6, 6, "ann"), ("b", 5, 5, "bob"), ("b", 6, 6, "ann")],
        *[("c", 6, 6, "ann"), ("d", 7, 7, "ann"), ("x", 5, 5, "ann")],
    ]
    assert spark_rows(lake, spark) == events_of(lake)
    if way_of_upserts != "by Spark":  # which replaces whole partitions
        kept = before & {file["path"] for file in files_of(lake, "silver.events")}
        assert len(kept) == 2, "the file of x, and that of the second day"


def files_of(lake: Lake, table: str) -> list[dict[str, Any]]:
    log = lake.log(table)
    assert log is not None
    return pa.table(log.get_add_actions(flatten=True)).to_pylist()


def spark_rows(lake: Lake, spark: SparkSession) -> list[tuple[str, int, int, str]]:
    """The same as `events_of`, by Spark, which believes the log's statistics of each file."""
    frame = spark.read.format("delta").load(lake.path("silver.events")).where("event_time < '2026-01-08'")
    found = [(r["event_id"], r["event_utc_date"].day, r["event_date"].day, r["person_id"]) for r in frame.collect()]
    return sorted(found)


def test_files_written_anew_say_what_is_in_them(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, spark)
    late = datetime(2026, 1, 5, 12, 0, 0, 123_456, tzinfo=UTC)
    rows = [{"event_id": "a", "event_time": NOON[0]}, {"event_id": "b", "event_time": late, "visitor_id": "zoë"}]
    lake.append("silver.events", events_frame(spark, rows[:1]), 1)
    lake.upsert("silver.events", lake.stage("silver.events", events_frame(spark, rows)), 2, {})
    [file] = files_of(lake, "silver.events")
    assert (file["num_records"], file["min.event_id"], file["max.event_id"]) == (2, "a", "b")
    assert (file["min.visitor_id"], file["max.visitor_id"]) == ("ann", "zoë")
    assert file["min.event_utc_date"] == file["max.session_date"] == DAY
    assert file["min.event_time"] <= NOON[0] <= late <= file["max.event_time"]


@pytest.mark.usefixtures("way_of_upserts")
def test_no_two_rows_take_the_place_of_one(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, spark)
    lake.append("silver.events", events_frame(spark, [{"event_id": "a", "event_time": NOON[0]}]), 1)
    moved = events_frame(spark, [{"event_id": "a", "event_time": at} for at in NOON[1:]])
    staged = lake.stage(
        "silver.events", moved.withColumn("was_event_utc_date", F.lit(DAY)), told=["was_event_utc_date"]
    )
    with lake.scratch(), pytest.raises(InfrastructureError, match="two rows"):
        lake.upsert("silver.events", staged, 2, {}, [at.date() for at in NOON])
    assert events_of(lake) == [("a", 5, 5, "ann")]


@pytest.mark.fault(of="delta", injected="an upsert of two rows for one key", holds="nothing is written")
@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize("by_days", [False, True])
@pytest.mark.usefixtures("way_of_upserts")
def test_no_table_takes_two_rows_for_a_key(spark: SparkSession, tmp_path: Path, by_days: bool, is_new: bool) -> None:
    lake = lake_at(tmp_path, spark)
    stored = events_frame(spark, [{"event_id": "e1"}])
    lake.append("silver.events", stored, 1)
    twice = events_frame(spark, [{"event_id": "e2" if is_new else "e1"}] * 2).withColumn("is_new", F.lit(is_new))
    staged = lake.stage("silver.events", twice, told=["is_new"])
    places = [row["event_date"] for row in stored.collect()] if by_days else None
    with lake.scratch(), pytest.raises(InfrastructureError, match="two rows"):
        lake.upsert("silver.events", staged, 2, {}, places)
    assert (lake.batch("silver.events"), lake.count("silver.events")) == (1, 1)


# --- slices ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(
    of="delta",
    injected="a day whose last row moves away, so that its replacement is empty",
    holds="the day is cleared, where overwriting the partitions that come would keep its stale rows",
)
@pytest.mark.usefixtures("writer")
def test_a_replaced_slice_that_became_empty_is_cleared_and_its_neighbour_stays(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = lake_at(tmp_path, spark)
    lake.append("silver.user_days", days(spark, ("ann", "2026-01-05"), ("bob", "2026-01-06")), 1)
    lake.replace_slices("silver.user_days", lake.stage("silver.user_days", days(spark)), Slices.of([("shop", DAY)]), 2)
    assert stored(lake) == [("bob", "2026-01-06")]
    assert lake.batch("silver.user_days") == 2


@pytest.mark.fault(
    of="delta",
    injected="a step replaces a slice a second time, after a crash that came between it and the next step",
    holds="the same rows",
)
@pytest.mark.usefixtures("writer")
def test_replacing_a_slice_again_gives_the_same_rows(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, spark)
    lake.append("silver.user_days", days(spark, ("ann", "2026-01-05"), ("bob", "2026-01-06")), 1)
    for batch in (2, 3):
        staged = lake.stage("silver.user_days", days(spark, ("cid", "2026-01-06")))
        lake.replace_slices("silver.user_days", staged, Slices.of([("shop", NEXT)]), batch)
    assert stored(lake) == [("ann", "2026-01-05"), ("cid", "2026-01-06")]


@pytest.mark.fault(
    of="lost state",
    injected="a commit that does not say which slices it touched, or a log that no longer reaches back",
    holds="what is derived from the table is recomputed whole",
)
def test_a_commit_without_a_note_touches_everything(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    shop = Slices.of([("shop", DAY)])
    touching(lake, 1, shop)
    touching(lake, 2, Slices.of([("blog", NEXT)]))
    assert lake.touched_since("silver.events", 1, "event_date") == Slices.of([("blog", NEXT)])
    assert lake.touched_since("silver.events", 0, "event_date") == shop | Slices.of([("blog", NEXT)])
    lake.mark("silver.events", 3)
    assert lake.touched_since("silver.events", 2, "event_date") == NOTHING
    lake.append_rows("silver.events", [])
    touching(lake, 4, shop)
    assert lake.touched_since("silver.events", 3, "event_date") == EVERYTHING
    assert lake.touched_since("silver.events", 1, "page_view_date") == EVERYTHING


# --- streams of raw records -------------------------------------------------------------------------------------------


def records(first: int, *texts: str, source: str = "web") -> pa.RecordBatch:
    raw, defect = pa.array(texts), pa.nulls(len(texts), pa.string())
    at = datetime(2026, 1, 7, tzinfo=UTC)
    return record_batch(raw, defect, first, source=source, origin="/landing/ä", ingested_at=at, batch_id=1)


def test_a_stream_is_written_in_row_groups_and_files_bounded_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_files, "_GROUP_BYTES", 5_000)
    monkeypatch.setattr(lake_files, "_FILE_BYTES", 12_000)
    lake, length = lake_at(tmp_path), 4_000  # a line that does not pack: every file takes four
    texts = [secrets.token_hex(length) for _ in range(6)]
    lake.append_batches("bronze.events", (records(n, text) for n, text in enumerate(texts, 1)), 1)

    log = lake.log("bronze.events")
    assert log is not None
    files = sorted(files_of(lake, "bronze.events"), key=lambda file: str(file["min.position"]))
    assert [(file["num_records"], file["min.position"], file["max.position"]) for file in files] == [
        (3, 1, 3),
        (3, 4, 6),
    ]
    assert {(file["min.origin"], file["max.batch_id"], file.get("min.raw")) for file in files} == {
        ("/landing/ä", 1, None)
    }
    groups = [pq.ParquetFile(Path(lake.path("bronze.events"), file["path"])).num_row_groups for file in files]
    assert groups == [3, 3]
    stored = lake.rows("bronze.events", "select raw, source from t order by position")
    assert stored == [{"raw": text, "source": "web"} for text in texts]
    assert lake.batch("bronze.events") == 1


def test_records_of_two_sources_in_one_stream_go_to_a_partition_each(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    lake.append_batches("bronze.events", [records(1, "a"), records(1, "b", "c", source="mobile")], 1)
    assert lake.records_by_batch("bronze.events") == {("web", 1): 1, ("mobile", 1): 2}


def test_an_empty_stream_leaves_its_mark(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    lake.append_batches("bronze.events", [], 1)
    assert (lake.batch("bronze.events"), lake.count("bronze.events")) == (1, 0)


def test_spark_reads_what_a_stream_wrote(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, spark)
    lake.append_batches("bronze.events", [records(1, "a", "ß")], 1)
    (first, second) = lake.read("bronze.events").orderBy("position").collect()
    assert (first["raw"], first["position"], first["source"], first["defect"]) == ("a", 1, "web", None)
    assert (second["raw"], second["ingested_at"]) == ("ß", first["ingested_at"])
    assert lake.read("bronze.events").where("batch_id = 2 or origin < '/'").count() == 0
