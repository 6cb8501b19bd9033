"""Duplicates, identity, dates and sessions: what every table of the model stands on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import cached_property
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pipelines.settings import Site, Sites

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

MICROSECOND = timedelta(microseconds=1)


def utc_date(event: Row) -> date:
    """Date of the event in UTC: with site and event_id, what identifies it."""
    instant: datetime = event["event_time"]
    return instant.astimezone(timezone.utc).date()


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


# --- duplicates and identity ----------------------------------------------------------------------------------------


def deduplicate(candidates: Iterable[Row]) -> list[Row]:
    """One candidate for each (site, event_id, UTC date): the least by time, sequence (null first), hash of the record.

    The survivors carry their visitor and person.
    """
    rivals: dict[tuple[str, str, date], list[Row]] = defaultdict(list)
    for candidate in candidates:
        event: Row = {column: candidate.get(column) for column in CANDIDATE_COLUMNS}
        rivals[event["site_id"], event["event_id"], utc_date(event)].append(event)
    winners = []
    for group in rivals.values():
        winner = min(group, key=lambda e: (e["event_time"], _nulls_first(e["sequence"]), e["record_hash"]))
        winner["visitor_id"] = first_known([winner["anonymous_id"], winner["user_id"], winner["client_session_id"]])
        winner["person_id"] = first_known([winner["user_id"], winner["visitor_id"]])
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

    @cached_property
    def is_bot(self) -> bool:
        return any(event["is_bot"] for event in self.events)

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


def sessionize(events: list[Row], sites: Sites) -> list[Session]:
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
        Session(site_id, client_id, sites.of(site_id), in_order(group))
        for (site_id, client_id), group in by_client.items()
    ]
    for (site_id, visitor_id), group in by_visitor.items():
        site = sites.of(site_id)
        for run in _runs(in_order(group), timedelta(seconds=site.session.gap_seconds)):
            sessions.append(Session(site_id, _session_id(site_id, visitor_id, run[0]), site, run))
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


def _session_id(site_id: str, visitor_id: str, first: Row) -> str:
    parts = [site_id, visitor_id, first["event_id"], utc_date(first).isoformat()]
    return hashlib.md5("\x1f".join(parts).encode()).hexdigest()
