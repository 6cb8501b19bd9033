"""Every step in the order of the data: the map for a newcomer.

landing files → bronze.events → silver.events → the tables below, each a function of slices of its inputs.
silver.identities, which says whose a device's anonymous events are, and silver.aliases, which says who came from
another domain, are kept beside silver.events (steps/links.py, steps/aliases.py).
To add a table: a contract in conf/tables, a module with `build`, a test, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from pyspark.sql import DataFrame

from pipelines.context import RunContext
from pipelines.contracts import Contract, contract
from pipelines.errors import ConfigurationError
from pipelines.gold import (
    active_users_by_segment_daily,
    active_users_daily,
    activity_histogram,
    attribution_daily,
    cohort_progression,
    cohort_retention,
    devices_daily,
    engagement_actions_daily,
    engagement_tiers_daily,
    flow_patterns_daily,
    flow_transitions_daily,
    funnel_daily,
    geo_daily,
    journey_stats_daily,
    kpi_daily,
    lifecycle,
    metric_anomalies,
    page_metrics_daily,
    page_performance_daily,
    segment_metrics_daily,
    session_anomalies,
    touch_paths_daily,
    traffic_5min,
    traffic_sources_daily,
    user_engagement,
)
from pipelines.silver import sessions, user_days


@dataclass(frozen=True)
class Step:
    """A derived table and the function that makes its slices from the same slices of its inputs."""

    table: str
    build: Callable[..., DataFrame]
    days_ahead: Callable[[RunContext], int | None] = lambda context: None
    """How many days after its date a row's inputs reach, by the columns in `looks_ahead` of its contract."""

    @property
    def contract(self) -> Contract:
        return contract(self.table)

    @property
    def inputs(self) -> list[str]:
        return list(self.contract.inputs)


SILVER = (
    Step("silver.sessions", sessions.build),
    Step("silver.user_days", user_days.build),
)
GOLD = (
    Step("gold.journey_stats_daily", journey_stats_daily.build),
    Step("gold.funnel_daily", funnel_daily.build, lambda context: context.funnels.days_ahead),
    Step("gold.active_users_daily", active_users_daily.build),
    Step("gold.active_users_by_segment_daily", active_users_by_segment_daily.build),
    Step("gold.activity_histogram", activity_histogram.build),
    Step("gold.engagement_tiers_daily", engagement_tiers_daily.build),
    Step("gold.lifecycle", lifecycle.build),
    Step("gold.cohort_retention", cohort_retention.build),
    Step("gold.user_engagement", user_engagement.build),
    Step("gold.cohort_progression", cohort_progression.build),
    Step("gold.engagement_actions_daily", engagement_actions_daily.build),
    Step("gold.page_metrics_daily", page_metrics_daily.build),
    Step("gold.traffic_5min", traffic_5min.build),
    Step("gold.traffic_sources_daily", traffic_sources_daily.build),
    Step("gold.attribution_daily", attribution_daily.build),
    Step("gold.touch_paths_daily", touch_paths_daily.build),
    Step("gold.devices_daily", devices_daily.build),
    Step("gold.geo_daily", geo_daily.build),
    Step("gold.page_performance_daily", page_performance_daily.build),
    Step("gold.flow_transitions_daily", flow_transitions_daily.build),
    Step("gold.flow_patterns_daily", flow_patterns_daily.build),
    Step("gold.session_anomalies", session_anomalies.build),
    Step("gold.segment_metrics_daily", segment_metrics_daily.build),
    Step("gold.metric_anomalies", metric_anomalies.build),
    Step("gold.kpi_daily", kpi_daily.build),
)


def served(gold: tuple[Step, ...]) -> tuple[str, ...]:
    """What readers get of a lake that keeps these gold tables."""
    return ("silver.events", "silver.aliases", "silver.identities", *[step.table for step in (*SILVER, *gold)])


SERVED = served(GOLD)


def gold_for(tables: Sequence[str]) -> tuple[Step, ...]:
    """The steps that make these gold tables and what they read; raises ConfigurationError for one that is not there."""
    by_table = {step.table: step for step in GOLD}
    needed: set[str] = set()
    asked = list(tables)
    while asked:
        table = asked.pop()
        if table not in by_table:
            raise ConfigurationError(f"--tables: expected some of {', '.join(by_table)}, got {table!r}")
        needed.add(table)
        asked += [name for name in by_table[table].inputs if name in by_table and name not in needed]
    return tuple(step for step in GOLD if step.table in needed)


def order(steps: tuple[Step, ...]) -> TopologicalSorter[str]:
    """Gives the tables whose inputs are done, as they are done; prepared."""
    tables = {step.table for step in steps}
    sorter = TopologicalSorter({step.table: [name for name in step.inputs if name in tables] for step in steps})
    sorter.prepare()
    return sorter
