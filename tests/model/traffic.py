"""The gold tables of traffic, devices, flows and attribution, from rows of silver."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby, pairwise
from typing import Any

from pipelines.settings import Sites

from .sessions import Row, local_date

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)
MONTH = timedelta(days=30)
WEEK = timedelta(days=7)


def _countable(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["is_countable"]]


def _grouped(rows: Iterable[Row], key: Callable[[Row], tuple[Any, ...]]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


# --- counts ---------------------------------------------------------------------------------------------------------


def traffic_5min(events: list[Row], sessions: list[Row]) -> list[Row]:
    """Events and starts of sessions by their window; a site's date is part of it."""

    def window(instant: datetime) -> datetime:
        return EPOCH + (instant - EPOCH) // FIVE_MINUTES * FIVE_MINUTES

    in_window = _grouped(events, lambda e: (e["site_id"], e["event_date"], window(e["event_time"])))
    started = _grouped(_countable(sessions), lambda s: (s["site_id"], s["session_date"], window(s["start_time"])))
    rows = []
    for key in in_window.keys() | started.keys():
        counted = _countable(in_window.get(key, ()))
        types = Counter(event["event_type"] for event in counted)
        bots = sum(event["is_bot"] for event in in_window.get(key, ()))
        if not counted and not bots:
            continue
        rows.append(
            {
                **dict(zip(("site_id", "date", "window_start"), key, strict=True)),
                "events": len(counted),
                "page_views": types["page_view"],
                "visitors": len({event["visitor_id"] for event in counted}),
                "sessions_started": len(started.get(key, ())),
                "purchases": types["purchase"],
                "errors": types["error"],
                "bot_events": bots,
            }
        )
    return rows


def _sessions_by(sessions: list[Row], dimensions: dict[str, str], measures: tuple[str, ...]) -> list[Row]:
    """Countable sessions by date and dimensions (column → what stands for null)."""

    def key(session: Row) -> tuple[Any, ...]:
        values = [label if session[name] is None else session[name] for name, label in dimensions.items()]
        return (session["site_id"], session["session_date"], *values)

    rows = []
    for place, group in _grouped(_countable(sessions), key).items():
        every = {
            "sessions": len(group),
            "visitors": len({session["visitor_id"] for session in group}),
            "page_views": sum(session["page_view_count"] for session in group),
            "bounces": sum(session["page_view_count"] == 1 for session in group),
            "conversions": sum(session["converted"] for session in group),
            "revenue": sum((session["revenue"] for session in group), Decimal(0)),
        }
        names = ("site_id", "date", *dimensions)
        rows.append({**dict(zip(names, place, strict=True)), **{name: every[name] for name in measures}})
    return rows


def traffic_sources_daily(sessions: list[Row]) -> list[Row]:
    names = ("channel", "traffic_source", "traffic_medium", "campaign")
    measures = ("sessions", "visitors", "bounces", "conversions", "revenue")
    return _sessions_by(sessions, dict.fromkeys(names, "(not set)"), measures)


def devices_daily(sessions: list[Row]) -> list[Row]:
    measures = ("visitors", "sessions", "page_views", "conversions")
    return _sessions_by(sessions, dict.fromkeys(("device_type", "browser", "os"), "(unknown)"), measures)


def geo_daily(sessions: list[Row]) -> list[Row]:
    measures = ("visitors", "sessions", "page_views", "conversions")
    return _sessions_by(sessions, dict.fromkeys(("country", "region"), "(unknown)"), measures)


# --- load times -----------------------------------------------------------------------------------------------------


def page_performance_daily(events: list[Row]) -> list[Row]:
    timed = [
        event
        for event in _countable(events)
        if event["event_type"] == "page_view" and event["load_time_ms"] is not None
    ]

    def key(event: Row) -> tuple[Any, ...]:
        page, device = event["page_path"], event["device_type"]
        shown = ("(not set)" if page is None else page, "(unknown)" if device is None else device)
        return (event["site_id"], event["event_date"], *shown)

    rows = []
    for place, group in _grouped(timed, key).items():
        values = sorted(event["load_time_ms"] for event in group)
        percentiles = {f"p{number}_ms": percentile(values, number) for number in (50, 90, 99)}
        names = ("site_id", "date", "page", "device_type")
        rows.append({**dict(zip(names, place, strict=True)), "samples": len(values), **percentiles})
    return rows


def percentile(values: list[int], number: int) -> float:
    """Between the two values around (n − 1) · p, in proportion to where it lies."""
    place = Fraction((len(values) - 1) * number, 100)
    below = math.floor(place)
    above = math.ceil(place)
    return float(values[below] + (values[above] - values[below]) * (place - below))


# --- flows ----------------------------------------------------------------------------------------------------------


def _path(session: Row) -> list[str]:
    return session["journey_path"] or ["(not set)"]


def flow_transitions_daily(sessions: list[Row]) -> list[Row]:
    transitions: Counter[tuple[str, date, str, str]] = Counter()
    of_sessions: Counter[tuple[str, date, str, str]] = Counter()
    for session in _countable(sessions):
        if session["page_view_count"]:
            steps = pairwise(["(entry)", *_path(session), "(exit)"])
            gone = [(session["site_id"], session["session_date"], *step) for step in steps]
            transitions.update(gone)
            of_sessions.update(set(gone))
    names = ("site_id", "date", "from_page", "to_page")
    return [
        {**dict(zip(names, key, strict=True)), "transitions": count, "sessions": of_sessions[key]}
        for key, count in transitions.items()
    ]


