"""The numbers of the first row, with their change against the period before and whether it is for the better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

Format = Literal["count", "percent", "seconds", "decimal"]


@dataclass(frozen=True)
class Card:
    """numerator / denominator (or the numerator alone) of a period's sums; `better` is the direction one hopes for."""

    key: str
    label: str
    numerator: str
    denominator: str | None
    format: Format
    better: Literal["up", "down"]
    meaning: str


CARDS = (
    Card("users", "Users", "users", None, "count", "up", "Distinct persons active in the period."),
    Card("sessions", "Sessions", "sessions", None, "count", "up", "Countable sessions that started in the period."),
    Card("conversion", "Conversion rate", "converted", "sessions", "percent", "up", "Converted sessions / sessions."),
    Card("revenue", "Revenue", "revenue", None, "count", "up", "Value of converting events, as sent, in any currency."),
    Card(
        "bounce", "Bounce rate", "bounced", "page_sessions", "percent", "down", "Sessions of one page view / with any."
    ),
    Card("duration", "Average session", "duration", "durations", "seconds", "up", "From the first to the last event."),
    Card("pages", "Page views per session", "page_views", "sessions", "decimal", "up", "Page views / sessions."),
    Card("errors", "Sessions with an error", "with_error", "sessions", "percent", "down", "Of all sessions."),
)

# Averages and sums of amounts have no simple law of chance; a change this small is called none.
_SMALL = 0.05


def rows(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """For every card in order: value, before, change in words, and verdict (better, worse, or empty within chance)."""
    return [_row(card, now, before) for card in CARDS]


def count_direction(now: float, before: float) -> str:
    """rose or fell; empty within two standard deviations of the difference of two Poisson counts."""
    if abs(now - before) <= 2 * sqrt(now + before):
        return ""
    return "rose" if now > before else "fell"


def rate_direction(part: float, whole: float, part_before: float, whole_before: float) -> str:
    """rose or fell; empty within two standard deviations of the difference of two proportions."""
    if not whole or not whole_before:
        return ""
    pooled = (part + part_before) / (whole + whole_before)
    deviation = sqrt(pooled * (1 - pooled) * (1 / whole + 1 / whole_before))
    difference = part / whole - part_before / whole_before
    if abs(difference) <= 2 * deviation:
        return ""
    return "rose" if difference > 0 else "fell"


def _row(card: Card, now: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    value, was = _value(card, now), _value(card, before or {})
    if card.key == "revenue" and not value and not was:
        value = was = None  # a site that sells nothing
    direction = _direction(card, now, before, value, was) if value is not None and was is not None else ""
    verdict = "" if not direction else "better" if (direction == "rose") == (card.better == "up") else "worse"
    return {"value": value, "before": was, "change": _change(card, value, was), "verdict": verdict}


def _value(card: Card, row: Mapping[str, Any]) -> float | None:
    part = row.get(card.numerator)
    if card.denominator is None or part is None:
        return None if part is None else float(part)
    whole = row.get(card.denominator)
    return part / whole if whole else None


def _direction(card: Card, now: Mapping[str, Any], before: Mapping[str, Any] | None, value: float, was: float) -> str:
    if before is not None and card.format == "percent" and card.denominator:
        return rate_direction(
            now[card.numerator], now[card.denominator], before[card.numerator], before[card.denominator]
        )
    if card.key in ("users", "sessions"):
        return count_direction(value, was)
    if abs(value - was) <= _SMALL * abs(was):
        return ""
    return "rose" if value > was else "fell"


def _change(card: Card, value: float | None, was: float | None) -> str | None:
    if value is None or was is None:
        return None
    sign = "▲" if value > was else "▼" if value < was else "="
    if card.format == "percent":
        return f"{sign} {abs(value - was) * 100:.1f} pts"
    return f"{sign} {abs(value / was - 1):.0%}" if was else sign
