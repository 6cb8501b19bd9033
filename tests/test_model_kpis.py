"""The oracle's KPIs, segments and anomalies, held to cases that were worked out by hand."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from pipelines.settings import load_settings
from tests.model.examples import event, picked, run
from tests.model.metric_anomalies import metric_anomalies
from tests.model.strategies import small_settings

LAST = date(2026, 2, 28)


def kpis(*events: dict[str, Any]) -> dict[tuple[str, str], float]:
    return {(row["kpi"], row["dimension"]): row["value"] for row in run(*events)["gold.kpi_daily"]}


def test_kpis_of_two_sessions() -> None:
    found = kpis(
        event("a", 0, scroll_depth_pct=50, load_time_ms=100, device_type="mobile"),
        event("b", 10, "click"),
        event("c", 60, "form_start"),
        event("d", 90, load_time_ms=300),
        event("e", 90, "purchase"),
        event("f", 0, anonymous_id="w", device_type="desktop", country="DE"),
    )
    expected = {
        "unique_visitors": 2,
        "page_views": 3,
        "bounce_rate": 0.5,
        "avg_session_duration": 90,
        "sessions_per_user": 1,
        "page_load_p50": 200,
        "conversion_rate": 0.5,
        "mobile_share": 0.5,
        "desktop_share": 0.5,
        "scroll_depth": 50 / 3,
        "click_through_rate": 1 / 3,
        "form_completion_rate": 0,
        "bot_share": 0,
        # page views 3 of 5 twice, 90 s of 180 twice, actions 3 of 5 twice, one of two not bounced: of four parts each
        "engagement_score": 100 * (3 / 5 + 1 / 2 + 3 / 5 + 1) / 8,
    }
    assert {kpi: found[kpi, "(all)"] for kpi in expected} == pytest.approx(expected)
    assert found["top_countries", "DE"] == 0.5


def test_a_page_view_belongs_to_the_whole_and_to_its_page() -> None:
    rows = run(event("a", 0, page="/a"), event("b", 1, "error"), event("c", 2, page="/b"))
    segments = [row for row in rows["gold.segment_metrics_daily"] if row["dimension"] in ("(all)", "page", "browser")]
    assert picked(segments, "dimension", "value", "sessions", "error_sessions", "page_views", "error_views") == [
        ("(all)", "(all)", 1, 1, 2, 1),
        ("browser", "(unknown)", 1, 1, 2, 0),
        ("page", "/a", 0, 0, 1, 1),
        ("page", "/b", 0, 0, 1, 0),
    ]


def test_a_day_far_from_the_days_before_it() -> None:
    settings = load_settings("local").metric_anomalies
    names = ("viewing_sessions", "bounces", "conversions", "error_sessions", "events", "bot_events", "page_views")
    rows = [
        {
            **dict.fromkeys((*names, "error_views", "load_samples"), 0),
            "site_id": "s",
            "dimension": "(all)",
            "value": "(all)",
            "load_p90_ms": None,
            "date": LAST - timedelta(days),
            "sessions": 50 if days == 0 else 400,
        }
        for days in range(10)
    ]
    [found] = metric_anomalies(rows, settings, LAST)
    # MAD 0 and √400 = 5 % of 400 = 20.
    assert (found["metric"], found["expected"], found["low"], found["high"]) == ("sessions", 400, 300, 500)
    assert (found["score"], found["severity"], found["compared_days"]) == (-17.5, "critical", 9)


def test_rage_clicks_loops_and_paths_of_sessions() -> None:
    """small_settings: two clicks on one element within a minute, two times from one page to another."""
    assert small_settings().anomalies.dead_loop.repeats == 2
    rows = run(
        *[event(f"a{n}", 30 * n, page=page) for n, page in enumerate(("/a", "/b", "/a", "/b"))],
        *[event(f"b{n}", n, "click", element_selector="#pay", anonymous_id="w") for n in (0, 59.9, 120)],
    )["gold.session_anomalies"]
    assert picked(rows, "kind", "observed") == [("dead_loop", 2.0), ("rage_click", 2.0)]
