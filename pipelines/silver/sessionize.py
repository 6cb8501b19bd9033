"""Events → the same events with their session, by inactivity or by the client's id: window functions over one order."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from pipelines.context import RunContext

_SEPARATOR = "\x1f"

_NEEDED = (
    *("site_id", "visitor_id", "client_session_id", "event_id", "event_time", "sequence", "event_type"),
    *("event_date", "event_utc_date", "page_path", "is_bot", "is_test_user"),
)


def event_order() -> list[Column]:
    """The order of events everywhere: (event_time, sequence with none first, event_id)."""
    return [F.col("event_time").asc(), F.col("sequence").asc_nulls_first(), F.col("event_id").asc()]


def uses_client_session(context: RunContext) -> Column:
    """Whether the event's session is the one that the client named."""
    return (context.by_site(lambda site: site.session.key) == "client") & F.col("client_session_id").isNotNull()


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """Add what silver.events says about sessions to events that are whole sessions.

    `events` must hold every event of each session that it touches. A gap strictly greater than the site's gap_seconds
    opens a session under inactivity; the client's id is the session under `client`. Frames are whole sessions or run
    from their start, so that one sort per (visitor, session) serves them all.
    """
    # What no window looks at travels as one value: copying sixty columns through two sorts took most of the time.
    carried = [name for name in events.columns if name not in _NEEDED]
    packed = events.select(*_NEEDED, F.struct(*carried).alias("_carried")) if carried else events
    keyed = packed.withColumns(
        {
            "_by_client": uses_client_session(context),
            "_counting": ~(
                (context.by_site(lambda site: site.test_users.rule) == "exclude_events") & F.col("is_test_user")
            ),
        }
    ).withColumn("_whose", F.when(F.col("_by_client"), F.col("client_session_id")).otherwise(F.col("visitor_id")))

    visitor = Window.partitionBy("site_id", "_by_client", "_whose").orderBy(*event_order())
    gap_us = context.by_site(lambda site: site.session.gap_seconds).cast("bigint") * 1_000_000
    pause_us = F.unix_micros("event_time") - F.unix_micros(F.lag("event_time").over(visitor))
    opens = F.coalesce(~F.col("_by_client") & (pause_us > gap_us), F.lit(False))
    numbered = keyed.withColumn("_opens", opens).withColumn(
        "_run", F.sum(F.col("_opens").cast("int")).over(visitor.rowsBetween(Window.unboundedPreceding, 0))
    )

    session = Window.partitionBy("site_id", "_by_client", "_whose", "_run").orderBy(*event_order())
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
                " over (partition by site_id, _by_client, _whose, _run"
                " order by event_time asc, sequence asc nulls first, event_id asc)"
            ),
            "_last_time": F.max(counting_time).over(whole),
            "_exit_page": F.last(F.when(F.col("_page_view"), F.struct("page_path")), ignorenulls=True).over(whole),
            "_has_conversion": F.max(F.col("_counting") & is_conversion(context)).over(whole),
            "_session_is_bot": F.max("is_bot").over(whole),
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
        (counts_users & (context.by_site(lambda site: site.count_bots) | ~F.col("_session_is_bot"))).alias(
            "is_countable"
        ),
    )


def is_conversion(context: RunContext) -> Column:
    """Whether the event's type is one of the site's conversions."""
    types = F.split(context.by_site(lambda site: ",".join(site.conversion.event_types)), ",")
    return F.array_contains(types, F.col("event_type"))
