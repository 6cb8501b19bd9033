"""activity_histogram: persons by active days in the trailing 30."""

from __future__ import annotations

from datetime import date, timedelta

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import activity_histogram
from tests.conftest import MakeContext
from tests.rows import day, user_days_frame

FIRST = day("2026-01-01")


def active(person: str, *offsets: int) -> list[tuple[str, str]]:
    """Active on these days, counted from January 1."""
    return [(person, (FIRST + timedelta(days=offset)).isoformat()) for offset in offsets]


def check(spark: SparkSession, built: DataFrame, expected: list[tuple[range, int, int]]) -> None:
    """Expected rows as (days counted from January 1, active days, users)."""
    rows: list[tuple[str, date, int, int]] = [
        ("shop", FIRST + timedelta(days=offset), active_days, users)
        for days, active_days, users in expected
        for offset in days
    ]
    assert_df_equality(
        built,
        spark.createDataFrame(rows, contract("gold.activity_histogram").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def test_one_active_day_is_one_for_thirty_dates(spark: SparkSession, context: MakeContext) -> None:
    built = activity_histogram.build(user_days_frame(spark, active("ann", 0)), context=context())
    check(spark, built, [(range(30), 1, 1)])


def test_a_person_climbs_and_comes_down_again(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, active("ann", 0, 1, 2))
    built = activity_histogram.build(user_days, context=context())
    # at day 30 the first active day has left the window
    expected = [(range(1), 1, 1), (range(1, 2), 2, 1), (range(2, 30), 3, 1), (range(30, 31), 2, 1)]
    check(spark, built, [*expected, (range(31, 32), 1, 1)])


def test_a_day_that_enters_as_another_leaves_keeps_the_number(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, active("ann", 0, 5, 30))
    built = activity_histogram.build(user_days, context=context())
    check(spark, built, [(range(5), 1, 1), (range(5, 35), 2, 1), (range(35, 60), 1, 1)])


def test_persons_with_the_same_number_add_up(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, active("ann", 0, 1) + active("bob", 1) + active("cid", 1))
    built = activity_histogram.build(user_days, context=context()).where("date = '2026-01-02'")
    check(spark, built, [(range(1, 2), 1, 2), (range(1, 2), 2, 1)])


def test_a_day_below_the_sites_threshold_is_not_active(spark: SparkSession, context: MakeContext) -> None:
    chosen = context(sites={"shop": {"activity_threshold": 2}})
    check(spark, activity_histogram.build(user_days_frame(spark, active("ann", 0)), context=chosen), [])
