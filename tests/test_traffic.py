"""Traffic, flows and attribution on random sessions and events: against the model, and what must always hold."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.gold import (
    attribution_daily,
    devices_daily,
    flow_patterns_daily,
    flow_transitions_daily,
    geo_daily,
    page_performance_daily,
    touch_paths_daily,
    traffic_5min,
    traffic_sources_daily,
)
from tests.arrivals import CONTEXT
from tests.model import run as run_model
from tests.model import traffic
from tests.model.sessions import local_date
from tests.model.strategies import FUNNELS, SITES, random_events, small_settings
from tests.rows import Row, table_frame
from tests.runs import differences, in_key_order

TOUCHES = (
    (None, None),
    ("Direct", "(direct)"),
    ("Organic Search", "google"),
    ("Organic Search", "bing"),
    ("Email", "news"),
    (None, "news"),
    ("Referral", None),
)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
PAUSES = (timedelta(0), 40 * 60 * SECOND, 5 * 3600 * SECOND, DAY, 6 * DAY, 7 * DAY, 30 * DAY, 30 * DAY + SECOND / 1e6)
UNTIL_CONVERSION = (timedelta(0), 90 * SECOND, 6 * 3600 * SECOND, 30 * DAY, 30 * DAY + SECOND / 1e6, 45 * DAY)
PAGES = ("/", "/a", "/b", "/checkout")


def random_sessions(rng: random.Random, persons: int) -> list[Row]:
    """Persons with many sessions each, at and around the edges of 30 × 24 h, days and summer time."""
    rows = []
    for number in range(persons):
        site_id = rng.choice(list(SITES.sites))
        start = datetime(2026, 3, rng.randint(1, 31), rng.choice((3, 12, 22)), 59, 59, tzinfo=UTC)
        for _ in range(rng.choice((1, 2, 3, 5, 9))):
            channel, source = rng.choice(TOUCHES)
            path = rng.choices(PAGES, k=rng.choice((0, 1, 1, 2, 3, 5)))
            views = len(path) + rng.choice((0, 0, 1))
            converted = rng.random() < 0.4
            rows.append(
                {
                    "site_id": site_id,
                    "session_id": f"s{len(rows)}",
                    "person_id": f"p{number}",
                    "visitor_id": f"v{number}{rng.choice('ab')}",
                    "start_time": start,
                    "end_time": start,
                    "session_date": local_date(start, SITES.of(site_id)),
                    "event_count": views,
                    "page_view_count": views,
                    "journey_path": path,
                    "bounced": views == 1,
                    "converted": converted,
                    "converted_at": start + rng.choice(UNTIL_CONVERSION) if converted else None,
                    "revenue": Decimal(rng.choice(("0", "0.01", "0.03", "19.99", "0.0001", "-5", "1234567.8901"))),
                    "channel": channel,
                    "traffic_source": source,
                    "traffic_medium": rng.choice((None, "organic")),
                    "campaign": rng.choice((None, "spring")),
                    "device_type": rng.choice((None, "mobile")),
                    "browser": rng.choice((None, "Firefox")),
                    "os": rng.choice((None, "Linux")),
                    "country": rng.choice((None, "DE")),
                    "region": rng.choice((None, "BY")),
                    "is_countable": rng.random() < 0.9,
                }
            )
            start += rng.choice(PAUSES)
    return rows


def random_timed_events(rng: random.Random, size: int) -> dict[str, list[Row]]:
    """silver.events and silver.sessions by the model, page views with devices and load times."""
    silver = run_model(random_events(rng, size), SITES, FUNNELS, small_settings())
    for event in silver["silver.events"]:
        event["load_time_ms"] = rng.choice((None, 0, 1, 120, 121, 999, 5000))
        event["device_type"] = rng.choice((None, "mobile"))
    return {name: silver[name] for name in ("silver.events", "silver.sessions")}


SESSIONS = random_sessions(random.Random(5), 150)
SILVER = random_timed_events(random.Random(6), 400)


@pytest.fixture(scope="module")
def sessions(spark: SparkSession) -> DataFrame:
    return table_frame(spark, "silver.sessions", SESSIONS).localCheckpoint()


@pytest.fixture(scope="module")
def events(spark: SparkSession) -> DataFrame:
    rows = [{**row, "batch_id": 1, "first_source": "web"} for row in SILVER["silver.events"]]
    return table_frame(spark, "silver.events", rows).localCheckpoint()


def content(table: str, built: DataFrame) -> list[Row]:
    return in_key_order(table, built.toArrow().to_pylist())


# --- against the model ------------------------------------------------------------------------------------------------

Build = Callable[..., DataFrame]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (traffic_sources_daily.build, traffic.traffic_sources_daily),
        (devices_daily.build, traffic.devices_daily),
        (geo_daily.build, traffic.geo_daily),
        (flow_transitions_daily.build, traffic.flow_transitions_daily),
        (flow_patterns_daily.build, traffic.flow_patterns_daily),
        (touch_paths_daily.build, traffic.touch_paths_daily),
        (attribution_daily.build, lambda sessions: traffic.attribution_daily(sessions, SITES)),
    ],
    ids=lambda given: getattr(given, "__module__", "").rpartition(".")[2],
)
def test_tables_of_random_sessions_are_the_models(sessions: DataFrame, build: Build, expected: Any) -> None:
    table = "gold." + build.__module__.rpartition(".")[2]
    found = content(table, build(sessions, context=CONTEXT))
    assert len(found) > 4
    assert differences(found, in_key_order(table, expected(SESSIONS))) == []


def test_windows_of_random_events_are_the_models(spark: SparkSession, events: DataFrame) -> None:
    rows = [{**row, "created_at": CONTEXT.started_at} for row in SILVER["silver.sessions"]]
    found = traffic_5min.build(events, table_frame(spark, "silver.sessions", rows), context=CONTEXT)
    expected = traffic.traffic_5min(SILVER["silver.events"], SILVER["silver.sessions"])
    assert differences(content("gold.traffic_5min", found), in_key_order("gold.traffic_5min", expected)) == []


def test_load_times_of_random_events_are_the_models(events: DataFrame) -> None:
    """All on one date, so that pages have many."""
    day = date(2026, 3, 10)
    built = page_performance_daily.build(events.withColumn("event_date", F.lit(day)), context=CONTEXT)
    found = content("gold.page_performance_daily", built)
    expected = traffic.page_performance_daily([{**row, "event_date": day} for row in SILVER["silver.events"]])
    assert max(row["samples"] for row in found) >= 5
    assert differences(found, in_key_order("gold.page_performance_daily", expected)) == []


@pytest.mark.parametrize("module", [attribution_daily, touch_paths_daily], ids=lambda m: m.__name__.rpartition(".")[2])
def test_a_date_is_a_function_of_the_31_dates_before_it_and_its_own(sessions: DataFrame, module: Any) -> None:
    table = "gold." + module.__name__.rpartition(".")[2]
    whole = content(table, module.build(sessions, context=CONTEXT))
    for day in (date(2026, 4, 10), date(2026, 5, 2)):
        needed = sessions.where(F.col("session_date").between(day - timedelta(days=31), day))
        found = module.build(needed, context=CONTEXT).where(F.col("date") == day)
        expected = [row for row in whole if row["date"] == day]
        assert expected
        assert content(table, found) == expected


# --- what must always hold --------------------------------------------------------------------------------------------


def test_each_models_credits_sum_to_the_conversions_and_their_revenue_exactly(sessions: DataFrame) -> None:
    conversions: dict[tuple[str, date], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for session in SESSIONS:
        if session["is_countable"] and session["converted"]:
            at = min(session["converted_at"], session["start_time"] + 30 * DAY)
            day = conversions[session["site_id"], local_date(at, SITES.of(session["site_id"]))]
            day[0] += 1
            day[1] += session["revenue"]
    credits: dict[tuple[str, date, str], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for row in attribution_daily.build(sessions, context=CONTEXT).collect():
        credits[row["site_id"], row["date"], row["model"]][0] += row["conversions"]
        credits[row["site_id"], row["date"], row["model"]][1] += row["revenue"]
    assert len(conversions) > 50
    for model in ("first", "last", "last_non_direct", "linear", "position", "time_decay"):
        assert {key[:2]: value for key, value in credits.items() if key[2] == model} == conversions


def test_every_page_is_left_as_often_as_it_is_come_to(sessions: DataFrame) -> None:
    came: Counter[tuple[str, date, str]] = Counter()
    left: Counter[tuple[str, date, str]] = Counter()
    for row in flow_transitions_daily.build(sessions, context=CONTEXT).collect():
        came[row["site_id"], row["date"], row["to_page"]] += row["transitions"]
        left[row["site_id"], row["date"], row["from_page"]] += row["transitions"]
    pages = {key: count for key, count in came.items() if key[2] != "(exit)"}
    assert pages == {key: count for key, count in left.items() if key[2] != "(entry)"}
    entries = sum(count for key, count in left.items() if key[2] == "(entry)")
    assert entries == sum(session["is_countable"] and session["page_view_count"] > 0 for session in SESSIONS)


def test_patterns_hold_every_countable_session_with_a_page_view_once(sessions: DataFrame) -> None:
    found = flow_patterns_daily.build(sessions, context=CONTEXT).collect()
    counted: Counter[tuple[str, date]] = Counter()
    shares: dict[tuple[str, date], float] = defaultdict(float)
    for row in found:
        counted[row["site_id"], row["date"]] += row["sessions"]
        shares[row["site_id"], row["date"]] += row["share"]
    expected = Counter(
        (session["site_id"], session["session_date"])
        for session in SESSIONS
        if session["is_countable"] and session["page_view_count"]
    )
    assert counted == expected
    assert all(share == pytest.approx(1.0, abs=1e-12) for share in shares.values())


def test_touch_paths_hold_every_countable_session_once(sessions: DataFrame) -> None:
    found = touch_paths_daily.build(sessions, context=CONTEXT).agg(F.sum("sessions"), F.sum("conversions")).first()
    countable = [session for session in SESSIONS if session["is_countable"]]
    assert tuple(found or ()) == (len(countable), sum(session["converted"] for session in countable))


# --- a user id that everybody shares ----------------------------------------------------------------------------------


def test_of_a_person_with_very_many_sessions_the_nearest_hundred_on_each_side_are_looked_at(
    spark: SparkSession,
) -> None:
    noon = datetime.combine(date(2026, 3, 10), time(12), UTC)
    rows = [
        {
            "site_id": "plain",
            "session_id": f"{number:03}",
            "person_id": "guest",
            "start_time": noon + number * SECOND,
            "session_date": noon.date(),
            "traffic_source": f"source {number}",
            "is_countable": True,
        }
        for number in range(250)
    ]
    rows[120] |= {"converted": True, "converted_at": noon + 240 * SECOND}
    built = attribution_daily.build(table_frame(spark, "silver.sessions", rows), context=CONTEXT)
    ends = built.where("model in ('first', 'last')").select("model", "source").collect()
    assert {tuple(row) for row in ends} == {("first", "source 20"), ("last", "source 220")}
