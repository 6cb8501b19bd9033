"""Sessions: where one ends and the next begins, under both keys."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from pyspark.sql import SparkSession

from pipelines.context import RunContext
from pipelines.silver import sessionize
from tests.conftest import MakeContext
from tests.rows import Row, events_frame

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
BEFORE = ("session_id", "session_date", "page_view_number", "page_view_date", "is_entry", "is_exit")
BEFORE += ("session_converted", "time_on_page_us", "is_countable")


def event(event_id: str, at: float | datetime, event_type: str = "page_view", **more: object) -> Row:
    """An event of visitor ann on site shop, `at` an instant or seconds after noon."""
    time = at if isinstance(at, datetime) else NOON + timedelta(seconds=at)
    return {"event_id": event_id, "event_time": time, "event_type": event_type, "page_path": "/", **more}


def sessionized(spark: SparkSession, context: RunContext, *events: Row) -> dict[str, Row]:
    """What is said about each event, by its id."""
    unknown = events_frame(spark, events).drop(*BEFORE)
    return {row["event_id"]: row.asDict() for row in sessionize.build(unknown, context=context).collect()}


def groups(rows: dict[str, Row]) -> list[set[str]]:
    """Event ids by session, in the order of their first id."""
    found: dict[str, set[str]] = {}
    for event_id, row in rows.items():
        found.setdefault(row["session_id"], set()).add(event_id)
    return sorted(found.values(), key=min)


def test_a_gap_of_exactly_thirty_minutes_stays_one_session_and_a_microsecond_more_is_two(
    spark: SparkSession, context: MakeContext
) -> None:
    later = NOON + timedelta(seconds=3600, microseconds=1)
    rows = sessionized(spark, context(), event("a", 0), event("b", 1800), event("c", later))
    assert groups(rows) == [{"a", "b"}, {"c"}]


@pytest.mark.fault(of="time", injected="events of the same instant", holds="one order, whatever the arrival")
def test_events_of_the_same_instant_follow_sequence_then_id_and_none_comes_first(
    spark: SparkSession, context: MakeContext
) -> None:
    rows = sessionized(
        spark,
        context(),
        event("z", 0, sequence=1),
        event("y", 0, sequence=2),
        event("x", 0, sequence=2),
        event("w", 0),
    )
    assert [(e, rows[e]["page_view_number"]) for e in "wzxy"] == [("w", 1), ("z", 2), ("x", 3), ("y", 4)]


def test_a_session_over_midnight_belongs_to_the_day_it_started_in_the_sites_own_time(
    spark: SparkSession, context: MakeContext
) -> None:
    at = datetime(2026, 1, 5, 22, 50, tzinfo=timezone.utc)  # 23:50 in Berlin
    chosen = context(sites={"shop": {"timezone": "Europe/Berlin"}})
    rows = sessionized(spark, chosen, event("a", at), event("b", at + timedelta(minutes=20)))
    assert groups(rows) == [{"a", "b"}]
    assert {str(row["session_date"]) for row in rows.values()} == {"2026-01-05"}


def test_the_clients_session_lasts_for_days_and_is_shared_by_visitors(
    spark: SparkSession, context: MakeContext
) -> None:
    chosen = context(sites={"shop": {"session": {"key": "client"}}})
    rows = sessionized(
        spark,
        chosen,
        event("a", 0, client_session_id="c1"),
        event("b", 3 * 86_400, client_session_id="c1", visitor_id="bob"),
        event("c", 10),  # names no session: by inactivity, and no part of ann's other one
        event("d", 20, client_session_id="c2"),
    )
    assert groups(rows) == [{"a", "b"}, {"c"}, {"d"}]
    assert rows["a"]["session_id"] == rows["b"]["session_id"] == "c1"
    assert str(rows["b"]["session_date"]) == "2026-01-05"


def test_under_inactivity_the_clients_session_id_says_nothing(spark: SparkSession, context: MakeContext) -> None:
    rows = sessionized(spark, context(), event("a", 0, client_session_id="c1"), event("b", 5, client_session_id="c2"))
    assert groups(rows) == [{"a", "b"}]


@pytest.mark.fault(of="identity", injected="the same visitor id on two sites", holds="two visitors, two sessions")
def test_sites_and_visitors_never_share_a_session(spark: SparkSession, context: MakeContext) -> None:
    rows = sessionized(spark, context(), event("a", 0), event("b", 1, visitor_id="bob"), event("c", 2, site_id="blog"))
    assert groups(rows) == [{"a"}, {"b"}, {"c"}]


def test_a_page_view_owns_what_follows_and_lasts_until_the_next(spark: SparkSession, context: MakeContext) -> None:
    rows = sessionized(
        spark,
        context(),
        event("a", 0, "click"),
        event("b", 1),
        event("c", 2, "scroll"),
        event("d", 11),
        event("e", 15, "click"),
    )
    columns = ("page_view_number", "is_entry", "is_exit", "time_on_page_us")
    assert {e: tuple(row[c] for c in columns) for e, row in rows.items()} == {
        "a": (None, False, False, None),
        "b": (1, True, False, 10_000_000),
        "c": (1, False, False, None),
        "d": (2, False, True, 4_000_000),
        "e": (2, False, False, None),
    }


def test_a_bot_event_makes_the_whole_session_uncountable_unless_the_site_counts_bots(
    spark: SparkSession, context: MakeContext
) -> None:
    events = [event("a", 0), event("b", 1, is_bot=True, bot_reason="declared_bot")]
    events += [{**row, "site_id": "log"} for row in events]
    rows = sessionize.build(
        events_frame(spark, events).drop(*BEFORE), context=context(sites={"log": {"count_bots": True}})
    ).collect()
    assert {(r["site_id"], r["event_id"], r["is_countable"]) for r in rows} == {
        ("shop", "a", False),
        ("shop", "b", False),
        ("log", "a", True),
        ("log", "b", True),
    }


def test_a_session_id_hangs_on_its_first_event_alone(spark: SparkSession, context: MakeContext) -> None:
    alone = sessionized(spark, context(), event("a", 0))
    longer = sessionized(spark, context(), event("a", 0), event("b", 60))
    earlier = sessionized(spark, context(), event("a", 0), event("0", -60))
    assert alone["a"]["session_id"] == longer["a"]["session_id"] != earlier["a"]["session_id"]
