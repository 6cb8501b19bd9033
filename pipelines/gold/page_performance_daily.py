"""How long pages took to load, on which devices."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.session_counts import NOT_SET, UNKNOWN, or_else

PERCENTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date, page and device type with a countable page view that says its load time.

    Percentiles are exact, with linear interpolation between the two nearest values (type 7 of Hyndman and Fan 1996).
    """
    measured = F.col("is_countable") & (F.col("event_type") == "page_view") & F.col("load_time_ms").isNotNull()
    pages = (
        events.where(measured)
        .groupBy(
            "site_id",
            F.col("event_date").alias("date"),
            or_else("page_path", NOT_SET).alias("page"),
            or_else("device_type", UNKNOWN),
        )
        .agg(
            F.count(F.lit(1)).alias("samples"),
            load_percentiles(),
        )
    )
    return pages.select(
        "site_id",
        "date",
        "page",
        "device_type",
        "samples",
        *named_percentiles(),
    )


def load_percentiles() -> Column:
    """Aggregate `percentiles`: exact PERCENTILES of load_time_ms, by linear interpolation."""
    return F.percentile("load_time_ms", list(PERCENTILES.values())).alias("percentiles")


def named_percentiles(prefix: str = "") -> list[Column]:
    """The values of `percentiles`, in ms, each in a column of its name."""
    # Between whole numbers these percentiles have two decimals; what follows is noise of the engine's arithmetic.
    return [F.round(F.col("percentiles")[place], 2).alias(prefix + name) for place, name in enumerate(PERCENTILES)]
