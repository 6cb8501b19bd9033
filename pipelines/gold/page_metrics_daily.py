"""What happened on each page: views, visitors, time, and the actions that its page views own."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.ratios import ratio

MICROS = 1_000_000
ACTIONS = {
    "errors": "error",
    "clicks": "click",
    "form_starts": "form_start",
    "form_submits": "form_submit",
    "video_plays": "video_play",
}
"""Measure → type of the events it counts."""


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date and page with a countable page view.

    A page view owns its session's events until the next one, so an action counts where and when its page was opened,
    whatever page or date it carries itself. Events before the first page view of their session belong to no page.
    """
    days = (
        _page_views(events)
        .groupBy("site_id", "date", "page")
        .agg(
            F.count(F.lit(1)).alias("views"),
            F.count_distinct("visitor_id").alias("visitors"),
            F.count_if("is_entry").alias("entries"),
            F.count_if("is_exit").alias("exits"),
            F.count_if(F.col("is_entry") & F.col("is_exit")).alias("bounces"),
            F.count_if(F.col("is_exit") & ~F.col("session_converted")).alias("abandonments"),
            F.count_if(F.col("errors") > 0).alias("error_views"),
            F.count_if(F.col("clicks") > 0).alias("click_views"),
            F.sum("time_on_page_us").alias("time_on_page_us"),
            F.sum("scroll_depth_pct").cast("bigint").alias("sum_scroll_depth_pct"),
            *[F.sum(measure).alias(measure) for measure in ACTIONS],
        )
    )
    views = F.col("views")
    return days.select(
        "site_id",
        "date",
        "page",
        "views",
        "visitors",
        "entries",
        "exits",
        "bounces",
        "abandonments",
        "errors",
        ratio(F.col("error_views"), views).alias("error_rate"),
        "error_views",
        "click_views",
        ratio(F.col("time_on_page_us"), views * MICROS).alias("avg_time_on_page_seconds"),
        ratio(F.col("sum_scroll_depth_pct"), views).alias("avg_scroll_depth_pct"),
        "sum_scroll_depth_pct",
        "clicks",
        "form_starts",
        "form_submits",
        "video_plays",
    )


def _page_views(events: DataFrame) -> DataFrame:
    """One row per countable page view, with sums over the events it owns; no scroll counts as 0.

    By windows, because what the page view itself says stands in its row: grouped, each of its texts would be an
    aggregate, for which Spark sorts the events once before and once after they are moved.
    """
    view = ("site_id", "session_id", "page_view_number")
    owned = Window.partitionBy("_view", *view)  # sorting compares the hash, and texts rarely
    return (
        events.where(F.col("is_countable") & F.col("page_view_number").isNotNull())
        .select(
            F.xxhash64(*view).alias("_view"),
            *view,
            F.col("page_view_date").alias("date"),
            F.coalesce("page_path", F.lit("(not set)")).alias("page"),
            *["event_type", "visitor_id", "is_entry", "is_exit", "session_converted", "scroll_depth_pct"],
            F.coalesce("time_on_page_us", F.lit(0)).alias("time_on_page_us"),
        )
        .withColumns(
            {
                "scroll_depth_pct": F.coalesce(F.max("scroll_depth_pct").over(owned), F.lit(0)),
                **{measure: F.count_if(F.col("event_type") == kind).over(owned) for measure, kind in ACTIONS.items()},
            }
        )
        .where(F.col("event_type") == "page_view")
    )
