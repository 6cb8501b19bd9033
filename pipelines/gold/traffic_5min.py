"""What happened on a site in each five minutes."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext

WINDOW_US = 5 * 60 * 1_000_000


def build(events: DataFrame, sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date and five minutes of UTC in which an event counts or a bot sent one.

    Windows begin at whole multiples of five minutes and are half-open. All measures but bot_events are of countable
    events and sessions; a session starts with its first counting event.
    """
    counts = F.col("is_countable")

    def is_a(event_type: str) -> Column:
        return counts & (F.col("event_type") == event_type)

    happened = events.where(counts | F.col("is_bot")).select(
        "site_id",
        F.col("event_date").alias("date"),
        _window_start("event_time").alias("window_start"),
        F.when(counts, F.col("visitor_id")).alias("visitor_id"),
        counts.alias("is_event"),
        is_a("page_view").alias("is_page_view"),
        F.lit(False).alias("is_start"),
        is_a("purchase").alias("is_purchase"),
        is_a("error").alias("is_error"),
        "is_bot",
    )
    no = F.lit(False)
    started = sessions.where(counts).select(
        "site_id",
        F.col("session_date").alias("date"),
        _window_start("start_time").alias("window_start"),
        F.lit(None).cast("string").alias("visitor_id"),
        no.alias("is_event"),
        no.alias("is_page_view"),
        F.lit(True).alias("is_start"),
        no.alias("is_purchase"),
        no.alias("is_error"),
        no.alias("is_bot"),
    )
    windows = (
        happened.unionByName(started)
        .groupBy("site_id", "date", "window_start")
        .agg(
            F.count_if("is_event").alias("events"),
            F.count_if("is_page_view").alias("page_views"),
            F.count_distinct("visitor_id").alias("visitors"),
            F.count_if("is_start").alias("sessions_started"),
            F.count_if("is_purchase").alias("purchases"),
            F.count_if("is_error").alias("errors"),
            F.count_if("is_bot").alias("bot_events"),
        )
    )
    return windows.select(
        "site_id",
        "date",
        "window_start",
        "events",
        "page_views",
        "visitors",
        "sessions_started",
        "purchases",
        "errors",
        "bot_events",
    )


def _window_start(time: str) -> Column:
    at_us = F.unix_micros(time)
    return F.timestamp_micros(at_us - F.pmod(at_us, F.lit(WINDOW_US)))
