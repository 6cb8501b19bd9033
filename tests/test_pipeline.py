"""The whole pipeline against the plain-Python model: any arrival gives the model's answer, and so does any repair."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines import lake_frames, runner
from pipelines.context import RunContext
from pipelines.ops import rebuild, replay
from pipelines.ops.books import Books
from pipelines.settings import BatchRule
from pipelines.steps import requests
from tests.arrivals import (
    CONTEXT,
    arrive,
    differing_from_model,
    random_batches,
    random_records,
    run_whole,
    tables,
    unbalanced,
)
from tests.runs import CANONICAL, Row, bring_up_to_date, land, new_run


@pytest.mark.slow
@pytest.mark.fault(
    of="arrival",
    injected="records shuffled, repeated, late, of 300 days ago and of next week, cut into batches",
    holds="every table equals one run over everything, and the plain-Python model",
)
@pytest.mark.fault(
    of="crashes",
    injected="runs that die right before or after a write, with more records arriving before the next",
    holds="every table equals one run that nothing stopped",
)
@pytest.mark.fault(
    of="arrival", injected="a rebuild of everything from bronze", holds="every table stays equal, row for row"
)
def test_any_arrival_equals_one_run_over_everything_the_model_and_a_rebuild(
    spark: SparkSession, tmp_path: Path
) -> None:
    rng = random.Random(8)
    records = random_records(rng, 90)
    batches = random_batches(rng, records, 3)
    parts, whole = tmp_path / "parts", tmp_path / "whole"

    deaths = arrive(spark, parts, batches, [(4, False), (15, True), None])
    assert len(deaths) == 2, deaths
    assert differing_from_model(parts, records) == []
    assert unbalanced(parts / "lake") == []

    land(whole / "landing", "all.jsonl", [record["_line"] for batch in batches for record in batch])
    run_whole(spark, whole / "lake", whole / "landing")
    assert tables(parts) == tables(whole)

    before = tables(parts)
    run = new_run(spark, parts / "lake", CONTEXT)
    run.sources[CANONICAL.source] = CANONICAL
    rebuild.rebuild(run, argparse.Namespace(first=None, last=None))
    assert tables(parts) == before
    assert unbalanced(parts / "lake") == []


MENDED = CANONICAL.model_copy(
    update={
        "fields": (*CANONICAL.fields, "ts"),
        "columns": {**CANONICAL.columns, "event_time": "coalesce(event_time, ts)"},
    }
)
"""The mapping as it should have been: some records call their time `ts`."""


def misnamed(record: Row) -> Row:
    """The record as one whose time is called `ts`."""
    fields = json.loads(record["_line"])
    line = json.dumps({"ts" if name == "event_time" else name: value for name, value in fields.items()})
    return {**record, "_line": line, "record_hash": hashlib.md5(line.encode()).hexdigest()}


def holding(most: float) -> RunContext:
    """A batch with a larger share of dead letters is held."""
    rule = BatchRule(most=most, severity="error")
    gates = CONTEXT.settings.gates.model_copy(update={"dead_letter_share": rule})
    return replace(CONTEXT, settings=CONTEXT.settings.model_copy(update={"gates": gates}))


@pytest.mark.slow
@pytest.mark.fault(
    of="drift",
    injected="a field is renamed, the mapping is mended later and the dead letters are replayed, twice",
    holds="as if the mapping had been right from the start",
)
@pytest.mark.fault(
    of="gates",
    injected="a batch is held and released later",
    holds="the batches after it go on; at the end as if it had never been held",
)
def test_dead_letters_replayed_and_a_held_batch_released_equal_a_mapping_that_was_right_from_the_start(
    spark: SparkSession, tmp_path: Path
) -> None:
    rng = random.Random(3)
    records = random_records(rng, 60)
    shares = ((records[:25], 0.2), (records[25:50], 0.9), (records[50:], 0.0))
    batches = [[misnamed(r) if rng.random() < share else r for r in part] for part, share in shares]
    feeds = [(CANONICAL, str(tmp_path / "landing"))]
    few = ("gold.journey_stats_daily", "gold.active_users_daily", "gold.page_metrics_daily")
    run = new_run(spark, tmp_path / "lake", holding(0.5), *few)

    def arrives(number: int) -> None:
        land(tmp_path / "landing", f"{number}.jsonl", [record["_line"] for record in batches[number]])
        runner.take(run, feeds)

    arrives(0)
    runner.bring_up_to_date(run)
    assert not run.failures
    arrives(1)
    arrives(2)
    runner.bring_up_to_date(run)
    assert [f"{len(batches[1])} records are held as pending" in str(failure) for failure in run.failures] == [True]
    books = Books.of(run.lake).total
    assert (books.pending, books.missing) == (len(batches[1]), 0)
    assert books.dead > 0
    assert books.accepted > 0

    mended = new_run(spark, tmp_path / "lake", CONTEXT, *few)
    mended.sources[CANONICAL.source] = MENDED
    options = argparse.ArgumentParser()
    replay.add_selection(options)
    everything = options.parse_args(["--all"])
    requests.add(mended, "release", "2")
    replay.replay(mended, everything)
    assert differing_from_model(tmp_path, [record for batch in batches for record in batch], mended.served) == []
    books = Books.of(run.lake).total
    assert (books.pending, books.dead, books.missing) == (0, 0, 0)

    before = {table: run.lake.version(table) for table in run.served}
    replay.replay(mended, everything)  # once more: there is nothing to put back
    assert {table: run.lake.version(table) for table in run.served} == before


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("_KEYS",)], ids=["rows come from files", "days are written by Spark"])
@pytest.mark.fault(
    of="arrival",
    injected="batches that are taken for large ones: kept in files, written through Spark, days written anew",
    holds="the plain-Python model, as for small ones",
)
def test_the_way_of_many_rows_ends_where_the_way_of_few_does(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    for most in ("_PAGE", "_FEW_ROWS", "_SENT_ROWS", *more):
        monkeypatch.setattr(lake_frames, most, -1)
    rng = random.Random(11)
    records = random_records(rng, 60)
    for number, batch in enumerate(random_batches(rng, records, 2)):
        land(tmp_path / "landing", f"{number}.jsonl", [record["_line"] for record in batch])
        run = bring_up_to_date(spark, tmp_path / "lake", CONTEXT, tmp_path / "landing", "gold.page_metrics_daily")
    assert differing_from_model(tmp_path, records, run.served) == []
    assert not (tmp_path / "lake" / ".scratch").exists()


@pytest.mark.fault(
    of="duplicates",
    injected="everything is delivered once more under another name",
    holds="no row changes, each is booked as a repeat",
)
def test_a_batch_of_repeats_alone_changes_no_row_and_is_done_with(spark: SparkSession, tmp_path: Path) -> None:
    records = random_records(random.Random(5), 40)
    lines = [record["_line"] for record in records]
    land(tmp_path / "landing", "first.jsonl", lines)
    run_whole(spark, tmp_path / "lake", tmp_path / "landing")
    before = tables(tmp_path)
    land(tmp_path / "landing", "again.jsonl", lines)
    lake = run_whole(spark, tmp_path / "lake", tmp_path / "landing").lake
    assert tables(tmp_path) == before
    assert lake.batch("silver.events") == lake.batch("bronze.events") == 2
    books = Books.of(lake).total
    assert books.received == 2 * len(records) == books.accepted + books.duplicates


@pytest.mark.fault(
    of="configuration",
    injected="the landing place of one of two sources is missing",
    holds="the other source is taken, and the run names the missing place",
)
def test_a_source_that_fails_does_not_stop_the_others(spark: SparkSession, tmp_path: Path) -> None:
    other = CANONICAL.model_copy(update={"source": "other"})
    land(tmp_path / "landing", "other.jsonl", ["one", "two"])
    run = new_run(spark, tmp_path / "lake", CONTEXT)
    runner.take(run, [(CANONICAL, str(tmp_path / "nowhere")), (other, str(tmp_path / "landing"))])
    assert [str(failure) for failure in run.failures] == [f"--input: there is nothing at {tmp_path / 'nowhere'}"]
    assert run.lake.records_by_batch("bronze.events") == {("other", 1): 2}
