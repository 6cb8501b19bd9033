"""gold.metric_anomalies from rows of gold.segment_metrics_daily: each number of each segment, day by day."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from pipelines.thresholds import MetricAnomalySettings

from .sessions import Row

ALL = "(all)"
DIMENSIONS = (ALL, "device_type", "browser", "country", "channel", "page")
DAY = timedelta(days=1)
Segment = tuple[str, str, str]
"""(site_id, dimension, value)"""


@dataclass
class Number:
    """A metric of a segment on a date; level is null where its volume is too small."""

    level: float | None
    weight: float
    kind: Literal["count", "rate", "time", "bots"]
    least: int
    expected: float | None = None
    spread: float | None = None
    score: float | None = None
    compared_with: str | None = None
    compared_days: int = 0


def metric_anomalies(segments: list[Row], settings: MetricAnomalySettings, as_of: date) -> list[Row]:
    """Rows of the anomalies up to as_of."""
    known: dict[Segment, dict[date, Row]] = defaultdict(dict)
    for row in segments:
        if row["dimension"] in DIMENSIONS and row["date"] <= as_of:
            known[row["site_id"], row["dimension"], row["value"]][row["date"]] = row
    series: dict[tuple[Segment, str], dict[date, Number]] = defaultdict(dict)
    for segment, days in known.items():
        if _is_large(days.values(), settings):
            for day in _dates(min(days), as_of):
                for metric, number in _numbers(segment[1], days.get(day, {}), settings).items():
                    series[segment, metric][day] = number
    rows = []
    for numbers in series.values():
        for day in numbers:
            _judge(numbers, day, settings)
    for (segment, metric), numbers in series.items():
        for run in _runs(numbers, settings):
            peak = max(abs(numbers[day].score or 0) for day in run)
            if peak <= settings.k_open:
                continue
            for day in run:
                number = numbers[day]
                assert number.level is not None
                assert number.expected is not None
                assert number.spread is not None
                is_site = segment[1] == ALL
                rows.append(
                    {
                        "site_id": segment[0],
                        "date": day,
                        "metric": metric,
                        "segment": ALL if is_site else f"{segment[1]}: {segment[2]}",
                        "value": number.level,
                        "expected": number.expected,
                        "low": max(0.0, number.expected - settings.k_open * number.spread),
                        "high": number.expected + settings.k_open * number.spread,
                        "score": number.score,
                        "severity": "critical" if peak > settings.k_critical else "warning",
                        "since": run[0],
                        "compared_with": number.compared_with,
                        "compared_days": number.compared_days,
                        "explained_by": _explanation(series, known, segment, metric, day, settings) if is_site else [],
                    }
                )
    return rows


def _dates(first: date, last: date) -> list[date]:
    return [first + number * DAY for number in range((last - first).days + 1)]


def _is_large(rows: object, settings: MetricAnomalySettings) -> bool:
    return any(
        row["sessions"] >= settings.min_sessions
        or row["page_views"] >= settings.min_page_views
        or row["load_samples"] >= settings.min_load_samples
        for row in rows  # type: ignore[attr-defined]
    )


def _numbers(dimension: str, row: Row, settings: MetricAnomalySettings) -> dict[str, Number]:
    """What a segment has; a date without a row is one of zeros."""

    def n(name: str) -> int:
        return int(row.get(name, 0))

    def count(name: str, least: int) -> Number:
        return Number(float(n(name)), 1.0, "count", least)

    def rate(part: str, whole: str, least: int) -> Number:
        return Number(n(part) / n(whole) if n(whole) >= least else None, float(n(whole)), "rate", least)

    found = {}
    if dimension != "page":
        found["sessions"] = count("sessions", settings.min_sessions)
        found["conversion_rate"] = rate("conversions", "sessions", settings.min_sessions)
        found["bounce_rate"] = rate("bounces", "viewing_sessions", settings.min_sessions)
        found["error_rate"] = rate("error_sessions", "sessions", settings.min_sessions)
    else:
        found["error_rate"] = rate("error_views", "page_views", settings.min_page_views)
    if dimension in (ALL, "page"):
        found["page_views"] = count("page_views", settings.min_page_views)
    if dimension == ALL:
        found["bot_share"] = rate("bot_events", "events", settings.min_page_views)
        found["bot_share"].kind = "bots"
    samples = n("load_samples")
    level = row["load_p90_ms"] if samples >= settings.min_load_samples else None
    found["page_load_p90"] = Number(level, float(samples), "time", settings.min_load_samples)
    return found


def _judge(numbers: dict[date, Number], day: date, settings: MetricAnomalySettings) -> None:
    """Fill in what the number of that day is compared with, and its score."""
    number = numbers[day]

    def levels(days: list[date]) -> list[float]:
        return [
            numbers[other].level  # type: ignore[misc]
            for other in days
            if other in numbers and numbers[other].level is not None
        ]

    weekdays = levels([day - 7 * weeks * DAY for weeks in range(1, settings.weeks + 1)])
    trailing = levels([day - back * DAY for back in range(1, settings.trailing_days + 1)])
    if len(weekdays) >= settings.min_weekdays:
        base, number.compared_with = weekdays, "same_weekday"
    elif len(trailing) >= settings.min_trailing_days:
        base, number.compared_with = trailing, "trailing_days"
    else:
        return
    number.compared_days = len(base)
    expected = number.expected = statistics.median(base)
    chance = settings.least_bot_share_spread if number.kind == "bots" else 0.0
    if number.kind == "count":
        chance = math.sqrt(expected)
    elif number.kind == "rate" and number.level is not None:
        p = max(expected, 1 / number.weight)
        chance = math.sqrt(p * (1 - p) / number.weight)
    mad = statistics.median(abs(level - expected) for level in base)
    spread = number.spread = max(1.4826 * mad, settings.least_spread * expected, chance)
    if number.level is None or spread == 0 or (number.kind == "count" and expected < number.least):
        return
    number.score = (number.level - expected) / spread


def _runs(numbers: dict[date, Number], settings: MetricAnomalySettings) -> list[list[date]]:
    """Days side by side that are beyond k_close on the same side."""
    runs: list[list[date]] = []
    before = 0
    for day in sorted(numbers):
        score = numbers[day].score or 0.0
        side = (score > settings.k_close) - (score < -settings.k_close)
        if side and side == before:
            runs[-1].append(day)
        elif side:
            runs.append([day])
        before = side
    return runs


def _explanation(
    series: dict[tuple[Segment, str], dict[date, Number]],
    known: dict[Segment, dict[date, Row]],
    site: Segment,
    metric: str,
    day: date,
    settings: MetricAnomalySettings,
) -> list[str]:
    """Segments that hold more of the site's difference than of what was expected (or of the volume)."""
    whole = series[site, metric][day]
    assert whole.level is not None
    assert whole.expected is not None
    views = float(known[site].get(day, {}).get("page_views", 0))
    found = []
    for (segment, other), numbers in series.items():
        number = numbers.get(day)
        if segment[0] != site[0] or segment[1] == ALL or other != metric or number is None or number.level is None:
            continue
        weights = views if metric == "error_rate" and segment[1] == "page" else whole.weight
        expected = number.expected
        if expected is None:
            expected = 0.0 if number.kind == "count" else whole.expected
        share = number.weight / weights
        part = share * (number.level - expected) / (whole.level - whole.expected)
        usual = expected / whole.expected if number.kind == "count" else share
        if part >= settings.explain.least_share and part - usual >= settings.explain.least_lift:
            named = f"{segment[1]}: {segment[2]}"
            found.append((usual - part, f"{named} ({math.floor(part * 100 + 0.5)} %)"))
    return [words for _, words in sorted(found)][: settings.explain.segments]
