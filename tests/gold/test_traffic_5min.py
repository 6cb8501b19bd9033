"""traffic_5min: what happened in each five minutes."""

from __future__ import annotations

from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import traffic_5min
from tests.conftest import MakeContext
from tests.rows import Row, day, events_frame, sessions_frame, utc

FIFTH, SIXTH = day("2026-01-05"), day("2026-01-06")
AT = utc("2026-01-05 12:00:00")


def check(built: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Rows: site, date, window, events, page views, visitors, sessions started, purchases, errors, bot events."""
    frame = built.sparkSession.createDataFrame(expected, contract("gold.traffic_5min").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)


def event(time: str, event_type: str = "page_view", **more: Any) -> Row:
    return {"event_time": utc(time), "event_type": event_type, **more}


def test_a_window_holds_its_start_and_not_its_end(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(
        spark,
        [
            event("2026-01-05 12:00:00"),
            event("2026-01-05 12:04:59.999999", "purchase"),
            event("2026-01-05 12:05:00", "error", visitor_id="bob"),
            event("2026-01-05 12:09:00", "click", visitor_id="bob"),
            event("2026-01-05 12:09:00", "page_view", visitor_id="ann"),
        ],
    )
    sessions = sessions_frame(spark, [{"start_time": AT}, {"start_time": utc("2026-01-05 12:05:00")}])
    check(
        traffic_5min.build(events, sessions, context=context()),
        [
            ("shop", FIFTH, AT, 2, 1, 1, 1, 1, 0, 0),
            ("shop", FIFTH, utc("2026-01-05 12:05:00"), 3, 1, 2, 1, 0, 1, 0),
        ],
    )


def test_bots_have_their_own_column_and_no_other(spark: SparkSession, context: MakeContext) -> None:
    bot = {"is_bot": True, "bot_reason": "headless", "visitor_id": "bot", "is_countable": False}
    events = events_frame(
        spark,
        [
            event("2026-01-05 12:01:00"),
            event("2026-01-05 12:02:00", **bot),
            event("2026-01-05 12:07:00", "purchase", **bot),
            event("2026-01-05 12:11:00", is_test_user=True, is_countable=False),
        ],
    )
    sessions = sessions_frame(spark, [{"start_time": AT}, {"start_time": AT, "is_countable": False}])
    check(
        traffic_5min.build(events, sessions, context=context()),
        [
            ("shop", FIFTH, AT, 1, 1, 1, 1, 0, 0, 1),
            ("shop", FIFTH, utc("2026-01-05 12:05:00"), 0, 0, 0, 0, 0, 0, 1),
        ],
    )


def test_bots_that_a_site_counts_are_events_as_well(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(spark, [event("2026-01-05 12:01:00", is_bot=True, bot_reason="headless")])
    built = traffic_5min.build(events, sessions_frame(spark, [{"start_time": AT}]), context=context())
    check(built, [("shop", FIFTH, AT, 1, 1, 1, 1, 0, 0, 1)])


def test_a_window_belongs_to_a_site_and_its_date(spark: SparkSession, context: MakeContext) -> None:
    """A clock that is set back over midnight at one past it divides a window between two dates."""
    events = events_frame(
        spark,
        [
            event("2026-01-05 12:00:30", event_date=SIXTH),
            event("2026-01-05 12:01:00", event_date=FIFTH),
            event("2026-01-05 12:01:00", event_date=FIFTH, site_id="blog"),
        ],
    )
    check(
        traffic_5min.build(events, sessions_frame(spark, []), context=context()),
        [
            ("shop", SIXTH, AT, 1, 1, 1, 0, 0, 0, 0),
            ("shop", FIFTH, AT, 1, 1, 1, 0, 0, 0, 0),
            ("blog", FIFTH, AT, 1, 1, 1, 0, 0, 0, 0),
        ],
    )
