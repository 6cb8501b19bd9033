"""engagement_tiers_daily: persons by active days in the trailing 30."""

from __future__ import annotations

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import engagement_tiers_daily
from tests.conftest import MakeContext
from tests.rows import day, table_frame

MONDAY, TUESDAY = day("2026-01-05"), day("2026-01-06")


def check(spark: SparkSession, built: DataFrame, expected: list[tuple[object, ...]]) -> None:
    rows = spark.createDataFrame(expected, contract("gold.engagement_tiers_daily").ddl)
    assert_df_equality(built, rows, ignore_row_order=True, ignore_nullable=True)


def histogram(spark: SparkSession, *rows: tuple[object, ...]) -> DataFrame:
    names = contract("gold.activity_histogram").column_names
    return table_frame(spark, "gold.activity_histogram", [dict(zip(names, row, strict=True)) for row in rows])


def test_users_of_a_tier_are_all_with_as_many_active_days(spark: SparkSession, context: MakeContext) -> None:
    users = histogram(
        spark,
        *[("shop", MONDAY, active_days, 1) for active_days in range(1, 31)],
        ("shop", TUESDAY, 5, 7),
        ("blog", MONDAY, 20, 3),
    )
    check(
        spark,
        engagement_tiers_daily.build(users, context=context()),
        [
            ("shop", MONDAY, "casual", 5),
            ("shop", MONDAY, "regular", 10),
            ("shop", MONDAY, "core", 4),
            ("shop", MONDAY, "power", 11),
            ("shop", TUESDAY, "casual", 7),
            ("blog", MONDAY, "power", 3),
        ],
    )


@pytest.mark.parametrize(("days", "tier"), [(1, None), (2, "casual"), (3, "regular"), (4, "core"), (5, "power")])
def test_thresholds_come_from_the_settings(
    spark: SparkSession, context: MakeContext, days: int, tier: str | None
) -> None:
    chosen = context(tiers={"power": 5, "core": 4, "regular": 3, "casual": 2})
    built = engagement_tiers_daily.build(histogram(spark, ("shop", MONDAY, days, 2)), context=chosen)
    check(spark, built, [("shop", MONDAY, tier, 2)] if tier else [])
