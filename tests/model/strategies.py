"""Random canonical events in which the edges of the rules are likely: for hypothesis, and from a seed.

Times are whole microseconds. Streams of different visitors share starts, pauses and client session ids, so ties, gaps
at the limit, days that end in one zone and not in another, and sessions shared by visitors come up all the time.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from pipelines.enrichment import channels
from pipelines.funnels import Exclusion, Funnel, Funnels, FunnelStep
from pipelines.settings import (
    ConversionRule,
    PrivacyRule,
    SessionRule,
    Settings,
    Site,
    Sites,
    TestUserRule,
    load_settings,
)
from pipelines.thresholds import DeadLoopSettings, ErrorPageSettings, RageClickSettings, UnusualPathSettings

from .sessions import CANDIDATE_COLUMNS, Row

Choose = Callable[[Sequence[Any]], Any]
"""Picks one of some options; the first is the simplest."""

# --- configuration that goes with the events --------------------------------------------------------------------------

SITES = Sites(
    sites={
        "plain": Site(),
        "shop": Site(
            timezone="Europe/Berlin",
            test_users=TestUserRule(rule="exclude_events"),
            single_event_duration="zero",
            link_parameter="visit",
        ),
        "app": Site(
            timezone="America/New_York",
            session=SessionRule(key="client"),
            test_users=TestUserRule(rule="exclude_events"),
            activity_threshold=2,
            dedupe="any_time",
        ),
        "docs": Site(
            timezone="Asia/Kathmandu",
            session=SessionRule(key="client", gap_seconds=600),
            conversion=ConversionRule(end_page="/checkout"),
            count_bots=True,
            privacy=PrivacyRule(hash_identifiers=True),
        ),
        "cuts": Site(
            timezone="Europe/Berlin",
            session=SessionRule(max_duration_seconds=3600, break_on_campaign=True, break_at_midnight=True),
            dedupe="any_time",
        ),
    }
)
"""Both session keys, all that cuts sessions, both rules on test users and on duplicates, both conversions; hashed ids,
visitors handed over; zones of all kinds."""

_BUYING = (
    FunnelStep(name="See", event_type="page_view"),
    FunnelStep(name="Look closer", page="^/(products?|cart|checkout)(/|$)"),
    FunnelStep(name="Click", event_type="click"),
)
FUNNELS = Funnels(
    funnels={
        "stages": Funnel(
            steps=(
                FunnelStep(name="Entry", event_type="page_view"),
                FunnelStep(name="Product", event_type="page_view", page="^/products?(/|$)"),
                FunnelStep(name="Checkout", page="^/checkout(/|$)"),
            )
        ),
        "plans": Funnel(
            steps=(
                FunnelStep(name="Pro", properties={"plan": "pro"}),
                FunnelStep(name="Pro video", event_type="video_play", properties={"plan": "pro"}),
            ),
            sites=("shop", "docs"),
        ),
        "empty": Funnel(),
        "buy_ordered": Funnel(mode="ordered", window_seconds=600, breakdown="utm_source", steps=_BUYING),
        "buy_strict": Funnel(
            mode="strict",
            strict_increase=True,
            breakdown="device_type",
            exclude=(Exclusion(event_type="error", between=(1, 2)),),
            steps=_BUYING,
        ),
        "buy_unordered": Funnel(mode="unordered", window_seconds=5400, steps=_BUYING),
        "buy_person": Funnel(
            mode="ordered",
            scope="person",
            window_seconds=2 * 86_400,
            breakdown="country",
            exclude=(Exclusion(event_type="comment"),),
            steps=_BUYING,
        ),
    }
)
"""Every mode and scope; a step of any type, one that more sessions may reach than the one before; a funnel of some
sites; one without steps."""


def small_settings() -> Settings:
    """Settings whose statistics need few sessions and whose limits few events, so that random events pass them."""
    settings = load_settings("local")
    anomalies = settings.anomalies.model_copy(
        update={
            "min_sessions": 4,
            "max_events_per_minute": 8,
            "error_page": ErrorPageSettings(times_site=Decimal("1.1"), least_rate=Decimal("0.05"), min_views=1),
            "unusual_path": UnusualPathSettings(quantile=0.6, least_score=0.5),
            "rage_click": RageClickSettings(clicks=2, within_ms=60_000),
            "dead_loop": DeadLoopSettings(repeats=2),
        }
    )
    tiers = settings.tiers.model_copy(update={"power": 5, "core": 4, "regular": 2, "casual": 1})
    limits = {"min_sessions": 1, "min_page_views": 1, "min_load_samples": 1, "min_trailing_days": 2}
    metrics = settings.metric_anomalies.model_copy(
        update={**limits, "k_open": 1.5, "k_close": 1.0, "k_critical": 2.0, "min_weekdays": 2}
    )
    return settings.model_copy(update={"anomalies": anomalies, "tiers": tiers, "metric_anomalies": metrics})


# --- what events are made of ------------------------------------------------------------------------------------------

VISITORS: tuple[tuple[str | None, str | None], ...] = (
    ("device-1", None),
    ("device-2", "ann"),
    (None, "ann"),
    ("ann", None),  # an anonymous id that equals a user id: the same visitor as (None, "ann")
    (None, None),  # only the client's session id tells who it is
)
"""(anonymous_id, user_id) of a stream of events."""

LOGINS = (None, None, None, "ann", "bob")
"""User id from some event of the stream on; null: as before."""

NAMED = (None, None, "device-1", "device-2", "ann")
"""Whom a stream's first event names as the visitor on another domain, where the site has a parameter for it."""

