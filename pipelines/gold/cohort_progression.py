"""Where the persons of each first month stand now: by tier, with the cohort's churn risk."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext


def build(user_engagement: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, cohort month and tier that holds somebody."""
    tiers = user_engagement.groupBy("site_id", F.trunc("first_active_date", "month").alias("cohort_month"), "tier").agg(
        F.count(F.lit(1)).alias("users"), F.sum("churn_risk").alias("risk")
    )
    cohort = Window.partitionBy("site_id", "cohort_month").rowsBetween(
        Window.unboundedPreceding, Window.unboundedFollowing
    )
    total = F.sum("users").over(cohort)
    avg_churn_risk = F.sum("risk").over(cohort).cast("double") / total
    return tiers.select(
        "site_id", "cohort_month", "tier", "users", total.alias("total"), avg_churn_risk.alias("avg_churn_risk")
    )
