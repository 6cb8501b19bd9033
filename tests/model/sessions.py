"""Duplicates, identity, dates and sessions: what every table of the model stands on."""

from __future__ import annotations

import hashlib
import hmac
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pipelines.settings import Settings, Site, Sites

Row = dict[str, Any]
T = TypeVar("T")

CANDIDATE_COLUMNS = (
    *("site_id", "event_id", "event_type", "event_name", "event_time", "sequence", "received_at"),
    *("user_id", "anonymous_id", "client_session_id"),
    *("page_url", "page_path", "page_host", "page_title", "referrer_url", "element_selector", "element_text"),
    *("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"),
    *("channel", "traffic_source", "traffic_medium"),
    *("device_type", "browser", "os", "country", "region", "city"),
    *("load_time_ms", "scroll_depth_pct", "value", "currency"),
    *("is_bot", "bot_reason", "is_test_user", "properties", "source", "record_hash"),
)
"""What a candidate event brings along; everything else in silver.events is worked out here."""

NO_SITES = Sites()

MICROSECOND = timedelta(microseconds=1)


def utc_date(event: Row) -> date:
    """Date of the event in UTC: with site and event_id, what identifies it."""
    instant: datetime = event["event_time"]
    return instant.astimezone(UTC).date()


def local_date(instant: datetime, site: Site) -> date:
    """Date of an instant on the site's own clock."""
    return instant.astimezone(ZoneInfo(site.timezone)).date()


def microseconds(start: datetime, end: datetime) -> int:
    """Whole microseconds from `start` to `end`."""
    return (end - start) // MICROSECOND


def first_known(values: Iterable[T | None]) -> T | None:
    """The first value that is not null; null where all are."""
    return next((value for value in values if value is not None), None)


def _nulls_first(sequence: int | None) -> tuple[bool, int]:
    return (sequence is not None, sequence or 0)


def in_order(events: Iterable[Row]) -> list[Row]:
    """Events by time, then sequence (null first), then event_id."""
    return sorted(events, key=lambda event: (event["event_time"], _nulls_first(event["sequence"]), event["event_id"]))


def keyed_hash(value: str | None, key: str) -> str | None:
    """What is stored in place of an identifier."""
    return None if value is None else hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()[:32]


def _without_names(url: str | None, site: Site, key: str) -> str | None:
    """The address with the hash of whom it names."""
    if url is None or site.link_parameter is None:
        return url
    return re.sub(f"(?<=[?&]{site.link_parameter}=)[^&#]*", lambda named: str(keyed_hash(named[0], key)), url)


# --- duplicates and identity ----------------------------------------------------------------------------------------


def deduplicate(candidates: Iterable[Row], sites: Sites = NO_SITES, key: str = "") -> list[Row]:
    """One candidate for each (site, event_id, UTC date, or event_id alone where the site looks for copies of any time):
    the least by time, sequence (null first), hash of the record.

    The survivors carry their visitor; their person needs all of them (see identities.py). `key`: of keyed hashes.
    """
    hashes_any = any(site.privacy.hash_identifiers for site in (sites.defaults, *sites.sites.values()))
    rivals: dict[tuple[str, str, date | None], list[Row]] = defaultdict(list)
    for candidate in candidates:
        event: Row = {column: candidate.get(column) for column in CANDIDATE_COLUMNS}
        if sites.of(event["site_id"]).privacy.hash_identifiers:
            event |= {name: keyed_hash(event[name], key) for name in ("user_id", "anonymous_id", "client_session_id")}
            event["page_url"] = _without_names(event["page_url"], sites.of(event["site_id"]), key)
        if hashes_any:
            event["record_hash"] = keyed_hash(event["record_hash"], key)
        of_any_time = sites.of(event["site_id"]).dedupe == "any_time"
        rivals[event["site_id"], event["event_id"], None if of_any_time else utc_date(event)].append(event)
    winners = []
    for group in rivals.values():
        winner = min(group, key=lambda e: (e["event_time"], _nulls_first(e["sequence"]), e["record_hash"]))
        winner["visitor_id"] = first_known([winner["anonymous_id"], winner["user_id"], winner["client_session_id"]])
        winners.append(winner)
    return winners


# --- sessions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PageView:
    """A counting page view and the counting events from it until the next one, itself the first of them."""

    number: int
    view: Row
    owned: list[Row]
    time_on_page_us: int
    is_entry: bool
    is_exit: bool


