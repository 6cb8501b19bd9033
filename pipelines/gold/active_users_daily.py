"""Exact distinct persons active on each date and in the 7 and 30 days that end on it."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import active_days, trailing_users


def build(user_days: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site and date where mau > 0, also for dates on which nobody was active."""
    users = trailing_users(active_days(user_days, context), by=["site_id"])
    stickiness = F.col("dau") / F.col("mau")
    return users.select("site_id", "date", "dau", "wau", "mau", stickiness.alias("stickiness"))
