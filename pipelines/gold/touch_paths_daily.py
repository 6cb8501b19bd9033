"""Over which touches persons came to their sessions, whether or not they converted."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.touches import with_touches

STEP = " > "


def build(sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, session date and path on which a countable session came.

    The path of a session are its person's touches in the 30 × 24 h before its start and its own, which is the last one.
    """
    names = F.transform("touches", lambda t: F.concat_ws(": ", t["touch"]["channel"], t["touch"]["source"]))
    paths = (
        with_touches(sessions, until_us=F.unix_micros("start_time"), ahead=0)
        .groupBy("site_id", F.col("session_date").alias("date"), F.array_join(names, STEP).alias("path"))
        .agg(
            F.min(F.size("touches").cast("bigint")).alias("touches"),
            F.count(F.lit(1)).alias("sessions"),
            F.count_if("converted").alias("conversions"),
        )
    )
    return paths.select("site_id", "date", "path", "touches", "sessions", "conversions")
