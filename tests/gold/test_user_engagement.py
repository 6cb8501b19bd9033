"""user_engagement: every person ever active, as the last complete date finds them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.gold import user_engagement
from tests.conftest import MakeContext
from tests.rows import Row, day, sessions_frame, user_days_frame

AS_OF = day("2026-02-28")


def days_ago(*offsets: int, person: str = "ann", sessions: int = 1, **more: Any) -> list[Row]:
    """user_days of a person so many days before AS_OF."""
    return [
        {"person_id": person, "date": AS_OF - timedelta(days=offset), "events": 1, "sessions": sessions, **more}
        for offset in offsets
    ]


def build(spark: SparkSession, context: RunContext, days: list[Row], sessions: list[Row] | None = None) -> DataFrame:
    return user_engagement.build(user_days_frame(spark, days), sessions_frame(spark, sessions or []), context=context)


def picked(built: DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in built.select(*columns).collect())


def test_a_profile_holds_what_the_last_thirty_days_show(spark: SparkSession, context: MakeContext) -> None:
    days = days_ago(0, 6, 7, 13, 14, 29, sessions=2) + days_ago(30, 400, sessions=9)
    sessions = [
        {"session_date": AS_OF, "duration_seconds": 30.0},
        {"session_date": AS_OF - timedelta(29), "duration_seconds": 15.5},
        {"session_date": AS_OF - timedelta(1)},  # one event: no duration
        {"session_date": AS_OF, "duration_seconds": 99.0, "is_countable": False},
        {"session_date": AS_OF - timedelta(30), "duration_seconds": 99.0},
        {"session_date": AS_OF + timedelta(1), "duration_seconds": 99.0},
    ]
    profile = ("shop", "ann", AS_OF, AS_OF - timedelta(400))
    expected = [(*profile, 6, 12 / 30, 22.75, 0, 2, 2, "stable", Decimal("0.200"), False, "regular")]
    assert_df_equality(
        build(spark, context(as_of=AS_OF), days, sessions),
        spark.createDataFrame(expected, contract("gold.user_engagement").ddl),
        ignore_nullable=True,
    )


def test_a_site_may_count_one_event_sessions_as_no_time(spark: SparkSession, context: MakeContext) -> None:
    sessions = [{"session_date": AS_OF, "duration_seconds": 30.0}, {"session_date": AS_OF}]
    averages = {
        rule: picked(
            build(spark, context(as_of=AS_OF, defaults={"single_event_duration": rule}), days_ago(0), sessions),
            "avg_session_duration_seconds",
        )
        for rule in ("null", "zero")
    }
    assert averages == {"null": [(30.0,)], "zero": [(15.0,)]}


@pytest.mark.parametrize(
    ("now", "before", "trend"),
    [
        *[(6, 5, "stable"), (7, 5, "increasing"), (4, 5, "stable"), (3, 5, "declining")],
        *[(1, 0, "increasing"), (0, 1, "declining"), (0, 0, "stable")],
    ],
)
def test_the_trend_needs_more_than_a_fifth_of_change(
    spark: SparkSession, context: MakeContext, now: int, before: int, trend: str
) -> None:
    days = days_ago(*range(now), *range(7, 7 + before), 40)
    assert picked(build(spark, context(as_of=AS_OF), days), "trend") == [(trend,)]


@pytest.mark.parametrize(
    ("days", "sessions", "risk", "at_risk"),
    [
        ([8, 40], 0, "1.000", True),  # 0.4 away + 0.3 days + 0.2 sessions + 0.2 declining: never above 1
        ([7, 8, 9, 16, 20, 21], 10, "0.400", False),  # 0.2 away + 0.2 declining, with the limits just met
        ([4, 5, 11, 12], 3, "0.500", False),  # 0.2 + 0.1 + 0.2
        ([4, 11], 15, "0.500", False),  # 0.2 + 0.3; 30 sessions in 30 days are one a day
        ([4, 11], 8, "0.600", True),  # 16 sessions: + 0.1
        ([4, 11], 7, "0.700", True),  # 14 sessions: + 0.2
        ([4, 11, 20], 5, "0.400", False),  # 0.2 + 0.1 + 0.1: 15 sessions are half a one a day
        ([4, 11, 12, 20, 21], 4, "0.600", True),  # 0.2 + 0.1 + 0.1 + 0.2 declining: exactly the limit
        ([3, 4, 5, 14, 15, 16], 5, "0.000", False),  # increasing takes 0.1 off 0, never below
    ],
)
def test_churn_risk_adds_absence_few_days_few_sessions_and_decline(
    spark: SparkSession, context: MakeContext, days: list[int], sessions: int, risk: str, at_risk: bool
) -> None:
    built = build(spark, context(as_of=AS_OF), days_ago(*days, sessions=sessions))
    assert picked(built, "churn_risk", "is_at_risk") == [(Decimal(risk), at_risk)]


@pytest.mark.parametrize(
    ("days", "tier"),
    [
        *[([7], "casual"), ([8], "at_risk"), (range(8, 28), "at_risk"), (range(6), "regular")],
        *[(range(16), "core"), (range(20), "power")],
    ],
)
def test_the_tier_is_at_risk_after_more_than_seven_days_away(
    spark: SparkSession, context: MakeContext, days: Any, tier: str
) -> None:
    assert picked(build(spark, context(as_of=AS_OF), days_ago(*days)), "tier") == [(tier,)]


def test_who_is_below_the_lowest_tier_has_none(spark: SparkSession, context: MakeContext) -> None:
    chosen = context(as_of=AS_OF, tiers={"casual": 2})
    assert picked(build(spark, chosen, days_ago(0)), "tier") == [("(none)",)]


def test_only_who_was_active_by_as_of_has_a_profile(spark: SparkSession, context: MakeContext) -> None:
    days = [
        *days_ago(900, person="long ago"),
        *days_ago(-1, person="tomorrow"),
        *days_ago(0, person="idle", events=0),
    ]
    sessions = [{"session_date": AS_OF, "person_id": "only a session", "duration_seconds": 5.0}]
    built = build(spark, context(as_of=AS_OF), days, sessions)
    assert picked(built, "person_id", "days_since_active", "active_days_30") == [("long ago", 900, 0)]


def test_each_site_has_its_own_last_complete_date(spark: SparkSession, context: MakeContext) -> None:
    """The run starts at midnight UTC of March 1: in Honolulu the 28th is not over, in Auckland the 1st is not."""
    sites = {"shop": {"timezone": "Pacific/Honolulu"}, "blog": {"timezone": "Pacific/Auckland"}}
    chosen = context(sites=sites, as_of=None)
    assert chosen.started_at == datetime(2026, 3, 1, tzinfo=UTC)
    days = [row for site in ("shop", "blog") for row in days_ago(0, 1, site_id=site)]
    assert picked(build(spark, chosen, days), "site_id", "as_of_date", "active_days_30") == [
        ("blog", AS_OF, 2),
        ("shop", day("2026-02-27"), 1),
    ]
    assert chosen.last_dates == {"": "2026-02-28", "shop": "2026-02-27"}
