"""Which touches the day's conversions and their revenue are credited to, by six models."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.touches import DAY_US, MOST, WINDOW_US, is_direct, with_touches

HALF_LIFE_US = 7 * DAY_US
DECAY_UNIT = 10**12
"""What a touch at the moment of the conversion weighs under time_decay; weights are whole, so that sums are exact."""
SUM = "decimal(38,2)"
UNITS = {"conversions": Decimal("0.000001"), "revenue": Decimal("0.01")}
"""What credits are rounded to: a millionth of a conversion, a minor unit of the currency."""


def build(sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, conversion date, model and touch (channel, source) that is credited with something.

    A conversion is a countable converted session at its first converting event; one that takes longer than 30 × 24 h
    from the session's start counts at that limit, so that what a date holds depends on 31 dates only. Credits of the
    touches are rounded half up and the last touch also gets what is left, so that each model's credits sum to the
    conversions and to the revenue exactly.
    """
    start_us = F.unix_micros("start_time")
    converted_us = F.least(F.unix_micros("converted_at"), start_us + WINDOW_US)
    timezone = context.by_site(lambda site: site.timezone)
    conversions = (
        with_touches(sessions, until_us=F.coalesce(converted_us, start_us), ahead=MOST)
        .where(F.col("converted_at").isNotNull())
        .select(
            "site_id",
            F.to_date(F.from_utc_timestamp(F.timestamp_micros("until_us"), timezone)).alias("date"),
            "touches",
            F.lit(1_000_000).cast("decimal(25,2)").alias("conversions"),
            (F.col("revenue") * 100).cast("decimal(25,2)").alias("revenue"),
            F.inline(F.array(*[F.struct(F.lit(name).alias("model"), w.alias("weights")) for name, w in _models()])),
        )
    )
    total = F.aggregate("weights", F.lit(0).cast("bigint"), lambda sum_, weight: sum_ + weight)
    rounded = F.transform(
        "touches",
        lambda t, place: _credit(t["touch"], {name: _share(F.col(name), F.get("weights", place)) for name in UNITS}),
    )
    days = (
        conversions.withColumn("total", total)
        .withColumn("rounded", rounded)
        .select("site_id", "date", "model", F.inline(F.concat("rounded", F.array(_left_over()))))
        .groupBy("site_id", "date", "model", "channel", "source")
        .agg(*[F.sum(name).alias(name) for name in UNITS])
        .where("conversions <> 0 or revenue <> 0")
    )
    return days.select(
        "site_id",
        "date",
        "model",
        "channel",
        "source",
        (F.col("conversions") * UNITS["conversions"]).cast("decimal(18,6)").alias("conversions"),
        (F.col("revenue") * UNITS["revenue"]).cast("decimal(38,4)").alias("revenue"),
    )


def _models() -> list[tuple[str, Column]]:
    """Each model with a whole weight for each touch; a touch is credited with weight / sum of the weights."""
    last = F.size("touches") - 1
    between = last - 1  # touches that are neither first nor last
    told = F.transform("touches", lambda t, place: F.when(~is_direct(t["touch"]), place))
    # 40 % to each end and 20 % over those between are 2 · between, 2 · between and 1 each.
    end = F.greatest(2 * between, F.lit(1))
    return [
        ("first", _weights(lambda _, place: place == 0)),
        ("last", _weights(lambda _, place: place == last)),
        ("last_non_direct", _weights(lambda _, place: place == F.coalesce(F.array_max(told), last))),
        ("linear", _weights(lambda _, place: F.lit(1))),
        ("position", _weights(lambda _, place: F.when((place == 0) | (place == last), end).otherwise(1))),
        ("time_decay", _weights(lambda t, _: _decayed(F.col("until_us") - t["at_us"]))),
    ]


def _weights(weight: Callable[[Column, Column], Column]) -> Column:
    """`weight` of each touch and its place, from 0."""
    return F.transform("touches", lambda t, place: weight(t, place).cast("bigint"))


def _decayed(age_us: Column) -> Column:
    """Half for each seven days before the conversion."""
    return F.round(F.pow(F.lit(2.0), -age_us / HALF_LIFE_US) * DECAY_UNIT)


def _share(amount: Column, weight: Column) -> Column:
    """amount × weight / total rounded half up to a whole number, in whole numbers; all of it where all is due."""
    total = F.col("total")
    doubled = amount * weight.cast("decimal(13,0)") * 2 + total
    divisor = (2 * total).cast("decimal(20,0)")
    return F.when(weight == total, amount).otherwise((doubled - F.pmod(doubled, divisor)) / divisor)


def _left_over() -> Column:
    """What rounding left of the whole, as one more credit of the last touch."""
    given = {name: F.aggregate(F.col("rounded")[name], F.lit(0).cast(SUM), _add) for name in UNITS}
    return _credit(F.element_at("touches", -1)["touch"], {name: F.col(name) - given[name] for name in UNITS})


def _add(sum_: Column, credit: Column) -> Column:
    return (sum_ + credit).cast(SUM)


def _credit(touch: Column, credits: dict[str, Column]) -> Column:
    """(channel, source, conversions, revenue), the credits in units."""
    return F.struct(
        touch["channel"].alias("channel"),
        touch["source"].alias("source"),
        *[credit.cast(SUM).alias(name) for name, credit in credits.items()],
    )
