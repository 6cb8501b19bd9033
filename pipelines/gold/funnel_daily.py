"""How far the day's journeys got in each configured funnel."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.ratios import ratio
from pipelines.settings import Funnel, FunnelStep

STEP = "funnel string, step_number int, step string, before bigint, count bigint, after bigint"
"""A step with the journeys that reached it (count), the step before (all journeys for the first) and the one after
(null for the last)."""


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date, funnel and step, for every site and date with a countable session.

    `presence`: a session reaches a step when any of its events matches, in any order. All funnels are answered in
    one pass: a flag per step and session, then a count per step and date, then a row per step.
    """
    funnels = context.funnels.funnels
    names = {(funnel, i): f"step_{i}_of_{n}" for n, funnel in enumerate(funnels) for i in _positions(funnels[funnel])}
    reached = [F.bool_or(_matches(funnels[funnel].steps[i])).alias(name) for (funnel, i), name in names.items()]
    sessions = (
        events.where("is_countable")
        .groupBy("site_id", F.col("session_date").alias("date"), "session_id")
        .agg(F.count(F.lit(1)).alias("events"), *reached)
    )
    days = sessions.groupBy("site_id", "date").agg(
        F.count(F.lit(1)).alias("journeys"), *[F.count_if(name).alias(name) for name in names.values()]
    )
    rows = [
        _rows(funnel, definition, [F.col(names[funnel, i]) for i in _positions(definition)])
        for funnel, definition in funnels.items()
    ]
    steps = days.select("site_id", "date", "journeys", F.inline(F.concat(_no_rows(), *rows)))
    count, before, after, zero = F.col("count"), F.col("before"), F.col("after"), F.lit(0)
    lost_next = F.greatest(zero, count - F.coalesce(after, count))
    return steps.select(
        "site_id",
        "date",
        "funnel",
        "step_number",
        "step",
        "journeys",
        "count",
        F.greatest(zero, before - count).alias("drop_off"),
        ratio(lost_next, count).alias("drop_off_rate"),
        ratio(count, before).alias("step_rate"),
        ratio(count, F.col("journeys")).alias("conversion_rate"),
        F.lit(None).cast("double").alias("median_seconds"),  # without an order there is no time from step to step
        F.lit(None).cast("double").alias("p90_seconds"),
    )


def _positions(funnel: Funnel) -> range:
    return range(len(funnel.steps))


def _matches(step: FunnelStep) -> Column:
    """Whether an event is of this step: all that the step names must hold, never null."""
    matches = F.lit(True)
    if step.event_type is not None:
        matches = matches & (F.col("event_type") == step.event_type)
    if step.page is not None:
        matches = matches & F.col("page_path").rlike(step.page)
    for key, value in step.properties.items():
        matches = matches & (F.element_at("properties", key) == value)
    return F.coalesce(matches, F.lit(False))


def _no_rows() -> Column:
    return F.array().cast(f"array<struct<{STEP}>>")


def _rows(name: str, funnel: Funnel, counts: Sequence[Column]) -> Column:
    """The funnel's steps as an array of STEP, empty for a site that is not among the funnel's."""
    steps = [
        F.struct(
            F.lit(name).alias("funnel"),
            F.lit(i + 1).alias("step_number"),
            F.lit(step.name).alias("step"),
            (counts[i - 1] if i > 0 else F.col("journeys")).alias("before"),
            counts[i].alias("count"),
            (counts[i + 1] if i + 1 < len(counts) else F.lit(None).cast("bigint")).alias("after"),
        )
        for i, step in enumerate(funnel.steps)
    ]
    rows = F.array(*steps) if steps else _no_rows()
    return rows if funnel.sites is None else F.when(F.col("site_id").isin(*funnel.sites), rows).otherwise(_no_rows())
