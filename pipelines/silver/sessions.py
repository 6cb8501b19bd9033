"""silver.sessions: one row per session, from its events in silver.events."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.silver.sessionize import is_conversion
from pipelines.silver.user_days import NOT_ACTIONS


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """Aggregate each session's events; ordered first and last are least and greatest (event_time, sequence, event_id).

    Grain: (site_id, session_id). Measures take counting events only (all but excluded test users' events).
    """
    excludes_events = context.by_site(lambda site: site.test_users.rule) == "exclude_events"
    marked = events.withColumns(
        {
            "_counts": ~(excludes_events & F.col("is_test_user")),
            "_converts": is_conversion(context),
            "_at": F.struct("event_time", "sequence", "event_id"),  # structs compare nulls first, as the order does
        }
    )
    counts = F.col("_counts")
    touch = F.struct("_at", "traffic_source", "traffic_medium", F.col("utm_campaign").alias("campaign"), "channel")
    page = F.struct("_at", F.col("page_path").alias("page"), (F.col("event_type") == "page_view").alias("is_view"))
    sessions = marked.groupBy("site_id", "session_id").agg(
        F.min(F.struct("_at", "visitor_id", "person_id")).alias("_first"),
        F.max(F.when(counts & F.col("user_id").isNotNull(), F.struct("_at", "user_id"))).alias("_last_user"),
        F.coalesce(F.min(F.when(counts, F.col("event_time"))), F.min("event_time")).alias("start_time"),
        F.coalesce(F.max(F.when(counts, F.col("event_time"))), F.max("event_time")).alias("end_time"),
        F.first("session_date").alias("session_date"),
        F.count_if(counts).alias("event_count"),
        *[F.count_if(counts & (F.col("event_type") == type_)).alias(name) for type_, name in _COUNTED.items()],
        F.count_if(counts & ~F.col("event_type").isin(*NOT_ACTIONS)).alias("actions"),
        F.max(F.when(F.col("is_entry"), F.col("page_path"))).alias("entry_page"),
        F.max(F.when(F.col("is_exit"), F.col("page_path"))).alias("exit_page"),
        F.sort_array(F.collect_list(F.when(counts & F.col("page_path").isNotNull(), page))).alias("_pages"),
        F.max("session_converted").alias("converted"),
        F.max(F.when(counts, F.col("scroll_depth_pct"))).alias("max_scroll_depth_pct"),
        F.sum(F.when(counts & F.col("_converts"), F.col("value"))).alias("_revenue"),
        F.min(F.when(counts & F.col("_converts"), F.col("event_time"))).alias("_first_conversion"),
        F.max(F.when(F.col("is_exit"), F.col("event_time"))).alias("_exit_time"),
        F.min(F.when(counts & is_touch(), touch)).alias("_touch"),
        *[_first_known(name) for name in _ENVIRONMENT],
        F.max("session_bot_reason").alias("bot_reason"),
        F.max("is_test_user").alias("has_test_user"),
        F.max("is_countable").alias("is_countable"),
    )
    duration_us = F.when(
        F.col("event_count") > 1, F.unix_micros(F.col("end_time")) - F.unix_micros(F.col("start_time"))
    )
    end_page = context.by_site(lambda site: site.conversion.end_page)
    by_rule = F.when(end_page.isNull(), F.col("_first_conversion")).otherwise(F.col("_exit_time"))
    is_long = F.coalesce(duration_us > 10_000_000, F.lit(False))
    pages = F.transform("_pages", lambda visit: visit["page"])
    views = F.filter("_pages", lambda visit: visit["is_view"])
    return sessions.select(
        "site_id",
        "session_id",
        F.col("_first.visitor_id").alias("visitor_id"),
        F.col("_first.person_id").alias("person_id"),
        F.col("_last_user.user_id").alias("user_id"),
        "start_time",
        "end_time",
        "session_date",
        "event_count",
        "page_view_count",
        F.size(F.array_distinct(pages)).cast("bigint").alias("page_count"),
        "entry_page",
        "exit_page",
        F.transform(views, lambda visit: visit["page"]).alias("journey_path"),
        F.array_distinct(pages).alias("pages_visited"),
        (duration_us / 1_000_000).alias("duration_seconds"),
        (F.col("page_view_count") == 1).alias("bounced"),
        (is_long | F.col("converted") | (F.col("page_view_count") >= 2)).alias("engaged"),
        "converted",
        # A session that converted under an earlier rule of its site holds nothing that says when: it did by its end.
        F.when(F.col("converted"), F.coalesce(by_rule, "end_time")).alias("converted_at"),
        (F.col("_errors") > 0).alias("had_error"),
        "likes",
        "comments",
        "views",
        "clicks",
        "actions",
        "form_starts",
        "form_submits",
        "max_scroll_depth_pct",
        F.coalesce(F.col("_revenue"), F.lit(0)).cast("decimal(28,4)").alias("revenue"),
        *[
            F.when(F.col("_touch").isNull(), F.lit(nothing)).otherwise(F.col(f"_touch.{name}")).alias(name)
            for name, nothing in WITHOUT_TOUCH.items()
        ],
        F.col("_touch.campaign").alias("campaign"),
        *[F.col(f"_{name}.{name}").alias(name) for name in _ENVIRONMENT],
        F.col("bot_reason").isNotNull().alias("is_bot"),
        "bot_reason",
        "has_test_user",
        "is_countable",
        F.lit(context.started_at).alias("created_at"),
    )


_COUNTED = {
    "page_view": "page_view_count",
    "like": "likes",
    "comment": "comments",
    "view": "views",
    "click": "clicks",
    "form_start": "form_starts",
    "form_submit": "form_submits",
    "error": "_errors",
}
_ENVIRONMENT = ("device_type", "browser", "os", "country", "region")


WITHOUT_TOUCH = {"channel": "Direct", "traffic_source": "(direct)", "traffic_medium": "(none)"}
"""What a session's first touch is where nothing says where it came from."""


def is_touch() -> Column:
    """Whether an event can be its session's first touch: it says where it came from, no later than the entry.

    Who comes back from a payment provider in mid-visit has not come from there.
    """
    return F.col("channel").isNotNull() & (F.col("is_entry") | F.col("page_view_number").isNull())


def _first_known(name: str) -> Column:
    known = F.col("_counts") & F.col(name).isNotNull()
    return F.min(F.when(known, F.struct("_at", name))).alias(f"_{name}")
