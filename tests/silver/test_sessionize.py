"""Sessions: where one ends and the next begins, under both keys."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import SparkSession

from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.silver import sessionize
from tests.conftest import MakeContext
from tests.model import sessions as model_sessions
from tests.model import silver
from tests.model.identities import link
from tests.model.strategies import SITES, random_events, small_settings
from tests.rows import Row, events_frame, table_frame

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
BEFORE = ("session_id", "session_date", "page_view_number", "page_view_date", "is_entry", "is_exit")
BEFORE += ("session_converted", "time_on_page_us", "session_bot_reason", "is_countable")


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
    at = datetime(2026, 1, 5, 22, 50, tzinfo=UTC)  # 23:50 in Berlin
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


# --- what cuts sessions besides gaps ----------------------------------------------------------------------------------


def test_a_run_is_cut_whenever_it_has_lasted_another_maximum(spark: SparkSession, context: MakeContext) -> None:
    chosen = context(sites={"shop": {"session": {"max_duration_seconds": 3600}}})
    seconds = {"a": 0, "b": 1800, "c": 3599.999999, "d": 3600, "e": 5400, "f": 7199, "g": 8999, "h": 10_800}
    rows = sessionized(spark, chosen, *[event(name, at) for name, at in seconds.items()])
    assert groups(rows) == [{"a", "b", "c"}, {"d", "e", "f"}, {"g"}, {"h"}]


def test_only_a_campaign_that_follows_on_another_cuts(spark: SparkSession, context: MakeContext) -> None:
    chosen = context(sites={"shop": {"session": {"break_on_campaign": True}}})
    campaigns = {"a": None, "b": "spring", "c": None, "d": "spring", "e": "summer", "f": None, "g": "spring"}
    events = [event(name, at, utm_campaign=campaign) for at, (name, campaign) in enumerate(campaigns.items())]
    events += [event("x", 9000, utm_campaign="autumn")]  # another run knows nothing of the campaigns before it
    assert groups(sessionized(spark, chosen, *events)) == [{"a", "b", "c", "d"}, {"e", "f"}, {"g"}, {"x"}]
    assert groups(sessionized(spark, context(), *events)) == [set("abcdefg"), {"x"}]


def test_a_run_is_cut_at_the_sites_midnight_where_the_site_says_so(spark: SparkSession, context: MakeContext) -> None:
    at = datetime(2026, 1, 5, 22, 59, 59, tzinfo=UTC)  # a second to midnight in Berlin
    later = at + timedelta(seconds=1)
    events = [event("a", at, event_date=at.date()), event("b", later, event_date=later.date() + timedelta(days=1))]
    chosen = context(sites={"shop": {"timezone": "Europe/Berlin", "session": {"break_at_midnight": True}}})
    rows = sessionized(spark, chosen, *events)
    assert [str(rows[name]["session_date"]) for name in "ab"] == ["2026-01-05", "2026-01-06"]


def test_nothing_cuts_a_clients_session(spark: SparkSession, context: MakeContext) -> None:
    options = {"key": "client", "max_duration_seconds": 60, "break_on_campaign": True, "break_at_midnight": True}
    chosen = context(sites={"shop": {"session": options}})
    first = event("a", 0, client_session_id="c", utm_campaign="spring")
    last = event("b", 90_000, client_session_id="c", utm_campaign="summer")
    assert groups(sessionized(spark, chosen, first, last)) == [{"a", "b"}]


# --- pace -------------------------------------------------------------------------------------------------------------


def reasons(spark: SparkSession, context: RunContext, *seconds: float, **more: object) -> list[str | None]:
    """Bot reasons of the sessions of events at these times."""
    rows = sessionized(spark, context, *[event(f"e{n:03}", at, **more) for n, at in enumerate(seconds)])
    return sorted({row["session_bot_reason"] for row in rows.values()}, key=str)


def test_more_events_than_allowed_within_a_minute_of_any_event_are_a_bots(
    spark: SparkSession, context: MakeContext
) -> None:
    chosen = context(anomalies={"max_events_per_minute": 4})
    assert reasons(spark, chosen, -90, 0, 10, 20, 59.999999, 60) == [None]
    assert reasons(spark, chosen, -90, 0, 10, 20, 30, 59.999999) == ["event_rate"]
    # Of two sessions neither has too many, whatever both have together.
    brief = context(anomalies={"max_events_per_minute": 4}, sites={"shop": {"session": {"gap_seconds": 5}}})
    assert reasons(spark, brief, 0, 1, 2, 10, 11, 12) == [None]


@pytest.mark.parametrize(
    ("pauses", "reason"),
    [
        ([60] * 20, "regular_gaps"),
        ([60] * 19, None),
        ([60] * 19 + [63], "regular_gaps"),
        ([60] * 19 + [63.000001], None),
        # The middle of an even number of pauses lies between two of them: 5 % of 61 are 3.05.
        ([60] * 9 + [61] * 2 + [63.05] * 9, "regular_gaps"),
        ([60] * 9 + [61] * 2 + [63.050001] * 9, None),
        ([60] * 10 + [62] * 9 + [63.05], "regular_gaps"),
        ([60] * 10 + [62] * 9 + [63.050001], None),
        ([0] * 20, None),
        ([60] * 20 + [0], None),
        ([60] * 10 + [1700] + [60] * 10, None),
    ],
)
def test_pauses_like_a_clocks_are_a_bots(
    spark: SparkSession, context: MakeContext, pauses: list[float], reason: str | None
) -> None:
    seconds = [round(sum(pauses[:n]), 6) for n in range(len(pauses) + 1)]
    assert reasons(spark, context(), *seconds) == [reason]


def test_pauses_between_sessions_are_no_part_of_either(spark: SparkSession, context: MakeContext) -> None:
    seconds = [60 * n for n in range(21)]
    assert reasons(spark, context(), *seconds, *[9000 + at for at in seconds]) == ["regular_gaps"]
    assert reasons(spark, context(), *seconds[:15], *[9000 + at for at in seconds[:15]]) == [None]


def test_a_clients_session_is_judged_by_its_pace_too(spark: SparkSession, context: MakeContext) -> None:
    by_client = {"shop": {"session": {"key": "client"}}}
    chosen = context(anomalies={"max_events_per_minute": 4}, sites=by_client)
    assert reasons(spark, chosen, -9000, 0, 10, 20, 59.999999, 60, client_session_id="c") == [None]
    assert reasons(spark, chosen, -9000, 0, 10, 20, 30, 59.999999, client_session_id="c") == ["event_rate"]
    seconds = [60 * n for n in range(21)]
    assert reasons(spark, context(sites=by_client), *seconds, client_session_id="c") == ["regular_gaps"]
    # A pause that would end another session is one of this one's.
    assert reasons(spark, context(sites=by_client), *seconds, 9000, client_session_id="c") == [None]


def test_an_events_own_reason_goes_before_the_sessions_pace(spark: SparkSession, context: MakeContext) -> None:
    chosen = context(anomalies={"max_events_per_minute": 2})
    flagged = {"is_bot": True, "bot_reason": "declared_bot"}
    events = [event("a", 0), event("b", 1), event("c", 2, **flagged), event("d", 3, **{**flagged, "bot_reason": "x"})]
    rows = sessionized(spark, chosen, *events)
    assert {row["session_bot_reason"] for row in rows.values()} == {"declared_bot"}
    assert not any(row["is_countable"] for row in rows.values())


def test_any_events_are_cut_and_judged_as_the_model_does(spark: SparkSession, context: MakeContext) -> None:
    rng = random.Random(5)
    settings = small_settings()
    settings = settings.model_copy(update={"bots": settings.bots.model_copy(update={"min_regular_gaps": 2})})
    distinct = model_sessions.deduplicate(random_events(rng, 1500), SITES, settings.privacy.key())
    link(distinct)
    expected = silver.events(model_sessions.sessionize(distinct, SITES, settings))
    names = [name for name in contract("silver.events").comparable_columns if name in expected[0]]
    key = ("site_id", "event_id", "event_utc_date")

    bare = table_frame(spark, "silver.events", [{name: row[name] for name in names} for row in expected]).drop(*BEFORE)
    chosen = replace(context(), settings=settings, sites=SITES)
    found = sessionize.build(bare, context=chosen).select(*key, *BEFORE).collect()
    assert {tuple(row[name] for name in key): tuple(row[name] for name in BEFORE) for row in found} == {
        tuple(row[name] for name in key): tuple(row[name] for name in BEFORE) for row in expected
    }
    assert {"event_rate", "regular_gaps"} <= {row["session_bot_reason"] for row in expected}
    by_client = [row for row in expected if row["session_id"] == row["client_session_id"]]
    assert "event_rate" in {row["session_bot_reason"] for row in by_client}
