"""gold.session_anomalies: long_gap, duration_outlier, error_keyword, high_activity."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise

from pipelines.settings import AnomalySettings

from .sessions import Row, Session, microseconds

CATEGORIES = {
    "long_gap": "temporal",
    "duration_outlier": "temporal",
    "error_keyword": "technical",
    "high_activity": "behavioural",
}
SEARCHED = ("element_selector", "element_text", "page_path", "page_title")
MINUTE = timedelta(seconds=60)

Key = tuple[str, str]
"""(site_id, session_id)"""


def session_anomalies(sessions: list[Session], settings: AnomalySettings) -> list[Row]:
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
