"""The quality page: what the gates said, how runs went, what was refused, and the dictionary, in one HTML file.

The page holds no script and loads nothing, so it opens anywhere, offline, and can be sent or archived as it is.
Everything on it goes through the template's escaping: texts of dead letters come from whoever sent them.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.contracts import Contract, load_contracts
from pipelines.errors import ConfigurationError
from pipelines.serving.published import open_at, rows_of

Row = dict[str, Any]

_RUNS = 40
_FAILURES = 100

_LAST_RUNS = f"""
select run_id, job, status, started_at::timestamp as started_at, seconds, new_records, received, accepted, duplicates,
       dead, pending, error
from runs order by started_at desc, run_id limit {_RUNS}
"""
_VERDICTS = """
select table_name, check_name, gate, severity, success, observed, allowed_min, allowed_max, rows_judged,
       judged_at::timestamp as judged_at, run_id
from quality_results
qualify row_number() over (partition by table_name, check_name order by judged_at desc, run_id desc) = 1
order by table_name, check_name
"""
_FAILED = f"""
select table_name, check_name, severity, observed, allowed_min, allowed_max, rows_judged,
       judged_at::timestamp as judged_at, run_id
from quality_results where not success order by judged_at desc, table_name, check_name limit {_FAILURES}
"""
_REFUSED = """
select source, layer, reason, count(*) as records, count(replayed_at) as put_back,
       max(refused_at)::timestamp as last_refused_at, arg_max(detail, refused_at) as example
from dead_letters group by all order by records desc, source, reason
"""
_VERSIONS = """
select table_name, version, batch_id, run_id, published_at::timestamp as published_at from published order by table_name
"""


def write(root: str, target: Path, *, at: datetime) -> None:
    """Put the page about the lake at `target`; `at` is the instant (UTC) that it says it was made.

    Raises ConfigurationError where there is no lake.
    """
    page = render(root, at=at)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.{os.getpid()}.new")
    new.write_text(page, encoding="utf-8")
    os.replace(new, target)


def render(root: str, *, at: datetime, contracts: Mapping[str, Contract] | None = None) -> str:
    """The page as HTML."""
    declared = load_contracts() if contracts is None else contracts
    if "://" in root or open_at(root, "ops.runs") is None:
        raise ConfigurationError(f"no run has ended at {root}: run the pipeline first (make run-local)")
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    verdicts = _ask(con, root, "ops.quality_results", _VERDICTS)
    runs = _ask(con, root, "ops.runs", _LAST_RUNS)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, allowed=_allowed, moment=_moment)
    style = Path(__file__).with_name("quality.css").read_text(encoding="utf-8")
    return environment.get_template("quality.html.j2").render(
        at=at,
        style=Markup(style),  # our own file, and named by its hash in the page's policy
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        runs=runs,
        bars=_bars(runs),
        verdicts=_by_table(verdicts, declared),
        broken=[verdict for verdict in verdicts if not verdict["success"]],
        failed=_ask(con, root, "ops.quality_results", _FAILED),
        refused=_ask(con, root, "ops.dead_letters", _REFUSED),
        published=_ask(con, root, "ops.published", _VERSIONS),
        contracts=declared.values(),
        failures_shown=_FAILURES,
    )


def _ask(con: duckdb.DuckDBPyConnection, root: str, table: str, sql: str) -> list[Row]:
    """Rows of a query over a ledger as it is now; none where nothing was ever written to it."""
    opened = open_at(root, table)
    if opened is None:
        return []
    answer = con.execute(f"with {table.split('.')[1]} as ({rows_of(opened)}) {sql}")
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def _by_table(verdicts: Sequence[Row], contracts: Mapping[str, Contract]) -> dict[str, list[Row]]:
    """The last verdict of every check, by table, with what the contract says of it."""
    meanings = {
        (name, check.name): (check.description, check.rule)
        for name, declared in contracts.items()
        for check in declared.row_checks()
    }
    found: dict[str, list[Row]] = {}
    for verdict in verdicts:
        table = verdict["table_name"]
        meaning, rule = meanings.get((table, verdict["check_name"]), ("", ""))
        found.setdefault(table, []).append({**verdict, "meaning": meaning, "rule": rule})
    return found


def _bars(runs: Sequence[Row]) -> list[Row]:
    """The runs as bars, oldest first: how long each took against the longest, in hundredths."""
    longest = max((run["seconds"] for run in runs), default=0) or 1
    return [{**run, "height": max(2, round(100 * run["seconds"] / longest))} for run in reversed(runs)]


def _number(value: float | int | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def _allowed(verdict: Row) -> str:
    least, most = verdict["allowed_min"], verdict["allowed_max"]
    if least is not None and least == most:
        return f"exactly {_number(least)}"
    words = [f"at least {_number(least)}"] if least is not None else []
    words += [f"at most {_number(most)}"] if most is not None else []
    return " and ".join(words) or "anything"


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}"
