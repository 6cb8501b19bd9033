"""cohort_retention: who of a cohort is active n periods after its own."""

from __future__ import annotations

from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import cohort_retention
from tests.conftest import MakeContext
from tests.rows import day, user_days_frame

Counts = tuple[int, int, int, float, float, float | None]
"""n, cohort_size, active, retention, unbounded_retention, stickiness."""


def check(spark: SparkSession, built: DataFrame, period: str, expected: list[tuple[str, Counts]]) -> None:
    rows: list[tuple[Any, ...]] = [("shop", period, day(start), *counts) for start, counts in expected]
    assert_df_equality(
        built.where(built["period"] == period),
        spark.createDataFrame(rows, contract("gold.cohort_retention").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def test_day_cohorts_with_gaps_and_stickiness(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(
        spark,
        [
            *[("ann", "2026-01-01"), ("ann", "2026-01-03")],
            *[("bob", "2026-01-01")],
            *[("cid", "2026-01-02"), ("cid", "2026-01-03")],
        ],
    )
    check(
        spark,
        cohort_retention.build(user_days, context=context(as_of=day("2026-01-04"))),
        "day",
        [
            ("2026-01-01", (0, 2, 2, 1.0, 1.0, 1.0)),
            ("2026-01-01", (1, 2, 0, 0.0, 0.5, 0.0)),
            ("2026-01-01", (2, 2, 1, 0.5, 0.5, 0.5)),
            ("2026-01-01", (3, 2, 0, 0.0, 0.0, 0.0)),
            ("2026-01-02", (0, 1, 1, 1.0, 1.0, 1.0)),
            ("2026-01-02", (1, 1, 1, 1.0, 1.0, 1.0)),
            ("2026-01-02", (2, 1, 0, 0.0, 0.0, 0.0)),
        ],
    )


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("2026-01-10", []),  # the cohort's own week ends on the 11th
        ("2026-01-11", [("2026-01-05", (0, 1, 1, 1.0, 1.0, None))]),
        ("2026-01-17", [("2026-01-05", (0, 1, 1, 1.0, 1.0, None))]),
        ("2026-01-18", [("2026-01-05", (0, 1, 1, 1.0, 1.0, None)), ("2026-01-05", (1, 1, 1, 1.0, 1.0, None))]),
    ],
)
def test_only_complete_weeks_have_a_row(
    spark: SparkSession, context: MakeContext, as_of: str, expected: list[tuple[str, Counts]]
) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-07"), ("ann", "2026-01-12")])
    check(spark, cohort_retention.build(user_days, context=context(as_of=day(as_of))), "week", expected)


def test_activity_in_the_incomplete_period_keeps_its_people(spark: SparkSession, context: MakeContext) -> None:
    """The current month has no row yet, but who is active in it has come back after the months before."""
    user_days = user_days_frame(spark, [("ann", "2026-01-31"), ("ann", "2026-03-01"), ("bob", "2026-01-01")])
    check(
        spark,
        cohort_retention.build(user_days, context=context(as_of=day("2026-03-01"))),
        "month",
        [("2026-01-01", (0, 2, 2, 1.0, 1.0, None)), ("2026-01-01", (1, 2, 0, 0.0, 0.5, None))],
    )


def test_days_after_as_of_take_no_part(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-01"), ("ann", "2026-01-03"), ("bob", "2026-01-02")])
    check(
        spark,
        cohort_retention.build(user_days, context=context(as_of=day("2026-01-01"))),
        "day",
        [("2026-01-01", (0, 1, 1, 1.0, 1.0, 1.0))],
    )


def test_stickiness_looks_back_thirty_days_and_n_ends_at_ninety(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(
        spark, [("ann", "2026-01-01"), ("ann", "2026-01-31"), ("bob", "2026-01-01"), ("bob", "2026-01-02")]
    )
    built = cohort_retention.build(user_days, context=context(as_of=day("2026-12-31")))
    days = {row["n"]: row["stickiness"] for row in built.where("period = 'day'").collect()}
    assert sorted(days) == list(range(91))
    assert (days[0], days[1], days[29], days[30], days[31]) == (1.0, 0.5, 0.0, 0.5, 0.0)
    assert built.where("period = 'week'").count() == 52  # the 52nd week ends on January 3, 2027


def test_sites_have_their_own_weeks(spark: SparkSession, context: MakeContext) -> None:
    user_days = user_days_frame(spark, [("ann", "2026-01-11")])  # a Sunday
    chosen = context(sites={"shop": {"week_start": "sunday"}}, as_of=day("2026-01-17"))
    check(
        spark,
        cohort_retention.build(user_days, context=chosen),
        "week",
        [("2026-01-11", (0, 1, 1, 1.0, 1.0, None))],
    )
