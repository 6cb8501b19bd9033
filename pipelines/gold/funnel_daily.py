"""How far the day's journeys got in each configured funnel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import get_args

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.funnels import Breakdown, EventPattern, Funnel, Touch
from pipelines.gold.funnel_paths import MICROS, best_attempts
from pipelines.gold.ratios import ratio
from pipelines.silver.sessions import WITHOUT_TOUCH, is_touch

Numbered = dict[int, Funnel]
"""Funnels by their position in the configuration."""
_JOURNEY = "number int, breakdown string, reached array<bigint>"
"""A journey in the funnel of that number: for each of its steps the µs from the first, null where it is not reached."""


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date, funnel, breakdown and step, for every site and date with a countable journey.

    A journey is a session on the date it started; for funnels of scope person it is a person on each date with an
    event of theirs, as far as the best attempt that starts on it gets, with events until the window's end on any date.
    Events are gathered into journeys once for each scope that there is, and journeys counted once, however many
    funnels there are.
    """
    named = [(name, funnel) for name, funnel in context.funnels.funnels.items() if funnel.steps]
    of_sessions = {n: funnel for n, (_, funnel) in enumerate(named) if funnel.scope == "session"}
    of_persons = {n: funnel for n, (_, funnel) in enumerate(named) if funnel.scope == "person"}
    countable = events.where("is_countable")
    journeys = [_sessions(countable, of_sessions)] if of_sessions or not of_persons else []
    journeys += [_days_of_persons(countable, of_persons)] if of_persons else []

    longest = max((len(funnel.steps) for _, funnel in named), default=0)
    measured = max((len(funnel.steps) for _, funnel in named if funnel.mode != "presence"), default=0)
    counts = F.array(*[F.count(F.get("reached", i)) for i in range(longest)])
    percentiles = F.array(*[F.percentile(F.get("reached", i), [0.5, 0.9]) for i in range(measured)])
    days = (
        reduce(DataFrame.unionByName, journeys)
        .groupBy("site_id", "date", "number", "breakdown")
        .agg(
            F.count(F.lit(1)).alias("journeys"),
            counts.cast("array<bigint>").alias("counts"),
            percentiles.cast("array<array<double>>").alias("percentiles"),
        )
    )
    names = _of_funnel([F.array(*[F.lit(step.name) for step in funnel.steps]) for _, funnel in named], "array<string>")
    is_presence = _of_funnel([F.lit(funnel.mode == "presence") for _, funnel in named], "boolean")
    timed = F.when(~is_presence, F.col("percentiles"))  # without an order there is no time from step to step
    steps = days.select(
        "site_id",
        "date",
        _of_funnel([F.lit(name) for name, _ in named], "string").alias("funnel"),
        "breakdown",
        "journeys",
        F.when(is_presence, F.col("journeys")).otherwise(F.get("counts", F.lit(0))).alias("whole"),
        F.inline(F.transform(names, lambda name, number: _step(name, number, F.size(names), timed))),
    )
    count, before, zero = F.col("count"), F.col("before"), F.lit(0)
    lost_next = F.greatest(zero, count - F.coalesce("after", count))
    return steps.select(
        "site_id",
        "date",
        "funnel",
        "breakdown",
        "step_number",
        "step",
        "journeys",
        "count",
        F.greatest(zero, before - count).alias("drop_off"),
        ratio(lost_next, count).alias("drop_off_rate"),
        ratio(count, before).alias("step_rate"),
        ratio(count, F.col("whole")).alias("conversion_rate"),
        "median_seconds",
        "p90_seconds",
    )


def _of_funnel(values: Sequence[Column], kind: str) -> Column:
    """The value that belongs to the row's funnel."""
    return F.get(F.array(*values).cast(f"array<{kind}>"), F.col("number"))


def _step(name: Column, number: Column, size: Column, percentiles: Column) -> Column:
    """A step with the journeys that reached it, the step before (all journeys for the first) and the one after.

    `counts` is as long as the longest funnel: what it holds after a shorter one's last step is no step's.
    """
    times = F.get(percentiles, number)
    return F.struct(
        (number + 1).alias("step_number"),
        name.alias("step"),
        F.when(number == 0, F.col("journeys")).otherwise(F.get("counts", number - 1)).alias("before"),
        F.get("counts", number).alias("count"),
        F.when(number + 1 < size, F.get("counts", number + 1)).alias("after"),
        (F.get(times, 0) / MICROS).alias("median_seconds"),
        (F.get(times, 1) / MICROS).alias("p90_seconds"),
    )


# --- journeys -------------------------------------------------------------------------------------------------------


def _sessions(events: DataFrame, funnels: Numbered) -> DataFrame:
    """(site_id, date, JOURNEY) for each session and funnel."""
    flags = [
        F.bool_or(_matches(step)).alias(f"has_{n}_{i}")
        for n, funnel in funnels.items()
        if funnel.mode == "presence"
        for i, step in enumerate(funnel.steps)
    ]
    sessions = events.groupBy("site_id", F.col("session_date").alias("date"), "session_id").agg(
        _latest_first(funnels), *flags, *_first_touches(funnels)
    )
    reached = {
        n: F.array(*[F.when(F.col(f"has_{n}_{i}"), F.lit(0)) for i in range(len(funnel.steps))])
        if funnel.mode == "presence"
        else F.when(
            F.expr(f"exists(events, e -> (e.bits_{n} & {_starts(funnel)}) <> 0)"),  # the fold is what costs
            F.get(best_attempts("array(events)", funnel, f"bits_{n}"), 0),
        ).otherwise(F.array().cast("array<bigint>"))
        for n, funnel in funnels.items()
    }
    return sessions.select("site_id", "date", F.inline(_in_funnels(funnels, reached)))


