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
from pipelines.slices import besides_persons


@dataclass(frozen=True)
class Step:
    """A derived table and the function that makes its slices from the same slices of its inputs."""

    table: str
    build: Callable[..., DataFrame]
    days_ahead: Callable[[RunContext], int | None] = lambda context: None
    """How many days after its date a row's inputs reach, by the columns in `looks_ahead` of its contract."""
    reads_persons: Callable[[RunContext], bool] = lambda context: True
    """Whether rows depend on `person_id` of its inputs; where not, a slice in which only that changed is no reason."""
    persons: Callable[[DataFrame], DataFrame] | None = None
    """The key and `person_id` of rows, from the events they are made of: of a table of which nothing else depends on
    persons. None: where only these changed, its slices are made anew all the same."""

    @property
    def contract(self) -> Contract:
        return contract(self.table)

    @property
    def inputs(self) -> list[str]:
        return list(self.contract.inputs)

    def touched_by(self, table: str, column: str | None, context: RunContext) -> str:
        """By what the commits of an input are asked which slices they touched."""
        passes_over = not self.reads_persons(context) and table in _KNOW_PERSONS
        return besides_persons(column or "") if passes_over else column or ""


# Whose commits say where more than persons changed.
_KNOW_PERSONS = ("silver.events", "silver.sessions")


def _never(context: RunContext) -> bool:
    return False


SILVER = (
    Step("silver.sessions", sessions.build, persons=sessions.persons),
    Step("silver.user_days", user_days.build),
)
GOLD = (
    Step("gold.journey_stats_daily", journey_stats_daily.build),
    Step(
        "gold.funnel_daily",
        funnel_daily.build,
        days_ahead=lambda context: context.funnels.days_ahead,
        reads_persons=lambda context: context.funnels.days_ahead is not None,
    ),
    Step("gold.active_users_daily", active_users_daily.build),
    Step("gold.active_users_by_segment_daily", active_users_by_segment_daily.build),
    Step("gold.activity_histogram", activity_histogram.build),
    Step("gold.engagement_tiers_daily", engagement_tiers_daily.build),
    Step("gold.lifecycle", lifecycle.build),
    Step("gold.cohort_retention", cohort_retention.build),
    Step("gold.user_engagement", user_engagement.build),
    Step("gold.cohort_progression", cohort_progression.build),
    Step("gold.engagement_actions_daily", engagement_actions_daily.build, reads_persons=_never),
    Step("gold.page_metrics_daily", page_metrics_daily.build, reads_persons=_never),
    Step("gold.traffic_5min", traffic_5min.build, reads_persons=_never),
    Step("gold.traffic_sources_daily", traffic_sources_daily.build, reads_persons=_never),
    Step("gold.attribution_daily", attribution_daily.build),
    Step("gold.touch_paths_daily", touch_paths_daily.build),
    Step("gold.devices_daily", devices_daily.build, reads_persons=_never),
    Step("gold.geo_daily", geo_daily.build, reads_persons=_never),
    Step("gold.page_performance_daily", page_performance_daily.build, reads_persons=_never),
    Step("gold.flow_transitions_daily", flow_transitions_daily.build, reads_persons=_never),
    Step("gold.flow_patterns_daily", flow_patterns_daily.build, reads_persons=_never),
    Step("gold.session_anomalies", session_anomalies.build, reads_persons=_never),
    Step("gold.segment_metrics_daily", segment_metrics_daily.build, reads_persons=_never),
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
