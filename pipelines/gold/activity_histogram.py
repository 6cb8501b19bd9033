"""On how many of the last 30 days persons were active: the distribution behind stickiness and tiers."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import MONTH, active_days, running_levels


def build(user_days: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date and number of active days that somebody has; the window is the date and the 29 before.

    A person's active days in the window change only on an active day and 30 days after one. Each active day looks
    at both moments: how many days the window held the date before, and how many it holds then. The person leaves
    the one number and enters the other: O(active days), with no row for the days between.
    """
    person = Window.partitionBy("site_id", "person_id").orderBy(F.unix_date("date"))

    def days_active(first: int, last: int) -> Column:
        """Active days from `first` to `last` days after the row's date, both included."""
        return F.count(F.lit(1)).over(person.rangeBetween(first, last)).cast("int")

    days = active_days(user_days, context).select(
        "site_id",
        "date",
        days_active(-MONTH, -1).alias("before_arrival"),
        days_active(1 - MONTH, 0).alias("after_arrival"),
        days_active(0, MONTH - 1).alias("before_departure"),
        days_active(1, MONTH).alias("after_departure"),
        (days_active(MONTH, MONTH) > 0).alias("active_at_departure"),
    )
    gone = F.date_add("date", MONTH)
    arrival = [_step("date", "before_arrival", -1), _step("date", "after_arrival", 1)]
    departure = [_step(gone, "before_departure", -1), _step(gone, "after_departure", 1)]
    # Where the person is active again on the date this day leaves the window, that day's own arrival says it all.
    steps = F.when(F.col("active_at_departure"), F.array(*arrival)).otherwise(F.array(*arrival, *departure))
    changes = days.select("site_id", F.inline(steps)).where("active_days > 0")
    return running_levels(changes, ["users"], by=["site_id", "active_days"]).select(
        "site_id", "date", "active_days", "users"
    )


def _step(on: Column | str, active_days: str, users: int) -> Column:
    """A row by how much the users of a number of active days change on a date."""
    date = F.col(on) if isinstance(on, str) else on
    return F.struct(date.alias("date"), F.col(active_days).alias("active_days"), F.lit(users).alias("users"))