def _days_of_persons(events: DataFrame, funnels: Numbered) -> DataFrame:
    """(site_id, date, JOURNEY) for each person, date with an event of theirs and funnel."""
    days = (
        events.repartition("site_id", "person_id")  # serves both aggregations
        .groupBy("site_id", "person_id", F.col("event_date").alias("date"))
        .agg(_latest_first(funnels), *_first_touches(funnels))
    )
    touches = [f"first_{name}" for name in sorted(_breakdowns(funnels))]
    persons = days.groupBy("site_id", "person_id").agg(
        F.sort_array(F.collect_list(F.struct("date", "events", *touches)), asc=False).alias("days")
    )
    paths = persons.select(
        "site_id",
        "days",
        *[
            best_attempts("transform(days, d -> d.events)", funnel, f"bits_{n}").alias(f"reached_{n}")
            for n, funnel in funnels.items()
        ],
    )
    by_day = F.arrays_zip("days", *[f"reached_{n}" for n in funnels])
    single = paths.select("site_id", F.inline(by_day)).select("site_id", "days.*", *[f"reached_{n}" for n in funnels])
    return single.select("site_id", "date", F.inline(_in_funnels(funnels, {n: F.col(f"reached_{n}") for n in funnels})))


def _in_funnels(funnels: Numbered, reached: dict[int, Column]) -> Column:
    """array<JOURNEY> of the funnels of the journey's site."""
    rows = []
    for n, funnel in funnels.items():
        touch = _breakdown(funnel.breakdown) if funnel.breakdown else F.lit("(all)")
        row = F.struct(F.lit(n).alias("number"), touch.alias("breakdown"), reached[n].alias("reached"))
        rows.append(row if funnel.sites is None else F.when(F.col("site_id").isin(*funnel.sites), row))
    return F.array_compact(F.array(*rows).cast(f"array<struct<{_JOURNEY}>>"))


def _breakdown(name: Breakdown) -> Column:
    first = F.col(f"first_{name}")
    nothing = F.when(first.isNull(), F.lit(WITHOUT_TOUCH.get(name, "(not set)")))
    return F.coalesce(first["value"], nothing, F.lit("(not set)"))


def _latest_first(funnels: Numbered) -> Column:
    """`events`: what a step or exclusion matches (for strict funnels all), from last to first, and their bits."""
    paths = {n: funnel for n, funnel in funnels.items() if funnel.mode != "presence"}
    bits = {n: _bits([*funnel.steps, *funnel.exclude]) for n, funnel in paths.items()}
    is_needed = [F.lit(True) if funnel.mode == "strict" else bits[n] != 0 for n, funnel in paths.items()]
    event = F.struct(
        F.unix_micros("event_time").alias("at"),
        "sequence",
        "event_id",
        *[value.alias(f"bits_{n}") for n, value in bits.items()],
    )
    needed = F.when(reduce(Column.__or__, is_needed, F.lit(False)), event)
    return F.sort_array(F.collect_list(needed), asc=False).alias("events")


def _bits(patterns: Sequence[EventPattern]) -> Column:
    """An int whose bit i is set where the event is of the i-th pattern, from 0."""
    return reduce(
        Column.bitwiseOR,
        [F.when(_matches(pattern), F.lit(1 << i)).otherwise(F.lit(0)) for i, pattern in enumerate(patterns)],
    )


def _starts(funnel: Funnel) -> int:
    """The bits of the steps with which an attempt may start."""
    return (1 << len(funnel.steps)) - 1 if funnel.mode == "unordered" else 1


def _matches(pattern: EventPattern) -> Column:
    """Whether an event is of the pattern: all that it names must hold, never null."""
    matches = F.lit(True)
    if pattern.event_type is not None:
        matches = matches & (F.col("event_type") == pattern.event_type)
    if pattern.event_name is not None:
        matches = matches & (F.col("event_name") == pattern.event_name)
    if pattern.page is not None:
        matches = matches & F.col("page_path").rlike(pattern.page)
    for key, value in pattern.properties.items():
        matches = matches & (F.element_at("properties", key) == value)
    return F.coalesce(matches, F.lit(False))


def _breakdowns(funnels: Numbered) -> set[Breakdown]:
    return {funnel.breakdown for funnel in funnels.values() if funnel.breakdown is not None}


def _first_touches(funnels: Numbered) -> list[Column]:
    """`first_NAME.value` for each breakdown: of the first event that says it, as silver.sessions has it.

    What says where a visit came from is one touch: of the same event for all of its parts.
    """
    return [
        F.min(
            F.when(
                is_touch() if name in get_args(Touch) else F.col(name).isNotNull(),
                F.struct("event_time", "sequence", "event_id", F.col(name).alias("value")),
            )
        ).alias(f"first_{name}")
        for name in sorted(_breakdowns(funnels))
    ]
