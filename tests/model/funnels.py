"""Funnels by trying every attempt and every choice of events: exponential, so for small journeys only."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from pipelines.funnels import EventPattern, Funnel, Funnels

from .sessions import Row, in_order, microseconds

Times = list[datetime]
"""When each step of an attempt is reached, from the first on."""

TOUCH = ("channel", "traffic_source", "traffic_medium")


def funnel_daily(events: list[Row], funnels: Funnels) -> list[Row]:
    """Of rows of silver.events: how far the day's countable sessions and persons get."""
    rows = []
    for name, funnel in funnels.funnels.items():
        groups: dict[tuple[str, date, str], list[Times | None]] = defaultdict(list)
        for site_id, day, first, times in _journeys(events, funnel):
            groups[site_id, day, _breakdown(first, funnel)].append(times)
        for (site_id, day, value), journeys in groups.items():
            key = {"site_id": site_id, "date": day, "funnel": name, "breakdown": value}
            rows += [{**key, **row} for row in _steps(journeys, funnel)]
    return rows


def _journeys(events: list[Row], funnel: Funnel) -> Iterator[tuple[str, date, list[Row], Any]]:
    """(site, date, the events that say where the journey came from, what it reached)."""
    journeys: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for event in in_order(event for event in events if event["is_countable"]):
        if funnel.sites is None or event["site_id"] in funnel.sites:
            owner = event["session_id"] if funnel.scope == "session" else event["person_id"]
            journeys[event["site_id"], owner].append(event)
    for (site_id, _), own in journeys.items():
        if funnel.mode == "presence":
            reached = [any(matches(event, step) for event in own) for step in funnel.steps]
            yield site_id, own[0]["session_date"], own, reached
        elif funnel.scope == "session":
            yield site_id, own[0]["session_date"], own, best_attempt(own, own, funnel)
        else:
            for day in {event["event_date"] for event in own}:
                of_day = [event for event in own if event["event_date"] == day]
                yield site_id, day, of_day, best_attempt(own, of_day, funnel)


def _breakdown(events: list[Row], funnel: Funnel) -> str:
    name = funnel.breakdown
    if name is None:
        return "(all)"
    if name in TOUCH or name.startswith("utm_"):
        until_entry = [event for event in events if event["is_entry"] or event["page_view_number"] is None]
        saying = [event for event in until_entry if event["channel"] is not None]
        if not saying:
            return {"channel": "Direct", "traffic_source": "(direct)", "traffic_medium": "(none)"}.get(
                name, "(not set)"
            )
    else:
        saying = [event for event in events if event[name] is not None]
    value = saying[0][name] if saying else None
    return "(not set)" if value is None else str(value)


def matches(event: Row, pattern: EventPattern) -> bool:
    """All that the pattern says holds of the event."""
    for name in ("event_type", "event_name"):
        if getattr(pattern, name) is not None and event[name] != getattr(pattern, name):
            return False
    if pattern.page is not None and (event["page_path"] is None or not re.search(pattern.page, event["page_path"])):
        return False
    properties = event["properties"] or {}
    return all(properties.get(key) == value for key, value in pattern.properties.items())


# --- attempts -------------------------------------------------------------------------------------------------------


def best_attempt(events: list[Row], starts: list[Row], funnel: Funnel) -> Times:
    """The first of the attempts that get furthest, of those that begin with one of `starts`; empty where none counts.

    `events`: those of the journey, in order.
    """
    best: Times = []
    for start in starts:
        first, last = start["event_time"], None
        if funnel.window_seconds is not None:
            last = first + timedelta(seconds=funnel.window_seconds)
        reached = _reached(events, start, funnel)
        within = [time for time in reached if last is None or time <= last]
        if len(within) > len(best) and not _is_excluded(events, reached, last, funnel):
            best = within
    return best


def _is_excluded(events: list[Row], reached: Times, last: datetime | None, funnel: Funnel) -> bool:
    """Whether an exclusion comes after one of its steps and before the other, or while the other may still come."""
    for exclusion in funnel.exclude:
        after, before = exclusion.between or (1, len(funnel.steps))
        for event in events:
            time = event["event_time"]
            if not matches(event, exclusion) or len(reached) < after or time <= reached[after - 1]:
                continue
            if (len(reached) < before or time < reached[before - 1]) and (last is None or time <= last):
                return True
    return False


