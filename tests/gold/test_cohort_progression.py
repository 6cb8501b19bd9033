"""cohort_progression: the tiers in which the persons of each first month stand."""

from __future__ import annotations

from decimal import Decimal

from chispa import assert_df_equality
from pyspark.sql import SparkSession

from pipelines.contracts import contract
from pipelines.gold import cohort_progression
from tests.conftest import MakeContext
from tests.rows import day, table_frame


def test_users_by_tier_beside_the_size_and_risk_of_their_cohort(spark: SparkSession, context: MakeContext) -> None:
    january, february, march = day("2026-01-01"), day("2026-02-01"), day("2026-03-01")
    people = [
        *[("shop", january, "casual", "0.100"), ("shop", day("2026-01-31"), "casual", "0.400")],
        *[("shop", day("2026-01-15"), "at_risk", "1.000"), ("shop", february, "power", "0.000")],
        *[("blog", march, "(none)", "0.700")],
    ]
    profiles = table_frame(
        spark,
        "gold.user_engagement",
        [
            {"site_id": site, "first_active_date": first, "tier": tier, "churn_risk": Decimal(risk)}
            for site, first, tier, risk in people
        ],
    )
    expected = [
        ("shop", january, "casual", 2, 3, 0.5),
        ("shop", january, "at_risk", 1, 3, 0.5),
        ("shop", february, "power", 1, 1, 0.0),
        ("blog", march, "(none)", 1, 1, 0.7),
    ]
    assert_df_equality(
        cohort_progression.build(profiles, context=context()),
        spark.createDataFrame(expected, contract("gold.cohort_progression").ddl),
        ignore_row_order=True,
        ignore_nullable=True,
    )
