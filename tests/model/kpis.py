"""gold.segment_metrics_daily and gold.kpi_daily, from rows of silver and gold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from pipelines.funnels import Funnels
from pipelines.settings import Settings
from pipelines.thresholds import Penalty

from .sessions import MICROSECOND, Row, microseconds
from .traffic import percentile

ALL = ("(all)", "(all)")
Segment = tuple[str, date, str, str]
"""(site_id, date, dimension, value)"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def segment_metrics_daily(sessions: list[Row], events: list[Row], pages: list[Row], settings: Settings) -> list[Row]:
    """Each segment's sums and load times; (all) also of dates on which only bots came."""
    full = settings.kpis.engagement
    sums: dict[Segment, Counter[str]] = defaultdict(Counter)
    newest: dict[Segment, datetime] = {}
    for session in sessions:
        counts = session["is_countable"]
        if not counts and not session["is_bot"]:
            continue
        key = (session["site_id"], session["session_date"])
        for segment in [ALL, *_segments(session)] if counts else [ALL]:
            row = sums[(*key, *segment)]
            row["events"] += session["event_count"]
            row["bot_events"] += session["event_count"] if session["is_bot"] else 0
            if not counts:
                continue
            duration = min(
                microseconds(session["start_time"], session["end_time"]), full.duration_seconds.full * 1_000_000
            )
            row.update(
                sessions=1,
                viewing_sessions=int(session["page_view_count"] > 0),
                bounces=int(session["bounced"]),
                conversions=int(session["converted"]),
                error_sessions=int(session["had_error"]),
                form_start_sessions=int(session["form_starts"] > 0),
                form_submit_sessions=int(session["form_starts"] > 0 and session["form_submits"] > 0),
                capped_page_views=min(session["page_view_count"], full.page_views.full),
                capped_duration_us=duration,
                capped_actions=min(session["actions"], full.actions.full),
                page_views=0 if segment == ALL else session["page_view_count"],
            )
            newest[(*key, *segment)] = max(newest.get((*key, *segment), EPOCH), session["end_time"])
    for page in pages:
        for segment in (ALL, ("page", page["page"])):
            row = sums[(page["site_id"], page["date"], *segment)]
            row["page_views"] += page["views"]
            for name in ("error_views", "click_views", "sum_scroll_depth_pct"):
                row[name] += page[name]
    loads: dict[Segment, list[int]] = defaultdict(list)
    for event in events:
        if event["is_countable"] and event["event_type"] == "page_view" and event["load_time_ms"] is not None:
            path = "(not set)" if event["page_path"] is None else event["page_path"]
            own = [(name, event[name] or "(unknown)") for name in ("device_type", "browser", "country")]
            for segment in (ALL, *own, ("page", path)):
                loads[(event["site_id"], event["event_date"], *segment)].append(event["load_time_ms"])
    rows = []
    for key in sums.keys() | loads.keys():
        times = sorted(loads.get(key, ()))
        rows.append(
            {
                **dict(zip(("site_id", "date", "dimension", "value"), key, strict=True)),
                **{name: sums[key][name] for name in SUMS},
                "newest_event_at": newest.get(key),
                "load_samples": len(times),
                **{f"load_p{n}_ms": percentile(times, n) if times else None for n in (50, 90, 99)},
            }
        )
    return rows


SUMS = (
    *("sessions", "viewing_sessions", "bounces", "conversions", "error_sessions"),
    *("form_start_sessions", "form_submit_sessions", "capped_page_views", "capped_duration_us", "capped_actions"),
    *("events", "bot_events", "page_views", "error_views", "click_views", "sum_scroll_depth_pct"),
)


def _segments(session: Row) -> list[tuple[str, str]]:
    country, region = (session[name] or "(unknown)" for name in ("country", "region"))
    return [
        ("device_type", session["device_type"] or "(unknown)"),
        ("browser", session["browser"] or "(unknown)"),
        ("country", country),
        ("region", f"{country}: {region}"),
        ("channel", session["channel"] or "(not set)"),
        ("traffic_source", session["traffic_source"] or "(not set)"),
    ]


# --- KPIs -----------------------------------------------------------------------------------------------------------

Day = tuple[str, date]
Found = tuple[Day, str, str, Any]
"""(day, kpi, dimension, value: null where it is divided by nothing)"""


