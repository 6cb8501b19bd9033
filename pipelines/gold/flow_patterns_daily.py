"""The whole ways that the day's sessions took through the site."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.flows import flows
from pipelines.gold.ratios import ratio

STEP = " > "


def build(sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, session date and path of a countable session with a page view."""
    paths = (
        flows(sessions)
        .groupBy("site_id", "date", F.array_join("path", STEP).alias("path"))
        .agg(F.count(F.lit(1)).alias("sessions"), F.count_if("converted").alias("conversions"))
    )
    whole_day = Window.partitionBy("site_id", "date").rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    return paths.select(
        "site_id",
        "date",
        "path",
        "sessions",
        "conversions",
        ratio(F.col("conversions"), F.col("sessions")).alias("conversion_rate"),
        ratio(F.col("sessions"), F.sum("sessions").over(whole_day)).alias("share"),
    )
