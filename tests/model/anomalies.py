"""gold.session_anomalies, kind by kind."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from pipelines.settings import AnomalySettings

from .sessions import Row, Session, microseconds

CATEGORIES = {
    "long_gap": "temporal",
    "duration_outlier": "temporal",
    "error_keyword": "technical",
    "error_page": "technical",
    "high_activity": "behavioural",
    "unusual_path": "behavioural",
    "rage_click": "behavioural",
    "dead_loop": "behavioural",
}
SEARCHED = ("element_selector", "element_text", "page_path", "page_title")
MINUTE = timedelta(seconds=60)

Key = tuple[str, str]
"""(site_id, session_id)"""
Day = tuple[str, date]
"""(site_id, session date)"""


def session_anomalies(sessions: list[Session], pages: list[Row], settings: AnomalySettings) -> list[Row]:
    """Rows without `detail`, whose wording no rule fixes.

    Countable sessions are judged by everything. The others are judged by the limit of events in a minute alone: that is
    how a bot shows.
    """
    countable = [session for session in sessions if session.is_countable]
    durations = {
        _key(session): math.log1p(session.duration_us / 1_000_000)
        for session in countable
        if session.duration_us is not None
    }
    activities = {_key(session): float(len(session.counting)) for session in countable}
    duration_scores = _scores(countable, durations, settings)
    activity_scores = _scores(countable, activities, settings)
    days = Counter((session.site_id, session.session_date) for session in countable)
    path_scores, path_limits = _path_scores(countable, settings)
    broken = _broken_pages(pages, settings)

    rows = []
    for session in sessions:
        found: dict[str, tuple[float, float | None]] = {}  # kind → (observed, score)
        if session.is_countable:
            pause = _longest_pause_us(session)
            if pause is not None and pause > settings.long_gap_seconds * 1_000_000:
                found["long_gap"] = (pause / 1_000_000, None)
            score = duration_scores.get(_key(session))
            if score is not None and abs(score) > settings.outlier_score and session.duration_us is not None:
                found["duration_outlier"] = (session.duration_us / 1_000_000, score)
            hits = sum(_holds_error_word(event, settings) for event in session.counting)
            if hits:
                found["error_keyword"] = (float(hits), None)
            presses = _most_clicks_on_one_element(session, settings)
            if presses >= settings.rage_click.clicks:
                found["rage_click"] = (float(presses), None)
            path = [page.view["page_path"] for page in session.page_views if page.view["page_path"] is not None]
            loops = Counter(pair for pair in pairwise(path) if pair[0] != pair[1])
            if max(loops.values(), default=0) >= settings.dead_loop.repeats:
                found["dead_loop"] = (float(max(loops.values())), None)
            day = (session.site_id, session.session_date)
            if days[day] >= settings.min_sessions:
                failed_on = [
                    _shown(page.view)
                    for page in session.page_views
                    for event in page.owned
                    if event["event_type"] == "error"
                ]
                failures = sum(page in broken[day] for page in failed_on)
                if failures:
                    found["error_page"] = (float(failures), None)
                scored = path_scores.get(_key(session))
                if scored and scored > max(path_limits[day], settings.unusual_path.least_score):
                    found["unusual_path"] = (float(len(_path(session)) - 1), scored)
        score = activity_scores.get(_key(session))  # none for a session that is not countable
        stands_out = score is not None and score > settings.outlier_score
        if stands_out or _most_in_a_minute(session) > settings.max_events_per_minute:
            found["high_activity"] = (float(len(session.counting)), score if stands_out else None)
        rows += [
            {
                "site_id": session.site_id,
                "session_id": session.session_id,
                "session_date": session.session_date,
                "kind": kind,
                "category": CATEGORIES[kind],
                "observed": observed,
                "score": score,
            }
            for kind, (observed, score) in found.items()
        ]
    return rows


def _key(session: Session) -> Key:
    return (session.site_id, session.session_id)


def _scores(sessions: list[Session], values: dict[Key, float], settings: AnomalySettings) -> dict[Key, float]:
    """Modified z-score of each value among its site's and date's: 0.6745 × (x − median) / MAD.

    No scores where fewer than `min_sessions` sessions have a value or where the MAD is 0.
    """
    days: dict[tuple[str, date], list[Key]] = defaultdict(list)
    for session in sessions:
        if _key(session) in values:
            days[session.site_id, session.session_date].append(_key(session))
    scores = {}
    for keys in days.values():
        if len(keys) < settings.min_sessions:
            continue
        median = statistics.median(values[key] for key in keys)
        mad = statistics.median(abs(values[key] - median) for key in keys)
        if mad > 0:
            scores.update({key: 0.6745 * (values[key] - median) / mad for key in keys})
    return scores


def _longest_pause_us(session: Session) -> int | None:
    """Between consecutive counting events; null where there are fewer than two."""
    times = [event["event_time"] for event in session.counting]
    return max((microseconds(before, after) for before, after in pairwise(times)), default=None)


def _holds_error_word(event: Row, settings: AnomalySettings) -> bool:
    """Whether one of the words stands as a whole word, in any case, in a searched field."""
    words = "|".join(re.escape(word) for word in settings.error_words)
    pattern = re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    return any(event[field] is not None and pattern.search(event[field]) for field in SEARCHED)


def _most_in_a_minute(session: Session) -> int:
    """The most counting events in [t, t + 60 s), t being the time of any of them."""
    times = [event["event_time"] for event in session.counting]
    return max((sum(start <= time < start + MINUTE for time in times) for start in times), default=0)


def _shown(event: Row) -> str:
    return "(not set)" if event["page_path"] is None else event["page_path"]


def _most_clicks_on_one_element(session: Session, settings: AnomalySettings) -> int:
    """In [t, t + limit) from any click; an element is known by its selector, else by its text."""
    within = timedelta(milliseconds=settings.rage_click.within_ms)
    presses: dict[str, list[datetime]] = defaultdict(list)
    for event in session.counting:
        element = event["element_text"] if event["element_selector"] is None else event["element_selector"]
        if event["event_type"] == "click" and element is not None:
            presses[element].append(event["event_time"])
    return max(
        (sum(start <= time < start + within for time in times) for times in presses.values() for start in times),
        default=0,
    )


def _broken_pages(pages: list[Row], settings: AnomalySettings) -> dict[Day, set[str]]:
    """Of gold.page_metrics_daily, those that fail both often and far more often than the site's pages together."""
    rule = settings.error_page
    views: Counter[Day] = Counter()
    failed: Counter[Day] = Counter()
    for page in pages:
        views[page["site_id"], page["date"]] += page["views"]
        failed[page["site_id"], page["date"]] += page["error_views"]
    broken: dict[Day, set[str]] = defaultdict(set)
    for page in pages:
        day = (page["site_id"], page["date"])
        rate = Fraction(page["error_views"], page["views"])
        limit = max(Fraction(rule.least_rate), Fraction(rule.times_site) * Fraction(failed[day], views[day]))
        if page["error_views"] and page["views"] >= rule.min_views and rate >= limit:
            broken[day].add(page["page"])
    return broken


