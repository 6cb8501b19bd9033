"""Small published lakes, written without Spark as the pipeline would publish them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from pipelines.contracts import Column, contract
from pipelines.delta_types import arrow_schema

PUBLISHED_AT = datetime(2026, 2, 1, 4, tzinfo=UTC)
_DEFAULTS: dict[str, Any] = {
    "string": "x",
    "bigint": 1,
    "int": 1,
    "double": 0.5,
    "boolean": False,
    "date": date(2026, 1, 31),
    "timestamp": datetime(2026, 1, 31, 9, tzinfo=UTC),
    "map<string,string>": {},
    "array<string>": [],
}


def row(table: str, **values: Any) -> dict[str, Any]:
    """A row of a table: `values`, and something of the right type in the other required columns."""
    columns = contract(table).columns
    unknown = set(values) - {column.name for column in columns}
    assert not unknown, f"{table} has no {unknown}"
    return {column.name: values.get(column.name, _default(column)) for column in columns}


def session(site_id: str, session_id: str, start: datetime, person: str = "ann", **values: Any) -> dict[str, Any]:
    """A countable session of two page views."""
    given = {
        "visitor_id": person, "person_id": person, "user_id": person, "start_time": start, "is_countable": True,
        "end_time": start + timedelta(seconds=30), "session_date": start.date(), "duration_seconds": 30.0,
        "event_count": 2, "page_view_count": 2, "page_count": 2, "entry_page": "/", "exit_page": "/cart",
        "journey_path": ["/", "/cart"], "pages_visited": ["/", "/cart"], "revenue": Decimal("0.0000"),
    }  # fmt: skip
    return row("silver.sessions", site_id=site_id, session_id=session_id, **{**given, **values})


def write(root: Path, table: str, rows: list[dict[str, Any]]) -> int:
    """Replace a table's rows; returns its Delta version."""
    declared = contract(table)
    data = pa.Table.from_pylist(rows, schema=arrow_schema(declared))
    path = root.joinpath(*table.split("."))
    write_deltalake(path, data, mode="overwrite", partition_by=list(declared.partition_by) or None)
    return DeltaTable(path).version()


def publish(
    root: Path, tables: dict[str, list[dict[str, Any]]], run_id: str = "run-1", at: datetime = PUBLISHED_AT
) -> None:
    """Write the tables and name their versions in ops.published, in one commit as the pipeline does."""
    versions = {table: write(root, table, rows) for table, rows in tables.items()}
    rows = [
        {"table_name": table, "version": version, "batch_id": 1, "run_id": run_id, "published_at": at}
        for table, version in versions.items()
    ]
    write(root, "ops.published", rows)


def _default(column: Column) -> Any:
    if not column.required:
        return None
    if column.type.startswith("decimal"):
        return Decimal("0")
    return column.accepted[0] if column.accepted else _DEFAULTS[column.type]
