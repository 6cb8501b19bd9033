"""Events → the same events with their session, by inactivity or by the client's id: window functions over one order.

What makes a session a bot's is in silver/pace.py.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from pipelines.context import RunContext
from pipelines.silver import pace

_SEPARATOR = "\x1f"
_WHOSE = ("_hash", "site_id", "_by_client", "_whose")

_NEEDED = (
    *("site_id", "visitor_id", "client_session_id", "event_id", "event_time", "sequence", "event_type"),
    *("event_date", "event_utc_date", "page_path", "bot_reason", "is_test_user"),
)


def event_order() -> list[Column]:
    """The order of events everywhere: (event_time, sequence with none first, event_id)."""
    return [F.col("event_time").asc(), F.col("sequence").asc_nulls_first(), F.col("event_id").asc()]


def uses_client_session(context: RunContext) -> Column:
    """Whether the event's session is the one that the client named."""
    return (context.by_site(lambda site: site.session.key) == "client") & F.col("client_session_id").isNotNull()


def cuts_runs(context: RunContext) -> bool:
    """Whether a site cuts what no gap divides, so that a session follows from its whole run between two gaps."""
    return any(site.session.cuts_runs for site in context.sites.rules)


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """Add what silver.events says about sessions to events that are whole sessions.

    `events` must hold every event of each session that it touches, and of each run between two gaps where a site cuts
    runs. A gap strictly greater than the site's gap_seconds opens a session under inactivity, and so do the site's
    options; the client's id is the session under `client`. Frames are whole sessions or run from their start, so that
    one sort per (visitor, session) serves them all.
    """
    # What no window looks at travels as one value: copying sixty columns through two sorts took most of the time.
    needed = (*_NEEDED, "utm_campaign") if cuts_runs(context) else _NEEDED
    carried = [name for name in events.columns if name not in needed]
    packed = events.select(*needed, F.struct(*carried).alias("_carried")) if carried else events
    keyed = packed.withColumns(
        {
            "_by_client": uses_client_session(context),
            "_counting": ~(
                (context.by_site(lambda site: site.test_users.rule) == "exclude_events") & F.col("is_test_user")
            ),
        }
    ).withColumn("_whose", F.when(F.col("_by_client"), F.col("client_session_id")).otherwise(F.col("visitor_id")))
    # First among what rows are sorted by: two numbers are compared in no time, and texts only where these are equal.
    keyed = keyed.withColumn("_hash", F.xxhash64("site_id", "_by_client", "_whose"))
    numbered = _with_sessions(keyed, context)
    session = Window.partitionBy(*_WHOSE, "_first").orderBy(*event_order())
    so_far = session.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    whole = session.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    is_page_view = F.col("_counting") & (F.col("event_type") == "page_view")
    counting_time = F.when(F.col("_counting"), F.col("event_time"))
    start = F.coalesce(F.min(counting_time).over(whole), F.min("event_time").over(whole))
    inactivity_id = F.md5(
        F.concat_ws(
            _SEPARATOR,
            "site_id",
            F.first("visitor_id").over(whole),
            F.first("event_id").over(whole),
            F.first(F.col("event_utc_date").cast("string")).over(whole),
        )
    )
    windowed = numbered.withColumn("_page_view", is_page_view).withColumns(
        {
            "session_id": F.when(F.col("_by_client"), F.col("_whose")).otherwise(inactivity_id),
            "session_date": F.to_date(F.from_utc_timestamp(start, context.by_site(lambda site: site.timezone))),
            "_view_number": F.sum(F.col("_page_view").cast("int")).over(so_far),
            "_views": F.sum(F.col("_page_view").cast("int")).over(whole),
            "_view_date": F.last(F.when(F.col("_page_view"), F.col("event_date")), ignorenulls=True).over(so_far),
            "_next_view_time": F.expr(
                "lead(if(_page_view, event_time, null)) ignore nulls"
                f" over (partition by {', '.join(_WHOSE)}, _first"
                " order by event_time asc, sequence asc nulls first, event_id asc)"
            ),
            "_last_time": F.max(counting_time).over(whole),
            "_exit_page": F.last(F.when(F.col("_page_view"), F.struct("page_path")), ignorenulls=True).over(whole),
            "_has_conversion": F.max(F.col("_counting") & is_conversion(context)).over(whole),
            "session_bot_reason": F.coalesce(
                F.first("bot_reason", ignorenulls=True).over(whole), pace.reason_of_session(whole, context)
            ),
            "_has_test_user": F.max("is_test_user").over(whole),
        }
    )
    end_page = context.by_site(lambda site: site.conversion.end_page)
    converted = F.when(end_page.isNull(), F.col("_has_conversion")).otherwise(
        F.coalesce(F.col("_exit_page.page_path") == end_page, F.lit(False))
    )
    stay_us = F.unix_micros(F.coalesce("_next_view_time", "_last_time")) - F.unix_micros("event_time")
    counts_users = F.when(
        context.by_site(lambda site: site.test_users.rule) == "exclude_events", ~F.col("is_test_user")
    ).otherwise(~F.col("_has_test_user"))
    return windowed.select(
        *[F.col(f"_carried.{name}").alias(name) if name in carried else F.col(name) for name in events.columns],
        "session_id",
        "session_date",
        F.when(F.col("_counting") & (F.col("_view_number") > 0), F.col("_view_number"))
        .cast("int")
        .alias("page_view_number"),
        F.when(F.col("_counting"), F.col("_view_date")).alias("page_view_date"),
        (F.col("_page_view") & (F.col("_view_number") == 1)).alias("is_entry"),
        (F.col("_page_view") & (F.col("_view_number") == F.col("_views"))).alias("is_exit"),
        converted.alias("session_converted"),
        F.when(F.col("_page_view"), stay_us).alias("time_on_page_us"),
        "session_bot_reason",
        (counts_users & (context.by_site(lambda site: site.count_bots) | F.col("session_bot_reason").isNull())).alias(
            "is_countable"
        ),
    )


