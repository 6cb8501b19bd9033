"""silver.sessions: one row per session, from its events in silver.events."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.window import WindowSpec

from pipelines.context import RunContext
from pipelines.silver.sessionize import event_order, is_conversion
from pipelines.silver.user_days import NOT_ACTIONS


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per session; first and last in it are the least and greatest (event_time, sequence, event_id).

    Grain: (site_id, session_id). Measures take counting events only (all but excluded test users' events).

    Nothing is grouped: every measure is a window over the session, told on its first event, which is the row kept. So
    one sort serves all that is first, last or in order. As aggregates each would carry that order with it, as text,
    through two phases that keep sessions in memory as objects: more than twice the time.
    """
    narrow = _counting(events, context).withColumn("_session", F.xxhash64("site_id", "session_id"))
    by_session = Window.partitionBy("_session", "site_id", "session_id")  # sorting compares the hash, and texts rarely
    in_order = by_session.orderBy(*event_order())
    whole = in_order.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    measured = narrow.withColumns(
        {"_place": F.row_number().over(in_order)} | {name: value.over(whole) for name, value in _measures().items()}
    ).withColumn("_later_visits", F.collect_list("_visit").over(_only_from_first(by_session)))
    sessions = measured.where(F.col("_place") == 1).withColumns(
        {
            "start_time": F.coalesce("_start", "event_time"),
            "end_time": F.coalesce("_end", "_end_of_all"),
            "_visits": F.array_compact(F.concat(F.array("_visit"), "_later_visits")),
        }
    )
    duration_us = F.when(
        F.col("event_count") > 1, F.unix_micros(F.col("end_time")) - F.unix_micros(F.col("start_time"))
    )
    end_page = context.by_site(lambda site: site.conversion.end_page)
    by_rule = F.when(end_page.isNull(), F.col("_first_conversion")).otherwise(F.col("_exit_time"))
    is_long = F.coalesce(duration_us > 10_000_000, F.lit(False))
    pages_visited = F.array_distinct("_visits.page")
    converted = F.col("session_converted")
    return sessions.select(
        "site_id",
        "session_id",
        "visitor_id",
        "person_id",
        F.col("_last_user").alias("user_id"),
        "start_time",
        "end_time",
        "session_date",
        "event_count",
        "page_view_count",
        F.size(pages_visited).cast("bigint").alias("page_count"),
        "entry_page",
        "exit_page",
        F.array_compact("_visits.viewed").alias("journey_path"),
        pages_visited.alias("pages_visited"),
        (duration_us / 1_000_000).alias("duration_seconds"),
        (F.col("page_view_count") == 1).alias("bounced"),
        (is_long | converted | (F.col("page_view_count") >= 2)).alias("engaged"),
        converted.alias("converted"),
        # A session that converted under an earlier rule of its site holds nothing that says when: it did by its end.
        F.when(converted, F.coalesce(by_rule, "end_time")).alias("converted_at"),
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
            F.when(F.col("_first_touch").isNull(), F.lit(nothing)).otherwise(F.col(f"_first_touch.{name}")).alias(name)
            for name, nothing in WITHOUT_TOUCH.items()
        ],
        F.col("_first_touch.utm_campaign").alias("campaign"),
        *[F.col(f"_first_{name}").alias(name) for name in _ENVIRONMENT],
        F.col("session_bot_reason").isNotNull().alias("is_bot"),
        F.col("session_bot_reason").alias("bot_reason"),
        "has_test_user",
        F.col("_is_countable").alias("is_countable"),
        F.lit(context.started_at).alias("created_at"),
    )


def persons(events: DataFrame) -> DataFrame:
    """(site_id, session_id, person_id) of whole sessions: the person of the first event, as `build` has it."""
    first = F.min(F.struct("event_time", "sequence", "event_id", "person_id"))
    of_sessions = events.groupBy("site_id", "session_id").agg(first.alias("first"))
    return of_sessions.select("site_id", "session_id", "first.person_id")


def _counting(events: DataFrame, context: RunContext) -> DataFrame:
    """What sessions are made of; what only counting events say is null on the others."""
    excludes_events = context.by_site(lambda site: site.test_users.rule) == "exclude_events"
    counts = ~(excludes_events & F.col("is_test_user"))
    converts = counts & is_conversion(context)
    viewed = F.when(F.col("event_type") == "page_view", F.col("page_path"))
    visit = F.struct(F.col("page_path").alias("page"), viewed.alias("viewed"))
    touch = F.struct("traffic_source", "traffic_medium", "utm_campaign", "channel")
    return events.select(
        *["site_id", "session_id", "event_time", "sequence", "event_id", "visitor_id", "person_id", "session_date"],
        *["session_converted", "session_bot_reason", "is_test_user", "is_countable"],
        F.when(counts, F.col("event_type")).alias("_type"),
        F.when(counts, F.col("event_time")).alias("_time"),
        F.when(counts, F.col("user_id")).alias("_user"),
        F.when(counts, F.col("scroll_depth_pct")).alias("_scroll"),
        F.when(counts & F.col("page_path").isNotNull(), visit).alias("_visit"),
        F.when(counts & is_touch(), touch).alias("_touch"),
        *[F.when(counts, F.col(name)).alias(f"_{name}") for name in _ENVIRONMENT],
        F.when(converts, F.col("event_time")).alias("_conversion_time"),
        F.when(converts, F.col("value")).alias("_value"),
        F.when(F.col("is_entry"), F.col("page_path")).alias("_entry_page"),
        F.when(F.col("is_exit"), F.col("page_path")).alias("_exit_page"),
        F.when(F.col("is_exit"), F.col("event_time")).alias("_exit_at"),
    )


def _measures() -> dict[str, Column]:
    """Aggregates over a session's counting events in order."""
    return {
        "_last_user": F.last("_user", ignorenulls=True),
        "_start": F.min("_time"),
        "_end": F.max("_time"),
        "_end_of_all": F.max("event_time"),
        "event_count": F.count("_type"),
        **{name: F.count_if(F.col("_type") == type_) for type_, name in _COUNTED.items()},
        "actions": F.count_if(~F.col("_type").isin(*NOT_ACTIONS)),
        "entry_page": F.max("_entry_page"),
        "exit_page": F.max("_exit_page"),
        "max_scroll_depth_pct": F.max("_scroll"),
        "_revenue": F.sum("_value"),
        "_first_conversion": F.min("_conversion_time"),
        "_exit_time": F.max("_exit_at"),
        "_first_touch": F.first("_touch", ignorenulls=True),
        **{f"_first_{name}": F.first(f"_{name}", ignorenulls=True) for name in _ENVIRONMENT},
        "has_test_user": F.max("is_test_user"),
        "_is_countable": F.max("is_countable"),
    }


def _only_from_first(by_session: WindowSpec) -> WindowSpec:
    """In order: all later events for a session's first, none for any other.

    With the whole session for each of its events a list would be made as often as it is long: hours for a bot's
    million. So the first event stands so far before the others that at this distance it sees them, and they nothing.
    """
    far = 1 << 40
    place = F.when(F.col("_place") == 1, F.lit(0)).otherwise(F.col("_place") + far)
    return by_session.orderBy(place.cast("bigint")).rangeBetween(far, 2 * far)


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
