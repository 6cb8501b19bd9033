"""How many persons are power, core, regular and casual users by their active days in the last 30."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import tier


def build(activity_histogram: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date and tier that holds somebody."""
    in_tiers = activity_histogram.withColumn("tier", tier(F.col("active_days"), context.settings.tiers))
    return (
        in_tiers.where("tier is not null")
        .groupBy("site_id", "date", "tier")
        .agg(F.sum("users").alias("users"))
        .select("site_id", "date", "tier", "users")
    )
