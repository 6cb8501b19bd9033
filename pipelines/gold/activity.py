"""Active days of persons, and how counts that only change now and then become a row per date."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext

MONTH = 30
"""Days of the trailing month: the date and the 29 before it."""


def active_days(user_days: DataFrame, context: RunContext) -> DataFrame:
    """(site_id, person_id, date) of every date on which a person reached the site's activity threshold."""
    threshold = context.by_site(lambda site: site.activity_threshold)
    return user_days.where(F.col("events") >= threshold).select("site_id", "person_id", "date")


def running_levels(steps: DataFrame, measures: Sequence[str]) -> DataFrame:
    """(site_id, date, measures…): the running sums of `steps`, on every date where one of them is above 0.

    A row of `steps` says by how much the measures change on a date, any number of rows a date. Dates without a
    change keep the level of the date before. All that ever arrives must leave again, so every level ends at 0 and
    dates far apart have no rows between them.
    """
    by_date = Window.partitionBy("site_id").orderBy("date")
    until_now = by_date.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    changes = steps.groupBy("site_id", "date").agg(*[F.sum(measure).alias(measure) for measure in measures])
    levels = changes.select(
        "site_id",
        F.col("date").alias("from_date"),
        F.lead("date").over(by_date).alias("next_date"),  # lead brings its own frame: the row after this one
        *[F.sum(measure).over(until_now).alias(measure) for measure in measures],
    )
    somebody = F.greatest(*measures) if len(measures) > 1 else F.col(measures[0])
    dates = F.sequence("from_date", F.date_sub("next_date", 1))
    return levels.where(somebody > 0).select("site_id", F.explode(dates).alias("date"), *measures)
