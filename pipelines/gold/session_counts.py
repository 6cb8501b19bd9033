"""What the day's countable sessions add up to, by whatever they have in common."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

NOT_SET = "(not set)"
"""Shown where a session or event does not say where it came from, or on which page."""
UNKNOWN = "(unknown)"
"""Shown where the device or the place of a session or event is not known."""


def or_else(name: str, label: str) -> Column:
    """A column under its own name, with `label` for null: what a key column holds."""
    return F.coalesce(name, F.lit(label)).alias(name)


def count_sessions(sessions: DataFrame, *dimensions: Column) -> DataFrame:
    """One row per site, session date (`date`) and values of the dimensions that a countable session has.

    sessions, visitors (distinct), page_views, bounces, conversions (converted sessions), and their revenue in the
    currency that was sent. What a table does not select is not computed.
    """
    return (
        sessions.where("is_countable")
        .groupBy("site_id", F.col("session_date").alias("date"), *dimensions)
        .agg(
            F.count(F.lit(1)).alias("sessions"),
            F.count_distinct("visitor_id").alias("visitors"),
            F.sum("page_view_count").alias("page_views"),
            F.count_if("bounced").alias("bounces"),
            F.count_if("converted").alias("conversions"),
            F.sum("revenue").cast("decimal(38,4)").alias("revenue"),
        )
    )
