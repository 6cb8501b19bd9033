"""The oracle's gold tables, held to cases that were worked out by hand."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pipelines.funnels import Funnels
from pipelines.settings import SessionRule, Site
from tests.model import Row
from tests.model.examples import NOON, event, picked, run

# --- pages ----------------------------------------------------------------------------------------------------------


def test_a_page_view_owns_its_events_until_the_next_one_even_past_midnight() -> None:
    before = datetime(2026, 1, 5, 23, 59, 50, tzinfo=UTC)
    at = [before + timedelta(seconds=seconds) for seconds in (-1, 0, 20, 30, 31, 33)]
    result = run(
        event("x", at[0], "error"),  # before any page view: nobody's
        event("a", at[1], page="/a"),
        event("b", at[2], "error", page="/elsewhere", scroll_depth_pct=80),
        event("c", at[3], page=None),
        event("d", at[4], "error"),
        event("e", at[5], "error"),
    )
    columns = ("event_id", "page_view_number", "page_view_date", "time_on_page_us", "is_entry", "is_exit")
    assert picked(result["silver.events"], *columns) == [
        ("a", 1, date(2026, 1, 5), 30_000_000, True, False),
        ("b", 1, date(2026, 1, 5), None, False, False),
        ("c", 2, date(2026, 1, 6), 3_000_000, False, True),
        ("d", 2, date(2026, 1, 6), None, False, False),
        ("e", 2, date(2026, 1, 6), None, False, False),
        ("x", None, None, None, False, False),
    ]
    page_columns = ("date", "page", "views", "entries", "exits", "bounces", "abandonments", "errors", "error_rate")
    assert picked(result["gold.page_metrics_daily"], *page_columns) == [
        (date(2026, 1, 5), "/a", 1, 1, 0, 0, 0, 1, 1.0),
        (date(2026, 1, 6), "(not set)", 1, 0, 1, 0, 1, 2, 1.0),
    ]
    averages = ("page", "avg_time_on_page_seconds", "avg_scroll_depth_pct")
    assert picked(result["gold.page_metrics_daily"], *averages) == [("(not set)", 3.0, 0.0), ("/a", 30.0, 80.0)]


def test_page_views_that_share_an_id_in_one_session_are_two() -> None:
    site = Site(session=SessionRule(key="client"))
    result = run(
        event("p", 0, page="/a", client_session_id="c"),
        event("e", 1, "error", client_session_id="c"),
        event("p", 86_400, page="/b", client_session_id="c"),
        site=site,
    )
    assert picked(result["gold.page_metrics_daily"], "date", "page", "views", "errors") == [
        (date(2026, 1, 5), "/a", 1, 1),
        (date(2026, 1, 6), "/b", 1, 0),
    ]


# --- days -----------------------------------------------------------------------------------------------------------


def test_leaving_a_converted_session_is_no_abandonment() -> None:
    result = run(event("a", 0), event("b", 1, "purchase"))
    assert picked(result["gold.page_metrics_daily"], "exits", "bounces", "abandonments") == [(1, 1, 0)]


def test_a_person_leaves_the_week_after_7_and_the_month_after_30_days() -> None:
    rows = run(event("a", 0), event("b", 86_400, anonymous_id="w"))["gold.active_users_daily"]
    start = NOON.date()
    days = picked(rows, "date", "dau", "wau", "mau", "stickiness")
    assert days[0] == (start, 1, 1, 1, 1.0)
    assert days[1] == (start + timedelta(1), 1, 2, 2, 0.5)
    assert days[6] == (start + timedelta(6), 0, 2, 2, 0.0)
    assert days[7] == (start + timedelta(7), 0, 1, 2, 0.0)
    assert days[8] == (start + timedelta(8), 0, 0, 2, 0.0)
    assert days[29] == (start + timedelta(29), 0, 0, 2, 0.0)
    assert days[30] == (start + timedelta(30), 0, 0, 1, 0.0)
    assert len(days) == 31


def test_tiers_by_active_days_of_the_window() -> None:
    """small_settings: regular from 2 active days, core from 4."""
    rows = run(*(event(str(day), day * 86_400) for day in range(4)))["gold.engagement_tiers_daily"]
    start = NOON.date()
    days = picked(rows, "date", "tier", "users")
    assert days[:4] == [(start + timedelta(d), t, 1) for d, t in enumerate(["casual", "regular", "regular", "core"])]
    assert [tier for _, tier, _ in days[-4:]] == ["core", "regular", "regular", "casual"]
    assert days[-1][0] == start + timedelta(32)


def test_a_person_below_the_threshold_of_events_is_not_active() -> None:
    result = run(event("a", 0), site=Site(activity_threshold=2))
    assert len(result["silver.user_days"]) == 1
    assert result["gold.active_users_daily"] == result["gold.engagement_tiers_daily"] == []


@pytest.mark.parametrize(("rule", "average"), [("null", 20.0), ("zero", 10.0)])
def test_journey_stats_of_a_day(rule: Any, average: float) -> None:
    [row] = run(
        event("a", 0, page="/a"),
        event("b", 20, "purchase", page="/b"),
        event("c", 0, "error", page=None, anonymous_id="w"),
        site=Site(single_event_duration=rule),
    )["gold.journey_stats_daily"]
    assert row == {
        "site_id": "s",
        "date": NOON.date(),
        "total_journeys": 2,
        "unique_users": 2,
        "avg_duration_seconds": average,
        "avg_pages_per_journey": 1.0,
        "bounce_rate": 1.0,
        "error_rate_pct": 50.0,
        "conversion_rate_pct": 50.0,
    }


def test_unique_users_are_persons_not_devices() -> None:
    rows = run(
        event("a", 0, user_id="u"),
        event("b", 0, anonymous_id="w", user_id="u"),
        event("c", 5, anonymous_id="w"),
    )["gold.journey_stats_daily"]
    assert picked(rows, "total_journeys", "unique_users") == [(2, 1)]


def test_no_duration_at_all_averages_to_null_or_zero() -> None:
    averages = {
        rule: run(event("a", 0), site=Site(single_event_duration=rule))["gold.journey_stats_daily"][0]
        for rule in ("null", "zero")
    }
    assert {rule: row["avg_duration_seconds"] for rule, row in averages.items()} == {"null": None, "zero": 0.0}


def test_funnel_of_presence_counts_steps_in_any_order() -> None:
    funnels = Funnels.model_validate(
        {
            "funnels": {
                "buy": {"steps": [{"name": "Cart", "page": "cart/\\d$"}, {"name": "Pay", "event_type": "purchase"}]},
                "elsewhere": {"sites": ["other"], "steps": [{"name": "Any"}]},
                "none": {"steps": []},
            }
        }
    )
    rows = run(
        event("a", 0, "purchase", page=None),
        event("b", 1, page="/cart/1"),
        event("c", 0, "purchase", page="/cart", anonymous_id="w"),
        event("d", 0, anonymous_id="x"),
        event("e", 0, anonymous_id="y"),
        funnels=funnels,
    )["gold.funnel_daily"]
    columns = ("funnel", "step_number", "step", "journeys", "count", "drop_off")
    assert picked(rows, *columns) == [("buy", 1, "Cart", 4, 1, 3), ("buy", 2, "Pay", 4, 2, 0)]
    assert picked(rows, "step_number", "drop_off_rate", "step_rate", "conversion_rate") == [
        (1, 0.0, 0.25, 0.25),
        (2, 0.0, 2.0, 0.5),
    ]


def test_a_falling_funnel_loses_to_the_next_step_what_that_step_does_not_reach() -> None:
    steps = [
        {"name": "One", "page": "^/1"},
        {"name": "Pro", "properties": {"plan": "pro"}},
        {"name": "Three", "page": "^/3"},
    ]
    funnels = Funnels.model_validate({"funnels": {"f": {"steps": steps}}})
    rows = run(
        *(event(f"1{visitor}", 0, page="/1", anonymous_id=visitor) for visitor in "abcd"),
        *(event(f"2{visitor}", 1, "click", properties={"plan": "pro"}, anonymous_id=visitor) for visitor in "ab"),
        event("2c", 1, "click", properties={"plan": "free"}, anonymous_id="c"),
        event("3a", 2, page="/3", anonymous_id="a"),
        event("0e", 0, anonymous_id="e"),
        funnels=funnels,
    )["gold.funnel_daily"]
    columns = ("step_number", "count", "drop_off", "drop_off_rate", "step_rate", "conversion_rate")
    assert picked(rows, *columns) == [(1, 4, 1, 0.5, 0.8, 0.8), (2, 2, 2, 0.5, 0.5, 0.4), (3, 1, 1, 0.0, 0.5, 0.2)]


# --- anomalies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pause", "found"), [(300, []), (300.000001, [("long_gap", "temporal", 300.000001, None)])])
def test_a_long_gap_is_longer_than_the_limit(pause: float, found: list[Any]) -> None:
    rows = run(event("a", 0), event("b", 5), event("c", 5 + pause))["gold.session_anomalies"]
    assert picked(rows, "kind", "category", "observed", "score") == found


@pytest.mark.parametrize(
    ("text", "hits"),
    [("Failed!", 1), ("HTTP 404", 1), ("terror", 0), ("error_box", 0), ("404s", 0), ("time-out", 0), ("x.timeout", 1)],
)
def test_error_words_stand_as_whole_words(text: str, hits: int) -> None:
    rows = run(event("a", 0), event("b", 1, "click", element_text=text))["gold.session_anomalies"]
    assert picked(rows, "kind", "observed") == [("error_keyword", float(hits))] * hits


def test_high_activity_by_the_minute_limit_flags_sessions_that_do_not_count_too() -> None:
    """small_settings: more than 8 events in [t, t + 60 s)."""
    at_limit = [event(f"a{n}", second, "click") for n, second in enumerate((*range(7), 59.999999, 60))]
    assert run(*at_limit)["gold.session_anomalies"] == []
    above = [event(f"a{n}", second, "click") for n, second in enumerate((*range(8), 59.999999))]
    assert picked(run(*above)["gold.session_anomalies"], "kind", "observed", "score") == [("high_activity", 9.0, None)]
    bot = [{**row, "is_bot": True, "bot_reason": "user_agent"} for row in above]
    assert picked(run(*bot)["gold.session_anomalies"], "kind", "observed", "score") == [("high_activity", 9.0, None)]


def test_a_burst_has_no_score() -> None:
    """9 events within a minute are a bot's, which the day's statistics leave out."""
    pauses = {"burst": (9, 1), "two": (2, 50), "four": (4, 50), "six": (6, 50), "eight": (8, 50)}
    rows = run(
        *(
            event(f"{visitor}{n}", n * pause, "click", anonymous_id=visitor)
            for visitor, (count, pause) in pauses.items()
            for n in range(count)
        )
    )["gold.session_anomalies"]
    assert picked(rows, "kind", "observed", "score") == [("high_activity", 9.0, None)]


def test_outliers_by_median_and_mad_of_the_day() -> None:
    """Durations 0, 1, 3, 7 and 299 s: ln(1 + s) is 0, 1, 2, 3 and log2(300) times ln 2, so median 2 and MAD 1 ln 2."""
    events = []
    for visitor, seconds in enumerate((0, 1, 3, 7, 299)):
        events += [event(f"{visitor}{end}", end * seconds, "click", anonymous_id=str(visitor)) for end in (0, 1)]
    rows = run(*events)["gold.session_anomalies"]
    [(kind, observed, score)] = picked(rows, "kind", "observed", "score")
    assert (kind, observed) == ("duration_outlier", 299.0)
    assert score == pytest.approx(0.6745 * (math.log2(300) - 2), abs=1e-12)

    [(kind, score)] = picked(run(*events[2:])["gold.session_anomalies"], "kind", "score")
    assert (kind, score) == ("duration_outlier", pytest.approx(0.6745 * (math.log2(300) - 2.5), abs=1e-12))
    assert run(*events[4:])["gold.session_anomalies"] == []  # three sessions are too few for statistics


def test_activity_outlier_has_its_score_and_a_spread_of_none_flags_nothing() -> None:
    def sessions(*counts: int) -> list[Row]:
        return [
            event(f"{visitor}.{n}", n * 200, "click", anonymous_id=str(visitor))
            for visitor, count in enumerate(counts)
            for n in range(count)
        ]

    rows = [row for row in run(*sessions(1, 2, 3, 4, 12))["gold.session_anomalies"] if row["kind"] == "high_activity"]
    assert picked(rows, "observed", "score") == [(12.0, pytest.approx(0.6745 * 9, abs=1e-12))]
    assert run(*sessions(1, 1, 1, 1, 3))["gold.session_anomalies"] == []
