"""journey_stats_daily: the day's countable sessions in one row."""

from __future__ import annotations

from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import journey_stats_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, sessions_frame

FIFTH, SIXTH = day("2026-01-05"), day("2026-01-06")


def check(built: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Expected rows: site, date, journeys, users, avg duration, avg pages, error %, conversion %, bounce rate."""
    frame = built.sparkSession.createDataFrame(expected, contract("gold.journey_stats_daily").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)


def viewed(pages: int, **more: Any) -> Row:
    """A session with so many page views, each of another page."""
    return {"page_view_count": pages, "page_count": pages, "bounced": pages == 1, **more}


def test_a_day_of_journeys_in_one_row(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(
        spark,
        [
            viewed(1, person_id="ann", duration_seconds=10.0),
            viewed(3, person_id="ann", duration_seconds=50.0, converted=True, had_error=True),
            viewed(2, person_id="bob", duration_seconds=30.5),
            viewed(1, person_id="cid", duration_seconds=29.5, session_date=SIXTH),
        ],
    )
    check(
        journey_stats_daily.build(sessions, context=context()),
        [
            ("shop", FIFTH, 3, 2, 90.5 / 3, 2.0, 100 / 3, 100 / 3, 1 / 3),
            ("shop", SIXTH, 1, 1, 29.5, 1.0, 0.0, 0.0, 1.0),
        ],
    )


def test_one_event_sessions_are_skipped_or_count_as_zero_as_the_site_says(
    spark: SparkSession, context: MakeContext
) -> None:
    day_of = [viewed(2, duration_seconds=60.0), viewed(1)]
    rows = [
        {**row, "site_id": site, "session_id": f"{site}{i}"}
        for site in ("shop", "blog")
        for i, row in enumerate(day_of)
    ]
    built = journey_stats_daily.build(
        sessions_frame(spark, rows), context=context(sites={"blog": {"single_event_duration": "zero"}})
    )
    check(
        built,
        [
            ("shop", FIFTH, 2, 1, 60.0, 1.5, 0.0, 0.0, 0.5),
            ("blog", FIFTH, 2, 1, 30.0, 1.5, 0.0, 0.0, 0.5),
        ],
    )


def test_where_no_session_has_a_duration_its_mean_is_null_or_zero(spark: SparkSession, context: MakeContext) -> None:
    rows = [viewed(1, site_id="shop"), viewed(1, site_id="blog")]
    built = journey_stats_daily.build(
        sessions_frame(spark, rows), context=context(sites={"blog": {"single_event_duration": "zero"}})
    )
    check(
        built,
        [
            ("shop", FIFTH, 1, 1, None, 1.0, 0.0, 0.0, 1.0),
            ("blog", FIFTH, 1, 1, 0.0, 1.0, 0.0, 0.0, 1.0),
        ],
    )


def test_sessions_without_a_page_view_are_not_in_the_bounce_rate(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [viewed(0, session_date=SIXTH), viewed(0), viewed(1), viewed(2)])
    check(
        journey_stats_daily.build(sessions, context=context()),
        [
            ("shop", FIFTH, 3, 1, None, 1.0, 0.0, 0.0, 0.5),
            ("shop", SIXTH, 1, 1, None, 0.0, 0.0, 0.0, 0.0),
        ],
    )


def test_two_events_at_the_same_instant_have_a_duration_of_zero(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [viewed(1, duration_seconds=0.0), viewed(1, duration_seconds=4.0)])
    check(
        journey_stats_daily.build(sessions, context=context()),
        [("shop", FIFTH, 2, 1, 2.0, 1.0, 0.0, 0.0, 1.0)],
    )


def test_sessions_that_do_not_count_leave_no_trace(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(
        spark,
        [
            viewed(1, duration_seconds=5.0),
            viewed(9, duration_seconds=900.0, is_countable=False, converted=True),
            viewed(9, session_date=SIXTH, is_countable=False),
        ],
    )
    check(
        journey_stats_daily.build(sessions, context=context()),
        [("shop", FIFTH, 1, 1, 5.0, 1.0, 0.0, 0.0, 1.0)],
    )


def test_no_sessions_give_no_rows(spark: SparkSession, context: MakeContext) -> None:
    check(journey_stats_daily.build(sessions_frame(spark, []), context=context()), [])
