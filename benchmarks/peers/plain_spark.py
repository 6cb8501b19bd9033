"""A plain PySpark job on Spark's defaults, as its documentation teaches: a declared schema, windows, exact aggregates.

Thirty-day users are counted by putting each visitor's day into the thirty dates that see it, once for each visitor and
day; `plain_spark_sweep` is the same job with the running sum that the other engines' jobs use.
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from benchmarks.peers import EVENT_TYPES, GAP_SECONDS, MONTH_DAYS, PATH, STEPS, places

_SCHEMA = (
    "site_id string, event_id string, event_type string, event_time string, anonymous_id string, user_id string,"
    " page_url string, user_agent string, load_time_ms string, scroll_depth_pct string, value string, _corrupt string"
)
_SESSION = ("site_id", "session_id")


def _events(lines: DataFrame) -> DataFrame:
    kind, path = F.lower("event_type"), F.regexp_extract("page_url", PATH, 1)
    accepted = (
        lines.where("_corrupt is null")
        .withColumns(
            {
                "event_type": F.when(kind.isin(*EVENT_TYPES), kind).when(kind.isNotNull(), "custom_event"),
                "event_time": F.col("event_time").try_cast("timestamp"),
                "visitor_id": F.coalesce("anonymous_id", "user_id"),
                "page_path": F.when(path == "", "/").otherwise(path),
                "load_time_ms": F.col("load_time_ms").try_cast("bigint"),
                "scroll_depth_pct": F.col("scroll_depth_pct").try_cast("int"),
                "value": F.col("value").try_cast("decimal(18,4)"),
            }
        )
        .dropna(subset=["site_id", "event_id", "event_type", "event_time", "visitor_id"])
        .withColumn("event_date", F.to_date("event_time"))
    )
    copies = Window.partitionBy("site_id", "event_id", "event_date").orderBy("event_time")
    distinct = accepted.withColumn("copy", F.row_number().over(copies)).where("copy = 1")
    visitor = Window.partitionBy("site_id", "visitor_id").orderBy("event_time", "event_id")
    pause_us = F.unix_micros("event_time") - F.unix_micros(F.lag("event_time").over(visitor))
    opens = F.coalesce(pause_us > GAP_SECONDS * 1_000_000, F.lit(True))
    started = distinct.withColumn("opens", opens).withColumn(
        "start_time", F.max(F.when(F.col("opens"), F.col("event_time"))).over(visitor)
    )
    return started.select(
        *("site_id", "event_id", "event_type", "event_time", "event_date", "anonymous_id", "user_id", "visitor_id"),
        F.md5(F.concat_ws("|", "site_id", "visitor_id", F.col("start_time").cast("string"))).alias("session_id"),
        F.to_date("start_time").alias("session_date"),
        *("page_url", "page_path", "user_agent", "load_time_ms", "scroll_depth_pct", "value"),
    )


def _sessions(events: DataFrame) -> DataFrame:
    return events.groupBy(*_SESSION).agg(
        F.first("visitor_id").alias("visitor_id"),
        F.min("event_time").alias("start_time"),
        F.max("event_time").alias("end_time"),
        F.first("session_date").alias("session_date"),
        F.count("*").alias("event_count"),
        F.count_if(F.col("event_type") == "page_view").alias("page_view_count"),
    )


def _funnel(events: DataFrame) -> DataFrame:
    session = Window.partitionBy(*_SESSION)
    reached = events.select(*_SESSION, "session_date", "event_type", "event_time", "page_path")
    for number, step in enumerate(STEPS, 1):
        shown: Column = (F.col("event_type") == "page_view") & F.col("page_path").rlike(step)
        if number > 1:
            shown = shown & (F.col("event_time") >= F.col(f"at_{number - 1}"))
        reached = reached.withColumn(f"at_{number}", F.min(F.when(shown, F.col("event_time"))).over(session))
    moments = [f"at_{number}" for number in range(1, len(STEPS) + 1)]
    sessions = reached.select(*_SESSION, "session_date", *moments).groupBy(*_SESSION, "session_date")
    counts = (
        sessions.agg(*[F.first(moment).alias(moment) for moment in moments])
        .groupBy("site_id", F.col("session_date").alias("date"))
        .agg(*[F.count(moment).alias(moment) for moment in moments])
    )
    steps = [
        counts.select("site_id", "date", F.lit(number).alias("step_number"), F.col(moment).alias("sessions"))
        for number, moment in enumerate(moments, 1)
    ]
    return reduce(DataFrame.unionByName, steps)


def _active_users(events: DataFrame) -> DataFrame:
    days = events.select("site_id", "visitor_id", F.col("event_date").alias("date")).distinct()
    seen_on = F.explode(F.sequence("date", F.date_add("date", MONTH_DAYS - 1)))
    months = days.select("site_id", "visitor_id", F.col("date").alias("active"), seen_on.alias("date"))
    return months.groupBy("site_id", "date").agg(
        F.count_if(F.col("active") == F.col("date")).alias("dau"), F.count_distinct("visitor_id").alias("mau")
    )


def _active_users_by_sweep(events: DataFrame) -> DataFrame:
    days = events.select("site_id", "visitor_id", F.col("event_date").alias("date")).distinct()
    visitor = Window.partitionBy("site_id", "visitor_id").orderBy("date")
    leaves = F.least(F.date_add("date", MONTH_DAYS), F.lead("date").over(visitor))
    changes = days.select("site_id", "date", F.lit(1).alias("dau"), F.lit(1).alias("change")).unionByName(
        days.select("site_id", leaves.alias("date"), F.lit(0).alias("dau"), F.lit(-1).alias("change"))
    )
    site = Window.partitionBy("site_id").orderBy("date")
    levels = (
        changes.groupBy("site_id", "date")
        .agg(F.sum("dau").alias("dau"), F.sum("change").alias("change"))
        .withColumns({"mau": F.sum("change").over(site), "next": F.lead("date").over(site), "from": F.col("date")})
        .where("mau > 0")
    )
    dates = F.explode(F.sequence("from", F.date_sub("next", 1))).alias("date")
    return levels.select("site_id", "from", dates, "dau", "mau").select(
        "site_id", "date", F.when(F.col("date") == F.col("from"), F.col("dau")).otherwise(0).alias("dau"), "mau"
    )


def _pages(events: DataFrame) -> DataFrame:
    return (
        events.where("event_type = 'page_view'")
        .groupBy("site_id", F.col("event_date").alias("date"), F.col("page_path").alias("page"))
        .agg(
            F.count("*").alias("views"),
            F.count_distinct("visitor_id").alias("visitors"),
            F.percentile("load_time_ms", 0.5).alias("p50_ms"),
            F.percentile("load_time_ms", 0.9).alias("p90_ms"),
        )
    )


def main(*, sweep: bool = False) -> None:
    out, landing = places()
    spark = SparkSession.builder.appName("plain").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    files = [f"{folder}/*.jsonl" for folder in landing]
    lines = spark.read.schema(_SCHEMA).json(files, columnNameOfCorruptRecord="_corrupt")
    _events(lines).write.parquet(str(Path(out, "events")))
    events = spark.read.parquet(str(Path(out, "events")))
    tables = {
        "sessions": _sessions(events),
        "funnel_daily": _funnel(events),
        "active_users_daily": (_active_users_by_sweep if sweep else _active_users)(events),
        "page_metrics_daily": _pages(events),
    }
    for name, rows in tables.items():
        rows.write.parquet(str(Path(out, name)))
    spark.stop()


if __name__ == "__main__":
    main()
