"""active_users_by_segment_daily: exact distinct persons of each segment in windows of 1, 7 and 30 days."""

from __future__ import annotations

from datetime import date, timedelta

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import active_users_by_segment_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, sessions_frame, user_days_frame

FIRST = day("2026-01-01")
Segment = tuple[range, str, str, tuple[int, int, int]]
"""Days counted from January 1, dimension, value, (dau, wau, mau)."""


def check(spark: SparkSession, built: DataFrame, expected: list[Segment]) -> None:
    rows: list[tuple[object, ...]] = [
        ("shop", FIRST + timedelta(days=offset), dimension, value, *counts, counts[0] / counts[2])
        for days, dimension, value, counts in expected
        for offset in days
    ]
    assert_df_equality(
        built,
        spark.createDataFrame(rows, contract("gold.active_users_by_segment_daily").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def session(person: str, on: date = FIRST, **more: object) -> Row:
    return {"person_id": person, "session_date": on, **more}


def test_a_person_is_in_the_segments_of_their_sessions_and_a_missing_value_is_one(
    spark: SparkSession, context: MakeContext
) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-01"), ("bob", "2026-01-01")])
    sessions = sessions_frame(
        spark,
        [
            *[session("ann", device_type="mobile"), session("ann", device_type="mobile")],
            *[session("ann", device_type="desktop"), session("bob", device_type="mobile"), session("bob")],
            session("bob", device_type="tablet", is_countable=False),
            session("cid", device_type="mobile"),  # not active on the date
        ],
    )
    built = active_users_by_segment_daily.build(user_days, sessions, context=context(segments=["device_type"]))
    check(
        spark,
        built.where("date = '2026-01-01'"),
        [
            (range(1), "device_type", "mobile", (2, 2, 2)),
            (range(1), "device_type", "desktop", (1, 1, 1)),
            (range(1), "device_type", "(unknown)", (1, 1, 1)),
        ],
    )


def test_a_person_leaves_each_segment_when_its_own_window_has_passed(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-01"), ("ann", "2026-01-03")])
    sessions = sessions_frame(
        spark,
        [
            session("ann", country="DE", channel="Direct"),
            session("ann", FIRST + timedelta(days=2), country="US", channel="Direct"),
        ],
    )
    built = active_users_by_segment_daily.build(user_days, sessions, context=context(segments=["country", "channel"]))
    once = [(1, (1, 1, 1)), (6, (0, 1, 1)), (23, (0, 0, 1))]
    again = [(1, (1, 1, 1)), (1, (0, 1, 1)), *once]
    expected: list[Segment] = []
    for dimension, value, first, levels in (
        ("country", "DE", 0, once),
        ("country", "US", 2, once),
        ("channel", "Direct", 0, again),
    ):
        for days, counts in levels:
            expected.append((range(first, first + days), dimension, value, counts))
            first += days
    check(spark, built, expected)


def test_an_active_day_counts_in_the_tier_that_the_person_has_on_it(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-01"), ("ann", "2026-01-02"), ("ann", "2026-01-31")])
    chosen = context(segments=["tier"], tiers={"power": 4, "core": 3, "regular": 2, "casual": 1})
    built = active_users_by_segment_daily.build(user_days, sessions_frame(spark, []), context=chosen)
    check(
        spark,
        built.where("date in ('2026-01-01', '2026-01-02', '2026-01-31')"),
        [
            (range(1), "tier", "casual", (1, 1, 1)),
            (range(1, 2), "tier", "casual", (0, 1, 1)),
            (range(1, 2), "tier", "regular", (1, 1, 1)),
            (range(30, 31), "tier", "regular", (1, 1, 1)),  # the 2nd and the 31st; the 1st has left the window
        ],
    )
