"""The endpoints that answer with a gold table's rows, each a line here: path, table, filters, totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from pipelines.contracts import Column
from pipelines.funnels import load_funnels
from pipelines.serving.api import models


@dataclass(frozen=True)
class Totals:
    """The range in one row for each combination of `by`: sums of `sums`, then `derived` (name → SQL over them)."""

    by: tuple[str, ...]
    sums: tuple[str, ...]
    derived: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """Rows of a table in a range of dates, by its own order."""

    path: str
    table: str
    summary: str
    date: str = "date"
    filters: tuple[str, ...] = ()
    path_column: str | None = None
    """Column that the path's parameter names."""
    totals: Totals | None = None
    default_days: int = 30

    @property
    def name(self) -> str:
        """As in the settings and the metrics: the path without its parameters."""
        return "/".join(part for part in self.path.strip("/").split("/") if not part.startswith("{"))

    @property
    def parameter(self) -> str | None:
        """Name of the path's parameter."""
        return self.path.split("{")[1].split("}")[0].split(":")[0] if "{" in self.path else None

    @property
    def title(self) -> str:
        return "".join(word.capitalize() for word in self.name.replace("/", "-").split("-"))

    @cached_property
    def columns(self) -> list[Column]:
        """What is answered: the contract's columns without the site, which the answer names once."""
        return [column for column in models.columns_of(self.table) if column.name != "site_id"]

    def row_model(self) -> type[BaseModel]:
        name = f"{self.title}Row"
        return models.row_model(name, self.columns) if self.columns else models.any_row(name)

    def totals_model(self) -> type[BaseModel] | None:
        if self.totals is None:
            return None
        known = {column.name: column for column in self.columns}
        described = [known[name] for name in (*self._by(), *self.totals.sums) if name in known]
        derived = [
            known.get(name) or Column(name=name, type="double", description="Of the range's sums.")
            for name in self.totals.derived
        ]
        return models.row_model(f"{self.title}Total", [*described, *derived])

    def rows_sql(self, filters: Sequence[str]) -> str:
        """Rows of the range: $1 and $2 its dates, then the path's value and the filters', limit and offset.

        Rows lie in the order of the answer (build.py), which DuckDB keeps (`preserve_insertion_order`): so it can stop
        at the limit, and need not sort.
        """
        asked = [name for name in (self.path_column, *filters) if name]
        at = len(asked) + 3
        where = self._where(asked)
        return f"select {answered(self.columns)} from {self.table} where {where} limit ${at} offset ${at + 1}"

    def totals_sql(self, filters: Sequence[str]) -> str:
        """Totals of the range, with the parameters of `rows_sql` but limit and offset."""
        assert self.totals is not None
        asked = [name for name in (self.path_column, *filters) if name]
        sums = ", ".join(f'sum("{name}")::{self._sum_type(name)} as "{name}"' for name in self.totals.sums)
        by = ", ".join(f'"{name}"' for name in self._by())
        derived = "".join(f', {sql} as "{name}"' for name, sql in self.totals.derived.items())
        grouped = f"select {by + ', ' if by else ''}{sums} from {self.table} where {self._where(asked)}"
        if by:
            grouped += f" group by {by}"
        last = f'"{self.totals.sums[0]}" desc{", " + by if by else ""}'
        if "step_number" in self._by():
            last = by
        return f'select *{derived} from ({grouped}) where "{self.totals.sums[0]}" is not null order by {last} limit 100'

    def _by(self) -> list[str]:
        """Its dimensions, as far as the contract has them."""
        known = {column.name for column in self.columns}
        return [name for name in (self.totals.by if self.totals else ()) if name in known]

    def _where(self, asked: Sequence[str]) -> str:
        conditions = [f'"{self.date}" between $1 and $2']
        return " and ".join([*conditions, *(f'"{name}" = ${at}' for at, name in enumerate(asked, 3))])

    def _sum_type(self, name: str) -> str:
        type_ = next(column.type for column in self.columns if column.name == name)
        return type_ if type_.startswith(("decimal", "double")) else "bigint"


def answered(columns: Sequence[Column]) -> str:
    """The columns as they are answered: timestamps as ISO text, which DuckDB makes faster than Python."""
    iso = "strftime(timezone('UTC', \"{0}\"), '%Y-%m-%dT%H:%M:%S.%fZ') as \"{0}\""
    return ", ".join((iso if column.type == "timestamp" else '"{0}"').format(column.name) for column in columns)