CLIENT_SESSIONS = (None, "c1", "c2")

STARTS = tuple(
    datetime.fromisoformat(text).replace(tzinfo=UTC)
    for text in (
        "2026-03-10T12:00:00",
        "2026-03-10T12:00:00.000001",
        "2026-03-10T12:30:00",
        "2026-03-10T23:59:59.999999",  # midnight in UTC …
        "2026-03-28T22:59:59.999999",  # … in Berlin, before the night of summer time
        "2026-03-29T00:59:59",  # the hour that Berlin skips
        "2026-03-11T03:59:59.999999",  # midnight in New York
        "2026-03-10T18:14:59.999999",  # midnight in Kathmandu
    )
)

SHORT_PAUSES = tuple(
    timedelta(seconds=seconds, microseconds=microseconds)
    for seconds, microseconds in (
        (1, 0),
        (0, 0),
        (0, 1),
        (10, 0),
        (10, 1),
        (59, 999_999),
        (300, 0),
        (300, 1),
        (600, 0),
        (600, 1),
        (1800, 0),
        (1800, 1),
        (5400, 0),
    )
)
"""Around every limit: the same instant, engaged, a minute, a long gap, and both sessions' gaps."""

HASTE = SHORT_PAUSES[:3]
"""Of streams that may be too fast for a person."""

LONG_PAUSES = tuple(timedelta(days=days) for days in (1, 6, 7, 29, 30))
"""Around the trailing windows."""

PAUSES = SHORT_PAUSES * 3 + LONG_PAUSES

SEQUENCES = (None, None, 0, 1, 2, -1)

KINDS: tuple[Row, ...] = (
    {"event_type": "page_view", "page_path": "/"},
    {"event_type": "page_view", "page_path": "/products/1", "utm_source": "news", "scroll_depth_pct": 40},
    {"event_type": "page_view", "page_path": "/products/1", "page_title": "Lamp", "load_time_ms": 120},
    {"event_type": "page_view", "page_path": "/checkout", "device_type": "mobile", "browser": "Firefox", "os": "Linux"},
    {"event_type": "page_view", "page_path": "/404", "utm_campaign": "spring", "utm_medium": "mail"},
    {"event_type": "page_view", "page_path": None, "country": "DE"},
    {"event_type": "page_view", "page_path": "/", "utm_campaign": "summer", "utm_source": "ads"},
    {"event_type": "click", "page_path": "/", "element_selector": "a.more", "element_text": "More"},
    {"event_type": "click", "page_path": "/cart", "element_text": "Payment FAILED!", "utm_medium": "cpc"},
    {"event_type": "click", "page_path": "/cart", "element_selector": "#error_box", "page_title": "Terrors, 404s"},
    {"event_type": "scroll", "page_path": "/products/1", "scroll_depth_pct": 90},
    {"event_type": "scroll", "page_path": "/", "scroll_depth_pct": 0, "device_type": "desktop", "os": "Windows"},
    {"event_type": "form_start", "page_path": "/checkout", "properties": {"plan": "free"}},
    {"event_type": "form_submit", "page_path": "/checkout", "properties": {"plan": "pro"}},
    {"event_type": "video_play", "page_path": "/", "properties": {"plan": "pro"}, "country": "US", "region": "CA"},
    {"event_type": "purchase", "page_path": "/checkout", "value": Decimal("19.9900"), "currency": "EUR"},
    {"event_type": "purchase", "page_path": None, "value": None},
    {"event_type": "conversion", "value": Decimal("0.0001"), "currency": "EUR"},
    {"event_type": "like", "value": Decimal("5.0000"), "currency": "EUR"},
    {"event_type": "comment", "page_path": "/blog"},
    {"event_type": "view", "page_path": "/blog"},
    {"event_type": "error", "page_path": "/checkout", "page_title": "Gateway timeout"},
    {"event_type": "session_start"},
    {"event_type": "session_end"},
    {"event_type": "custom_event", "event_name": "theme_changed", "properties": {"theme": "dark"}},
)

