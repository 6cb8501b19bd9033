"""Every gold table about persons against the plain-Python model, on random days and sessions."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts import contract
from pipelines.gold import (
    active_users_by_segment_daily,
    active_users_daily,
    activity_histogram,
    cohort_progression,
    cohort_retention,
    engagement_tiers_daily,
    lifecycle,
    user_engagement,
)
from pipelines.settings import Site
from tests.conftest import MakeContext
from tests.model import activity
from tests.rows import Row, sessions_frame, user_days_frame
from tests.runs import differences, in_key_order

SITES: dict[str, Any] = {
    "plain": {},
    "sundays": {"week_start": "sunday"},
    "strict": {"week_start": "saturday", "activity_threshold": 2, "single_event_duration": "zero"},
}
PAUSES = (1, 1, 1, 2, 3, 6, 7, 8, 29, 30, 31, 45)
"""Days from one day of a person to the next: around every window."""


@dataclass(frozen=True)
class ModelSession:
    """As much of the model's session as profiles read."""

    site_id: str
    site: Site
    events: list[Row]
    session_date: date
    duration_us: int | None
    is_countable: bool


def random_days(rng: random.Random, first: date, days: int) -> tuple[list[Row], list[Row]]:
    """user_days and sessions of some persons of every site."""
    user_days, sessions = [], []
    for site_id in SITES:
        for number in range(rng.randint(2, 6)):
            person = {"site_id": site_id, "person_id": f"person {number}"}
            on = first + timedelta(days=rng.randint(0, days))
            while on < first + timedelta(days=days):
                started = rng.choice((0, 1, 1, 2))
                user_days.append({**person, "date": on, "events": rng.randint(0, 4), "sessions": started})
                sessions += [
                    {
                        **person,
                        "session_date": on,
                        "duration_seconds": rng.choice((None, 1.5, 100.0)),
                        "is_countable": rng.random() < 0.9,
                        "device_type": rng.choice((None, "mobile", "desktop")),
                        "country": rng.choice((None, "DE")),
                        "channel": rng.choice(("Direct", "Email")),
                    }
                    for _ in range(started)
                ]
                on += timedelta(days=rng.choice(PAUSES))
    return user_days, sessions


@pytest.mark.parametrize(
    ("seed", "first", "days", "as_of"),
    [(1, date(2025, 11, 20), 120, date(2026, 2, 28)), (2, date(2023, 12, 30), 830, date(2026, 3, 7))],
)
def test_random_days_of_persons(
    spark: SparkSession, context: MakeContext, seed: int, first: date, days: int, as_of: date
) -> None:
    user_days, sessions = random_days(random.Random(seed), first, days)
    chosen = context(sites=SITES, as_of=as_of, tiers={"power": 6, "core": 5, "regular": 3, "casual": seed})
    sites, settings = chosen.sites, chosen.settings
    model_sessions: list[Any] = [
        ModelSession(
            row["site_id"],
            sites.of(row["site_id"]),
            [row],
            row["session_date"],
            None if row["duration_seconds"] is None else round(row["duration_seconds"] * 1_000_000),
            row["is_countable"],
        )
        for row in sessions
    ]
    profiles = activity.user_engagement(user_days, model_sessions, sites, settings, as_of)
    stored_days, stored_sessions = user_days_frame(spark, user_days), sessions_frame(spark, sessions)
    histogram = activity_histogram.build(stored_days, context=chosen)
    engagement = user_engagement.build(stored_days, stored_sessions, context=chosen)
    compared = {
        "active_users_daily": (
            active_users_daily.build(stored_days, context=chosen),
            activity.active_users_daily(user_days, sites),
        ),
        "active_users_by_segment_daily": (
            active_users_by_segment_daily.build(stored_days, stored_sessions, context=chosen),
            activity.active_users_by_segment_daily(user_days, sessions, sites, settings),
        ),
        "activity_histogram": (histogram, activity.activity_histogram(user_days, sites)),
        "engagement_tiers_daily": (
            engagement_tiers_daily.build(histogram, context=chosen),
            activity.engagement_tiers_daily(user_days, sites, settings.tiers),
        ),
        "lifecycle": (lifecycle.build(stored_days, context=chosen), activity.lifecycle(user_days, sites)),
        "cohort_retention": (
            cohort_retention.build(stored_days, context=chosen),
            activity.cohort_retention(user_days, sites, as_of),
        ),
        "user_engagement": (engagement, profiles),
        "cohort_progression": (
            cohort_progression.build(engagement, context=chosen),
            activity.cohort_progression(profiles),
        ),
    }
    for name, (built, expected) in compared.items():
        table = f"gold.{name}"
        assert expected, f"{table}: random days leave it empty"
        assert dict(built.dtypes) == {column.name: column.type for column in contract(table).columns}, table
        found = [row.asDict() for row in built.collect()]
        assert differences(in_key_order(table, found), in_key_order(table, expected)) == [], table
