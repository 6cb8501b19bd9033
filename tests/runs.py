"""Whole runs over a lake in a test's folder, and what its tables then hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from pipelines import runner
from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.enrichment import agents
from pipelines.lake import Lake
from pipelines.plan import GOLD, gold_for
from pipelines.progress import Progress
from pipelines.run import Run
from pipelines.sources import CANONICAL_TYPES, Source

Row = dict[str, Any]

_FIELDS = tuple(name for name in CANONICAL_TYPES if name != "ip")
CANONICAL = Source(
    source="canonical",
    description="JSON Lines whose fields are the canonical columns.",
    format="json_lines",
    fields=_FIELDS,
    session_end="required",
    columns={**{name: name for name in _FIELDS}, "properties": "from_json(properties, 'map<string,string>')"},
)
BOT_AGENT, BOT_REASON = "examplebot/1.0", "declared_bot"


def new_run(spark: SparkSession, root: Path, context: RunContext, *tables: str) -> Run:
    """A run over the lake at `root` that says nothing; `tables`: of gold only these and what they read."""
    lake, progress = Lake(str(root), {}, lambda: spark), Progress("test-run", human=False)
    return Run(lake, context, progress, "test-run", gold=gold_for(tables) if tables else GOLD)


def bring_up_to_date(spark: SparkSession, root: Path, context: RunContext, landing: Path, *tables: str) -> Run:
    """One whole run; returned for its results. `tables`: of gold only these and what they read."""
    run = new_run(spark, root, context, *tables)
    runner.bring_up_to_date(run, [(CANONICAL, str(landing))])
    assert not run.failures, run.failures
    return run


def as_records(events: Iterable[Row]) -> list[Row]:
    """The model's events as the CANONICAL source would give them: with the hash of their own line."""
    found = []
    for event in events:
        known = {name: event.get(name) for name in _FIELDS}
        known["user_agent"] = BOT_AGENT if event["is_bot"] else "Mozilla/5.0 (X11) Firefox/145.0"
        line = json.dumps({name: value for name, value in known.items() if value is not None}, default=_text)
        agent = agents.describe(known["user_agent"])
        seen = {name: event[name] or getattr(agent, name) for name in ("device_type", "browser", "os")}
        reason = BOT_REASON if event["is_bot"] else None
        digest = hashlib.md5(line.encode()).hexdigest()
        told = {"bot_reason": reason, "record_hash": digest, "source": CANONICAL.source}
        found.append({**event, **seen, **told, "_line": line})
    return found


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def land(landing: Path, name: str, lines: Sequence[str]) -> Path:
    """A landing file of these lines."""
    landing.mkdir(parents=True, exist_ok=True)
    path = landing / name
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def content(root: Path, table: str, leave_out: Iterable[str] = ()) -> list[Row]:
    """Every row of a table that exists, without operational columns, in the order of its key."""
    found = Lake(str(root), {}, no_session).rows(table)
    names = [name for name in contract(table).comparable_columns if name not in leave_out]
    maps = {column.name for column in contract(table).columns if column.type.startswith("map")}
    rows = [{name: dict(row[name]) if name in maps else row[name] for name in names} for row in found]
    return in_key_order(table, rows)


def in_key_order(table: str, rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: [str(row[name]) for name in contract(table).key])


def differences(found: list[Row], expected: list[Row]) -> list[str]:
    """What differs, row by row; doubles may differ in the last digits."""
    told = [f"{len(found)} rows, expected {len(expected)}"] if len(found) != len(expected) else []
    for mine, theirs in zip(found, expected, strict=False):
        for name in theirs:
            if not _same(mine[name], theirs[name]):
                told.append(f"{name}: {mine[name]!r}, expected {theirs[name]!r} in {theirs}")
    return told


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return abs(left - right) <= 1e-9 * max(1.0, abs(right))
    return bool(left == right)


def no_session() -> SparkSession:
    """For a lake of which only ledgers and logs are asked, and for what is done without Spark."""
    raise AssertionError("this needs no session")
