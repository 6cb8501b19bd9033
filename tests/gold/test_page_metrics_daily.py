"""page_metrics_daily: page views and what they own."""

from __future__ import annotations

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import page_metrics_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, events_frame, utc

FIFTH = day("2026-01-05")
NOTHING: Row = {
    "visitors": 1,
    "entries": 0,
    "exits": 0,
    "bounces": 0,
    "abandonments": 0,
    "errors": 0,
    "error_rate": 0.0,
    "error_views": 0,
    "click_views": 0,
    "avg_time_on_page_seconds": 0.0,
    "avg_scroll_depth_pct": 0.0,
    "sum_scroll_depth_pct": 0,
    "clicks": 0,
    "form_starts": 0,
    "form_submits": 0,
    "video_plays": 0,
}
"""A page that was looked at by one visitor and no more."""


def check(built: DataFrame, expected: list[Row]) -> None:
    names = contract("gold.page_metrics_daily").column_names
    filled = [{"site_id": "shop", "date": FIFTH, **NOTHING, **row} for row in expected]
    frame = built.sparkSession.createDataFrame(
        [tuple(row[name] for name in names) for row in filled], contract("gold.page_metrics_daily").ddl
    )
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)


def view(page: str | None, seconds: float = 0, **more: object) -> Row:
    return {
        "event_type": "page_view",
        "page_path": page,
        "time_on_page_us": round(seconds * 1_000_000),
        **more,
    }


def owned(page_view_number: int, event_type: str, **more: object) -> Row:
    return {"event_type": event_type, "page_view_number": page_view_number, **more}


def test_a_session_enters_stays_and_leaves(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(
        spark,
        [
            view("/home", seconds=10, is_entry=True),
            view("/offer", seconds=5.5),
            view("/home", seconds=20, is_exit=True),
        ],
    )
    check(
        page_metrics_daily.build(events, context=context()),
        [
            {
                "page": "/home",
                "views": 2,
                "entries": 1,
                "exits": 1,
                "abandonments": 1,
                "avg_time_on_page_seconds": 15.0,
            },
            {"page": "/offer", "views": 1, "avg_time_on_page_seconds": 5.5},
        ],
    )


def test_actions_count_on_the_page_and_date_of_the_view_that_owns_them(
    spark: SparkSession, context: MakeContext
) -> None:
    late = {"event_time": utc("2026-01-06 00:01:00"), "page_view_date": FIFTH, "session_date": FIFTH}
    types = ["click", "click", "form_start", "form_submit", "video_play", "error", "error", "like"]
    events = events_frame(
        spark,
        [view("/form", event_time=utc("2026-01-05 23:59:00")), view("/form", session_id="s2")]
        + [owned(1, kind, page_path="/elsewhere", **late) for kind in types],
    )
    check(
        page_metrics_daily.build(events, context=context()),
        [
            {
                "page": "/form",
                "views": 2,
                "clicks": 2,
                "form_starts": 1,
                "form_submits": 1,
                "video_plays": 1,
                "errors": 2,
                "error_rate": 0.5,  # two errors, but of one page view
                "error_views": 1,
                "click_views": 1,
            }
        ],
    )


def test_the_deepest_scroll_of_a_view_counts_and_none_is_zero(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(
        spark,
        [
            view("/long"),
            owned(1, "scroll", scroll_depth_pct=25),
            owned(1, "scroll", scroll_depth_pct=75),
            view("/long"),
        ],
    )
    check(
        page_metrics_daily.build(events, context=context()),
        [{"page": "/long", "views": 2, "avg_scroll_depth_pct": 37.5, "sum_scroll_depth_pct": 75}],
    )


def test_a_bounce_enters_and_leaves_and_a_converted_session_abandons_nothing(
    spark: SparkSession, context: MakeContext
) -> None:
    whole = {"is_entry": True, "is_exit": True}
    events = events_frame(
        spark,
        [
            view("/land", session_id="s1", visitor_id="ann", **whole),
            view("/land", session_id="s2", visitor_id="bob", session_converted=True, **whole),
            view("/land", session_id="s3", visitor_id="bob", **whole),
        ],
    )
    check(
        page_metrics_daily.build(events, context=context()),
        [{"page": "/land", "views": 3, "visitors": 2, "entries": 3, "exits": 3, "bounces": 3, "abandonments": 2}],
    )


def test_a_view_without_a_page_is_shown_as_not_set(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(spark, [view(None), owned(1, "click", page_path="/known")])
    check(
        page_metrics_daily.build(events, context=context()),
        [{"page": "(not set)", "views": 1, "clicks": 1, "click_views": 1}],
    )


def test_events_before_the_first_page_view_or_not_countable_are_left_out(
    spark: SparkSession, context: MakeContext
) -> None:
    events = events_frame(
        spark,
        [
            {"event_type": "click", "page_path": "/home"},  # owned by no page view
            view("/home"),
            view("/home", session_id="bot", is_countable=False),
            owned(2, "click", session_id="bot", is_countable=False),
        ],
    )
    check(page_metrics_daily.build(events, context=context()), [{"page": "/home", "views": 1}])


def test_no_events_give_no_rows(spark: SparkSession, context: MakeContext) -> None:
    check(page_metrics_daily.build(events_frame(spark, []), context=context()), [])
