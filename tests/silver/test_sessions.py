"""silver.sessions: what a session's events add up to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pyspark.sql import SparkSession

from pipelines.context import RunContext
from pipelines.silver import sessionize, sessions
from pipelines.silver.events import SESSION_COLUMNS
from tests.conftest import MakeContext
from tests.rows import Row, events_frame

TOUCH = ("channel", "traffic_source", "traffic_medium", "campaign")
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def event(seconds: float, event_type: str = "page_view", page: str | None = "/", **more: object) -> Row:
    return {"event_time": NOON + timedelta(seconds=seconds), "event_type": event_type, "page_path": page, **more}


def built(spark: SparkSession, context: RunContext, *events: Row) -> list[Row]:
    """Sessions in the order of their visitors."""
    whole = sessionize.build(events_frame(spark, events).drop(*SESSION_COLUMNS), context=context)
    return [row.asDict() for row in sessions.build(whole, context=context).orderBy("visitor_id").collect()]


def some(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def test_one_event_has_no_duration_and_no_page_view_no_entry(spark: SparkSession, context: MakeContext) -> None:
    ann, bob = built(
        spark, context(), event(0), event(0, "click", visitor_id="bob"), event(5, "click", visitor_id="bob")
    )
    columns = ("event_count", "duration_seconds", "bounced", "engaged", "entry_page", "exit_page")
    assert some(ann, *columns) == (1, None, True, False, "/", "/")
    assert some(bob, *columns) == (2, 5.0, False, False, None, None)


def test_the_path_keeps_repeats_and_the_pages_visited_do_not(spark: SparkSession, context: MakeContext) -> None:
    (row,) = built(
        spark,
        context(),
        event(0, "click", "/popup"),
        event(1, page="/a"),
        event(2, page="/b"),
        event(3, page=None),
        event(4, page="/a"),
        event(5, "click", "/b"),
    )
    assert some(row, "journey_path", "pages_visited") == (["/a", "/b", "/a"], ["/popup", "/a", "/b"])
    assert some(row, "page_view_count", "page_count", "entry_page", "exit_page") == (4, 3, "/a", "/a")


def test_whom_it_belongs_to_is_its_first_event_and_its_user_the_last_known(
    spark: SparkSession, context: MakeContext
) -> None:
    (row,) = built(
        spark,
        context(),
        event(0, person_id="ann"),
        event(1, user_id="u1", person_id="u1"),
        event(2, user_id="u2", person_id="u2"),
        event(3),
    )
    assert some(row, "visitor_id", "person_id", "user_id") == ("ann", "ann", "u2")


def test_conversion_revenue_and_errors(spark: SparkSession, context: MakeContext) -> None:
    (row,) = built(
        spark,
        context(),
        event(0),
        event(1, "purchase", value=Decimal("19.99")),
        event(2, "purchase", value=Decimal("0.01")),
        event(3, "like", value=Decimal("5")),
        event(4, "error"),
    )
    assert some(row, "converted", "revenue", "had_error", "likes") == (True, Decimal("20.0000"), True, 1)
    assert row["converted_at"].replace(tzinfo=UTC) == NOON + timedelta(seconds=1)


def test_actions_are_all_but_page_views_and_the_marks_of_a_session(spark: SparkSession, context: MakeContext) -> None:
    kinds = ["session_start", "page_view", "click", "form_start", "form_start", "form_submit", "like", "session_end"]
    (row,) = built(spark, context(), *[event(second, kind) for second, kind in enumerate(kinds)])
    assert some(row, "actions", "clicks", "form_starts", "form_submits") == (5, 1, 2, 1)


def test_a_site_may_convert_by_the_page_left_from_instead(spark: SparkSession, context: MakeContext) -> None:
    chosen = context(sites={"shop": {"conversion": {"end_page": "/checkout"}}})
    ann, bob = built(
        spark,
        chosen,
        event(0),
        event(1, page="/checkout"),
        event(2, "click", "/else"),
        event(0, "purchase", visitor_id="bob"),
    )
    assert (ann["converted"], bob["converted"]) == (True, False)
    assert ann["converted_at"].replace(tzinfo=UTC) == NOON + timedelta(seconds=1)
    assert bob["converted_at"] is None


def test_a_conversion_under_an_earlier_rule_of_the_site_is_dated_at_the_sessions_end(
    spark: SparkSession, context: MakeContext
) -> None:
    events = events_frame(spark, [event(0, session_converted=True), event(7, "click", session_converted=True)])
    [row] = sessions.build(events, context=context()).collect()
    assert row["converted_at"].replace(tzinfo=UTC) == NOON + timedelta(seconds=7)


def test_the_first_touch_is_taken_whole_from_one_event(spark: SparkSession, context: MakeContext) -> None:
    (row,) = built(
        spark,
        context(),
        event(0, "custom_event"),
        event(1, channel="Unassigned", traffic_source="news", utm_campaign=None),
        event(2, channel="Paid Search", traffic_source="ads", traffic_medium="cpc", utm_campaign="spring"),
    )
    assert some(row, *TOUCH) == ("Unassigned", "news", None, None)


def test_a_visit_that_says_nothing_until_its_entry_is_direct(spark: SparkSession, context: MakeContext) -> None:
    back_from_paying = {"channel": "Referral", "traffic_source": "bank.example", "traffic_medium": "referral"}
    (row,) = built(spark, context(), event(0), event(1, **back_from_paying))
    assert some(row, *TOUCH) == ("Direct", "(direct)", "(none)", None)


def test_under_exclude_events_a_test_users_events_take_no_part(spark: SparkSession, context: MakeContext) -> None:
    chosen = context(sites={"shop": {"test_users": {"rule": "exclude_events"}}})
    columns = ("event_count", "duration_seconds", "has_test_user", "is_countable")
    events = [event(0, is_test_user=True), event(10), event(30, "click")]
    (row,) = built(spark, chosen, *events)
    assert some(row, *columns) == (2, 20.0, True, True)
    assert row["start_time"].replace(tzinfo=UTC) == NOON + timedelta(seconds=10)
    (whole,) = built(spark, context(), *events)
    assert some(whole, *columns) == (3, 30.0, True, False)
