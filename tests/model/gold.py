"""The daily gold tables of sessions and pages: each reads countable sessions and events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date

from .sessions import PageView, Row, Session, local_date


def _ratio(part: int, whole: int) -> float:
    """part / whole in one division; 0 where there is no whole."""
    return part / whole if whole else 0.0


# --- sessions -------------------------------------------------------------------------------------------------------


def _countable_by_date(sessions: list[Session]) -> Iterator[tuple[str, date, list[Session]]]:
    """(site, date, the countable sessions that started on it)."""
    days: dict[tuple[str, date], list[Session]] = defaultdict(list)
    for session in sessions:
        if session.is_countable:
            days[session.site_id, session.session_date].append(session)
    for (site_id, day), group in days.items():
        yield site_id, day, group


def journey_stats_daily(sessions: list[Session]) -> list[Row]:
    """The day's countable sessions in one row."""
    rows = []
    for site_id, day, group in _countable_by_date(sessions):
        total = len(group)
        durations = [session.duration_us for session in group if session.duration_us is not None]
        measured = total if group[0].site.single_event_duration == "zero" else len(durations)
        pages = [{e["page_path"] for e in session.counting if e["page_path"] is not None} for session in group]
        views = [len(session.page_views) for session in group]
        with_error = sum(any(e["event_type"] == "error" for e in session.counting) for session in group)
        rows.append(
            {
                "site_id": site_id,
                "date": day,
                "total_journeys": total,
                "unique_users": len({session.events[0]["person_id"] for session in group}),
                "avg_duration_seconds": sum(durations) / (measured * 1_000_000) if measured else None,
                "avg_pages_per_journey": sum(len(paths) for paths in pages) / total,
                "error_rate_pct": 100 * with_error / total,
                "conversion_rate_pct": 100 * sum(session.converted for session in group) / total,
                "bounce_rate": _ratio(sum(count == 1 for count in views), sum(count > 0 for count in views)),
            }
        )
    return rows


# --- pages ----------------------------------------------------------------------------------------------------------


def page_metrics_daily(sessions: list[Session]) -> list[Row]:
    """What happened on each page, dated by the page view that owns it, even where an event is of the next date."""
    pages: dict[tuple[str, date, str], list[tuple[Session, PageView]]] = defaultdict(list)
    for session in sessions:
        if session.is_countable:
            for page in session.page_views:
                path = page.view["page_path"]
                day = local_date(page.view["event_time"], session.site)
                pages[session.site_id, day, "(not set)" if path is None else path].append((session, page))
    return [
        {"site_id": site_id, "date": day, "page": path, **_page_metrics(views)}
        for (site_id, day, path), views in pages.items()
    ]


def _page_metrics(views: list[tuple[Session, PageView]]) -> Row:
    total = len(views)
    owned = Counter(event["event_type"] for _, page in views for event in page.owned)
    with_error = sum(any(event["event_type"] == "error" for event in page.owned) for _, page in views)
    deepest = [max(event["scroll_depth_pct"] or 0 for event in page.owned) for _, page in views]
    return {
        "views": total,
        "visitors": len({page.view["visitor_id"] for _, page in views}),
        "entries": sum(page.is_entry for _, page in views),
        "exits": sum(page.is_exit for _, page in views),
        "bounces": sum(page.is_entry and page.is_exit for _, page in views),
        "abandonments": sum(page.is_exit and not session.converted for session, page in views),
        "errors": owned["error"],
        "error_rate": with_error / total,
        "error_views": with_error,
        "click_views": sum(any(event["event_type"] == "click" for event in page.owned) for _, page in views),
        "avg_time_on_page_seconds": sum(page.time_on_page_us for _, page in views) / (total * 1_000_000),
        "avg_scroll_depth_pct": sum(deepest) / total,
        "sum_scroll_depth_pct": sum(deepest),
        "clicks": owned["click"],
        "form_starts": owned["form_start"],
        "form_submits": owned["form_submit"],
        "video_plays": owned["video_play"],
    }
