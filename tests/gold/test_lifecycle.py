"""lifecycle: new, returning, resurrected and dormant persons by day, week and month."""

from __future__ import annotations

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import lifecycle
from tests.conftest import MakeContext
from tests.rows import day, user_days_frame


def check(spark: SparkSession, built: DataFrame, period: str, expected: list[tuple[str, int, int, int, int]]) -> None:
    """Expected rows of shop as (period_start, new, returning, resurrected, dormant)."""
    rows = [("shop", period, day(start), *counts) for start, *counts in expected]
    assert_df_equality(
        built.where(built["period"] == period),
        spark.createDataFrame(rows, contract("gold.lifecycle").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def test_a_person_is_new_once_returns_goes_dormant_and_is_resurrected(
    spark: SparkSession, context: MakeContext
) -> None:
    days = ["2026-01-01", "2026-01-02", "2026-01-05"]
    built = lifecycle.build(user_days_frame(spark, [("ann", on) for on in days]), context=context())
    check(
        spark,
        built,
        "day",
        [
            ("2026-01-01", 1, 0, 0, 0),
            ("2026-01-02", 0, 1, 0, 0),
            ("2026-01-03", 0, 0, 0, -1),
            ("2026-01-05", 0, 0, 1, 0),
            ("2026-01-06", 0, 0, 0, -1),
        ],
    )
    check(spark, built, "month", [("2026-01-01", 1, 0, 0, 0), ("2026-02-01", 0, 0, 0, -1)])


def test_every_active_person_has_one_state_and_numbers_add_up(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(
        spark,
        [
            *[("ann", "2025-11-30"), ("ann", "2026-01-15")],  # away in December
            *[("bob", "2025-12-01"), ("bob", "2025-12-31"), ("bob", "2026-01-01")],
            *[("cid", "2026-01-31"), ("dan", "2025-12-24")],
        ],
    )
    check(
        spark,
        lifecycle.build(user_days, context=context()),
        "month",
        [
            ("2025-11-01", 1, 0, 0, 0),
            ("2025-12-01", 2, 0, 0, -1),
            ("2026-01-01", 1, 1, 1, -1),
            ("2026-02-01", 0, 0, 0, -3),
        ],
    )


@pytest.mark.parametrize(
    ("week_start", "expected"),
    [
        ("monday", [("2026-01-05", 1, 0, 0, 0), ("2026-01-12", 0, 1, 0, 0), ("2026-01-19", 0, 0, 0, -1)]),
        ("sunday", [("2026-01-11", 1, 0, 0, 0), ("2026-01-18", 0, 0, 0, -1)]),
    ],
)
def test_weeks_begin_on_the_day_that_the_site_says(
    spark: SparkSession, context: MakeContext, week_start: str, expected: list[tuple[str, int, int, int, int]]
) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-11"), ("ann", "2026-01-12")])  # a Sunday and a Monday
    chosen = context(sites={"shop": {"week_start": week_start}})
    check(spark, lifecycle.build(user_days, context=chosen), "week", expected)


def test_a_day_far_ahead_adds_its_rows_and_changes_no_other(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-01"), ("bob", "2031-01-01")])
    check(
        spark,
        lifecycle.build(user_days, context=context()),
        "day",
        [
            ("2026-01-01", 1, 0, 0, 0),
            ("2026-01-02", 0, 0, 0, -1),
            ("2031-01-01", 1, 0, 0, 0),
            ("2031-01-02", 0, 0, 0, -1),
        ],
    )


def test_a_day_below_the_sites_threshold_is_not_active(spark: SparkSession, context: MakeContext) -> None:
    chosen = context(sites={"shop": {"activity_threshold": 2}})
    check(spark, lifecycle.build(user_days_frame(spark, [("ann", "2026-01-01")]), context=chosen), "day", [])
