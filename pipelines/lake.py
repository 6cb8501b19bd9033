"""The only module that reads and writes Delta tables.

Frames go through Spark. Questions to a table's log (version, batch, notes) and rows that fit on a page (ledgers) go
through `deltalake`, which answers in milliseconds and needs no session.

Every change to the lake is a numbered *batch*. A table's log says by its transaction action which batch it reflects,
in the same commit as the data, so a write that is repeated after a crash is recognised. The commit's user metadata
holds a *note*: which (site, date) slices it touched, for the tables that are derived from it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake import Field as DeltaField
from deltalake.schema import ArrayType, MapType, PrimitiveType
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts import Contract, contract
from pipelines.errors import InfrastructureError
from pipelines.slices import EVERYTHING, NOTHING, Slices

_APP = "batches"
_FORMAT = "delta"


class Lake:
    """Tables under one root, at `<root>/<layer>/<table>`."""

    def __init__(self, root: str, storage_options: dict[str, str], session: Callable[[], SparkSession]) -> None:
        self.root = root if "://" in root else str(Path(root).resolve())
        self._options = storage_options or None
        self.session = session

    @contextmanager
    def alone(self, who: str) -> Iterator[None]:
        """Hold the lake for one run; raises InfrastructureError naming the holder where another has it.

        The operating system gives the lock back when its holder dies, however it dies. Only a local lake is guarded:
        an object store has no such lock.
        """
        if "://" in self.root:
            yield
            return
        path = Path(self.root, ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise InfrastructureError(
                    f"{self.root} is in use by {file.read().strip()}: wait for it to end"
                ) from error
            file.truncate(0)
            file.write(f"{who}, process {os.getpid()}, since {now():%Y-%m-%d %H:%M:%S} UTC\n")
            file.flush()
            yield

    # --- questions to the log -----------------------------------------------------------------------------------

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
        return 0 if found is None else (found.transaction_version(_APP) or 0)

    def touched_since(self, table: str, batch: int, column: str) -> Slices:
        """Slices, by dates of `column`, that the table's commits for batches after `batch` touched.

        Everything where a commit since then says nothing about it: better to recompute than to miss.
        """
        found = self.log(table)
        if found is None or (found.transaction_version(_APP) or 0) <= batch:
            return NOTHING
        touched = NOTHING
        for commit in found.history():
            if commit["operation"] in ("OPTIMIZE", "VACUUM START", "VACUUM END"):
                continue
            note = json.loads(commit.get("userMetadata") or "{}")
            if "batch" in note and note["batch"] <= batch:
                return touched
            if commit["operation"] == "CREATE TABLE":
                return touched if batch == 0 else EVERYTHING
            if column not in note.get("touched", {}):
                return EVERYTHING
            touched |= Slices.from_json(note["touched"][column])
        return EVERYTHING

    # --- reading ------------------------------------------------------------------------------------------------

    def read(self, table: str) -> DataFrame:
        """The table as a frame; empty with the contract's schema where it does not exist yet."""
        if self.log(table) is None:
            return self.session().createDataFrame([], contract(table).ddl)
        return self.session().read.format(_FORMAT).load(self.path(table))

    def frame(self, rows: list[tuple[Any, ...]], ddl: str) -> DataFrame:
        """A small frame from rows at hand."""
        return self.session().createDataFrame(rows, ddl)

    def rows(self, table: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
        """Every row of a small table."""
        found = self.log(table)
        return [] if found is None else found.to_pyarrow_table(columns=columns).to_pylist()

    def count(self, table: str) -> int:
        """Number of rows, from the statistics in the log."""
        found = self.log(table)
        return (
            0 if found is None else sum(pa.table(found.get_add_actions(flatten=True)).column("num_records").to_pylist())
        )

    # --- writing ------------------------------------------------------------------------------------------------

    def create(self, table: str) -> None:
        """Create the table from its contract where it does not exist."""
        declared = contract(table)
        if self.log(table) is not None:
            return
        if "://" not in self.root:
            Path(self.path(table)).mkdir(parents=True, exist_ok=True)
        indexed = dict.fromkeys((*declared.key, *declared.cluster_by, *filter(None, [declared.slice])))
        DeltaTable.create(
            self.path(table),
            _delta_schema(declared),
            partition_by=list(declared.partition_by),
            name=declared.name,
            description=declared.description,
            configuration={
                "delta.dataSkippingStatsColumns": ",".join(n for n in indexed if n not in declared.partition_by)
            },
            storage_options=self._options,
        )

    def append(self, table: str, frame: DataFrame, batch: int, touched: dict[str, Slices] | None = None) -> None:
        """Add rows for a batch, once: a repeat with the same batch changes nothing."""
        self.create(table)
        self._save(table, frame, "append", batch, touched)

    def replace_slices(self, table: str, frame: DataFrame, slices: Slices, batch: int) -> None:
        """Replace exactly the rows of the slices, in one commit."""
        self.create(table)
        column = contract(table).slice
        assert column is not None
        touched = {column: slices}
        if self.count(table) == 0:
            self._save(table, frame, "append", batch, touched)
        elif slices.everything:
            self._save(table, frame, "overwrite", batch, touched)
        else:
            self._save(table, frame, "overwrite", batch, touched, replaceWhere=slices.predicate(column))

    def upsert(self, table: str, frame: DataFrame, batch: int, touched: dict[str, Slices], where: str) -> None:
        """Insert rows and update those with the same key, in one commit; `where` bounds the old rows that may match."""
        from delta.tables import DeltaTable as SparkDeltaTable

        self.create(table)
        same_key = " and ".join(f"old.{name} = new.{name}" for name in contract(table).key)
        target = SparkDeltaTable.forPath(self.session(), self.path(table)).alias("old")
        merge = (
            target.merge(frame.alias("new"), f"{same_key} and ({where})")
            .whenMatchedUpdateAll()
            .whenNotMatchedInsertAll()
        )
        with self._commit_marks(batch, touched):
            merge.execute()

    def append_rows(self, table: str, rows: list[dict[str, Any]], batch: int | None = None) -> None:
        """Add a few rows."""
        self._write_rows(table, rows, batch=batch, mode="append")

    def replace_rows(self, table: str, rows: list[dict[str, Any]], where: str | None = None) -> None:
        """Replace the table's rows, or those that match `where` (the predicate language of deltalake)."""
        self._write_rows(table, rows, mode="overwrite", predicate=where)

    # --- inside -------------------------------------------------------------------------------------------------

    def _save(
        self, table: str, frame: DataFrame, mode: str, batch: int, touched: dict[str, Slices] | None, **options: str
    ) -> None:
        declared = contract(table)
        # Storage says nothing about nullability of a computed column; the table's own schema refuses nulls.
        writer = frame.select(*[F.col(c.name).cast(c.type).alias(c.name) for c in declared.columns]).write
        writer = writer.format(_FORMAT).mode(mode).option("txnAppId", _APP).option("txnVersion", str(batch))
        writer = writer.option("userMetadata", _note(batch, touched))
        for key, value in options.items():
            writer = writer.option(key, value)
        writer.save(self.path(table))

    @contextmanager
    def _commit_marks(self, batch: int, touched: dict[str, Slices]) -> Iterator[None]:
        """MERGE takes its marks from the session; left there they would swallow the next write."""
        marks = {
            "spark.databricks.delta.write.txnAppId": _APP,
            "spark.databricks.delta.write.txnVersion": str(batch),
            "spark.databricks.delta.commitInfo.userMetadata": _note(batch, touched),
        }
        conf = self.session().conf
        try:
            for key, value in marks.items():
                conf.set(key, value)
            yield
        finally:
            for key in marks:
                conf.unset(key)

    def _write_rows(self, table: str, rows: list[dict[str, Any]], batch: int | None = None, **mode: Any) -> None:
        self.create(table)
        schema = pa.schema(
            [pa.field(c.name, _arrow_type(c.type), nullable=not c.required) for c in contract(table).columns]
        )
        marks = [Transaction(_APP, batch)] if batch is not None else None
        write_deltalake(
            self.path(table),
            pa.Table.from_pylist(rows, schema=schema),
            storage_options=self._options,
            commit_properties=CommitProperties(app_transactions=marks),
            **mode,
        )


def _note(batch: int, touched: dict[str, Slices] | None) -> str:
    slices = {column: found.to_json() for column, found in (touched or {}).items()}
    return json.dumps({"batch": batch, "touched": slices}, separators=(",", ":"))


def _delta_schema(declared: Contract) -> Schema:
    fields = []
    for column in declared.columns:
        comment = column.description + (f" [{column.unit}]" if column.unit else "")
        fields.append(
            DeltaField(
                column.name, _delta_type(column.type), nullable=not column.required, metadata={"comment": comment}
            )
        )
    return Schema(fields)


def _delta_type(type_: str) -> Any:
    if type_ == "map<string,string>":
        return MapType(PrimitiveType("string"), PrimitiveType("string"), value_contains_null=True)
    if type_ == "array<string>":
        return ArrayType(PrimitiveType("string"), contains_null=True)
    return PrimitiveType({"bigint": "long", "int": "integer"}.get(type_, type_))


_ARROW = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def _arrow_type(type_: str) -> pa.DataType:
    return _ARROW[type_]


def now() -> datetime:
    """The instant, in UTC."""
    return datetime.now(timezone.utc)
