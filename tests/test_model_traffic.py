"""The oracle's tables of traffic and attribution, held to cases that were worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pipelines.settings import ConversionRule, SessionRule, Site
from tests.model.examples import NOON, event, picked, run

DAY = 86_400


def came_from(source: str) -> dict[str, str]:
    return {"channel": "Referral", "traffic_source": source}


def test_windows_of_five_minutes_with_the_sessions_that_start_in_them() -> None:
    result = run(
        event("a", 0),
        event("b", 299.999999, "purchase"),
        event("c", 300, "error"),
        event("d", 301, "click", anonymous_id="w"),
        event("e", 302, is_bot=True, bot_reason="x", anonymous_id="bot"),
    )
    columns = ("window_start", "events", "page_views", "visitors", "sessions_started", "purchases", "errors")
    assert picked(result["gold.traffic_5min"], *columns, "bot_events") == [
        (NOON, 2, 1, 1, 1, 1, 0, 0),
        (NOON + timedelta(minutes=5), 2, 0, 2, 1, 0, 1, 1),
    ]


def test_sessions_by_source_and_place() -> None:
    result = run(
        event("a", 0, **came_from("news"), country="DE"),
        event("b", 1, "purchase", value=Decimal("5.0000")),
        event("c", 0, anonymous_id="w"),
        event("d", 0, anonymous_id="x", page=None),
    )
    columns = ("channel", "traffic_source", "campaign", "sessions", "bounces", "conversions", "revenue")
    assert picked(result["gold.traffic_sources_daily"], *columns) == [
        ("Direct", "(direct)", "(not set)", 2, 2, 0, 0),
        ("Referral", "news", "(not set)", 1, 1, 1, 5),
    ]
    assert picked(result["gold.geo_daily"], "country", "region", "visitors", "page_views", "conversions") == [
        ("(unknown)", "(unknown)", 2, 2, 0),
        ("DE", "(unknown)", 1, 1, 1),
    ]
    assert picked(result["gold.devices_daily"], "device_type", "browser", "os", "sessions") == [
        ("(unknown)", "(unknown)", "(unknown)", 3)
    ]


def test_load_times_between_two_values() -> None:
    times = [40, 10, 30, 20, 50]
    rows = run(*(event(str(time), time, load_time_ms=time) for time in times))["gold.page_performance_daily"]
    columns = ("page", "device_type", "samples", "p50_ms", "p90_ms", "p99_ms")
    assert picked(rows, *columns) == [("/", "(unknown)", 5, 30.0, 46.0, 49.6)]


def test_flows_with_entry_and_exit() -> None:
    result = run(
        event("a", 0, page="/a"),
        event("b", 1, page="/b"),
        event("c", 2, page="/b"),
        event("d", 0, page="/a", anonymous_id="w"),
        event("e", 0, page=None, anonymous_id="x"),
        event("f", 0, "click", anonymous_id="y"),
    )
    assert picked(result["gold.flow_transitions_daily"], "from_page", "to_page", "transitions", "sessions") == [
        ("(entry)", "(not set)", 1, 1),
        ("(entry)", "/a", 2, 2),
        ("(not set)", "(exit)", 1, 1),
        ("/a", "(exit)", 1, 1),
        ("/a", "/b", 1, 1),
        ("/b", "(exit)", 1, 1),
        ("/b", "/b", 1, 1),
    ]
    assert picked(result["gold.flow_patterns_daily"], "path", "sessions", "share") == [
        ("(not set)", 1, 1 / 3),
        ("/a", 1, 1 / 3),
        ("/a > /b > /b", 1, 1 / 3),
    ]


def attributed(rows: list[dict[str, Any]], model: str) -> dict[str, tuple[Decimal, Decimal]]:
    return {row["source"]: (row["conversions"], row["revenue"]) for row in rows if row["model"] == model}


@pytest.mark.parametrize(
    ("model", "credits"),
    [
        ("first", {"a": ("1", "0.05")}),
        ("last", {"(direct)": ("1", "0.05")}),
        ("last_non_direct", {"b": ("1", "0.05")}),
        ("linear", {"a": ("0.333333", "0.02"), "b": ("0.333333", "0.02"), "(direct)": ("0.333334", "0.01")}),
        ("position", {"a": ("0.4", "0.02"), "b": ("0.2", "0.01"), "(direct)": ("0.4", "0.02")}),
        ("time_decay", {"a": ("0.142857", "0.01"), "b": ("0.285714", "0.01"), "(direct)": ("0.571429", "0.03")}),
    ],
)
def test_how_a_model_divides_a_conversion_of_three_touches(model: str, credits: dict[str, tuple[str, str]]) -> None:
    rows = run(
        event("a", 0, **came_from("a")),
        event("b", 7 * DAY, **came_from("b")),
        event("c", 14 * DAY, "purchase", value=Decimal("0.05")),
    )["gold.attribution_daily"]
    expected = {source: tuple(map(Decimal, credit)) for source, credit in credits.items()}
    assert attributed(rows, model) == expected
    assert {row["date"] for row in rows} == {date(2026, 1, 19)}


def test_touches_reach_back_thirty_days_and_repeats_collapse_into_the_latest() -> None:
    microsecond = 0.000001
    result = run(
        event("a", -microsecond, **came_from("early"), anonymous_id="x"),
        event("b", 0, **came_from("a"), anonymous_id="y"),
        event("c", 23 * DAY, **came_from("a"), anonymous_id="y"),
        event("d", 30 * DAY, "purchase", **came_from("b"), anonymous_id="x"),
        event("e", 30 * DAY, "purchase", **came_from("b"), anonymous_id="y"),
    )
    decayed = attributed(result["gold.attribution_daily"], "time_decay")
    assert decayed == {"a": (Decimal("0.333333"), 0), "b": (Decimal("1.666667"), 0)}
    assert ("Referral: a > Referral: b", 2, 1, 1) in picked(
        result["gold.touch_paths_daily"], "path", "touches", "sessions", "conversions"
    )


def test_a_conversion_counts_on_its_own_date_but_at_most_thirty_days_after_its_session_began() -> None:
    client = Site(session=SessionRule(key="client"), conversion=ConversionRule(end_page="/end"), timezone="Asia/Tokyo")
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    rows = run(
        event("a", noon, client_session_id="short"),
        event("b", noon + timedelta(hours=4), page="/end", client_session_id="short"),
        event("c", noon, client_session_id="long", anonymous_id="w", **came_from("w")),
        event("d", noon + timedelta(days=50), page="/end", client_session_id="long", anonymous_id="w"),
        site=client,
    )["gold.attribution_daily"]
    assert picked([row for row in rows if row["model"] == "last"], "date", "source") == [
        (date(2026, 1, 6), "(direct)"),
        (date(2026, 2, 4), "w"),
    ]
