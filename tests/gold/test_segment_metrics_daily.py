"""segment_metrics_daily: sums and load times of a day, whole and by segment."""

from __future__ import annotations

import random
from datetime import date, timedelta

from pyspark.sql import DataFrame, SparkSession

from pipelines.gold import segment_metrics_daily
from tests.arrivals import CONTEXT
from tests.conftest import MakeContext
from tests.model import kpis
from tests.model import run as run_model
from tests.model.strategies import FUNNELS, SITES, random_events, small_settings
from tests.rows import Row, day, events_frame, sessions_frame, table_frame
from tests.runs import differences, in_key_order

FIFTH = day("2026-01-05")


def picked(built: DataFrame, *names: str) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in built.select(*names).collect())


def no_pages(spark: SparkSession) -> DataFrame:
    return table_frame(spark, "gold.page_metrics_daily", [])


def test_a_session_counts_on_the_whole_and_in_each_segment_it_has(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(
        spark,
        [
            {"device_type": "mobile", "country": "DE", "region": "BY", "converted": True, "page_view_count": 3},
            {"device_type": "mobile", "channel": "Email", "traffic_source": "news", "bounced": True},
            {"device_type": "tablet", "is_countable": False},
        ],
    )
    built = segment_metrics_daily.build(sessions, events_frame(spark, []), no_pages(spark), context=context())
    assert picked(built, "dimension", "value", "sessions", "conversions", "bounces", "page_views") == [
        ("(all)", "(all)", 2, 1, 1, 0),  # page views of the whole are the pages'
        ("browser", "(unknown)", 2, 1, 1, 3),
        ("channel", "(not set)", 1, 1, 0, 3),
        ("channel", "Email", 1, 0, 1, 0),
        ("country", "(unknown)", 1, 0, 1, 0),
        ("country", "DE", 1, 1, 0, 3),
        ("device_type", "mobile", 2, 1, 1, 3),
        ("region", "(unknown): (unknown)", 1, 0, 1, 0),
        ("region", "DE: BY", 1, 1, 0, 3),
        ("traffic_source", "(not set)", 1, 1, 0, 3),
        ("traffic_source", "news", 1, 0, 1, 0),
    ]


def test_what_a_session_adds_to_engagement_is_capped(spark: SparkSession, context: MakeContext) -> None:
    """Full are 5 page views, 180 s and 5 actions."""
    sessions = sessions_frame(
        spark,
        [
            {"page_view_count": 7, "duration_seconds": 600.0, "actions": 9},
            {"page_view_count": 5, "duration_seconds": 180.0, "actions": 5},
            {"page_view_count": 1, "duration_seconds": None, "actions": 0},
        ],
    )
    built = segment_metrics_daily.build(sessions, events_frame(spark, []), no_pages(spark), context=context())
    whole = built.where("dimension = '(all)'")
    assert picked(whole, "capped_page_views", "capped_duration_us", "capped_actions") == [(11, 360_000_000, 10)]


def test_a_form_is_completed_where_it_was_begun(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(
        spark, [{"form_starts": 2, "form_submits": 1}, {"form_starts": 1}, {"form_submits": 1}, {}]
    )
    built = segment_metrics_daily.build(sessions, events_frame(spark, []), no_pages(spark), context=context())
    whole = built.where("dimension = '(all)'")
    assert picked(whole, "sessions", "form_start_sessions", "form_submit_sessions") == [(4, 2, 1)]


def test_bots_are_told_as_events_of_the_whole_and_as_sessions_only_where_they_count(
    spark: SparkSession, context: MakeContext
) -> None:
    sessions = sessions_frame(
        spark,
        [
            {"event_count": 6},
            {"event_count": 30, "is_bot": True, "is_countable": False, "device_type": "bot"},
            {"event_count": 4, "is_countable": False, "has_test_user": True},
            {"event_count": 5, "is_bot": True, "is_countable": False, "session_date": FIFTH + timedelta(1)},
            {"site_id": "blog", "event_count": 5, "is_bot": True},
        ],
    )
    built = segment_metrics_daily.build(sessions, events_frame(spark, []), no_pages(spark), context=context())
    whole = built.where("dimension in ('(all)', 'device_type')")
    assert picked(whole, "site_id", "date", "value", "sessions", "events", "bot_events") == [
        ("blog", FIFTH, "(all)", 1, 5, 5),
        ("blog", FIFTH, "(unknown)", 1, 5, 5),
        ("shop", FIFTH, "(all)", 1, 36, 30),
        ("shop", FIFTH, "(unknown)", 1, 6, 0),
        ("shop", FIFTH + timedelta(1), "(all)", 0, 5, 5),
    ]


def test_load_times_are_of_the_page_views_own_segments(spark: SparkSession, context: MakeContext) -> None:
    def view(page: str, ms: int | None, **more: object) -> Row:
        return {"event_type": "page_view", "page_path": page, "load_time_ms": ms, **more}

    events = events_frame(
        spark,
        [
            view("/a", 100, device_type="mobile"),
            view("/a", 200, device_type="desktop"),
            view("/b", 300, device_type="mobile"),
            view("/b", None),
            view("/b", 900, is_countable=False),
            {"event_type": "click", "load_time_ms": 900},
        ],
    )
    built = segment_metrics_daily.build(sessions_frame(spark, []), events, no_pages(spark), context=context())
    chosen = built.where("dimension in ('(all)', 'device_type', 'page')")
    assert picked(chosen, "dimension", "value", "load_samples", "load_p50_ms", "load_p90_ms", "sessions") == [
        ("(all)", "(all)", 3, 200.0, 280.0, 0),
        ("device_type", "desktop", 1, 200.0, 200.0, 0),
        ("device_type", "mobile", 2, 200.0, 280.0, 0),
        ("page", "/a", 2, 150.0, 190.0, 0),
        ("page", "/b", 1, 300.0, 300.0, 0),
    ]


def test_pages_add_up_to_the_whole(spark: SparkSession, context: MakeContext) -> None:
    pages = [
        {"page": "/a", "views": 3, "error_views": 1, "click_views": 2, "sum_scroll_depth_pct": 150},
        {"page": "/b", "views": 1, "error_views": 0, "click_views": 1, "sum_scroll_depth_pct": 10},
    ]
    frame = table_frame(spark, "gold.page_metrics_daily", [{"site_id": "shop", **page} for page in pages])
    built = segment_metrics_daily.build(sessions_frame(spark, []), events_frame(spark, []), frame, context=context())
    assert picked(built, "value", "page_views", "error_views", "click_views", "sum_scroll_depth_pct") == [
        ("(all)", 4, 1, 3, 160),
        ("/a", 3, 1, 2, 150),
        ("/b", 1, 0, 1, 10),
    ]


def test_random_events_give_the_models_rows(spark: SparkSession) -> None:
    rng = random.Random(6)
    model = run_model(random_events(rng, 300), SITES, FUNNELS, small_settings())
    for event in model["silver.events"]:
        event |= {"load_time_ms": rng.choice((None, 0, 1, 120, 999)), "event_date": date(2026, 3, rng.randint(9, 11))}
        event |= {"device_type": rng.choice((None, "mobile")), "batch_id": 1, "first_source": "web"}
    for session in model["silver.sessions"]:
        session |= {"region": rng.choice((None, "BY")), "created_at": CONTEXT.started_at}
    silver = {name: model[f"silver.{name}"] for name in ("sessions", "events")}
    pages = model["gold.page_metrics_daily"]
    built = segment_metrics_daily.build(
        table_frame(spark, "silver.sessions", silver["sessions"]),
        table_frame(spark, "silver.events", silver["events"]),
        table_frame(spark, "gold.page_metrics_daily", pages),
        context=CONTEXT,
    )
    table = "gold.segment_metrics_daily"
    found = in_key_order(table, built.toArrow().to_pylist())
    expected = kpis.segment_metrics_daily(silver["sessions"], silver["events"], pages, small_settings())
    assert len(found) > 100
    assert differences(found, in_key_order(table, expected)) == []