def _reached(events: list[Row], start: Row, funnel: Funnel) -> Times:
    """When the attempt that begins at the start's instant reaches each step, were there no window."""
    if funnel.mode == "strict":
        return _strict(events[events.index(start) :], funnel)
    chains = _ordered_chains if funnel.mode == "ordered" else _unordered_chains
    following = [event for event in events if event["event_time"] >= start["event_time"]]
    earliest: Times = []
    for chain in chains(following, funnel):
        both = [min(times) for times in zip(chain, earliest, strict=False)]
        earliest = both + chain[len(both) :] + earliest[len(both) :]
    return earliest


def _strict(events: list[Row], funnel: Funnel) -> Times:
    times: Times = []
    for event, step in zip(events, funnel.steps, strict=False):
        if not matches(event, step) or (funnel.strict_increase and times and event["event_time"] <= times[-1]):
            break
        times.append(event["event_time"])
    return times


def _ordered_chains(events: list[Row], funnel: Funnel, chain: tuple[Row, ...] = ()) -> Iterator[Times]:
    """The times of every way to fill the first steps, one after the other, with different events."""
    if chain:
        yield [event["event_time"] for event in chain]
    if len(chain) == len(funnel.steps):
        return
    for event in events:
        used = any(event is other for other in chain)
        if not chain and event["event_time"] > events[0]["event_time"]:
            return  # an attempt begins at its start's instant
        if used or not matches(event, funnel.steps[len(chain)]):
            continue
        if chain:
            before, now = chain[-1]["event_time"], event["event_time"]
            if now < before or (now == before and funnel.strict_increase):
                continue
        yield from _ordered_chains(events, funnel, (*chain, event))


def _unordered_chains(
    events: list[Row], funnel: Funnel, filled: frozenset[int] = frozenset(), times: tuple[datetime, ...] = ()
) -> Iterator[Times]:
    """The times of every way to fill different steps with some of the events, taken in order."""
    if times:
        yield [*times]
    for number, event in enumerate(events):
        if not times and event["event_time"] > events[0]["event_time"]:
            return  # an attempt begins at its start's instant
        for step, pattern in enumerate(funnel.steps):
            if step not in filled and matches(event, pattern):
                rest = events[number + 1 :]
                yield from _unordered_chains(rest, funnel, filled | {step}, (*times, event["event_time"]))


# --- numbers --------------------------------------------------------------------------------------------------------


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _steps(journeys: list[Any], funnel: Funnel) -> list[Row]:
    """The rows of one funnel, from which steps each journey reached (presence) or when it did."""
    is_presence = funnel.mode == "presence"
    count = [len(journeys)]  # N(0), then N(1) …
    for i in range(len(funnel.steps)):
        count.append(sum(journey[i] if is_presence else len(journey) > i for journey in journeys))
    rows = []
    for number, step in enumerate(funnel.steps, start=1):
        is_last = number == len(funnel.steps)
        lost_next = 0 if is_last else max(0, count[number] - count[number + 1])
        seconds = [] if is_presence else [microseconds(j[0], j[number - 1]) for j in journeys if len(j) >= number]
        rows.append(
            {
                "step_number": number,
                "step": step.name,
                "journeys": count[0],
                "count": count[number],
                "drop_off": max(0, count[number - 1] - count[number]),
                "drop_off_rate": _ratio(lost_next, count[number]),
                "step_rate": _ratio(count[number], count[number - 1]),
                "conversion_rate": _ratio(count[number], count[0] if is_presence else count[1]),
                "median_seconds": _percentile(seconds, 0.5),
                "p90_seconds": _percentile(seconds, 0.9),
            }
        )
    return rows


def _percentile(values: list[int], share: float) -> float | None:
    """Between the two values next to the place, in proportion; from µs to seconds."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return (ordered[low] + (place - low) * (ordered[high] - ordered[low])) / 1_000_000
