"""Days, weeks and months as consecutive numbers, and in which of them persons were active."""

from __future__ import annotations

from typing import get_args

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.settings import Weekday

PERIODS = ("day", "week", "month")
_WEEKDAYS = get_args(Weekday)


def period_number(period: str, date: Column, context: RunContext) -> Column:
    """The number of the day, week or month in which a date lies; the next one has the next number."""
    if period == "day":
        return F.unix_date(date)
    if period == "week":
        return F.floor((F.unix_date(date) + _days_of_week_zero(context)) / 7).cast("int")
    return F.year(date) * 12 + F.month(date) - 1


def period_start(period: Column, number: Column, context: RunContext) -> Column:
    """The first date of the period of that number."""
    week = F.date_from_unix_date(number * 7 - _days_of_week_zero(context))
    month = F.make_date(F.floor(number / 12).cast("int"), F.pmod(number, F.lit(12)) + 1, F.lit(1))
    return F.when(period == "day", F.date_from_unix_date(number)).when(period == "week", week).otherwise(month)


def _days_of_week_zero(context: RunContext) -> Column:
    """How many days of the week that holds 1970-01-01, a Thursday, lie before it."""
    return context.by_site(lambda site: 3 - _WEEKDAYS.index(site.week_start))


def active_periods(active: DataFrame, context: RunContext) -> DataFrame:
    """(site_id, person_id, period, number, first, previous, next) of rows (site_id, person_id, date).

    One row for each day, week and month in which a person was active, beside the number of the first one ever, the
    one before and the one after in which they were (null where there is none). One shuffle.
    """
    numbers = [
        F.struct(F.lit(period).alias("period"), period_number(period, F.col("date"), context).alias("number"))
        for period in PERIODS
    ]
    person = Window.partitionBy("site_id", "person_id", "period").orderBy("number")
    until_now = person.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    days = active.select("site_id", "person_id", F.inline(F.array(*numbers)))
    entered = days.withColumn("previous", F.lag("number").over(person)).where("previous is null or previous < number")
    return entered.select(
        "site_id",
        "person_id",
        "period",
        "number",
        F.first("number").over(until_now).alias("first"),
        "previous",
        F.lead("number").over(person).alias("next"),
    )
