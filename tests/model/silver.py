"""silver.events, silver.sessions and silver.user_days."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import Any

from .sessions import CANDIDATE_COLUMNS, Row, Session, first_known, local_date, utc_date

NOT_ACTIONS = ("page_view", "session_start", "session_end")


def events(sessions: list[Session]) -> list[Row]:
    """One row for each distinct event."""
    return [row for session in sessions for row in _session_events(session)]


def _session_events(session: Session) -> list[Row]:
    # Within a session an event_id alone may repeat on another UTC date, so a page view is found by both.
    owners = {(event["event_id"], utc_date(event)): page for page in session.page_views for event in page.owned}
    rows = []
    for event in session.events:
        page = owners.get((event["event_id"], utc_date(event)))  # excluded events have none
        own = page if page and page.view is event else None  # the page view itself
        rows.append(
            {
                **{column: event[column] for column in CANDIDATE_COLUMNS},
                "visitor_id": event["visitor_id"],
                "person_id": event["person_id"],
                "event_date": local_date(event["event_time"], session.site),
                "event_utc_date": utc_date(event),
                "session_id": session.session_id,
                "session_date": session.session_date,
                "session_converted": session.converted,
                "page_view_number": page.number if page else None,
                "page_view_date": local_date(page.view["event_time"], session.site) if page else None,
                "is_entry": own.is_entry if own else False,
                "is_exit": own.is_exit if own else False,
                "time_on_page_us": own.time_on_page_us if own else None,
                "session_bot_reason": session.bot_reason,
                "is_countable": session.is_countable_event(event),
            }
        )
    return rows


def sessions(sessions: list[Session]) -> list[Row]:
    """One row for each session, countable or not."""
    return [_session_row(session) for session in sessions]


def _session_row(session: Session) -> Row:
    first = session.events[0]  # whom a session belongs to is decided by all events, its measures by the counting ones
    counting = session.counting
    views = [page.view for page in session.page_views]
    pages = [event["page_path"] for event in counting if event["page_path"] is not None]
    depths = [event["scroll_depth_pct"] for event in counting if event["scroll_depth_pct"] is not None]
    duration_us = session.duration_us

    def count(event_type: str) -> int:
        return sum(event["event_type"] == event_type for event in counting)

    def first_of(column: str) -> Any:
        return first_known(event[column] for event in counting)

    is_long = duration_us is not None and duration_us > 10_000_000
    entry = counting.index(views[0]) if views else len(counting)
    touches = (
        (event["channel"], event["traffic_source"], event["traffic_medium"], event["utm_campaign"])
        for event in counting[: entry + 1]
        if event["channel"] is not None
    )
    # Never mixed from several events.
    channel, source, medium, campaign = next(touches, ("Direct", "(direct)", "(none)", None))
    return {
        "site_id": session.site_id,
        "session_id": session.session_id,
        "visitor_id": first["visitor_id"],
        "person_id": first["person_id"],
        "user_id": first_known(event["user_id"] for event in reversed(counting)),
        "start_time": session.start_time,
        "end_time": session.end_time,
        "session_date": session.session_date,
        "event_count": len(counting),
        "page_view_count": len(views),
        "page_count": len(set(pages)),
        "entry_page": views[0]["page_path"] if views else None,
        "exit_page": views[-1]["page_path"] if views else None,
        "journey_path": [view["page_path"] for view in views if view["page_path"] is not None],
        "pages_visited": list(dict.fromkeys(pages)),
        "duration_seconds": None if duration_us is None else duration_us / 1_000_000,
        "bounced": len(views) == 1,
        "engaged": is_long or session.converted or len(views) >= 2,
        "converted": session.converted,
        "converted_at": session.converted_at,
        "had_error": count("error") > 0,
        "likes": count("like"),
        "comments": count("comment"),
        "views": count("view"),
        "clicks": count("click"),
        "actions": sum(event["event_type"] not in NOT_ACTIONS for event in counting),
        "form_starts": count("form_start"),
        "form_submits": count("form_submit"),
        "max_scroll_depth_pct": max(depths, default=None),
        "revenue": sum((e["value"] for e in session.converting if e["value"] is not None), Decimal(0)),
        "channel": channel,
        "traffic_source": source,
        "traffic_medium": medium,
        "campaign": campaign,
        "device_type": first_of("device_type"),
        "browser": first_of("browser"),
        "os": first_of("os"),
        "country": first_of("country"),
        "region": first_of("region"),
        "is_bot": session.is_bot,
        "bot_reason": session.bot_reason,
        "has_test_user": session.has_test_user,
        "is_countable": session.is_countable,
    }


def user_days(sessions: list[Session]) -> list[Row]:
    """One row for each site, person and date on which an event counts or a countable session started.

    In a session of several persons each one's events are theirs; the session itself is its first event's person's.
    """
    days: dict[tuple[str, str, date], Row] = defaultdict(lambda: {"events": 0, "actions": 0, "sessions": 0})
    for session in sessions:
        if session.is_countable:
            days[session.site_id, session.events[0]["person_id"], session.session_date]["sessions"] += 1
        for event in session.events:
            if session.is_countable_event(event):
                day = days[session.site_id, event["person_id"], local_date(event["event_time"], session.site)]
                day["events"] += 1
                day["actions"] += event["event_type"] not in NOT_ACTIONS
    return [
        {"site_id": site_id, "person_id": person_id, "date": date_, **day}
        for (site_id, person_id, date_), day in days.items()
    ]
