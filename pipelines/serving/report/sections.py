"""The parts of the report in their order: title, question, what they read, which definitions stand beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import CONF
from pipelines.contracts import load_contracts

_METRICS = CONF.parent / "docs" / "metrics.md"


@dataclass(frozen=True)
class Section:
    """One part: `queries` are the results it shows, `defines` the columns explained beside it, by table."""

    id: str
    title: str
    question: str
    queries: tuple[str, ...]
    defines: tuple[tuple[str, str], ...]


SECTIONS = (
    Section(
        "kpis",
        "KPIs and targets",
        "Are we where we want to be?",
        ("kpis",),
        (("gold.kpi_daily", "value target status"),),
    ),
    Section(
        "users",
        "Active users",
        "How many people come, and how often do they come back?",
        ("active_users", "lifecycle"),
        (
            ("gold.active_users_daily", "dau wau mau stickiness"),
            ("gold.lifecycle", "new returning resurrected dormant"),
        ),
    ),
    Section(
        "funnels",
        "Funnels",
        "Where do we lose people on the way?",
        ("funnels", "totals"),
        (
            (
                "gold.funnel_daily",
                "journeys count drop_off drop_off_rate step_rate conversion_rate median_seconds p90_seconds",
            ),
        ),
    ),
    Section(
        "retention",
        "Retention",
        "Of those who came for the first time, who is still here?",
        ("retention",),
        (("gold.cohort_retention", "cohort_start n cohort_size active retention"),),
    ),
    Section(
        "paths",
        "Paths",
        "How do sessions move through the site?",
        ("paths", "patterns"),
        (("silver.sessions", "journey_path"), ("gold.flow_patterns_daily", "path sessions conversions")),
    ),
    Section(
        "pages",
        "Entry, exit and abandonment",
        "Where do sessions begin, end and give up?",
        ("pages",),
        (("gold.page_metrics_daily", "views entries exits bounces abandonments avg_time_on_page_seconds"),),
    ),
    Section(
        "speed",
        "Page performance",
        "How long do people wait?",
        ("speed", "slow_pages"),
        (("gold.page_performance_daily", "samples p50_ms p90_ms p99_ms"),),
    ),
    Section(
        "sources",
        "Sources",
        "Where does traffic come from, and what is it worth?",
        ("segments_channel", "sources"),
        (("gold.traffic_sources_daily", "channel sessions bounces conversions revenue"),),
    ),
    Section(
        "attribution",
        "Attribution",
        "Which channels deserve the credit for conversions?",
        ("attribution",),
        (("gold.attribution_daily", "model conversions revenue"),),
    ),
    Section(
        "devices",
        "Devices",
        "What do people use?",
        ("segments_device_type", "segments_browser", "segments_os"),
        (("gold.devices_daily", "device_type browser os sessions conversions"),),
    ),
    Section(
        "geography",
        "Geography",
        "Where are they?",
        ("segments_country", "segments_region"),
        (("gold.geo_daily", "country region sessions conversions"),),
    ),
    Section(
        "churn",
        "Churn risk",
        "Whom are we about to lose?",
        ("churn", "tiers"),
        (("gold.user_engagement", "churn_risk is_at_risk tier trend"), ("gold.engagement_tiers_daily", "tier users")),
    ),
    Section(
        "anomalies",
        "Anomalies",
        "What was out of the ordinary, and why?",
        ("anomalies", "unusual"),
        (
            ("gold.metric_anomalies", "value expected low high score severity explained_by"),
            ("gold.session_anomalies", "kind observed score"),
        ),
    ),
    Section(
        "quality",
        "Data quality and freshness",
        "Can these numbers be trusted?",
        (),
        (
            ("ops.quality_results", "check_name severity success"),
            ("ops.runs", "received accepted duplicates dead pending"),
        ),
    ),
)


def definitions(section: Section) -> list[tuple[str, str, str]]:
    """(column, description, unit) of what the section shows, from the contracts there are."""
    contracts = load_contracts()
    return [
        (column.name, column.description, column.unit or "")
        for table, names in section.defines
        if table in contracts
        for column in contracts[table].columns
        if column.name in names.split()
    ]


def pitfalls(section: Section, metrics: Path = _METRICS) -> list[str]:
    """What docs/metrics.md warns of for the section's gold tables, without its marks."""
    passages = re.split(r"^## ", metrics.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = []
    for table, _ in section.defines:
        for passage in passages:
            if table in passage.split("\n", 1)[0] and "\nPitfalls\n" in passage:
                listed = passage.split("\nPitfalls\n", 1)[1]
                items = re.findall(r"^- (.*(?:\n  .*)*)", listed, flags=re.MULTILINE)
                found += [re.sub(r"\s+", " ", item.replace("`", "").replace("**", "")) for item in items]
    return list(dict.fromkeys(found))
