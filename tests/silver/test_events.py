"""silver.events: which copy wins, and what arriving events touch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines import runner
from pipelines.context import RunContext
from pipelines.errors import ConfigurationError
from pipelines.ops.books import Books
from pipelines.run import Run
from pipelines.silver import canonical, sessionize
from pipelines.silver import events as silver_events
from pipelines.steps import requests
from tests.conftest import MakeContext
from tests.rows import Row, events_frame, records_frame
from tests.runs import CANONICAL, bring_up_to_date, content, land, new_run

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def line(event_id: str, minute: float, **more: object) -> str:
    import json

    time = NOON + timedelta(minutes=minute)
    known = {"site_id": "shop", "event_type": "page_view", "anonymous_id": "ann", "page_path": "/"}
    return json.dumps({**known, "event_id": event_id, "event_time": time.isoformat(), **more})


@pytest.mark.fault(
    of="duplicates",
    injected="two records for one key in one batch",
    holds="one winner, the same for every arrival; a MERGE never meets two rows of a key",
)
def test_the_least_time_wins_and_the_first_arrival_is_no_repeat(spark: SparkSession, context: MakeContext) -> None:
    lines = [line("a", 5), line("a", 3), line("a", 3, sequence=1), line("b", 0), "not json", "not json"]
    records = records_frame(spark, CANONICAL.source, lines)
    judged = silver_events.received([canonical.build(records, CANONICAL, context=context())])
    several = silver_events.copied(judged, context=context())
    rows = silver_events.candidates(judged, silver_events.ranked(judged, several, context=context()))
    found = {(r["position"], r["reason"], r["arrival"] == 1, r["is_least"]) for r in rows.collect()}
    assert found == {
        (1, None, True, False),
        (2, None, False, True),  # none comes before a sequence
        (3, None, False, False),
        (4, None, True, True),
        (5, "malformed", True, True),
        (6, "malformed", True, True),
    }


def stored(spark: SparkSession, context: MakeContext, events: list[Row]) -> DataFrame:
    """Events as the table holds them."""
    bare = events_frame(spark, events).drop(*silver_events.SESSION_COLUMNS)
    return sessionize.build(bare, context=context()).select(*silver_events.CONTRACT.column_names)


def at(event_id: str, minute: float, **more: object) -> Row:
    time = NOON + timedelta(minutes=minute)
    return {"event_id": event_id, "event_time": time, "event_type": "page_view", "record_hash": "m", **more}


def inserts(spark: SparkSession, context: MakeContext, events: list[Row], table: DataFrame) -> DataFrame:
    ranked = events_frame(spark, events).withColumns({"arrival": F.lit(1), "is_least": F.lit(True)})
    bare = ranked.drop(*silver_events.SESSION_COLUMNS)
    return silver_events.against_stored(bare, table, context=context()).where("is_winner")


@pytest.mark.fault(
    of="arrival", injected="a late event between two sessions", holds="exactly the sessions within one gap are touched"
)
def test_a_late_event_touches_the_sessions_within_one_gap_of_it_and_no_other(
    spark: SparkSession, context: MakeContext
) -> None:
    table = stored(spark, context, [at("a", 0), at("b", 60), at("c", 200), at("z", 30, visitor_id="bob")])
    new = inserts(spark, context, [at("n", 30)], table)
    touched = silver_events.touched_sessions(new, table, context=context())
    names = {row["session_id"] for row in touched.collect()}
    by_event = {row["event_id"]: row["session_id"] for row in table.collect()}
    assert names == {by_event["a"], by_event["b"]}

    affected = silver_events.with_persons(table.where(F.col("session_id").isin(list(names))), None)
    changed = silver_events.changes(new, affected, 2, context=context()).collect()
    # a and n and b are one session now, which is called after a: b moves, a only ceases to be the exit.
    assert {row["event_id"]: row["session_id"] for row in changed} == dict.fromkeys("anb", by_event["a"])


@pytest.mark.fault(
    of="duplicates",
    injected="a copy that should have won arrives later",
    holds="it replaces the stored event; a worse copy is only counted",
)
def test_a_better_copy_replaces_the_stored_event_and_a_worse_one_is_only_a_repeat(
    spark: SparkSession, context: MakeContext
) -> None:
    table = stored(spark, context, [at("a", 10), at("b", 20)])
    new = [at("a", 5), at("b", 20, record_hash="z"), at("c", 0)]
    ranked = events_frame(spark, new).withColumns({"arrival": F.lit(1), "is_least": F.lit(True)})
    bare = ranked.drop(*silver_events.SESSION_COLUMNS)
    rows = silver_events.against_stored(bare, table, context=context()).collect()
    assert {(r["event_id"], r["is_repeat"], r["is_winner"]) for r in rows} == {
        ("a", True, True),
        ("b", True, False),
        ("c", False, True),
    }


@pytest.mark.fault(
    of="duplicates",
    injected="a later winner moves the event to another time",
    holds="the old place is emptied, both neighbourhoods are repaired",
)
def test_an_event_that_moves_to_an_earlier_time_leaves_nothing_behind(
    spark: SparkSession, context: MakeContext, tmp_path: Path
) -> None:
    """The better copy moves b out of ann's first session into one of its own, hours before."""
    land(tmp_path / "landing", "1.jsonl", [line("a", 0), line("b", 10), line("c", 20)])
    bring_up_to_date(spark, tmp_path / "lake", context(), tmp_path / "landing", "gold.journey_stats_daily")
    land(tmp_path / "landing", "2.jsonl", [line("b", -300)])
    bring_up_to_date(spark, tmp_path / "lake", context(), tmp_path / "landing", "gold.journey_stats_daily")
    found = content(tmp_path / "lake", "silver.sessions")
    assert sorted((row["event_count"], row["duration_seconds"]) for row in found) == [(1, None), (2, 1200.0)]
    journeys = content(tmp_path / "lake", "gold.journey_stats_daily")
    assert [(row["total_journeys"], row["bounce_rate"]) for row in journeys] == [(2, 0.5)]


