"""Lakes of a few rows, written and published without Spark, for tests of what reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from pipelines.contracts import contract
from pipelines.lake import Lake
from tests.rows import NEUTRAL, Row

PUBLISHED_AT = datetime(2026, 1, 8, 6, tzinfo=UTC)


class SmallLake:
    """A lake whose tables a test replaces and publishes."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.lake = Lake(self.root, {}, _no_session)
        self._batch = 0

    def replace(self, table: str, rows: list[Row], where: str | None = None) -> None:
        """Replace the table's rows, or those that match; what a row leaves out is null, or neutral where required."""
        columns = contract(table).columns
        unknown = {name for row in rows for name in row} - {column.name for column in columns}
        assert not unknown, f"{table} has no column {unknown}"
        full = [{c.name: row.get(c.name, NEUTRAL[c.type] if c.required else None) for c in columns} for row in rows]
        self.lake.replace_rows(table, full, where)

    def publish(self, *tables: str) -> None:
        """Publish the newest versions of these tables, as one run."""
        self._batch += 1
        said: dict[str, Any] = {"batch_id": self._batch, "run_id": f"run-{self._batch}", "published_at": PUBLISHED_AT}
        rows = [{"table_name": table, "version": self.lake.version(table), **said} for table in tables]
        self.lake.replace_rows("ops.published", rows)


def _no_session() -> SparkSession:
    raise AssertionError("what serves needs no Spark")
