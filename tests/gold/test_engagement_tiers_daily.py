"""engagement_tiers_daily: persons by active days in the trailing 30."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import engagement_tiers_daily
from tests.conftest import MakeContext
from tests.rows import day, user_days_frame

FIRST = day("2026-01-01")


def active(person: str, *offsets: int) -> list[tuple[str, str]]:
    """Active on these days, counted from January 1."""
    return [(person, (FIRST + timedelta(days=offset)).isoformat()) for offset in offsets]


def check(spark: SparkSession, built: DataFrame, expected: list[tuple[range, str, int]]) -> None:
    """Expected rows as (days counted from January 1, tier, users)."""
    rows: list[tuple[str, date, str, int]] = [
        ("shop", FIRST + timedelta(days=offset), tier, users) for days, tier, users in expected for offset in days
    ]
    assert_df_equality(
        built,
        spark.createDataFrame(rows, contract("gold.engagement_tiers_daily").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def test_one_active_day_is_casual_for_thirty_dates(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, active("ann", 0))
    built = engagement_tiers_daily.build(user_days, context=context())
    check(spark, built, [(range(30), "casual", 1)])


def test_a_person_climbs_the_tiers_and_comes_down_again(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, active("ann", *range(20)))  # 20 days in a row
    built = engagement_tiers_daily.build(user_days, context=context())
    check(
        spark,
        built,
        [
            (range(5), "casual", 1),
            (range(5, 15), "regular", 1),
            (range(15, 19), "core", 1),
            (range(19, 30), "power", 1),  # at day 30 the first active day has left the window
            (range(30, 34), "core", 1),
            (range(34, 44), "regular", 1),
            (range(44, 49), "casual", 1),
        ],
    )


def test_a_day_that_enters_as_another_leaves_keeps_the_tier(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, active("ann", 0, 1, 2, 3, 4, 5, 30))  # six days, the first replaced on day 30
    built = engagement_tiers_daily.build(user_days, context=context())
    check(
        spark,
        built,
        [(range(5), "casual", 1), (range(5, 31), "regular", 1), (range(31, 60), "casual", 1)],
    )


def test_users_of_a_tier_add_up_and_empty_tiers_have_no_row(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, active("ann", *range(6)) + active("bob", 5) + active("cid", 5))
    built = engagement_tiers_daily.build(user_days, context=context()).where("date = '2026-01-06'")
    check(spark, built, [(range(5, 6), "regular", 1), (range(5, 6), "casual", 2)])


@pytest.mark.parametrize(("days", "tier"), [(1, None), (2, "casual"), (3, "regular"), (4, "core"), (5, "power")])
def test_thresholds_come_from_the_settings(
    spark: SparkSession, context: MakeContext, days: int, tier: str | None
) -> None:
    chosen = context(tiers={"power": 5, "core": 4, "regular": 3, "casual": 2})
    user_days = user_days_frame(spark, active("ann", *range(days)))
    built = engagement_tiers_daily.build(user_days, context=chosen).where(f"date = '2026-01-0{days}'")
    check(spark, built, [(range(days - 1, days), tier, 1)] if tier else [])


def test_no_activity_gives_no_rows(spark: SparkSession, context: MakeContext) -> None:
    check(spark, engagement_tiers_daily.build(user_days_frame(spark, []), context=context()), [])
