"""The day's journeys in one row: how many, how long, how well they ended."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.ratios import ratio

MICROS = 1_000_000


def build(sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site and date on which a countable session started."""
    has_duration = F.col("duration_seconds").isNotNull()
    # Whole microseconds, not duration_seconds: sums of doubles depend on the order in which rows arrive.
    duration_us = F.when(has_duration, F.unix_micros("end_time") - F.unix_micros("start_time"))
    days = (
        sessions.where("is_countable")
        .groupBy("site_id", F.col("session_date").alias("date"))
        .agg(
            F.count(F.lit(1)).alias("total_journeys"),
            F.count_distinct("person_id").alias("unique_users"),
            F.coalesce(F.sum(duration_us), F.lit(0)).alias("duration_us"),
            F.count("duration_seconds").alias("with_duration"),
            F.sum("page_count").alias("pages"),
            F.count_if("had_error").alias("with_error"),
            F.count_if("converted").alias("converted"),
            F.count_if("bounced").alias("bounced"),
            F.count_if(F.col("page_view_count") > 0).alias("with_page_view"),
        )
    )
    counts_single_events = context.by_site(lambda site: site.single_event_duration == "zero")
    measured = F.when(counts_single_events, F.col("total_journeys")).otherwise(F.col("with_duration"))
    avg_duration = F.when(measured > 0, F.col("duration_us") / (measured * MICROS))
    journeys = F.col("total_journeys")
    return days.select(
        "site_id",
        "date",
        "total_journeys",
        "unique_users",
        avg_duration.alias("avg_duration_seconds"),
        ratio(F.col("pages"), journeys).alias("avg_pages_per_journey"),
        ratio(F.col("with_error") * 100, journeys).alias("error_rate_pct"),
        ratio(F.col("converted") * 100, journeys).alias("conversion_rate_pct"),
        ratio(F.col("bounced"), F.col("with_page_view")).alias("bounce_rate"),
    )
