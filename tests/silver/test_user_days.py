"""user_days: who counts on which day."""

from __future__ import annotations

from typing import Any

from chispa import assert_df_equality
from pyspark.sql import SparkSession

from pipelines.contracts import contract
from pipelines.silver import user_days
from tests.conftest import MakeContext
from tests.rows import Row, day, events_frame, sessions_frame, utc

FIFTH, SIXTH = day("2026-01-05"), day("2026-01-06")


def check(
    spark: SparkSession, context: MakeContext, events: list[Row], sessions: list[Row], expected: list[tuple[Any, ...]]
) -> None:
    built = user_days.build(events_frame(spark, events), sessions_frame(spark, sessions), context=context())
    assert_df_equality(
        built,
        spark.createDataFrame(expected, contract("silver.user_days").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def test_page_views_and_session_marks_are_events_but_not_actions(spark: SparkSession, context: MakeContext) -> None:
    types = ["session_start", "page_view", "click", "view", "custom_event", "session_end"]
    check(
        spark,
        context,
        events=[{"event_type": kind} for kind in types],
        sessions=[{}],
        expected=[("shop", "ann", FIFTH, 6, 3, 1)],
    )


def test_a_session_across_midnight_counts_its_events_on_two_dates_and_itself_on_the_first(
    spark: SparkSession, context: MakeContext
) -> None:
    check(
        spark,
        context,
        events=[
            {"event_type": "click", "event_time": utc("2026-01-05 23:59:00")},
            {"event_type": "click", "event_time": utc("2026-01-06 00:01:00"), "session_date": FIFTH},
        ],
        sessions=[{"session_date": FIFTH}],
        expected=[("shop", "ann", FIFTH, 1, 1, 1), ("shop", "ann", SIXTH, 1, 1, 0)],
    )


def test_each_person_of_a_shared_session_counts_their_own_events(spark: SparkSession, context: MakeContext) -> None:
    check(
        spark,
        context,
        events=[
            {"event_type": "click", "person_id": "ann"},
            {"event_type": "click", "person_id": "bob"},
            {"event_type": "click", "person_id": "bob"},
        ],
        sessions=[{"person_id": "ann"}],
        expected=[("shop", "ann", FIFTH, 1, 1, 1), ("shop", "bob", FIFTH, 2, 2, 0)],
    )


def test_a_session_without_an_event_of_its_person_that_day_still_makes_a_row(
    spark: SparkSession, context: MakeContext
) -> None:
    # The person's own event is an excluded one; the session counts by somebody else's.
    check(
        spark,
        context,
        events=[{"person_id": "tester", "is_countable": False}, {"event_type": "click", "person_id": "bob"}],
        sessions=[{"person_id": "tester"}],
        expected=[("shop", "tester", FIFTH, 0, 0, 1), ("shop", "bob", FIFTH, 1, 1, 0)],
    )


def test_what_does_not_count_leaves_no_row(spark: SparkSession, context: MakeContext) -> None:
    check(spark, context, events=[{"is_countable": False}], sessions=[{"is_countable": False}], expected=[])


def test_sites_are_kept_apart(spark: SparkSession, context: MakeContext) -> None:
    check(
        spark,
        context,
        events=[{"site_id": "shop"}, {"site_id": "blog"}],
        sessions=[{"site_id": "blog"}],
        expected=[("shop", "ann", FIFTH, 1, 1, 0), ("blog", "ann", FIFTH, 1, 1, 1)],
    )
