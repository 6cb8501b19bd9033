"""kpi_daily: what each KPI is made of, and what its target says."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold import kpi_daily
from tests.arrivals import CONTEXT
from tests.conftest import MakeContext
from tests.model import AS_OF, kpis
from tests.model import run as run_model
from tests.model.strategies import FUNNELS, SITES, random_events, small_settings
from tests.rows import Row, day, table_frame, utc
from tests.runs import differences, in_key_order

FIFTH = day("2026-01-05")
INPUTS = ("gold.segment_metrics_daily", "gold.journey_stats_daily", "gold.funnel_daily", "gold.metric_anomalies")


def build(spark: SparkSession, context: RunContext, **tables: list[Row]) -> DataFrame:
    """The KPIs of these rows of the inputs; of site shop on the fifth unless they say otherwise."""
    unknown = set(tables) - {name.split(".")[1] for name in INPUTS}
    assert not unknown
    frames = [
        table_frame(spark, name, [{"site_id": "shop", "date": FIFTH, **row} for row in tables.get(name[5:], [])])
        for name in INPUTS
    ]
    return kpi_daily.build(*frames, context=context)


def values(built: DataFrame) -> dict[tuple[str, str], float]:
    rows = built.collect()
    found = {(row.kpi, row.dimension): row.value for row in rows}
    assert len(found) == len(rows)
    return found


def site(**measures: Any) -> Row:
    return {"dimension": "(all)", "value": "(all)", **measures}


def segment(dimension: str, value: str, sessions: int) -> Row:
    return {"dimension": dimension, "value": value, "sessions": sessions}


def test_what_the_whole_site_says(spark: SparkSession, context: MakeContext) -> None:
    whole = site(
        sessions=10,
        viewing_sessions=8,
        bounces=2,
        conversions=1,
        error_sessions=1,
        form_start_sessions=4,
        form_submit_sessions=3,
        capped_page_views=20,  # of 50
        capped_duration_us=900_000_000,  # of 1,800 s
        capped_actions=10,  # of 50
        events=100,
        bot_events=20,
        newest_event_at=utc("2026-01-05 12:00:00.500000"),
        page_views=40,
        click_views=10,
        sum_scroll_depth_pct=1000,
        load_samples=40,
        load_p50_ms=800.0,
        load_p90_ms=6500.0,
        load_p99_ms=9000.5,
    )
    journeys = {"total_journeys": 10, "unique_users": 8, "avg_duration_seconds": 61.5}
    raised = [{"metric": "sessions", "segment": "(all)"}, {"metric": "sessions", "segment": "country: DE"}]
    built = build(
        spark, context(), segment_metrics_daily=[whole], journey_stats_daily=[journeys], metric_anomalies=raised
    )
    assert values(built) == {
        (kpi, "(all)"): value
        for kpi, value in {
            "unique_visitors": 8.0,
            "page_views": 40.0,
            "bounce_rate": 0.25,
            "avg_session_duration": 61.5,
            "sessions_per_user": 1.25,
            "page_load_p50": 800.0,
            "page_load_p90": 6500.0,
            "page_load_p99": 9000.5,
            "conversion_rate": 0.1,
            "scroll_depth": 25.0,
            "click_through_rate": 0.25,
            "form_completion_rate": 0.75,
            "data_freshness": 1767614400.5,
            "bot_share": 0.2,
            "engagement_score": 100 * (20 / 5 + 900 / 180 + 10 / 5 + 8) / 40,
            # 8 % of errors above 2 of up to 20, one anomaly of 4, no more bots than usual, half way to 10 s
            "traffic_health": 100 - 30 * (0.1 - 0.02) / (0.2 - 0.02) - 30 / 4 - 20 * 0.5,
        }.items()
    }


def test_nothing_is_divided_by_nothing(spark: SparkSession, context: MakeContext) -> None:
    """A day on which only bots came."""
    built = build(spark, context(), segment_metrics_daily=[site(events=5, bot_events=5)])
    assert values(built) == {
        ("page_views", "(all)"): 0.0,
        ("bot_share", "(all)"): 1.0,
        ("traffic_health", "(all)"): 80.0,
    }


def test_the_health_of_a_day_that_is_not_complete_is_not_known(spark: SparkSession, context: MakeContext) -> None:
    rows = [site(sessions=1, date=FIFTH + timedelta(n)) for n in range(3)]
    built = build(spark, context(as_of=FIFTH + timedelta(1)), segment_metrics_daily=rows)
    healthy = built.where("kpi = 'traffic_health'").select("date", "value").collect()
    assert sorted(tuple(row) for row in healthy) == [(FIFTH, 100.0), (FIFTH + timedelta(1), 100.0)]


def test_shares_are_of_all_sessions_and_only_the_first_are_shown(spark: SparkSession, context: MakeContext) -> None:
    rows = [
        site(sessions=10),
        segment("traffic_source", "google", 5),
        segment("traffic_source", "bing", 2),
        segment("traffic_source", "ask", 2),  # as many as bing, and before it
        segment("traffic_source", "yahoo", 1),
        segment("browser", "Firefox", 10),
        segment("country", "DE", 10),
        segment("region", "DE: BY", 4),
        segment("device_type", "mobile", 6),
        segment("device_type", "desktop", 3),
        segment("device_type", "tablet", 1),
        segment("channel", "Email", 10),
    ]
    chosen = context(kpis={"top": 2})
    shares = [*kpi_daily.SHARES.values(), *kpi_daily.DEVICES.values()]
    built = build(spark, chosen, segment_metrics_daily=rows).where(F.col("kpi").isin(shares))
    assert values(built) == {
        ("traffic_by_source", "google"): 0.5,
        ("traffic_by_source", "ask"): 0.2,
        ("top_browsers", "Firefox"): 1.0,
        ("top_countries", "DE"): 1.0,
        ("top_regions", "DE: BY"): 0.4,
        ("mobile_share", "(all)"): 0.6,
        ("desktop_share", "(all)"): 0.3,
    }


def test_a_funnels_breakdowns_are_one_funnel_again(spark: SparkSession, context: MakeContext) -> None:
    def step(funnel: str, breakdown: str, number: int, journeys: int, count: int) -> Row:
        numbered = {"step_number": number, "step": "ABC"[number - 1]}
        return {"funnel": funnel, "breakdown": breakdown, **numbered, "journeys": journeys, "count": count}

    rows = [
        *[step("any", "(all)", n, 20, count) for n, count in ((1, 10), (2, 4), (3, 5))],
        *[step("way", "mobile", n, 15, count) for n, count in ((1, 6), (2, 3))],
        *[step("way", "desktop", n, 5, count) for n, count in ((1, 4), (2, 2))],
        *[step("none", "(all)", n, 20, 0) for n in (1, 2)],
    ]
    funnels = {
        "any": {"steps": [{"name": name} for name in "ABC"]},
        "way": {"mode": "ordered", "breakdown": "device_type", "steps": [{"name": "A"}, {"name": "B"}]},
        "none": {"mode": "ordered", "steps": [{"name": "A"}, {"name": "B"}]},
    }
    assert values(build(spark, context(funnels=funnels), funnel_daily=rows)) == {
        ("funnel_conversion", "any"): 0.25,  # of all journeys
        ("funnel_drop_off", "any: A"): 0.6,
        ("funnel_drop_off", "any: B"): 0.0,
        ("funnel_conversion", "way"): 0.5,  # of those that began
        ("funnel_drop_off", "way: A"): 0.5,
    }


def test_a_target_is_met_at_its_limit(spark: SparkSession, context: MakeContext) -> None:
    targets = {"bounce_rate": {"at_most": 0.5}, "conversion_rate": {"at_least": 0.5}}
    whole = {"sessions": 4, "viewing_sessions": 4, "page_views": 4}
    rows = [
        site(**whole, bounces=2, conversions=2),
        site(**whole, bounces=3, conversions=1, date=FIFTH + timedelta(1)),
    ]
    built = build(spark, context(kpis={"targets": targets}), segment_metrics_daily=rows)
    judged = built.where("kpi in ('bounce_rate', 'conversion_rate', 'page_views')")
    names = ("date", "kpi", "unit", "target", "target_kind", "status")
    assert sorted(tuple(row) for row in judged.select(*names).collect()) == [
        (FIFTH, "bounce_rate", "ratio", 0.5, "at_most", "met"),
        (FIFTH, "conversion_rate", "ratio", 0.5, "at_least", "met"),
        (FIFTH, "page_views", "page views", None, None, "no_target"),
        (FIFTH + timedelta(1), "bounce_rate", "ratio", 0.5, "at_most", "missed"),
        (FIFTH + timedelta(1), "conversion_rate", "ratio", 0.5, "at_least", "missed"),
        (FIFTH + timedelta(1), "page_views", "page views", None, None, "no_target"),
    ]


def test_random_events_give_the_models_rows(spark: SparkSession) -> None:
    model = run_model(random_events(random.Random(7), 300), SITES, FUNNELS, small_settings())
    frames = [table_frame(spark, name, model[name]) for name in INPUTS]
    found = in_key_order("gold.kpi_daily", kpi_daily.build(*frames, context=CONTEXT).toArrow().to_pylist())
    expected = kpis.kpi_daily(*[model[name] for name in INPUTS], FUNNELS, small_settings(), AS_OF)
    assert len(expected) > 300
    assert differences(found, in_key_order("gold.kpi_daily", expected)) == []