def _with_sessions(keyed: DataFrame, context: RunContext) -> DataFrame:
    """Add `_place` among the visitor's events, `_first` (the place of the session's first event, by which sessions are
    told apart) and what silver/pace.py looks at."""
    visitor = Window.partitionBy(*_WHOSE).orderBy(*event_order())
    so_far = visitor.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    gap_us = context.by_site(lambda site: site.session.gap_seconds).cast("bigint") * 1_000_000
    placed = keyed.withColumns({"_place": F.row_number().over(visitor), **pace.spans(visitor, context)})
    opens = (F.col("_place") == 1) | (~F.col("_by_client") & (F.col("_pause_us") > gap_us))

    def place_of_last(opening: Column) -> Column:
        return F.last(F.when(opening, F.col("_place")), ignorenulls=True).over(so_far)

    if not cuts_runs(context):
        return placed.withColumn("_first", place_of_last(opens))
    before = visitor.rowsBetween(Window.unboundedPreceding, -1)
    campaign = F.when(F.col("utm_campaign").isNotNull(), F.struct("_place", "utm_campaign"))
    runs = placed.withColumn("_opens", opens).withColumns(
        {
            "_run": place_of_last(F.col("_opens")),
            "_run_start": F.last(F.when(F.col("_opens"), F.col("event_time")), ignorenulls=True).over(so_far),
            "_campaign": F.last(campaign, ignorenulls=True).over(before),
            "_date_before": F.lag("event_date").over(visitor),
        }
    )
    most_us = context.by_site(lambda site: site.session.max_duration_seconds).cast("bigint") * 1_000_000
    into_run_us = F.unix_micros("event_time") - F.unix_micros("_run_start")
    # The pause reaches back over a multiple of the limit: floor((time - start) / limit) has changed.
    is_full = F.col("_pause_us") > into_run_us % most_us
    is_new_campaign = (F.col("_campaign._place") >= F.col("_run")) & (
        F.col("_campaign.utm_campaign") != F.col("utm_campaign")
    )
    cuts = (
        F.coalesce(is_full, F.lit(False))
        | (context.by_site(lambda site: site.session.break_on_campaign) & F.coalesce(is_new_campaign, F.lit(False)))
        | (
            context.by_site(lambda site: site.session.break_at_midnight)
            & F.coalesce(F.col("_date_before") != F.col("event_date"), F.lit(False))
        )
    )
    return runs.withColumn("_first", place_of_last(F.col("_opens") | (~F.col("_by_client") & cuts)))


def is_conversion(context: RunContext) -> Column:
    """Whether the event's type is one of the site's conversions."""
    types = F.split(context.by_site(lambda site: ",".join(site.conversion.event_types)), ",")
    return F.array_contains(types, F.col("event_type"))