def _funnel_rates() -> dict[str, str]:
    """The formulas of gold.funnel_daily over the range's sums (docs/metrics.md)."""
    presence = [name for name, funnel in load_funnels().funnels.items() if funnel.mode == "presence"]
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in presence) or "''"
    known = {column.name for column in models.columns_of("gold.funnel_daily")}
    of = "funnel, breakdown" if "breakdown" in known else "funnel"
    steps = f"(partition by {of} order by step_number)"
    before = f"lag(count, 1, journeys) over {steps}"
    after = f"lead(count, 1, count) over {steps}"
    whole = f"case when funnel in ({listed}) then journeys else first_value(count) over {steps} end"
    return {
        "drop_off": f"greatest(0, {before} - count)",
        "drop_off_rate": f"case when count = 0 then 0.0 else greatest(0, count - {after}) / count end",
        "step_rate": f"case when {before} = 0 then 0.0 else count / {before} end",
        "conversion_rate": f"case when {whole} = 0 then 0.0 else count / {whole} end",
    }


_PAGE_SUMS = (
    *("views", "entries", "exits", "bounces", "abandonments", "errors"),
    *("clicks", "form_starts", "form_submits", "video_plays"),
)
_FUNNEL = Totals(("funnel", "breakdown", "step_number", "step"), ("journeys", "count"), _funnel_rates())

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "/pages/{page_id:path}/metrics",
        "gold.page_metrics_daily",
        "What happened on a page, a row a date (page_id: the page's path, URL-encoded, such as %2Fcart)",
        path_column="page",
        totals=Totals((), _PAGE_SUMS),
    ),
    Endpoint(
        "/pages/{page_id:path}/performance",
        "gold.page_performance_daily",
        "How long a page took to load, a row a date and device type",
        path_column="page",
        filters=("device_type",),
    ),
    Endpoint(
        "/funnels/{funnel_id}/conversion",
        "gold.funnel_daily",
        "How far journeys got in a funnel, a row a date and step; totals: the range's steps",
        path_column="funnel",
        filters=("breakdown",),
        totals=_FUNNEL,
    ),
    Endpoint(
        "/journey-funnels",
        "gold.funnel_daily",
        "All funnels, a row a date, funnel and step; totals: the range's steps",
        filters=("funnel", "breakdown"),
        totals=_FUNNEL,
    ),
    Endpoint(
        "/sessions/stats",
        "gold.journey_stats_daily",
        "The journeys of each date; totals: the range's",
        totals=Totals((), ("total_journeys",)),
    ),
    Endpoint(
        "/traffic-sources",
        "gold.traffic_sources_daily",
        "Where sessions came from, a row a date, channel, source, medium and campaign; totals: a row a channel",
        filters=("channel", "traffic_source", "traffic_medium", "campaign"),
        totals=Totals(("channel",), ("sessions", "bounces", "conversions", "revenue")),
    ),
    Endpoint(
        "/devices",
        "gold.devices_daily",
        "With which devices sessions came, a row a date, device type, browser and system; totals: a row a device type",
        filters=("device_type", "browser", "os"),
        totals=Totals(("device_type",), ("sessions", "page_views", "conversions")),
    ),
    Endpoint(
        "/geo",
        "gold.geo_daily",
        "From where sessions came, a row a date, country and region; totals: a row a country",
        filters=("country", "region"),
        totals=Totals(("country",), ("sessions", "page_views", "conversions")),
    ),
    Endpoint("/active-users", "gold.active_users_daily", "Daily, weekly and monthly active users, a row a date"),
    Endpoint(
        "/active-users/segments",
        "gold.active_users_by_segment_daily",
        "The same for each segment",
        filters=("dimension", "value"),
    ),
    Endpoint(
        "/retention",
        "gold.cohort_retention",
        "How many of a day's, week's or month's new persons came back n periods later",
        date="cohort_start",
        filters=("period", "n"),
        default_days=90,
    ),
    Endpoint(
        "/anomalies",
        "gold.metric_anomalies",
        "Dates on which a metric was not what its history expects",
        filters=("metric", "segment", "severity"),
    ),
    Endpoint(
        "/anomalies/sessions",
        "gold.session_anomalies",
        "Sessions that behaved unusually",
        date="session_date",
        filters=("kind", "category", "session_id"),
    ),
    Endpoint("/kpis", "gold.kpi_daily", "The KPIs of each date", filters=("kpi", "dimension", "status")),
)


def values_of(parameters: BaseModel, names: Sequence[str]) -> dict[str, Any]:
    """The filters that a request gave."""
    return {name: value for name in names if (value := getattr(parameters, name, None)) is not None}
