"""Everything the page shows, as one JSON document: numbers of every site and period, and the words about them."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from pipelines.errors import ConfigurationError
from pipelines.serving.report import cards
from pipelines.serving.report.periods import Period, last_complete_date, periods_of
from pipelines.serving.report.queries import QUERIES
from pipelines.serving.report.sections import SECTIONS
from pipelines.serving.report.words import Facts, headline, what_changed
from pipelines.settings import Sites

# Of a period that cannot be chosen, but that another is compared with, only these are needed.
_COMPARED = ("totals", "users", "kpis", "funnels", "speed", *(name for name in QUERIES if name.startswith("segments_")))

Rows = list[dict[str, Any]]


class Results:
    """The rows of every query, by site and period; None where a table it needs is not published."""

    def __init__(self, con: duckdb.DuckDBPyConnection, sites: Sites) -> None:
        published = {
            f"{schema}.{name}"
            for schema, name in con.execute("select schema_name, view_name from duckdb_views()").fetchall()
        }
        self.columns: dict[str, list[str]] = {}
        self._rows: dict[str, dict[tuple[str, str], list[tuple[Any, ...]]]] = {}
        self.missing = {
            name: [table for table in query.needs if table not in published] for name, query in QUERIES.items()
        }
        for name, query in QUERIES.items():
            if self.missing[name]:
                continue
            result = con.execute(query.sql)
            columns = [column[0] for column in result.description or ()]
            keys = 2 if columns[1] == "period" else 1
            self.columns[name] = columns[keys:]
            found: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
            for row in result.fetchall():
                found[row[0], row[1] if keys == 2 else ""].append(row[keys:])
            self._rows[name] = found
        self._count_single_events(sites)

    def _count_single_events(self, sites: Sites) -> None:
        """Where the site counts a session of one event as 0 s long, every session has a duration."""
        for name in ("totals", "daily"):
            columns = self.columns[name]
            sessions, durations = columns.index("sessions"), columns.index("durations")
            for (site_id, _), rows in self._rows[name].items():
                if sites.of(site_id).single_event_duration == "zero":
                    rows[:] = [(*row[:durations], row[sessions], *row[durations + 1 :]) for row in rows]

    def of(self, name: str, site_id: str, period: str = "") -> Rows:
        """Rows as dictionaries; none where there are none, or the table is not published."""
        rows = self._rows.get(name, {}).get((site_id, period), [])
        return [dict(zip(self.columns[name], row, strict=True)) for row in rows]

    def packed(self, site_id: str, period: str, names: tuple[str, ...]) -> dict[str, list[list[Any]]]:
        """Rows as lists of plain values, without queries that have none."""
        packed = {name: self._rows.get(name, {}).get((site_id, period), []) for name in names}
        return {name: [[_plain(value) for value in row] for row in rows] for name, rows in packed.items() if rows}


def collect(
    con: duckdb.DuckDBPyConnection, sites: Sites, *, only: tuple[str, ...] = (), at: datetime, last: date | None = None
) -> dict[str, Any]:
    """The whole document, for the sites named in `only` (none: all), as of the last complete date (or `last`).

    Raises ConfigurationError where there is nothing to report on.
    """
    spans = _spans(con, sites, last)
    if unknown := sorted(set(only) - set(spans)):
        raise ConfigurationError(
            f"--site: no complete day of {', '.join(unknown)}; there is: {', '.join(spans) or 'none'}"
        )
    spans = {site_id: span for site_id, span in spans.items() if not only or site_id in only}
    if not spans:
        raise ConfigurationError("no site has a complete day with a countable session: there is nothing to report yet")
    shown = {site_id: list(periods_of(site_id, *span)) for site_id, span in spans.items()}
    _declare(con, [period for periods in shown.values() for period in periods])
    results = Results(con, sites)
    documents = [_site(site_id, periods, spans[site_id][0], results, sites) for site_id, periods in shown.items()]
    return {
        "columns": results.columns,
        "notes": {section.id: _note(section.queries, results) for section in SECTIONS},
        "missing": {name: tables for name, tables in results.missing.items() if tables},
        "sites": sorted(documents, key=_busyness, reverse=True),
        "quality": quality(con, at),
    }


def _busyness(site: dict[str, Any]) -> float:
    """Sessions of the longest period, so that the report opens with the busiest site."""
    sessions = next(place for place, card in enumerate(cards.CARDS) if card.key == "sessions")
    return site["periods"][-1]["cards"][sessions]["value"] or 0.0


def _spans(con: duckdb.DuckDBPyConnection, sites: Sites, last: date | None) -> dict[str, tuple[date, date]]:
    """Site → its first date and its last complete one; sites without a complete date are left out."""
    as_of = last or _as_of(con) or date.max
    newest = con.execute("select max(end_time) from silver.sessions where session_date <= $1", [as_of]).fetchall()[0][0]
    first_dates = con.execute(
        "select site_id, min(session_date) from silver.sessions where is_countable group by site_id order by site_id"
    ).fetchall()
    spans = {}
    for site_id, first in first_dates:
        end = last or last_complete_date(newest, ZoneInfo(sites.of(site_id).timezone), as_of)
        if first <= end:
            spans[site_id] = (first, end)
    return spans


def _as_of(con: duckdb.DuckDBPyConnection) -> date | None:
    """As of which date the tables were made; null where no run has ended, as when one died after it published."""
    if "ops.runs" not in _views(con):
        return None
    row = con.execute("select max(as_of) from ops.runs where status <> 'failed'").fetchone()
    return row[0] if row else None


def _views(con: duckdb.DuckDBPyConnection) -> set[str]:
    return {f"{s}.{n}" for s, n in con.execute("select schema_name, view_name from duckdb_views()").fetchall()}


def _declare(con: duckdb.DuckDBPyConnection, shown: list[Period]) -> None:
    con.execute(
        "create or replace temp table periods"
        " (site_id varchar, period varchar, kind varchar, first_date date, last_date date)"
    )
    wanted = {period.site_id + period.key: period for shown_one in shown for period in (shown_one, shown_one.before)}
    con.executemany(
        "insert into periods values (?, ?, ?, ?, ?)",
        [(period.site_id, period.key, period.kind, period.start, period.end) for period in wanted.values()],
    )


def _note(queries: tuple[str, ...], results: Results) -> str | None:
    """Why a section has nothing at all, where no table it reads is published."""
    if not queries or any(not results.missing[name] for name in queries):
        return None
    tables = ", ".join(dict.fromkeys(table for name in queries for table in results.missing[name]))
    return f"This is not computed yet: {tables} is not among the published tables."


def _site(site_id: str, periods: list[Period], first: date, results: Results, sites: Sites) -> dict[str, Any]:
    everything = tuple(results.columns)
    data = {"": results.packed(site_id, "", everything)}
    for period in periods:
        data[period.before.key] = results.packed(site_id, period.before.key, _COMPARED)
    for period in periods:
        data[period.key] = results.packed(site_id, period.key, everything)
    return {
        "id": site_id,
        "timezone": sites.of(site_id).timezone,
        "periods": [_period(period, first, results) for period in periods],
        "data": data,
    }


def _period(period: Period, first: date, results: Results) -> dict[str, Any]:
    facts = _facts(period, first, results)
    held = (period.end - max(period.start, first)).days + 1
    return {
        "key": period.key,
        "kind": period.kind,
        "label": period.label,
        "start": period.start.isoformat(),
        "end": period.end.isoformat(),
        "before": period.before.key if facts.before is not None else None,
        "before_label": period.before.label,
        "partial": f"Data begin on {first.day} {first:%b %Y}: this period holds {held} days."
        if period.start < first
        else None,
        "headline": headline(facts),
        "changes": what_changed(facts),
        "cards": [{name: _plain(value) for name, value in row.items()} for row in cards.rows(facts.now, facts.before)],
    }


def _facts(period: Period, first: date, results: Results) -> Facts:
    site_id, before = period.site_id, period.before
    comparable = before.start > first  # data that begin within a day do not hold the whole of it

    def totals(of: Period) -> dict[str, Any]:
        rows = results.of("totals", site_id, of.key) or [{}]
        users = results.of("users", site_id, of.key) or [{"users": None}]
        return {**rows[0], "users": users[0]["users"]}

    def ninety(of: Period) -> float | None:
        return next((row["p90"] for row in results.of("speed", site_id, of.key) if row["device"] is None), None)

    segments = {
        name.removeprefix("segments_"): (results.of(name, site_id, period.key), results.of(name, site_id, before.key))
        for name in results.columns
        if name.startswith("segments_")
    }
    kpis = results.of("kpis", site_id, period.key)
    missed = [row for row in kpis if row["status"] == "missed"]
    return Facts(
        label=period.label,
        now=totals(period),
        before=totals(before) if comparable else None,
        why_no_before=f"There is no complete earlier period to compare with: data begin on {first.day} {first:%b %Y}.",
        segments=segments,
        speed=(ninety(period), ninety(before)),
        anomalies=results.of("anomalies", site_id, period.key),
        off_target=list(dict.fromkeys(row["kpi"].replace("_", " ") for row in missed)),
    )


def quality(con: duckdb.DuckDBPyConnection, at: datetime) -> dict[str, Any]:
    """The state of the data itself: the published run's checks, the last runs, refused records, how fresh it is."""

    def rows(sql: str) -> Rows:
        result = con.execute(sql)
        names = [column[0] for column in result.description or ()]
        return [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in result.fetchall()]

    tables = _views(con)
    judged = "ops.quality_results" in tables
    return {
        "published": rows(
            "select max(published_at) as at, max(batch_id) as batch, count(*) as tables from ops.published"
        )[0],
        "newest": rows(
            "select site_id, max(end_time) as newest from silver.sessions "
            f"where is_countable and end_time <= '{at.isoformat()}' group by site_id order by site_id"
        ),
        "made_at": _plain(at),
        "gates": rows(
            "select gate, count(*) as checks, count_if(success) as passed from ops.quality_results "
            "where run_id in (select run_id from ops.published) group by gate "
            "order by list_position(['landing→bronze', 'bronze→silver', 'silver→gold', 'gold→served'], gate)"
        )
        if judged
        else [],
        "broken": rows(
            "select table_name, check_name, severity, observed, allowed_min, allowed_max from ops.quality_results "
            "where not success and run_id in (select run_id from ops.published) "
            "order by severity, table_name, check_name limit 20"
        )
        if judged
        else [],
        "dead": rows(
            "select reason, count(*) as records from ops.dead_letters where replayed_at is null "
            "group by reason order by records desc, reason"
        )
        if "ops.dead_letters" in tables
        else [],
        "runs": rows(
            "select started_at, job, status, seconds, received, accepted, duplicates, dead, pending from ops.runs "
            "order by started_at desc limit 8"
        )
        if "ops.runs" in tables
        else [],
    }


def _plain(value: Any) -> Any:
    """As JSON holds it: numbers to six digits (nothing for 0 / 0), dates and instants in ISO-8601."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (float, Decimal)):
        number = float(value)
        return (
            float(f"{number:.6g}") if isfinite(number) and abs(number) < 1e6 else number if isfinite(number) else None
        )
    return value
