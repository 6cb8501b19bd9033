"""An independent model of silver and gold in plain Python: the oracle that the pipeline is compared with.

Dictionaries and loops, no Spark, no pandas, nothing shared with the transforms; read it side by side with the
specification. It favours the most literal way of saying each rule over speed: windows are looked up day by day,
bursts are counted from every event.

Rows are dictionaries. Instants are aware datetimes in UTC, money is Decimal, durations are whole microseconds until the
one division that publishes them.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from pipelines.funnels import Funnels
from pipelines.settings import Settings, Sites

from . import activity, gold, kpis, silver, traffic
from .aliases import aliases, apply
from .anomalies import session_anomalies
from .funnels import funnel_daily
from .identities import identities, link
from .metric_anomalies import metric_anomalies
from .sessions import CANDIDATE_COLUMNS, Row, deduplicate, sessionize

__all__ = ["CANDIDATE_COLUMNS", "UNSPECIFIED_COLUMNS", "Row", "run"]

UNSPECIFIED_COLUMNS = {"gold.session_anomalies": ("detail",)}
"""Comparable columns that the model leaves out because no rule fixes them (free text)."""


AS_OF = date(2026, 4, 30)
"""The last complete date of every site."""

CLOSING_SOURCES = frozenset({"canonical"})
"""Sources whose sessions are complete only with a session_end."""


def run(events: list[Row], sites: Sites, funnels: Funnels, settings: Settings, as_of: date = AS_OF) -> dict[str, Any]:
    """Silver and gold of accepted candidates, given in any order and with any repetition.

    Each candidate holds CANDIDATE_COLUMNS; one that is missing counts as null. The result maps table names to rows, in
    no particular order, that hold the comparable columns of the table's contract less UNSPECIFIED_COLUMNS; "duplicates"
    is the number of candidates that lost to another of the same identity.
    """
    distinct = deduplicate(events, sites, settings.privacy.key())
    alias_rows = aliases(distinct, sites)
    apply(distinct, alias_rows)
    link(distinct)
    sessions = sessionize(distinct, sites, settings)
    user_days = silver.user_days(sessions)
    event_rows, session_rows = silver.events(sessions), silver.sessions(sessions)
    pages = gold.page_metrics_daily(sessions)
    funnel_rows = funnel_daily(event_rows, funnels)
    segments = kpis.segment_metrics_daily(session_rows, event_rows, pages, settings)
    anomalies = metric_anomalies(segments, settings.metric_anomalies, as_of)
    journeys = gold.journey_stats_daily(sessions)
    profiles = activity.user_engagement(user_days, sessions, sites, settings, as_of)
    return {
        "silver.events": event_rows,
        "silver.sessions": session_rows,
        "silver.aliases": alias_rows,
        "silver.identities": identities(distinct),
        "silver.user_days": user_days,
        "gold.active_users_daily": activity.active_users_daily(user_days, sites),
        "gold.active_users_by_segment_daily": activity.active_users_by_segment_daily(
            user_days, session_rows, sites, settings
        ),
        "gold.activity_histogram": activity.activity_histogram(user_days, sites),
        "gold.engagement_tiers_daily": activity.engagement_tiers_daily(user_days, sites, settings.tiers),
        "gold.lifecycle": activity.lifecycle(user_days, sites),
        "gold.cohort_retention": activity.cohort_retention(user_days, sites, as_of),
        "gold.user_engagement": profiles,
        "gold.cohort_progression": activity.cohort_progression(profiles),
        "gold.engagement_actions_daily": activity.engagement_actions_daily(sessions, CLOSING_SOURCES),
        "gold.journey_stats_daily": journeys,
        "gold.funnel_daily": funnel_rows,
        "gold.page_metrics_daily": pages,
        "gold.traffic_5min": traffic.traffic_5min(event_rows, session_rows),
        "gold.traffic_sources_daily": traffic.traffic_sources_daily(session_rows),
        "gold.attribution_daily": traffic.attribution_daily(session_rows, sites),
        "gold.touch_paths_daily": traffic.touch_paths_daily(session_rows),
        "gold.devices_daily": traffic.devices_daily(session_rows),
        "gold.geo_daily": traffic.geo_daily(session_rows),
        "gold.page_performance_daily": traffic.page_performance_daily(event_rows),
        "gold.flow_transitions_daily": traffic.flow_transitions_daily(session_rows),
        "gold.flow_patterns_daily": traffic.flow_patterns_daily(session_rows),
        "gold.segment_metrics_daily": segments,
        "gold.metric_anomalies": anomalies,
        "gold.kpi_daily": kpis.kpi_daily(segments, journeys, funnel_rows, anomalies, funnels, settings, as_of),
        "gold.session_anomalies": session_anomalies(sessions, pages, settings.anomalies),
        "duplicates": len(events) - len(distinct),
    }
