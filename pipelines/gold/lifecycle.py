"""Who is new, who came back, who stayed away: persons by day, week and month against the period before."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import active_days
from pipelines.gold.periods import active_periods, period_start

STATES = ("new", "returning", "resurrected", "dormant")


def build(user_days: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, period and its start where somebody was active in it or in the one before.

    A period in which a person is active counts them once there, and once as dormant (-1) in the period after it
    unless they are active in that too.
    """
    previous, number, following = F.col("previous"), F.col("number"), F.col("next")
    arrival = _step(number, new=previous.isNull(), returning=previous == number - 1, resurrected=previous < number - 1)
    departure = _step(number + 1, dormant=F.lit(True))
    stays = F.coalesce(following == number + 1, F.lit(False))
    steps = active_periods(active_days(user_days, context), context).select(
        "site_id", "period", F.inline(F.when(stays, F.array(arrival)).otherwise(F.array(arrival, departure)))
    )
    counts = steps.groupBy("site_id", "period", "number").agg(*[F.sum(state).alias(state) for state in STATES])
    start = period_start(F.col("period"), F.col("number"), context)
    return counts.select("site_id", "period", start.alias("period_start"), "new", "returning", "resurrected", "dormant")


def _step(number: Column, **states: Column) -> Column:
    """A row of how much each state changes in the period of that number; dormant is counted below 0."""
    signs = {"dormant": -1}
    amounts = [
        F.when(states[state], signs.get(state, 1)).otherwise(0) if state in states else F.lit(0) for state in STATES
    ]
    named = [amount.alias(state) for amount, state in zip(amounts, STATES, strict=True)]
    return F.struct(number.alias("number"), *named)