def kpi_daily(
    segments: list[Row],
    journeys: list[Row],
    funnels_daily: list[Row],
    anomalies: list[Row],
    funnels: Funnels,
    settings: Settings,
    as_of: date,
) -> list[Row]:
    """Every KPI that can be said of a date."""
    raised = Counter((row["site_id"], row["date"]) for row in anomalies if row["segment"] == "(all)")
    found: list[Found] = []
    for row in journeys:
        day = (row["site_id"], row["date"])
        found += [
            (day, "unique_visitors", "(all)", row["unique_users"]),
            (day, "avg_session_duration", "(all)", row["avg_duration_seconds"]),
            (day, "sessions_per_user", "(all)", row["total_journeys"] / row["unique_users"]),
        ]
    by_day: dict[Day, list[Row]] = defaultdict(list)
    for row in segments:
        by_day[row["site_id"], row["date"]].append(row)
    for day, rows in by_day.items():
        [site] = [row for row in rows if row["dimension"] == "(all)"]
        found += _of_site(day, site, raised[day] if day[1] <= as_of else None, settings)
        found += _shares(day, rows, site["sessions"], settings.kpis.top)
    found += _funnels(funnels_daily, funnels)
    return [_row(*one, settings) for one in found if one[3] is not None]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _of_site(day: Day, site: Row, anomalies: int | None, settings: Settings) -> Iterable[Found]:
    newest = site["newest_event_at"]
    values = {
        "page_views": site["page_views"],
        "bounce_rate": _ratio(site["bounces"], site["viewing_sessions"]),
        "conversion_rate": _ratio(site["conversions"], site["sessions"]),
        "page_load_p50": site["load_p50_ms"],
        "page_load_p90": site["load_p90_ms"],
        "page_load_p99": site["load_p99_ms"],
        "scroll_depth": _ratio(site["sum_scroll_depth_pct"], site["page_views"]),
        "click_through_rate": _ratio(site["click_views"], site["page_views"]),
        "form_completion_rate": _ratio(site["form_submit_sessions"], site["form_start_sessions"]),
        "data_freshness": None if newest is None else (newest - EPOCH) // MICROSECOND / 1_000_000,
        "bot_share": _ratio(site["bot_events"], site["events"]),
        "engagement_score": _engagement(site, settings),
        "traffic_health": None if anomalies is None else _health(site, anomalies, settings),
    }
    return [(day, kpi, "(all)", value) for kpi, value in values.items()]


def _engagement(site: Row, settings: Settings) -> float | None:
    rules = settings.kpis.engagement
    points = (
        rules.page_views.weight * site["capped_page_views"] / rules.page_views.full
        + rules.duration_seconds.weight * site["capped_duration_us"] / (rules.duration_seconds.full * 1_000_000)
        + rules.actions.weight * site["capped_actions"] / rules.actions.full
        + rules.not_bounced_weight * (site["sessions"] - site["bounces"])
    )
    return _ratio(100 * points, site["sessions"] * rules.total_weight)


def _health(site: Row, anomalies: int, settings: Settings) -> float:
    rules = settings.kpis.health
    lost = (
        _penalty(_ratio(site["error_sessions"], site["sessions"]), rules.error_rate)
        + _penalty(anomalies, rules.anomalies)
        + _penalty(_ratio(site["bot_events"], site["events"]), rules.bot_share)
        + _penalty(site["load_p90_ms"], rules.page_load_p90)
    )
    return max(0.0, 100 - lost)


def _penalty(value: float | None, rule: Penalty) -> float:
    if value is None:
        return 0.0
    return rule.weight * min(1.0, max(0.0, (value - rule.from_) / (rule.to - rule.from_)))


def _shares(day: Day, rows: list[Row], sessions: int, top: int) -> Iterable[Found]:
    kpis = {"traffic_source": "traffic_by_source", "browser": "top_browsers", "country": "top_countries"}
    for dimension, kpi in {**kpis, "region": "top_regions"}.items():
        values = [row for row in rows if row["dimension"] == dimension]
        for row in sorted(values, key=lambda row: (-row["sessions"], row["value"]))[:top]:
            yield (day, kpi, row["value"], _ratio(row["sessions"], sessions))
    for row in rows:
        if row["dimension"] == "device_type" and row["value"] in ("mobile", "desktop"):
            yield (day, f"{row['value']}_share", "(all)", _ratio(row["sessions"], sessions))


def _funnels(rows: list[Row], funnels: Funnels) -> Iterable[Found]:
    counts: dict[tuple[Day, str], dict[int, tuple[str, int, int]]] = defaultdict(dict)
    for row in rows:
        steps = counts[(row["site_id"], row["date"]), row["funnel"]]
        _, journeys, count = steps.get(row["step_number"], ("", 0, 0))
        steps[row["step_number"]] = (row["step"], journeys + row["journeys"], count + row["count"])
    for (day, name), steps in counts.items():
        last = max(steps)
        whole = steps[1][1] if funnels.funnels[name].mode == "presence" else steps[1][2]
        yield (day, "funnel_conversion", name, _ratio(steps[last][2], whole))
        for number in range(1, last):
            step, _, count = steps[number]
            yield (day, "funnel_drop_off", f"{name}: {step}", _ratio(max(0, count - steps[number + 1][2]), count))


UNITS = {
    "unique_visitors": "persons",
    "page_views": "page views",
    "avg_session_duration": "s",
    "sessions_per_user": "sessions",
    "page_load_p50": "ms",
    "page_load_p90": "ms",
    "page_load_p99": "ms",
    "scroll_depth": "%",
    "data_freshness": "unix seconds",
    "engagement_score": "score",
    "traffic_health": "score",
}
"""Of the KPIs that are no ratios."""


def _row(day: Day, kpi: str, dimension: str, value: Any, settings: Settings) -> Row:
    target = settings.kpis.targets.get(kpi)  # type: ignore[call-overload]
    row = {
        "site_id": day[0],
        "date": day[1],
        "kpi": kpi,
        "dimension": dimension,
        "value": float(value),
        "unit": UNITS.get(kpi, "ratio"),
        "target": None,
        "target_kind": None,
        "status": "no_target",
    }
    if target is None:
        return row
    at_least = target.at_least is not None
    limit = target.at_least if at_least else target.at_most
    is_met = value >= limit if at_least else value <= limit
    kind = "at_least" if at_least else "at_most"
    return {**row, "target": float(limit), "target_kind": kind, "status": "met" if is_met else "missed"}
