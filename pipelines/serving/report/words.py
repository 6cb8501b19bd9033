"""A period in words: the headline, and what changed against the period before.

A change is named only where it is larger than chance makes it: more than two standard deviations of a count (Poisson)
or of a rate (two proportions). Otherwise the number is said to be about the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.serving.report.cards import count_direction, rate_direction

Row = Mapping[str, Any]

_DIMENSIONS = {"channel": "channel", "device_type": "device", "country": "country"}
_PREPOSITIONS = {"channel": "came by", "device_type": "are on", "country": "are from"}
_MOST_MOVERS = 3


@dataclass(frozen=True)
class Facts:
    """What is known of one period; `before` is None where no complete earlier period exists."""

    label: str
    now: Row
    before: Row | None
    why_no_before: str
    segments: Mapping[str, tuple[Sequence[Row], Sequence[Row]]] = field(default_factory=dict)
    """Dimension → its rows (value, sessions, conversions), of this period and of the one before."""
    speed: tuple[float | None, float | None] = (None, None)
    """Ninetieth percentile of load times in ms, now and before."""
    anomalies: Sequence[Row] = ()
    off_target: Sequence[str] = ()


def headline(facts: Facts) -> str:
    """One sentence: sessions and conversion, with their change where there is one."""
    now, before = facts.now, facts.before
    if not now.get("sessions"):
        return "Nobody came"
    rate = _ratio(now["converted"], now["sessions"])
    if before is None or not before.get("sessions"):
        return f"{_whole(now['sessions'])} sessions, of which {_percent(rate)} converted"
    was = _ratio(before["converted"], before["sessions"])
    sessions = _moved("Sessions", now["sessions"], before["sessions"])
    direction = rate_direction(now["converted"], now["sessions"], before["converted"], before["sessions"])
    if not direction:
        return f"{sessions}; conversion held at {_percent(rate)}"
    return f"{sessions}; conversion {direction} from {_percent(was)} to {_percent(rate)}"


def what_changed(facts: Facts) -> list[str]:
    """Sentences, the weightiest first; at least one."""
    now, before = facts.now, facts.before
    said: list[str] = []
    if not now.get("sessions"):
        return ["No countable session started in this period."]
    if before is None or not before.get("sessions"):
        said += [*_largest(facts), facts.why_no_before]
    else:
        said += _drivers(facts)
        if now.get("users") and before.get("users"):
            said.append(_moved("Users", now["users"], before["users"]) + ".")
        if now["revenue"] or before["revenue"]:
            # Orders differ in size, so chance moves revenue more than the number of orders.
            said.append(_money(now["revenue"], before["revenue"], now["converted"], before["converted"]))
        worse = rate_direction(now["with_error"], now["sessions"], before["with_error"], before["sessions"])
        if worse:
            was, rate = (_ratio(row["with_error"], row["sessions"]) for row in (before, now))
            said.append(f"Sessions with an error {worse} from {_percent(was)} to {_percent(rate)}.")
        bounce = rate_direction(now["bounced"], now["page_sessions"], before["bounced"], before["page_sessions"])
        if bounce:
            was, rate = (_ratio(row["bounced"], row["page_sessions"]) for row in (before, now))
            said.append(f"The bounce rate {bounce} from {_percent(was)} to {_percent(rate)}.")
        ms, ms_before = facts.speed
        if ms and ms_before and abs(ms / ms_before - 1) >= 0.1:
            pace = "slower" if ms > ms_before else "faster"
            said.append(f"Pages load {pace}: nine in ten within {ms / 1000:.1f} s, before {ms_before / 1000:.1f} s.")
    if facts.anomalies:
        found = [(row["metric"].replace("_", " "), row["date"]) for row in facts.anomalies[:3]]
        names = ", ".join(dict.fromkeys(f"{metric} on {day:%a} {day.day} {day:%b}" for metric, day in found))
        more = len(facts.anomalies) - 3
        said.append(f"Out of the ordinary: {names}{f' and {more} more' if more > 0 else ''}.")
    if facts.off_target:
        said.append(f"Off target on the last day: {', '.join(facts.off_target)}.")
    return said or ["Nothing moved more than chance alone would move it."]


def _largest(facts: Facts) -> list[str]:
    """Without a period to compare with: what most sessions have in common."""
    leaders = [
        f"{_ratio(rows[0]['sessions'], facts.now['sessions']):.0%} {_PREPOSITIONS[dimension]} {rows[0]['value']}"
        for dimension, (rows, _) in facts.segments.items()
        if dimension in _DIMENSIONS and rows
    ]
    return [f"Of the sessions, {', '.join(leaders)}."] if leaders else []


def _drivers(facts: Facts) -> list[str]:
    """For sessions that moved: the segment of each dimension that moved most in the same direction."""
    assert facts.before is not None
    total = facts.now["sessions"] - facts.before["sessions"]
    if not count_direction(facts.now["sessions"], facts.before["sessions"]):
        return []
    found = []
    for dimension, (rows, rows_before) in facts.segments.items():
        if dimension not in _DIMENSIONS:
            continue
        was = {row["value"]: row["sessions"] for row in rows_before}
        is_now = {row["value"]: row["sessions"] for row in rows}
        moved = {value: is_now.get(value, 0) - was.get(value, 0) for value in {**was, **is_now}}
        value, most = max(moved.items(), key=lambda item: (item[1] * total, item[0]), default=("", 0))
        # A segment explains a change only where it moved beyond its own share of the whole.
        expected = was.get(value, 0) / facts.before["sessions"]
        if most * total > 0 and abs(most / total) > max(0.25, 1.2 * expected):
            found.append((abs(most / total), _DIMENSIONS[dimension], value, most))
    found.sort(reverse=True)
    verb = "gained" if total > 0 else "lost"
    return [
        f"{value} ({name}) {verb} {_whole(abs(moved))} of the {_whole(abs(total))} sessions."
        if abs(moved) <= abs(total)
        else f"{value} ({name}) {verb} {_whole(abs(moved))} sessions, more than the whole site."
        for _, name, value, moved in found[:_MOST_MOVERS]
    ]


def _moved(name: str, now: float, before: float) -> str:
    direction = count_direction(now, before)
    if not direction:
        return f"{name} about the same at {_whole(now)}"
    return f"{name} {direction} {abs(now / before - 1):.0%} to {_whole(now)}"


def _money(now: float, before: float, orders: int, orders_before: int) -> str:
    direction = count_direction(orders, orders_before)
    size, size_before = _ratio(now, orders), _ratio(before, orders_before)
    how = f"{_whole(orders)} conversions of {_whole(size)}; before, {_whole(orders_before)} of {_whole(size_before)}"
    if not direction and abs(_ratio(size, size_before) - 1) < 0.2:
        return f"Revenue about the same at {_whole(now)} ({how})."
    if not before:
        return f"Revenue of {_whole(now)} ({how})."
    verb = "rose" if now > before else "fell"
    return f"Revenue {verb} {abs(now / before - 1):.0%} to {_whole(now)} ({how})."


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _percent(rate: float) -> str:
    return f"{rate:.1%}"
