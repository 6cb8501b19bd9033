"""Exact distinct persons of each segment, active on each date and in the 7 and 30 days that end on it."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import MONTH, is_active, tier, trailing_users


def build(user_days: DataFrame, sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date, dimension and value where mau > 0.

    An active day of a person counts in the device types, countries and channels of their countable sessions that
    started on it, and in the tier of the 30-day window that ends on it. Days and sessions are rows of one frame, laid
    out by person once: everything after that is counted where the rows lie.
    """
    dimensions = context.settings.segments
    of_tier = [_segment("tier", tier(F.col("active_days"), context.settings.tiers))] if "tier" in dimensions else []
    of_session = [_segment(name, F.coalesce(name, F.lit("(unknown)"))) for name in dimensions if name != "tier"]
    on_days = user_days.where(is_active(context)).select(
        "site_id", "person_id", "date", F.lit(True).alias("is_active"), _segments().alias("segments")
    )
    on_sessions = sessions.where("is_countable").select(
        "site_id",
        "person_id",
        F.col("session_date").alias("date"),
        F.lit(False).alias("is_active"),
        _segments(*of_session).alias("segments"),
    )
    days = (
        on_days.unionByName(on_sessions)
        .repartition("site_id", "person_id")
        .groupBy("site_id", "person_id", "date")
        .agg(F.max("is_active").alias("is_active"), F.flatten(F.collect_set("segments")).alias("of_sessions"))
    )
    window = Window.partitionBy("site_id", "person_id").orderBy(F.unix_date("date")).rangeBetween(1 - MONTH, 0)
    active = days.where("is_active").withColumn("active_days", F.count(F.lit(1)).over(window))
    segments = F.array_distinct(F.concat("of_sessions", _segments(*of_tier)))
    in_segments = active.select("site_id", "person_id", "date", F.inline(segments)).where("value is not null")
    users = trailing_users(in_segments, by=["site_id", "dimension", "value"])
    stickiness = F.col("dau") / F.col("mau")
    return users.select("site_id", "date", "dimension", "value", "dau", "wau", "mau", stickiness.alias("stickiness"))


def _segment(dimension: str, value: Column) -> Column:
    return F.struct(F.lit(dimension).alias("dimension"), value.alias("value"))


def _segments(*found: Column) -> Column:
    return F.array(*found).cast("array<struct<dimension: string, value: string>>")
