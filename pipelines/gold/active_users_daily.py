"""Exact distinct persons active on each date and in the 7 and 30 days that end on it."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import MONTH, active_days, running_levels

WINDOWS = {"dau": 1, "wau": 7, "mau": MONTH}
"""Measure → length of its trailing window in days."""


def build(user_days: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site and date where mau > 0, also for dates on which nobody was active.

    An active day adds its person to each window on its date and takes them out when the window has passed it, or on
    their next active day, which adds them again: O(active days), where putting every day into each date that sees
    it is 30 times that.
    """
    person = Window.partitionBy("site_id", "person_id").orderBy("date")
    stays = active_days(user_days, context).withColumn("next_date", F.lead("date").over(person))
    arrival = _step(F.col("date"), dict.fromkeys(WINDOWS, 1))
    departures = [
        # least skips nulls: without a next active day the window alone decides
        _step(F.least(F.date_add("date", days), "next_date"), {measure: -1})
        for measure, days in WINDOWS.items()
    ]
    steps = stays.select("site_id", F.inline(F.array(arrival, *departures)))
    levels = running_levels(steps, list(WINDOWS))
    stickiness = F.col("dau") / F.col("mau")
    return levels.where("mau > 0").select("site_id", "date", "dau", "wau", "mau", stickiness.alias("stickiness"))


def _step(on: Column, changes: dict[str, int]) -> Column:
    """A row of (date, dau, wau, mau) by how much each measure changes on that date."""
    amounts = [F.lit(changes.get(measure, 0)).alias(measure) for measure in WINDOWS]
    return F.struct(on.alias("date"), *amounts)