def flow_patterns_daily(sessions: list[Row]) -> list[Row]:
    viewed = [session for session in _countable(sessions) if session["page_view_count"]]
    days = Counter((session["site_id"], session["session_date"]) for session in viewed)
    paths = _grouped(viewed, lambda s: (s["site_id"], s["session_date"], " > ".join(_path(s))))
    rows = []
    for (site_id, day, path), group in paths.items():
        conversions = sum(session["converted"] for session in group)
        rows.append(
            {
                "site_id": site_id,
                "date": day,
                "path": path,
                "sessions": len(group),
                "conversions": conversions,
                "conversion_rate": conversions / len(group),
                "share": len(group) / days[site_id, day],
            }
        )
    return rows


# --- touches --------------------------------------------------------------------------------------------------------

Touch = tuple[str, str]
"""(channel, source)"""


def _touch(session: Row) -> Touch:
    channel, source = session["channel"], session["traffic_source"]
    return ("(not set)" if channel is None else channel, "(not set)" if source is None else source)


def _start(session: Row) -> tuple[datetime, str]:
    return (session["start_time"], session["session_id"])


def _collapsed(sessions: list[Row]) -> list[tuple[datetime, Touch]]:
    """The last start of each run of equal touches."""
    runs = groupby(sorted(sessions, key=_start), key=_touch)
    return [(max(session["start_time"] for session in run), touch) for touch, run in runs]


def touch_paths_daily(sessions: list[Row]) -> list[Row]:
    paths: dict[tuple[str, date, str], Row] = {}
    for person in _grouped(_countable(sessions), lambda s: (s["site_id"], s["person_id"])).values():
        for session in person:
            earliest = session["start_time"] - MONTH
            led_here = [s for s in person if s["start_time"] >= earliest and _start(s) <= _start(session)]
            touches = [touch for _, touch in _collapsed(led_here)]
            path = " > ".join(f"{channel}: {source}" for channel, source in touches)
            key = (session["site_id"], session["session_date"], path)
            row = paths.setdefault(key, {"touches": len(touches), "sessions": 0, "conversions": 0})
            row["sessions"] += 1
            row["conversions"] += session["converted"]
    return [{"site_id": site_id, "date": day, "path": path, **row} for (site_id, day, path), row in paths.items()]


def attribution_daily(sessions: list[Row], sites: Sites) -> list[Row]:
    """Each converted session's credits, model by model, added up."""
    credited: dict[tuple[Any, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for (site_id, _), person in _grouped(_countable(sessions), lambda s: (s["site_id"], s["person_id"])).items():
        for session in person:
            if session["converted_at"] is None:
                continue
            at = min(session["converted_at"], session["start_time"] + MONTH)
            touches = _collapsed([s for s in person if at - MONTH <= s["start_time"] <= at])
            day = local_date(at, sites.of(site_id))
            for model, shares in _shares(touches, at).items():
                conversions = _credits(Decimal(1), shares, Decimal("0.000001"))
                revenue = _credits(session["revenue"], shares, Decimal("0.01"))
                for (_, touch), one, money in zip(touches, conversions, revenue, strict=True):
                    row = credited[(site_id, day, model, *touch)]
                    row[0] += one
                    row[1] += money
    names = ("site_id", "date", "model", "channel", "source")
    return [
        {**dict(zip(names, key, strict=True)), "conversions": conversions, "revenue": revenue}
        for key, (conversions, revenue) in credited.items()
        if conversions or revenue
    ]


def _shares(touches: list[tuple[datetime, Touch]], at: datetime) -> dict[str, list[Fraction]]:
    """Each touch's share of a conversion under each model; they add up to 1."""
    count = len(touches)
    told = [place for place, (_, touch) in enumerate(touches) if not _is_direct(touch)]
    weights: dict[str, list[Any]] = {
        "first": _only(0, count),
        "last": _only(count - 1, count),
        "last_non_direct": _only(told[-1] if told else count - 1, count),
        "linear": [1] * count,
        "position": [1] * count,
        # Whole weights: shares of floating ones would depend on how a machine computes powers.
        "time_decay": [round(10**12 * 2 ** -((at - time) / WEEK)) for time, _ in touches],
    }
    if count > 2:
        weights["position"] = [Fraction(2, 5), *[Fraction(1, 5 * (count - 2))] * (count - 2), Fraction(2, 5)]
    return {model: [Fraction(weight) / sum(of_model) for weight in of_model] for model, of_model in weights.items()}


def _is_direct(touch: Touch) -> bool:
    return touch[0] == "Direct" or touch == ("(not set)", "(not set)")


def _only(place: int, count: int) -> list[int]:
    return [int(place == number) for number in range(count)]


def _credits(whole: Decimal, shares: list[Fraction], unit: Decimal) -> list[Decimal]:
    """Shares of `whole`, rounded half up to `unit`; the last one gets what the others leave."""
    rounded = [_credit(whole, share, unit) for share in shares[:-1]]
    return [*rounded, whole - sum(rounded)]


def _credit(whole: Decimal, share: Fraction, unit: Decimal) -> Decimal:
    if share == 1:
        return whole
    return math.floor(Fraction(whole) / Fraction(unit) * share + Fraction(1, 2)) * unit
