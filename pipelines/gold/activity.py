"""Active days of persons, and how counts that only change now and then become a row per date."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.settings import TierSettings

MONTH = 30
"""Days of the trailing month: the date and the 29 before it."""

WINDOWS = {"dau": 1, "wau": 7, "mau": MONTH}
"""Measure → length of its trailing window in days."""


def is_active(context: RunContext) -> Column:
    """Whether a row of user_days reaches the site's activity threshold."""
    return F.col("events") >= context.by_site(lambda site: site.activity_threshold)


def active_days(user_days: DataFrame, context: RunContext) -> DataFrame:
    """(site_id, person_id, date) of every date on which a person was active."""
    return user_days.where(is_active(context)).select("site_id", "person_id", "date")


def tier(active_days: Column, tiers: TierSettings) -> Column:
    """The engagement tier of so many active days in the 30-day window; null below the lowest."""
    return (
        F.when(active_days >= tiers.power, "power")
        .when(active_days >= tiers.core, "core")
        .when(active_days >= tiers.regular, "regular")
        .when(active_days >= tiers.casual, "casual")
    )


def trailing_users(active: DataFrame, by: Sequence[str]) -> DataFrame:
    """(by…, date, dau, wau, mau) where mau > 0, of distinct rows (by…, person_id, date).

    An active day adds its person to each window on its date and takes them out when the window has passed it, or on
    their next active day, which adds them again: O(active days), where putting every day into each date that sees
    it is 30 times that.
    """
    person = Window.partitionBy(*by, "person_id").orderBy("date")
    stays = active.withColumn("next_date", F.lead("date").over(person))
    arrival = _step(F.col("date"), dict.fromkeys(WINDOWS, 1))
    departures = [
        # least skips nulls: without a next active day the window alone decides
        _step(F.least(F.date_add("date", days), "next_date"), {measure: -1})
        for measure, days in WINDOWS.items()
    ]
    return running_levels(stays.select(*by, F.inline(F.array(arrival, *departures))), list(WINDOWS), by)


def _step(on: Column, changes: dict[str, int]) -> Column:
    """A row of (date, dau, wau, mau) by how much each measure changes on that date."""
    amounts = [F.lit(changes.get(measure, 0)).alias(measure) for measure in WINDOWS]
    return F.struct(on.alias("date"), *amounts)


def running_levels(steps: DataFrame, measures: Sequence[str], by: Sequence[str] = ("site_id",)) -> DataFrame:
    """(by…, date, measures…): the running sums of `steps`, on every date where one of them is above 0.

    A row of `steps` says by how much the measures change on a date, any number of rows a date. Dates without a
    change keep the level of the date before. All that ever arrives must leave again, so every level ends at 0 and
    dates far apart have no rows between them.
    """
    by_date = Window.partitionBy(*by).orderBy("date")
    until_now = by_date.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    changes = steps.groupBy(*by, "date").agg(*[F.sum(measure).alias(measure) for measure in measures])
    levels = changes.select(
        *by,
        F.col("date").alias("from_date"),
        F.lead("date").over(by_date).alias("next_date"),  # lead brings its own frame: the row after this one
        *[F.sum(measure).over(until_now).alias(measure) for measure in measures],
    )
    somebody = F.greatest(*measures) if len(measures) > 1 else F.col(measures[0])
    dates = F.sequence("from_date", F.date_sub("next_date", 1))
    return levels.where(somebody > 0).select(*by, F.explode(dates).alias("date"), *measures)
