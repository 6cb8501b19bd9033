"""The day of a site and of each of its segments in numbers that add up, and load times."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.page_performance_daily import load_percentiles, named_percentiles
from pipelines.gold.session_counts import NOT_SET, UNKNOWN

ALL = "(all)"
MICROS = 1_000_000
SUMS = (
    *("sessions", "viewing_sessions", "bounces", "conversions", "error_sessions"),
    *("form_start_sessions", "form_submit_sessions"),
    *("capped_page_views", "capped_duration_us", "capped_actions"),
    *("events", "bot_events", "page_views", "error_views", "click_views", "sum_scroll_depth_pct"),
)
"""Columns that are sums of whole numbers."""


def build(sessions: DataFrame, events: DataFrame, page_metrics_daily: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date, dimension and value in which a session or page view counts, or on (all) only bots came.

    Sessions, timed page views and pages are rows of one frame, each once for every segment it belongs to, with numbers
    only where they have something to say; so one aggregation answers all of them.
    """
    parts = (_of_sessions(sessions, context), _of_load_times(events), _of_pages(page_metrics_daily))
    days = (
        reduce(DataFrame.unionByName, parts)
        .groupBy("site_id", "date", "dimension", "value")
        .agg(
            *[F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in SUMS],
            F.max("newest_event_at").alias("newest_event_at"),
            F.count("load_time_ms").alias("load_samples"),
            load_percentiles(),
        )
    )
    return days.select(
        "site_id",
        "date",
        "dimension",
        "value",
        *SUMS[: SUMS.index("page_views")],
        "newest_event_at",
        *SUMS[SUMS.index("page_views") :],
        "load_samples",
        *named_percentiles("load_"),
    )


def _of_sessions(sessions: DataFrame, context: RunContext) -> DataFrame:
    """Countable sessions in all their segments, and other sessions of bots in (all), of which only events are told."""
    counts, is_bot = F.col("is_countable"), F.col("is_bot")
    full = context.settings.kpis.engagement
    duration_us = F.unix_micros("end_time") - F.unix_micros("start_time")
    region = F.concat(F.coalesce("country", F.lit(UNKNOWN)), F.lit(": "), F.coalesce("region", F.lit(UNKNOWN)))
    segments = F.array(
        _segment("device_type", F.coalesce("device_type", F.lit(UNKNOWN))),
        _segment("browser", F.coalesce("browser", F.lit(UNKNOWN))),
        _segment("country", F.coalesce("country", F.lit(UNKNOWN))),
        _segment("region", region),
        _segment("channel", F.coalesce("channel", F.lit(NOT_SET))),
        _segment("traffic_source", F.coalesce("traffic_source", F.lit(NOT_SET))),
    )
    whole = F.array(_segment(ALL, F.lit(ALL)))
    has_form = F.col("form_starts") > 0
    return _rows(
        sessions.where(counts | is_bot),
        "session_date",
        F.when(counts, F.concat(whole, segments)).otherwise(whole),
        {
            "sessions": counts.cast("int"),
            "viewing_sessions": (counts & (F.col("page_view_count") > 0)).cast("int"),
            "bounces": (counts & F.col("bounced")).cast("int"),
            "conversions": (counts & F.col("converted")).cast("int"),
            "error_sessions": (counts & F.col("had_error")).cast("int"),
            "form_start_sessions": (counts & has_form).cast("int"),
            "form_submit_sessions": (counts & has_form & (F.col("form_submits") > 0)).cast("int"),
            "capped_page_views": F.when(counts, F.least("page_view_count", F.lit(full.page_views.full))),
            "capped_duration_us": F.when(counts, F.least(duration_us, F.lit(full.duration_seconds.full * MICROS))),
            "capped_actions": F.when(counts, F.least("actions", F.lit(full.actions.full))),
            "events": F.col("event_count"),
            "bot_events": F.when(is_bot, F.col("event_count")),
            # The site's page views are counted by their own date, with its pages.
            "page_views": F.when(counts & (F.col("_dimension") != ALL), F.col("page_view_count")),
            "newest_event_at": F.when(counts, F.col("end_time")),
        },
    )


def _of_load_times(events: DataFrame) -> DataFrame:
    timed = F.col("is_countable") & (F.col("event_type") == "page_view") & F.col("load_time_ms").isNotNull()
    segments = F.array(
        _segment(ALL, F.lit(ALL)),
        *[_segment(name, F.coalesce(name, F.lit(UNKNOWN))) for name in ("device_type", "browser", "country")],
        _segment("page", F.coalesce("page_path", F.lit(NOT_SET))),
    )
    return _rows(events.where(timed), "event_date", segments, {"load_time_ms": F.col("load_time_ms")})


def _of_pages(pages: DataFrame) -> DataFrame:
    segments = F.array(_segment(ALL, F.lit(ALL)), _segment("page", F.col("page")))
    measures = {name: F.col(name) for name in ("error_views", "click_views", "sum_scroll_depth_pct")}
    return _rows(pages, "date", segments, {"page_views": F.col("views"), **measures})


def _segment(dimension: str, value: Column) -> Column:
    return F.struct(F.lit(dimension).alias("_dimension"), value.alias("_value"))


def _rows(frame: DataFrame, date: str, segments: Column, measures: Mapping[str, Column]) -> DataFrame:
    """(site_id, date, dimension, value) for each of the segments, with all measures, null where none is given."""
    types = {**dict.fromkeys(SUMS, "bigint"), "load_time_ms": "bigint", "newest_event_at": "timestamp"}
    in_segments = frame.select("*", F.inline(segments))
    return in_segments.select(
        "site_id",
        F.col(date).alias("date"),
        F.col("_dimension").alias("dimension"),
        F.col("_value").alias("value"),
        *[measures.get(name, F.lit(None)).cast(kind).alias(name) for name, kind in types.items()],
    )
