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
UNITS = {"conversions": Decimal("0.000001"), "revenue": Decimal("0.01")}
"""What credits are rounded to: a millionth of a conversion, a minor unit of the currency."""

Weight = Callable[[Column, Column], Column]
"""(touch, place from 0) → its whole weight; a touch is credited with weight / sum of the weights."""


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
            F.size("touches").alias("n"),
            _place_of_last_non_direct().alias("last_non_direct"),
            F.transform("touches", lambda t: _decayed(F.col("until_us") - t["at_us"])).alias("decayed"),
            F.lit(1_000_000).cast("decimal(25,2)").alias("conversions"),
            (F.col("revenue") * 100).cast("decimal(25,2)").alias("revenue"),
        )
    )
    credits = {model: _credits(model, weight, total) for model, (weight, total) in _models().items()}
    rows = F.inline(F.concat(*[F.concat(model, F.array(_left_over(model))) for model in credits]))
    days = (
        conversions.withColumns(credits)
        .select("site_id", "date", rows)
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


def _models() -> dict[str, tuple[Weight, Column]]:
    """Each model's weights, and their sum over the touches."""
    n, one, last = F.col("n"), F.lit(1), F.col("n") - 1
    middle = n - 2  # touches between the first and the last
    is_end = [F.lit(0), last]
    return {
        "first": (lambda _, place: (place == 0).cast("bigint"), one),
        "last": (lambda _, place: (place == last).cast("bigint"), one),
        "last_non_direct": (lambda _, place: (place == F.col("last_non_direct")).cast("bigint"), one),
        "linear": (lambda _, place: one, n),
        # 40 % to each end and 20 % over those between are 2 · middle, 2 · middle and 1 each of 5 · middle.
        "position": (
            lambda _, place: F.when(middle > 0, F.when(place.isin(*is_end), 2 * middle).otherwise(1)).otherwise(1),
            F.when(middle > 0, 5 * middle).otherwise(n),
        ),
        "time_decay": (
            lambda _, place: F.get("decayed", place),
            F.aggregate("decayed", F.lit(0).cast("bigint"), lambda sum_, weight: sum_ + weight),
        ),
    }


def _place_of_last_non_direct() -> Column:
    """Place of the last touch that is not direct; of the last one where all are."""
    last = F.size("touches") - 1
    place = F.transform("touches", lambda t, place: F.when(~is_direct(t["touch"]), place))
    return F.coalesce(F.array_max(place), last)


def _decayed(age_us: Column) -> Column:
    """Half for each seven days before the conversion."""
    return F.round(F.pow(F.lit(2.0), -age_us / HALF_LIFE_US) * DECAY_UNIT).cast("bigint")


def _credits(model: str, weight: Weight, total: Column) -> Column:
    """An entry (model, channel, source, conversions, revenue) for each touch, in units."""
    return F.transform(
        "touches",
        lambda t, place: _entry(
            model,
            t["touch"],
            {name: _share(F.col(name), weight(t, place), total) for name in UNITS},
        ),
    )


def _left_over(model: str) -> Column:
    """What rounding left of the whole, as one more entry of the last touch."""
    left = {}
    for name in UNITS:
        nothing = F.lit(0).cast("decimal(38,2)")
        given = F.aggregate(model, nothing, lambda sum_, entry: (sum_ + entry[name]).cast("decimal(38,2)"))  # noqa: B023
        left[name] = F.col(name) - given
    return _entry(model, F.element_at("touches", -1)["touch"], left)


def _entry(model: str, touch: Column, credits: dict[str, Column]) -> Column:
    return F.struct(
        F.lit(model).alias("model"),
        touch["channel"].alias("channel"),
        touch["source"].alias("source"),
        *[credit.cast("decimal(38,2)").alias(name) for name, credit in credits.items()],
    )


def _share(amount: Column, weight: Column, total: Column) -> Column:
    """amount × weight / total rounded half up to a whole number, in whole numbers; all of it where all is due."""
    doubled = amount * weight.cast("decimal(13,0)") * 2 + total
    divisor = (2 * total).cast("decimal(20,0)")
    return F.when(weight == total, amount).otherwise((doubled - F.pmod(doubled, divisor)) / divisor)
