"""The oracle's tables about persons, held to cases that were worked out by hand."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from pipelines.settings import Site
from tests.model import Row
from tests.model.examples import NOON, event, picked, run

START = NOON.date()
"""Monday, January 5, 2026; the model's last complete date is April 30."""


def on_days(*days: int, **more: object) -> list[Row]:
    """An event of one visitor at noon, so many days after START."""
    visitor = more.get("anonymous_id", "v")
    return [event(f"{visitor}{number}", number * 86_400, **more) for number in days]  # type: ignore[arg-type]


def test_lifecycle_of_one_person_by_day_and_month() -> None:
    rows = run(*on_days(0, 1, 3, 60))["gold.lifecycle"]
    states = ("period_start", "new", "returning", "resurrected", "dormant")
    found = {period: picked([row for row in rows if row["period"] == period], *states) for period in ("day", "month")}
    assert found["day"] == [
        (START, 1, 0, 0, 0),
        (START + timedelta(1), 0, 1, 0, 0),
        (START + timedelta(2), 0, 0, 0, -1),
        (START + timedelta(3), 0, 0, 1, 0),
        (START + timedelta(4), 0, 0, 0, -1),
        (START + timedelta(60), 0, 0, 1, 0),  # March 6
        (START + timedelta(61), 0, 0, 0, -1),
    ]
    january = START.replace(day=1)
    assert found["month"] == [
        (january, 1, 0, 0, 0),
        (january.replace(month=2), 0, 0, 0, -1),
        (january.replace(month=3), 0, 0, 1, 0),
        (january.replace(month=4), 0, 0, 0, -1),
    ]


@pytest.mark.parametrize(("week_start", "weeks"), [("monday", [0, 7]), ("tuesday", [-6, 1]), ("sunday", [-1, 6])])
def test_weeks_begin_where_the_site_says(week_start: str, weeks: list[int]) -> None:
    rows = run(*on_days(0), site=Site.model_validate({"week_start": week_start}))["gold.lifecycle"]
    starts = picked([row for row in rows if row["period"] == "week"], "period_start", "new", "dormant")
    assert starts == [(START + timedelta(weeks[0]), 1, 0), (START + timedelta(weeks[1]), 0, -1)]


def test_cohorts_have_rows_for_complete_periods_only() -> None:
    rows = run(*on_days(0, 8), *on_days(0, 29, anonymous_id="w"), *on_days(114, 115, anonymous_id="x"))[
        "gold.cohort_retention"
    ]
    columns = ("n", "cohort_size", "active", "retention", "unbounded_retention")
    by_month = [row for row in rows if row["period"] == "month" and row["cohort_start"].month == 1]
    assert picked(by_month, *columns) == [
        *[(0, 2, 2, 1.0, 1.0), (1, 2, 1, 0.5, 0.5), (2, 2, 0, 0.0, 0.0), (3, 2, 0, 0.0, 0.0)]
    ]
    days = {row["n"]: row for row in rows if row["period"] == "day" and row["cohort_start"] == START}
    assert len(days) == 91
    assert [days[n]["stickiness"] for n in (0, 1, 8, 29, 30)] == [1.0, 0.0, 0.5, 0.5, 0.0]
    last = [row for row in rows if row["period"] == "day" and row["cohort_start"] == START + timedelta(114)]
    assert picked(last, *columns) == [(0, 1, 1, 1.0, 1.0), (1, 1, 1, 1.0, 1.0)]  # April 29 and 30


def test_a_profile_as_of_the_last_complete_date() -> None:
    [profile] = run(*on_days(0, 102, 110), event("z", 110 * 86_400 + 30, "click"))["gold.user_engagement"]
    assert profile == {
        "site_id": "s",
        "person_id": "v",
        "as_of_date": START + timedelta(115),
        "first_active_date": START,
        "active_days_30": 2,
        "avg_daily_sessions": 2 / 30,
        "avg_session_duration_seconds": 30.0,
        "days_since_active": 5,
        "active_days_current_week": 1,
        "active_days_previous_week": 1,
        "trend": "stable",
        "churn_risk": Decimal("0.7"),  # 0.2 + 0.3 + 0.2
        "is_at_risk": True,
        "tier": "regular",  # small_settings: from 2 active days
    }


def test_progression_groups_profiles_by_their_first_month() -> None:
    rows = run(*on_days(0), *on_days(1, anonymous_id="w"), *on_days(115, anonymous_id="x"))["gold.cohort_progression"]
    columns = ("cohort_month", "tier", "users", "total", "avg_churn_risk")
    january = START.replace(day=1)
    assert picked(rows, *columns) == [
        (january, "at_risk", 2, 2, 0.9),  # 0.4 + 0.3 + 0.2
        (january.replace(month=4), "casual", 1, 1, pytest.approx(0.4)),  # 0.3 + 0.2 - 0.1 for the increase
    ]


def test_actions_of_a_closing_source_need_their_session_end() -> None:
    rows = run(
        event("a", 0),
        event("b", 1, "like"),
        event("c", 2, "like", anonymous_id="w", source="canonical"),
        *[
            event(f"d{n}", n, kind, anonymous_id="x", source="canonical")
            for n, kind in ((3, "view"), (4, "session_end"))
        ],
    )["gold.engagement_actions_daily"]
    assert picked(rows, "action", "count", "sessions") == [("like", 1, 1), ("view", 1, 1)]


def test_a_person_counts_in_each_device_of_the_day() -> None:
    rows = run(event("a", 0, device_type="mobile"), event("b", 9_000, device_type="desktop"), event("c", 20_000))[
        "gold.active_users_by_segment_daily"
    ]
    found = [row for row in rows if row["date"] == START and row["dimension"] in ("device_type", "tier")]
    assert picked(found, "value", "dau", "mau") == [
        *[("(unknown)", 1, 1), ("casual", 1, 1), ("desktop", 1, 1), ("mobile", 1, 1)]
    ]


def test_the_histogram_counts_active_days_of_the_window() -> None:
    rows = run(*on_days(0, 1), *on_days(1, anonymous_id="w"))["gold.activity_histogram"]
    days = {
        day: picked([row for row in rows if row["date"] == START + timedelta(day)], "active_days", "users")
        for day in (0, 1, 29, 30, 31)
    }
    assert days == {0: [(1, 1)], 1: [(1, 1), (2, 1)], 29: [(1, 1), (2, 1)], 30: [(1, 2)], 31: []}
