"""How many persons are power, core, regular and casual users by their active days in the last 30."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import MONTH, active_days, running_levels


def build(user_days: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date and tier that holds somebody; the window is the date and the 29 before.

    A person's active days in the window change only on an active day and 30 days after one. Each active day looks
    at both moments: how many days the window held the date before, and how many it holds then. The person leaves
    the one tier and enters the other: O(active days), with no row for the days between.
    """
    thresholds = context.settings.tiers
    tiers = {
        "power": (thresholds.power, MONTH + 1),
        "core": (thresholds.core, thresholds.power),
        "regular": (thresholds.regular, thresholds.core),
        "casual": (thresholds.casual, thresholds.regular),
    }
    person = Window.partitionBy("site_id", "person_id").orderBy(F.unix_date("date"))

    def days_active(first: int, last: int) -> Column:
        """Active days from `first` to `last` days after the row's date, both included."""
        return F.count(F.lit(1)).over(person.rangeBetween(first, last))

    days = active_days(user_days, context).select(
        "site_id",
        "date",
        days_active(-MONTH, -1).alias("before_arrival"),
        days_active(1 - MONTH, 0).alias("after_arrival"),
        days_active(0, MONTH - 1).alias("before_departure"),
        days_active(1, MONTH).alias("after_departure"),
        (days_active(MONTH, MONTH) > 0).alias("active_at_departure"),
    )
    arrival = F.struct(
        F.col("date"), F.col("before_arrival").alias("days_before"), F.col("after_arrival").alias("days_now")
    )
    departure = F.struct(
        F.date_add("date", MONTH).alias("date"),
        F.col("before_departure").alias("days_before"),
        F.col("after_departure").alias("days_now"),
    )
    # Where the person is active again on the date this day leaves the window, that day's own arrival says it all.
    changes = F.when(F.col("active_at_departure"), F.array(arrival)).otherwise(F.array(arrival, departure))
    moves = days.select("site_id", F.inline(changes))
    steps = moves.select(
        "site_id", "date", *[_step(least, limit).alias(tier) for tier, (least, limit) in tiers.items()]
    )
    users_by_tier = F.array(*[F.struct(F.lit(tier).alias("tier"), F.col(tier).alias("users")) for tier in tiers])
    levels = running_levels(steps, list(tiers)).select("site_id", "date", F.inline(users_by_tier))
    return levels.where("users > 0").select("site_id", "date", "tier", "users")


def _step(least: int, limit: int) -> Column:
    """+1 for a person who enters the tier of `least` to `limit` - 1 active days, -1 for one who leaves it."""

    def within(days: str) -> Column:
        return ((F.col(days) >= least) & (F.col(days) < limit)).cast("int")

    return within("days_now") - within("days_before")