@dataclass(frozen=True)
class Session:
    """All events of one session in order, and the site whose rules it follows."""

    site_id: str
    session_id: str
    site: Site
    events: list[Row]
    settings: Settings

    def counts(self, event: Row) -> bool:
        """Whether the event takes part in the session's measures."""
        return not (self.site.test_users.rule == "exclude_events" and event["is_test_user"])

    @cached_property
    def counting(self) -> list[Row]:
        return [event for event in self.events if self.counts(event)]

    @property
    def start_time(self) -> datetime:
        """Of the counting events; a session that has none still lies somewhere, so then of all."""
        start: datetime = (self.counting or self.events)[0]["event_time"]
        return start

    @property
    def end_time(self) -> datetime:
        end: datetime = (self.counting or self.events)[-1]["event_time"]
        return end

    @property
    def session_date(self) -> date:
        return local_date(self.start_time, self.site)

    @property
    def duration_us(self) -> int | None:
        """Null unless at least two events count."""
        return microseconds(self.start_time, self.end_time) if len(self.counting) > 1 else None

    @cached_property
    def page_views(self) -> list[PageView]:
        """The counting page views in order, each with what it owns."""
        owned: list[list[Row]] = []
        for event in self.counting:
            if event["event_type"] == "page_view":
                owned.append([event])
            elif owned:
                owned[-1].append(event)
        found = []
        for number, events in enumerate(owned):
            is_last = number == len(owned) - 1
            left_at = self.end_time if is_last else owned[number + 1][0]["event_time"]
            found.append(
                PageView(
                    number=number + 1,
                    view=events[0],
                    owned=events,
                    time_on_page_us=microseconds(events[0]["event_time"], left_at),
                    is_entry=number == 0,
                    is_exit=is_last,
                )
            )
        return found

    @property
    def converting(self) -> list[Row]:
        """Counting events of the site's conversion types."""
        return [event for event in self.counting if event["event_type"] in self.site.conversion.event_types]

    @cached_property
    def converted(self) -> bool:
        """Holds a converting event; or, where the site names an end page, left from there instead."""
        end_page = self.site.conversion.end_page
        if end_page is None:
            return bool(self.converting)
        views = self.page_views
        return bool(views) and views[-1].view["page_path"] == end_page

    @property
    def converted_at(self) -> datetime | None:
        """Of its first converting event; where the site names an end page, of the exit page view."""
        if not self.converted:
            return None
        first = self.page_views[-1].view if self.site.conversion.end_page is not None else self.converting[0]
        at: datetime = first["event_time"]
        return at

    @cached_property
    def bot_reason(self) -> str | None:
        """Of the first event that has one; else the session's own pace."""
        declared = first_known(event["bot_reason"] for event in self.events)
        if declared is not None:
            return declared
        times = [event["event_time"] for event in self.events]
        minute = timedelta(seconds=60)
        busiest = max(sum(start <= time < start + minute for time in times) for start in times)
        if busiest > self.settings.anomalies.max_events_per_minute:
            return "event_rate"
        gaps = [microseconds(before, after) for before, after in pairwise(times)]
        rule = self.settings.bots
        if len(gaps) >= rule.min_regular_gaps and all(gap > 0 for gap in gaps):
            allowed = Fraction(rule.max_gap_spread_pct, 100) * Fraction(statistics.median(map(Fraction, gaps)))
            if max(gaps) - min(gaps) <= allowed:
                return "regular_gaps"
        return None

    @property
    def is_bot(self) -> bool:
        return self.bot_reason is not None

    @property
    def has_test_user(self) -> bool:
        return any(event["is_test_user"] for event in self.events)

    @cached_property
    def is_countable(self) -> bool:
        """Neither a bot's (unless the site counts bots) nor left out by the site's rule on test users."""
        if self.is_bot and not self.site.count_bots:
            return False
        if self.site.test_users.rule == "exclude_session":
            return not self.has_test_user
        return bool(self.counting)

    def is_countable_event(self, event: Row) -> bool:
        """A countable session's counting event."""
        return self.is_countable and self.counts(event)


def sessionize(events: list[Row], sites: Sites, settings: Settings) -> list[Session]:
    """Cut distinct events into sessions by each site's rule."""
    by_client: dict[tuple[str, str], list[Row]] = defaultdict(list)
    by_visitor: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for event in events:
        site_id, client_id = event["site_id"], event["client_session_id"]
        if sites.of(site_id).session.key == "client" and client_id is not None:
            by_client[site_id, client_id].append(event)
        else:
            by_visitor[site_id, event["visitor_id"]].append(event)
    sessions = [
        Session(site_id, client_id, sites.of(site_id), in_order(group), settings)
        for (site_id, client_id), group in by_client.items()
    ]
    for (site_id, visitor_id), group in by_visitor.items():
        site = sites.of(site_id)
        for run in _runs(in_order(group), timedelta(seconds=site.session.gap_seconds)):
            for part in _parts(run, site):
                sessions.append(Session(site_id, _session_id(site_id, visitor_id, part[0]), site, part, settings))
    return sessions


def _runs(events: list[Row], gap: timedelta) -> list[list[Row]]:
    """Cut where the pause is strictly longer than `gap`."""
    runs: list[list[Row]] = []
    for event in events:
        if runs and event["event_time"] - runs[-1][-1]["event_time"] <= gap:
            runs[-1].append(event)
        else:
            runs.append([event])
    return runs


def _parts(run: list[Row], site: Site) -> list[list[Row]]:
    """Cut a run each `max_duration_seconds`, where a campaign follows on another, and at midnight, as the site says."""
    rule = site.session
    parts: list[list[Row]] = [[run[0]]]
    campaign = run[0]["utm_campaign"]
    for before, event in pairwise(run):
        cut = False
        if rule.max_duration_seconds is not None:
            most = timedelta(seconds=rule.max_duration_seconds)
            start = run[0]["event_time"]
            cut |= (before["event_time"] - start) // most != (event["event_time"] - start) // most
        if rule.break_on_campaign and event["utm_campaign"] is not None and campaign is not None:
            cut |= event["utm_campaign"] != campaign
        if rule.break_at_midnight:
            cut |= local_date(before["event_time"], site) != local_date(event["event_time"], site)
        campaign = first_known([event["utm_campaign"], campaign])
        if cut:
            parts.append([])
        parts[-1].append(event)
    return parts


def _session_id(site_id: str, visitor_id: str, first: Row) -> str:
    parts = [site_id, visitor_id, first["event_id"], utc_date(first).isoformat()]
    return hashlib.md5("\x1f".join(parts).encode()).hexdigest()
