"""active_users_daily: exact distinct persons in windows of 1, 7 and 30 days."""

from __future__ import annotations

from datetime import date, timedelta

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import active_users_daily
from tests.conftest import MakeContext
from tests.rows import day, user_days_frame

Counts = tuple[int, int, int]


def check(spark: SparkSession, built: DataFrame, expected: list[tuple[str, date, Counts]]) -> None:
    rows = [(site, on, *counts, counts[0] / counts[2]) for site, on, counts in expected]
    assert_df_equality(
        built,
        spark.createDataFrame(rows, contract("gold.active_users_daily").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def run(first: str, levels: list[tuple[int, Counts]], site: str = "shop") -> list[tuple[str, date, Counts]]:
    """Expected rows: from `first` on, each level for a number of days."""
    expected, on = [], day(first)
    for days, counts in levels:
        for _ in range(days):
            expected.append((site, on, counts))
            on += timedelta(days=1)
    return expected


def test_a_person_leaves_wau_after_seven_and_mau_after_thirty_days(spark: SparkSession, context: MakeContext) -> None:
    built = active_users_daily.build(user_days_frame(spark, [("ann", "2026-01-01")]), context=context())
    check(spark, built, run("2026-01-01", [(1, (1, 1, 1)), (6, (0, 1, 1)), (23, (0, 0, 1))]))  # to January 30


def test_a_person_active_again_within_the_window_is_counted_once(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-01"), ("ann", "2026-01-03")])
    built = active_users_daily.build(user_days, context=context())
    levels = [(1, (1, 1, 1)), (1, (0, 1, 1)), (1, (1, 1, 1)), (6, (0, 1, 1)), (23, (0, 0, 1))]
    check(spark, built, run("2026-01-01", levels))


def test_active_again_on_the_thirtieth_day_after_is_a_seamless_month(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-01"), ("ann", "2026-01-31")])
    built = active_users_daily.build(user_days, context=context())
    month = [(1, (1, 1, 1)), (6, (0, 1, 1)), (23, (0, 0, 1))]
    check(spark, built, run("2026-01-01", month + month))


def test_no_rows_between_activity_that_lies_far_apart(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-01"), ("bob", "2027-06-01")])
    built = active_users_daily.build(user_days, context=context())
    month = [(1, (1, 1, 1)), (6, (0, 1, 1)), (23, (0, 0, 1))]
    check(spark, built, run("2026-01-01", month) + run("2027-06-01", month))


def test_persons_add_up_and_stickiness_is_their_ratio(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(
        spark, [("ann", "2026-01-01"), ("bob", "2026-01-01"), ("ann", "2026-01-02"), ("cid", "2026-01-02")]
    )
    built = active_users_daily.build(user_days, context=context()).where("date <= '2026-01-02'")
    expected = [("shop", day("2026-01-01"), 2, 2, 2, 1.0), ("shop", day("2026-01-02"), 2, 3, 3, 2 / 3)]
    assert_df_equality(
        built,
        spark.createDataFrame(expected, contract("gold.active_users_daily").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def test_a_day_below_the_sites_threshold_is_not_active(spark: SparkSession, context: MakeContext) -> None:
    fifth = {"date": day("2026-01-05"), "person_id": "ann", "events": 4}
    user_days = user_days_frame(
        spark,
        [
            {**fifth, "site_id": "shop"},  # below its 5
            {**fifth, "site_id": "blog"},  # reaches its 4
            {**fifth, "site_id": "unlisted", "events": 1},  # follows the defaults: 1
            {**fifth, "site_id": "unlisted", "person_id": "bob", "events": 0},  # a session, but no event
        ],
    )
    sites = {"shop": {"activity_threshold": 5}, "blog": {"activity_threshold": 4}}
    built = active_users_daily.build(user_days, context=context(sites=sites)).where("date = '2026-01-05'")
    check(spark, built, [("blog", day("2026-01-05"), (1, 1, 1)), ("unlisted", day("2026-01-05"), (1, 1, 1))])


def test_no_activity_gives_no_rows(spark: SparkSession, context: MakeContext) -> None:
    check(spark, active_users_daily.build(user_days_frame(spark, []), context=context()), [])
