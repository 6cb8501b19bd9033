"""Questions to the logs of Delta tables, and to tables that are small: answered in milliseconds, without Spark."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from pipelines.slices import EVERYTHING, NOTHING, Slices

BATCHES = "batches"
"""The application by whose transaction number a commit says which batch its table reflects."""
ANYTHING = "*"
"""In a note: the slices by dates of any column."""


class LakeLog:
    """What the tables under one root, at `<root>/<layer>/<table>`, say of themselves."""

    def __init__(self, root: str, storage_options: dict[str, str]) -> None:
        self.root = root if "://" in root else str(Path(root).resolve())
        self._options = storage_options or None

    def path(self, table: str) -> str:
        return f"{self.root}/{table.replace('.', '/')}"

    def log(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The table's log as deltalake reads it; None where the table does not exist."""
        path = self.path(table)
        if not DeltaTable.is_deltatable(path, self._options):
            return None
        return DeltaTable(path, version=version, storage_options=self._options)

    def version(self, table: str) -> int | None:
        found = self.log(table)
        return None if found is None else found.version()

    def batch(self, table: str) -> int:
        """The last batch that the table reflects; 0 before the first."""
        found = self.log(table)
        return 0 if found is None else (found.transaction_version(BATCHES) or 0)

    def rows_in(self, table: str, slices: Slices, column: str) -> int:
        """At most how many rows the slices hold, by the statistics of the table's files."""
        found = self.log(table)
        if found is None:
            return 0
        first, last = (slices.all_dates() or [date.max])[0], (slices.all_dates() or [date.min])[-1]
        rows = 0
        for file in pa.table(found.get_add_actions(flatten=True)).to_pylist():
            low = file.get(f"partition.{column}", file.get(f"min.{column}"))
            high = file.get(f"partition.{column}", file.get(f"max.{column}"))
            if slices.everything or low is None or high is None or not (high < first or low > last):
                rows += file["num_records"]
        return rows

    def last_batch(self) -> int:
        """The last batch number given out: to records taken into bronze, or to a request."""
        return max(self.batch("bronze.events"), self.batch("ops.requests"))

    def records_by_batch(self, table: str) -> dict[tuple[str, int], int]:
        """Records of each (source, batch_id) of an append-only table partitioned by source, from the log's statistics.

        Where a file holds several batches (the table was compacted) its rows are asked.
        """
        found = self.log(table)
        if found is None:
            return {}
        counted: Counter[tuple[str, int]] = Counter()
        for file in pa.table(found.get_add_actions(flatten=True)).to_pylist():
            low, high = file.get("min.batch_id"), file.get("max.batch_id")
            if low is None or low != high:
                rows = self.rows(table, "select source, batch_id, count(*) as n from t group by source, batch_id")
                return {(row["source"], row["batch_id"]): row["n"] for row in rows}
            counted[file["partition.source"], low] += file["num_records"]
        return dict(counted)

    def touched_since(self, table: str, batch: int, column: str) -> Slices:
        """Slices, by dates of `column`, that the table's commits for batches after `batch` touched.

        Everything where a commit since then says nothing about it: better to recompute than to miss.
        """
        found = self.log(table)
        if found is None or (found.transaction_version(BATCHES) or 0) <= batch:
            return NOTHING
        touched = NOTHING
        for commit in _newest_first(found):
            if commit["operation"] in ("OPTIMIZE", "VACUUM START", "VACUUM END"):
                continue
            note = json.loads(commit.get("userMetadata") or "{}")
            if "batch" in note and note["batch"] <= batch:
                return touched
            if commit["operation"] == "CREATE TABLE":
                return touched if batch == 0 else EVERYTHING
            told = note.get("touched", {})
            if not told.keys() & {column, ANYTHING}:
                return EVERYTHING
            touched |= Slices.from_json(told.get(column, told.get(ANYTHING)))
        return EVERYTHING

    def made_for(self, table: str) -> dict[str, str] | None:
        """The last complete date of each site that the table was made for; None where it depends on none."""
        found = self.log(table)
        notes = (json.loads(commit.get("userMetadata") or "{}") for commit in _newest_first(found)) if found else ()
        return next((note.get("made_for") for note in notes if "batch" in note), None)

    def table(self, table: str, sql: str = "select * from t") -> pa.Table | None:
        """The answer of a query over one table, called `t` in it, without a session; None where it does not exist."""
        found = self.log(table)
        if found is None:
            return None
        # Not by the table's pyarrow data set: its readers may abort the process at exit.
        answer = pa.table(QueryBuilder().register("t", found).execute(sql).read_all())
        # Texts as every other library knows them.
        plain = [f.with_type(pa.string()) if f.type == pa.string_view() else f for f in answer.schema]
        return answer.cast(pa.schema(plain))

    def rows(self, table: str, sql: str = "select * from t") -> list[dict[str, Any]]:
        """The same, as rows: of a ledger, or of a query with few."""
        found = self.table(table, sql)
        return [] if found is None else found.to_pylist()

    def count(self, table: str) -> int:
        """Number of rows, from the statistics in the log."""
        found = self.log(table)
        return (
            0 if found is None else sum(pa.table(found.get_add_actions(flatten=True)).column("num_records").to_pylist())
        )


def _newest_first(log: DeltaTable) -> Iterator[dict[str, Any]]:
    """The commits, read as far back as is asked for: a log of years is not read to its end every time."""
    told, limit = 0, 32
    while True:
        commits = log.history(limit)
        yield from commits[told:]
        if len(commits) < limit:
            return
        told, limit = len(commits), limit * 4
