"""The oracle's sessions, held to cases that were worked out by hand, and the oracle as a whole."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.contracts import contract
from pipelines.settings import ConversionRule, SessionRule, Site, TestUserRule
from tests import model
from tests.model import Row
from tests.model.examples import NOON, event, picked, run
from tests.model.strategies import FUNNELS, SITES, event_lists, random_events, small_settings

# --- duplicates and order -------------------------------------------------------------------------------------------


def test_of_duplicates_the_least_time_then_sequence_then_hash_wins() -> None:
    result = run(
        event("late", 1, page="/later"),
        event("late", 0, page="/earlier"),
        event("sequence", 2, page="/one", sequence=1, record_hash="a"),
        event("sequence", 2, page="/null", sequence=None, record_hash="b"),
        event("hash", 3, page="/b", record_hash="b"),
        event("hash", 3, page="/a", record_hash="a"),
        event("hash", 3, page="/a", record_hash="a"),
    )
    assert picked(result["silver.events"], "event_id", "page_path") == [
        ("hash", "/a"),
        ("late", "/earlier"),
        ("sequence", "/null"),
    ]
    assert result["duplicates"] == 4


def test_the_same_id_on_another_utc_date_is_another_event() -> None:
    midnight = datetime(2026, 1, 6, tzinfo=UTC)
    result = run(
        event("a", midnight - timedelta(microseconds=1)),
        event("a", midnight),
        site=Site(timezone="America/New_York"),
    )
    assert picked(result["silver.events"], "event_id", "event_utc_date", "event_date") == [
        ("a", date(2026, 1, 5), date(2026, 1, 5)),
        ("a", date(2026, 1, 6), date(2026, 1, 5)),
    ]
    assert result["duplicates"] == 0


def test_events_at_one_instant_follow_sequence_with_null_first_then_event_id() -> None:
    [session] = run(
        event("d", 0, page="/4", sequence=2),
        event("b", 0, page="/2", sequence=None),
        event("c", 0, page="/3", sequence=1),
        event("a", 0, page="/1", sequence=None),
    )["silver.sessions"]
    assert session["journey_path"] == ["/1", "/2", "/3", "/4"]


# --- sessions -------------------------------------------------------------------------------------------------------


def test_a_gap_of_exactly_thirty_minutes_stays_one_session_and_a_microsecond_more_does_not() -> None:
    same = run(event("a", 0), event("b", 1800))["silver.sessions"]
    assert picked(same, "event_count", "duration_seconds") == [(2, 1800.0)]
    apart = run(event("a", 0), event("b", 1800.000001))["silver.sessions"]
    assert picked(apart, "event_count", "duration_seconds") == [(1, None), (1, None)]


def test_session_id_hashes_site_visitor_first_event_and_its_utc_date() -> None:
    [session] = run(event("b", 5), event("a", 0))["silver.sessions"]
    assert session["session_id"] == hashlib.md5(b"s\x1fv\x1fa\x1f2026-01-05").hexdigest()


def test_a_login_keeps_the_session_of_the_device_and_tells_its_person() -> None:
    result = run(
        event("a", 0),
        event("b", 1, "click", user_id="u"),
        event("c", 2, "click"),
        event("d", 3, anonymous_id=None, user_id="u"),
    )
    assert picked(result["silver.sessions"], "visitor_id", "person_id", "user_id", "event_count") == [
        ("u", "u", "u", 1),
        ("v", "u", "u", 3),
    ]
    assert picked(result["silver.user_days"], "person_id", "date", "events", "actions", "sessions") == [
        ("u", NOON.date(), 4, 2, 2),
    ]


def test_a_devices_anonymous_events_are_the_nearest_users_before_else_the_first_after() -> None:
    result = run(
        event("a", 0),
        event("b", 1, user_id="u"),
        event("c", 2),
        event("d", 3, user_id="u"),
        event("f", 4, user_id="w", sequence=2),
        event("e", 4, sequence=1),
        event("g", 4, sequence=3),
        event("h", 5, anonymous_id=None, client_session_id="v"),  # no device: not theirs
    )
    assert picked(result["silver.events"], "event_id", "person_id") == [
        *[(event_id, "u") for event_id in "abcde"],
        *[(event_id, "w") for event_id in "fg"],
        ("h", "v"),
    ]
    times = [NOON + timedelta(seconds=at) for at in (1, 4)]
    columns = ("anonymous_id", "valid_from", "valid_to", "user_id", "event_id")
    assert picked(result["silver.identities"], *columns) == [
        ("v", times[0], times[1], "u", "b"),
        ("v", times[1], None, "w", "f"),
    ]


def test_a_client_session_goes_over_days_and_visitors_and_an_event_without_one_goes_by_inactivity() -> None:
    client = Site(session=SessionRule(key="client"))
    result = run(
        event("a", 0, client_session_id="c"),
        event("b", 90_000, client_session_id="c", anonymous_id="w"),
        event("c", 10, "click"),
        event("d", 1811, "click"),
        site=client,
    )
    assert picked(result["silver.sessions"], "visitor_id", "event_count", "duration_seconds", "session_date") == [
        ("v", 1, None, date(2026, 1, 5)),
        ("v", 1, None, date(2026, 1, 5)),
        ("v", 2, 90_000.0, date(2026, 1, 5)),
    ]
    assert "c" in {session["session_id"] for session in result["silver.sessions"]}
    assert ("w", date(2026, 1, 6), 1, 0) in picked(
        result["silver.user_days"], "person_id", "date", "events", "sessions"
    )


def test_measures_of_a_session() -> None:
    [session] = run(
        event("a", 0, page="/a", channel="Email", traffic_medium="email", utm_campaign="may"),
        event("b", 1, "click", page="/b", utm_source="ads", utm_campaign="spring", os="Linux", scroll_depth_pct=10),
        event("c", 2, "page_view", page=None, os="Windows", user_id="u1"),
        event("d", 3, "purchase", page="/a", value=Decimal("1.5000"), user_id="u2"),
        event("e", 4, "conversion", page=None, value=None),
        event("f", 5, "like", page="/c", value=Decimal("9.0000"), scroll_depth_pct=60),
        event("g", 6, "error", page="/0"),
        event("h", 7.5, "page_view", page="/a", scroll_depth_pct=5),
    )["silver.sessions"]
    expected = {
        "event_count": 8,
        "page_view_count": 3,
        "page_count": 4,
        "entry_page": "/a",
        "exit_page": "/a",
        "journey_path": ["/a", "/a"],
        "pages_visited": ["/a", "/b", "/c", "/0"],
        "duration_seconds": 7.5,
        "bounced": False,
        "engaged": True,
        "converted": True,
        "had_error": True,
        "revenue": Decimal("1.5"),
        "likes": 1,
        "comments": 0,
        "views": 0,
        "clicks": 1,
        "max_scroll_depth_pct": 60,
        "os": "Linux",
        "traffic_source": None,
        "traffic_medium": "email",
        "campaign": "may",
        "channel": "Email",
        "user_id": "u2",
    }
    assert {column: session[column] for column in expected} == expected


@pytest.mark.parametrize(("seconds", "engaged"), [(10, False), (10.000001, True)])
def test_a_session_is_engaged_when_it_is_longer_than_ten_seconds(seconds: float, engaged: bool) -> None:
    [session] = run(event("a", 0), event("b", seconds, "click"))["silver.sessions"]
    assert (session["engaged"], session["bounced"]) == (engaged, True)


def test_with_an_end_page_leaving_from_it_converts_instead_of_an_event() -> None:
    site = Site(conversion=ConversionRule(end_page="/checkout"))
    by_page = run(event("a", 0), event("b", 1, page="/checkout"), event("c", 2, "click", page="/"), site=site)
    assert picked(by_page["silver.sessions"], "converted", "revenue") == [(True, 0)]
    bought = run(event("a", 0, "purchase", value=Decimal(3)), event("b", 1, page="/checkout"), event("c", 2), site=site)
    assert picked(bought["silver.sessions"], "converted", "revenue") == [(False, 3)]


# --- bots and test users --------------------------------------------------------------------------------------------


def test_one_test_user_takes_the_whole_session_out_by_default() -> None:
    result = run(event("a", 0), event("b", 1, is_test_user=True))
    assert picked(result["silver.sessions"], "event_count", "is_countable") == [(2, False)]
    assert picked(result["silver.events"], "event_id", "is_countable") == [("a", False), ("b", False)]
    assert result["silver.user_days"] == result["gold.journey_stats_daily"] == result["gold.page_metrics_daily"] == []


def test_excluded_events_stay_in_silver_and_out_of_the_measures() -> None:
    site = Site(test_users=TestUserRule(rule="exclude_events"))
    result = run(
        event("a", 0, is_test_user=True, user_id="tester"),
        event("b", 10),
        event("c", 15, "click", is_test_user=True),
        event("d", 30, "click"),
        event("e", 99, is_test_user=True),
        event("f", 9_999, is_test_user=True),
        site=site,
    )
    columns = ("person_id", "user_id", "event_count", "duration_seconds", "has_test_user", "is_countable")
    assert picked(result["silver.sessions"], *columns) == [
        ("tester", None, 0, None, True, False),
        ("tester", None, 2, 20.0, True, True),
    ]
    event_columns = ("event_id", "is_countable", "page_view_number", "is_entry", "is_exit", "time_on_page_us")
    assert picked(result["silver.events"], *event_columns) == [
        ("a", False, None, False, False, None),
        ("b", True, 1, True, True, 20_000_000),
        ("c", False, None, False, False, None),
        ("d", True, 1, False, False, None),
        ("e", False, None, False, False, None),
        ("f", False, None, False, False, None),
    ]


def test_bots_count_only_where_the_site_says_so() -> None:
    events = [event("a", 0, is_bot=True, bot_reason="user_agent"), event("b", 1)]
    assert run(*events)["gold.journey_stats_daily"] == []
    counted = run(*events, site=Site(count_bots=True))
    assert picked(counted["silver.sessions"], "is_bot", "is_countable") == [(True, True)]


# --- the model as a whole -------------------------------------------------------------------------------------------


def test_rows_hold_the_columns_and_keys_of_their_contracts() -> None:
    result = model.run(random_events(random.Random(7), 400), SITES, FUNNELS, small_settings())
    for table in result.keys() - {"duplicates"}:
        declared = contract(table)
        columns = set(declared.comparable_columns) - set(model.UNSPECIFIED_COLUMNS.get(table, ()))
        assert result[table], f"{table}: random events leave it empty"
        assert {frozenset(row) for row in result[table]} == {frozenset(columns)}, table
        keys = [tuple(row[column] for column in declared.key) for row in result[table]]
        assert len(keys) == len(set(keys)), table
        required = [column.name for column in declared.columns if column.required and column.name in columns]
        assert not [column for column in required for row in result[table] if row[column] is None], table


@given(events=event_lists(), again=st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=30, deadline=None)
def test_neither_order_nor_repetition_of_arrival_matters(events: list[Row], again: random.Random) -> None:
    arrived = events + [dict(event) for event in events if again.random() < 0.5]
    again.shuffle(arrived)
    first, second = (model.run(given, SITES, FUNNELS, small_settings()) for given in (events, arrived))
    assert second.pop("duplicates") - first.pop("duplicates") == len(arrived) - len(events)
    for table in first:
        assert sorted(map(repr, first[table])) == sorted(map(repr, second[table])), table