def up_to_silver(spark: SparkSession, root: Path, chosen: RunContext) -> Run:
    """A run that takes what has landed, without gold."""
    run = new_run(spark, root / "lake", chosen)
    runner.take(run, [(CANONICAL, str(root / "landing"))])
    runner.build_silver(run)
    assert not run.failures
    return run


@pytest.mark.fault(
    of="duplicates",
    injected="copies of one event on several days, the better ones later, with `dedupe: any_time`",
    holds="one event, on the day of the best copy; both days and the books are right, also after a rebuild of dates",
)
def test_with_copies_of_any_time_the_best_one_takes_the_event_to_its_own_day(
    spark: SparkSession, context: MakeContext, tmp_path: Path
) -> None:
    made = context(sites={"shop": {"dedupe": "any_time"}})
    day = 24 * 60
    other = line("b", 5 * day, site_id="blog")
    arrivals = (
        [line("a", 0), line("b", 10), line("c", 20), line("b", 10 + 2 * day), line("b", 10, site_id="blog"), other],
        [line("b", 9 * day)],
        [line("b", 3 - 40 * day), line("d", -40 * day), line("b", -20 * day)],
    )
    found = []
    for number, lines in enumerate(arrivals):
        land(tmp_path / "landing", f"{number}.jsonl", lines)
        lake = up_to_silver(spark, tmp_path, made).lake
        places = [
            (row["event_id"], row["event_time"]) for row in lake.rows("silver.events") if row["site_id"] == "shop"
        ]
        sessions = [row for row in content(tmp_path / "lake", "silver.sessions") if row["site_id"] == "shop"]
        found.append((sorted(places), sorted(row["event_count"] for row in sessions)))
        books = Books.of(lake).total
        assert (books.missing, books.accepted) == (0, len(places) + 2)  # the blog's are two events
    a, c = ("a", NOON), ("c", NOON + timedelta(minutes=20))
    b, d = ("b", NOON + timedelta(minutes=10)), ("d", NOON - timedelta(days=40))
    better = ("b", d[1] + timedelta(minutes=3))
    assert found == [([a, b, c], [3]), ([a, b, c], [3]), ([a, better, c, d], [2, 2])]

    before = content(tmp_path / "lake", "silver.events")
    run = new_run(spark, tmp_path / "lake", made)
    run.sources[CANONICAL.source] = CANONICAL
    requests.add(run, "rebuild", "2025-11-20/2026-01-06")
    runner.build_silver(run)
    assert not run.failures
    assert content(tmp_path / "lake", "silver.events") == before


def test_events_that_another_rule_stored_apart_are_named_instead_of_counted_twice(
    spark: SparkSession, context: MakeContext, tmp_path: Path
) -> None:
    land(tmp_path / "landing", "1.jsonl", [line("a", 0), line("a", 2_000)])
    up_to_silver(spark, tmp_path, context())
    land(tmp_path / "landing", "2.jsonl", [line("a", 4_000)])
    with pytest.raises(ConfigurationError, match=r"^sites.shop.dedupe: .* share an id: run jobs/rebuild.py$"):
        up_to_silver(spark, tmp_path, context(defaults={"dedupe": "any_time"}))