def _path(session: Session) -> list[str]:
    pages = [page.view["page_path"] for page in session.page_views if page.view["page_path"] is not None]
    return ["(entry)", *(pages or ["(not set)"]), "(exit)"]


def _path_scores(sessions: list[Session], settings: AnomalySettings) -> tuple[dict[Key, float], dict[Day, float]]:
    """Mean surprise of each session's steps under its date's chain, and each date's quantile of them."""
    days: dict[Day, list[Session]] = defaultdict(list)
    for session in sessions:
        if session.page_views:
            days[session.site_id, session.session_date].append(session)
    scores: dict[Key, float] = {}
    limits: dict[Day, float] = {}
    for day, group in days.items():
        steps = Counter(step for session in group for step in pairwise(_path(session)))
        left = Counter(before for session in group for before, _ in pairwise(_path(session)))
        states = len({after for _, after in steps})
        surprise = {
            (before, after): round(-math.log((count + 1) / (left[before] + states)) * 1_000_000)
            for (before, after), count in steps.items()
        }
        for session in group:
            taken = list(pairwise(_path(session)))
            scores[_key(session)] = sum(surprise[step] for step in taken) / (len(taken) * 1_000_000)
        ordered = sorted(scores[_key(session)] for session in group)
        place = (len(ordered) - 1) * settings.unusual_path.quantile
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        limits[day] = below + (above - below) * (place - math.floor(place))
    return scores, limits