MARKS: tuple[Row, ...] = (
    *[{}] * 40,
    {"is_test_user": True},
    {"is_test_user": True},
    {"is_bot": True, "bot_reason": "user_agent"},
)

SHARED_IDS = (None, None, None, None, "e1", "e2")
"""Event ids that come again: on the same date a duplicate, on another a different event, unless the site says
otherwise; null: an id of its own."""


# --- events -----------------------------------------------------------------------------------------------------------


def _made(number: int, content: Row) -> Row:
    """A full candidate; its record hash stands for its number, as no two records that differ share one."""
    event = {
        **dict.fromkeys(CANDIDATE_COLUMNS),
        "is_bot": False,
        "is_test_user": False,
        "properties": {},
        "source": "web",
        **content,
    }
    campaign = event["utm_source"], event["utm_medium"], event["utm_campaign"]
    said = channels.describe(None, None, *campaign, None)
    event |= {"channel": said.channel, "traffic_source": said.traffic_source, "traffic_medium": said.traffic_medium}
    event["record_hash"] = hashlib.md5(str(number).encode()).hexdigest()
    return event


def _stream(choose: Choose, site_id: str, length: int, number: int) -> list[Row]:
    """Events of one visitor, each a pause after the one before."""
    anonymous_id, user_id = choose(VISITORS)
    client_session_id = choose(CLIENT_SESSIONS)
    pauses = choose((PAUSES,) * 7 + (HASTE,))
    time = choose(STARTS)
    parameter = SITES.of(site_id).link_parameter
    events: list[Row] = []
    for _ in range(length):
        user_id = choose(LOGINS) or user_id
        if choose((False, False, True)):
            client_session_id = choose(CLIENT_SESSIONS)
        named = choose(NAMED) if parameter and not events else None
        address = f"/?{parameter}={named}"
        landing = {"event_type": "page_view", "page_path": "/", "page_url": address} if named else {}
        is_nobody = anonymous_id is None and user_id is None and client_session_id is None
        content = {
            "site_id": site_id,
            "event_id": choose(SHARED_IDS) or f"n{number}",
            "event_time": time,
            "sequence": choose(SEQUENCES),
            "received_at": choose((None, time + timedelta(seconds=2))),
            "anonymous_id": anonymous_id,
            "user_id": user_id,
            "client_session_id": "c1" if is_nobody else client_session_id,
            **choose(KINDS),
            **landing,
            **choose(MARKS),
        }
        events.append(_made(number, content))
        number += 1
        time += choose(pauses)
    return events


def _copy(choose: Choose, original: Row, number: int) -> Row:
    """A record delivered again: as it was, or with the same id and another content or time."""
    change = choose(("nothing", "content", "time", "sequence"))
    if change == "nothing":
        return dict(original)
    changed = {**original}
    if change == "content":
        changed |= choose(KINDS)
    elif change == "time":
        changed["event_time"] = original["event_time"] + choose((-1, 1)) * choose(PAUSES)
    else:
        changed["sequence"] = choose(SEQUENCES)
    return _made(number, changed)


def _events(choose: Choose, size: int) -> list[Row]:
    events: list[Row] = []
    while len(events) < size:
        length = min(size - len(events), choose((1, 2, 3, 5, 8, 13)))
        events += _stream(choose, choose(tuple(SITES.sites)), length, number=len(events))
    copies = [_copy(choose, choose(events), size + number) for number in range(size // 6)]
    arrived: list[Row] = []
    for event in events + copies:
        arrived.insert(choose(range(len(arrived), -1, -1)), event)
    return arrived


def random_events(rng: random.Random, size: int) -> list[Row]:
    """`size` candidates of the sites in SITES and size / 6 copies of some, in arrival order; same seed, same events."""
    return _events(rng.choice, size)


@st.composite
def event_lists(draw: st.DrawFn, max_size: int = 30) -> list[Row]:
    """Up to `max_size` candidates and a sixth more copies, in arrival order; shrinks to few and plain ones."""

    def choose(options: Sequence[Any]) -> Any:
        return options[draw(st.integers(0, len(options) - 1))]

    return _events(choose, draw(st.integers(0, max_size)))


@st.composite
def batches(draw: st.DrawFn, max_size: int = 30, max_batches: int = 4) -> list[list[Row]]:
    """The same, cut into consecutive batches, of which some may be empty."""
    events = draw(event_lists(max_size))
    cuts = draw(st.lists(st.integers(0, len(events)), max_size=max_batches - 1).map(sorted))
    return [events[start:end] for start, end in pairwise([0, *cuts, len(events)])]
