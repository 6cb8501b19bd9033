"""How many of those who were first active in the same day, week or month came back n periods later."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import MONTH, active_days
from pipelines.gold.periods import PERIODS, active_periods, period_number, period_start
from pipelines.gold.ratios import ratio

LIMITS = {"day": 90, "week": 52, "month": 24}
"""Period → the last n."""

_MEASURES = ("active", "staying", "in_window")


def build(user_days: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, period, cohort and n whose period is complete at the site's last complete date.

    A person changes three numbers of their cohort: `active` where they are, `staying` from 0 to their last active
    period, and `in_window` (active in the trailing 30) from each active period until 30 later or the next one. Only
    these steps are rows; the levels between them are running sums over n.
    """
    until_as_of = user_days.where(context.days_ago("date") >= 0)
    n, number, following = F.col("n"), F.col("number"), F.col("next")
    after = number - F.col("first")
    came = _step(after, active=1, staying=(after == 0).cast("int"), in_window=1)
    went = _step(F.least(after + MONTH, following - F.col("first")), in_window=-1)
    ended = _step(F.when(following.isNull(), after + 1), staying=-1)
    persons = active_periods(active_days(until_as_of, context), context)
    steps = persons.select("site_id", "period", F.col("first").alias("cohort"), F.inline(F.array(came, went, ended)))
    limit = _of_period({period: F.lit(limit) for period, limit in LIMITS.items()})
    tomorrow = F.date_add(context.by_site(context.last_date), 1)
    unfinished = _of_period({period: period_number(period, tomorrow, context) for period in PERIODS})
    last_n = F.least(limit, unfinished - 1 - F.col("cohort"))
    changes = (
        steps.where(n <= last_n)
        .groupBy("site_id", "period", "cohort", "n")
        .agg(*[F.sum(measure).alias(measure) for measure in _MEASURES])
    )
    cohort = Window.partitionBy("site_id", "period", "cohort").orderBy("n")
    until_now = cohort.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    levels = changes.select(
        "site_id",
        "period",
        "cohort",
        F.col("n").alias("from_n"),
        "active",
        F.first("active").over(until_now).alias("cohort_size"),  # at n = 0 everybody is
        F.sum("staying").over(until_now).alias("staying"),
        F.sum("in_window").over(until_now).alias("in_window"),
        F.coalesce(F.lead("n").over(cohort) - 1, last_n).alias("to_n"),
    )
    dense = levels.withColumn("n", F.explode(F.sequence("from_n", "to_n")))
    active = F.when(n == F.col("from_n"), F.col("active")).otherwise(0)
    size = F.col("cohort_size")
    return dense.select(
        "site_id",
        "period",
        period_start(F.col("period"), F.col("cohort"), context).alias("cohort_start"),
        "n",
        "cohort_size",
        active.alias("active"),
        ratio(active, size).alias("retention"),
        ratio(F.col("staying"), size).alias("unbounded_retention"),
        F.when(F.col("period") == "day", ratio(active, F.col("in_window"))).alias("stickiness"),
    )


def _step(n: Column, **changes: Column | int) -> Column:
    """A row of how much each measure changes at n."""
    amounts = [changes.get(measure, 0) for measure in _MEASURES]
    columns = [amount if isinstance(amount, Column) else F.lit(amount) for amount in amounts]
    return F.struct(n.alias("n"), *[column.alias(name) for column, name in zip(columns, _MEASURES, strict=True)])


def _of_period(values: dict[str, Column]) -> Column:
    """The value that goes with the row's period."""
    return F.coalesce(*[F.when(F.col("period") == period, value) for period, value in values.items()])
