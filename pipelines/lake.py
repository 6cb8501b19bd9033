"""The only module that reads frames from Delta tables, and that writes them.

Frames go through Spark. Questions to a table's log (`lake_log.py`) and rows that fit on a page (ledgers, and what a
small change computes) go through `deltalake`, which answers in milliseconds and needs no session.

Every change to the lake is a numbered *batch*. A table's log says by its transaction action which batch it reflects,
in the same commit as the data, so a write that is repeated after a crash is recognised. The commit's user metadata
holds a *note*: which (site, date) slices it touched, for the tables that are derived from it.
"""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pipelines.contracts import Contract, contract, standard_sql_string
from pipelines.delta_types import arrow_schema, delta_schema
from pipelines.errors import InfrastructureError
from pipelines.lake_files import Edits, rewrite_files, write_files
from pipelines.lake_log import ANYTHING, BATCHES, LakeLog
from pipelines.slices import EVERYTHING, NOTHING, Slices
from pipelines.spark import for_few_rows

_FORMAT = "delta"
_ROWS = "_rows"

# Up to as many rows go through `deltalake`, whose small commit takes a fiftieth of the time of Spark's.
_PAGE = 20_000

# Steps that read up to as many rows are done by interpreted plans.
_FEW_ROWS = 10_000

# In such steps, tables of up to as many files are read by these files: Delta finds out by Spark jobs, two or three a
# scan, which took a quarter of the time of a small increment.
_FEW_FILES = 64

# Up to so many rows are sent to where a table's rows are read, instead of the table's rows to them.
_SENT_ROWS = 500_000

# Files of up to so much are written anew by this process; of more, a cluster's tasks do it.
_REWRITTEN_BYTES = 8 << 30


@dataclass(frozen=True)
class Staged:
    """Rows computed and measured, about to be written; `page` holds them too where they are few.

    `moves`: key columns of which `was_<column>` holds what the stored row has that a row replaces.
    """

    frame: DataFrame
    rows: int
    measured: dict[str, Any]
    page: pa.Table | None
    moves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Few:
    """Rows computed, and how many."""

    frame: DataFrame
    rows: int


class Lake(LakeLog):
    """Tables under one root, read and written."""

    def __init__(self, root: str, storage_options: dict[str, str], session: Callable[[], SparkSession]) -> None:
        super().__init__(root, storage_options)
        self._session = session
        self._beside: SparkSession | None = None
        self._starting = threading.Lock()
        self._step = threading.local()
        self._scratch: Path | None = None

    def session(self) -> SparkSession:
        """The session for what this thread does now."""
        session = self._session()
        if not self._few_expected:
            return session
        with self._starting:
            if self._beside is None:
                self._beside = for_few_rows(session)
        return self._beside

    @property
    def _few_expected(self) -> bool:
        return getattr(self._step, "few_rows", False)

    def reads_few(self, rows: int) -> bool:
        """Whether a step over so many rows is mostly its own planning."""
        return rows <= _FEW_ROWS

    @contextmanager
    def expecting(self, rows: int) -> Iterator[None]:
        """Inside, this thread reads about so many rows: a session is chosen that suits them."""
        self._step.few_rows = self.reads_few(rows)
        try:
            yield
        finally:
            self._step.few_rows = False

    # --- reading ------------------------------------------------------------------------------------------------

    def read(self, table: str) -> DataFrame:
        """The table as a frame; empty with the contract's schema where it does not exist yet."""
        found = self.log(table)
        if found is None:
            return self.session().createDataFrame(_page(table, []))  # not from Python rows: that starts a worker
        if self._few_expected and (files := _plain_files(found)):
            schema = StructType.fromJson(json.loads(found.schema().to_json()))
            frame = self.session().read.schema(schema).option("basePath", self.path(table)).parquet(*files)
            return frame.select(*schema.names)
        return self.session().read.format(_FORMAT).load(self.path(table))

    def frame(self, rows: pa.Table) -> DataFrame:
        """A small frame from rows at hand; not from Python's own, which would start a Python worker."""
        return self.session().createDataFrame(rows)

    # --- writing ------------------------------------------------------------------------------------------------

    def create(self, table: str) -> None:
        """Create the table from its contract where it does not exist."""
        declared = contract(table)
        if self.log(table) is not None:
            return
        if "://" not in self.root:
            Path(self.path(table)).mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            self.path(table),
            delta_schema(declared),
            partition_by=list(declared.partition_by),
            name=declared.name,
            description=declared.description,
            configuration={"delta.dataSkippingStatsColumns": ",".join(_indexed(declared))},
            storage_options=self._options,
        )

    def checkpoint(
        self, frame: DataFrame, *measures: Column, columns: Sequence[Column] = ()
    ) -> tuple[DataFrame, int, dict[str, Any]]:
        """`columns` of the frame computed once, how many rows it has, and aggregates of it; it reads no table any more.

        (A cached frame that reads a table which is then written can give rows of both versions.)
        """
        observation = Observation()
        observed = frame.observe(observation, F.count("*").alias(_ROWS), *measures)
        computed = (observed.select(*columns) if columns else observed).localCheckpoint()
        measured = dict(observation.get)
        return computed, measured.pop(_ROWS), measured

    def keep(self, frame: DataFrame) -> tuple[DataFrame, int]:
        """All columns of the frame computed once, and how many rows it has, for several passes over it.

        Inside `scratch`, much of it goes to files: a pass then reads the columns that it asks for and no more, and no
        memory is taken, where rows held in memory would fill it.
        """
        if not self._scratch or self._few_expected:
            computed, rows, _ = self.checkpoint(frame)
            return computed, rows
        place = self._scratch / uuid.uuid4().hex
        observation = Observation()
        writer = frame.observe(observation, F.count("*").alias(_ROWS)).write
        # Read once or twice: looking for values that repeat costs more than it saves.
        writer.option("compression", "zstd").option("parquet.enable.dictionary", "false").parquet(str(place))
        return self.session().read.schema(frame.schema).parquet(str(place)), observation.get[_ROWS]

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Inside, `keep` has a folder beside the tables; a lake on an object store has none."""
        if "://" in self.root:
            yield
            return
        self._scratch = Path(self.root, ".scratch")
        try:
            yield
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)  # with what a killed run left there
            self._scratch = None

    def fits_page(self, rows: int) -> bool:
        """Whether so few rows are better collected and written without Spark."""
        return rows <= _PAGE

    def stage(self, table: str, frame: DataFrame, measures: Sequence[Column] = (), moves: Sequence[str] = ()) -> Staged:
        """Compute once what is to be written, with the types of the contract, and aggregates of `frame`.

        `moves`: key columns that an upsert may change; `frame` holds `was_<column>` for each.
        """
        was = [F.col(f"was_{name}") for name in moves]
        computed, rows, measured = self.checkpoint(frame, *measures, columns=[*_typed(table), *was])
        page = None
        if self.fits_page(rows):
            schema = arrow_schema(contract(table))
            for name in moves:
                schema = schema.append(schema.field(name).with_name(f"was_{name}"))
            page = computed.toArrow().cast(schema)
        return Staged(computed, rows, measured, page, tuple(moves))

    def append(
        self, table: str, rows: DataFrame | Staged, batch: int, touched: dict[str, Slices] | None = None
    ) -> None:
        """Add rows for a batch."""
        self.create(table)
        self._save(table, rows, "append", batch, touched)

    def append_batches(self, table: str, rows: Iterable[pa.RecordBatch], batch: int) -> None:
        """Add a stream of raw records for a batch, with bounded memory and without a session."""
        self.create(table)
        declared, found = contract(table), self.log(table)
        assert found is not None
        columns, indexed = arrow_schema(declared), _indexed(declared)
        added = write_files(rows, columns, self._place(table), partition_by=declared.partition_by, indexed=indexed)
        marks = _properties(batch, None)
        found.create_write_transaction(
            list(added), "append", found.schema(), list(declared.partition_by), commit_properties=marks
        )

    def overwrite(
        self,
        table: str,
        rows: DataFrame | Staged,
        batch: int,
        touched: dict[str, Slices],
        made_for: dict[str, str] | None = None,
    ) -> None:
        """Replace the whole table; `made_for` is kept in the note."""
        self.create(table)
        self._save(table, rows, "overwrite", batch, touched, made_for=made_for)

    def mark(self, table: str, batch: int, made_for: dict[str, str] | None = None) -> None:
        """Say that the table reflects a batch that changes none of its rows."""
        self.create(table)
        self._save_page(table, _page(table, []), batch, {ANYTHING: NOTHING}, made_for, mode="append")

    def delete(self, table: str, where: str) -> None:
        """Remove the rows that match; a table that is not there has none."""
        found = self.log(table)
        if found is not None:
            found.delete(where)

    def remove_index(self, table: str) -> None:
        """Put away a damaged table that can be made again; raises InfrastructureError on an object store."""
        path = self.path(table)
        if "://" in path:
            raise InfrastructureError(f"{path} is damaged: remove it, and it is made again from bronze.events")
        shutil.rmtree(path)

    def update(self, table: str, where: str, values: dict[str, str]) -> int:
        """Set columns to SQL expressions in the rows that match; how many did. A table that is not there has none."""
        found = self.log(table)
        return 0 if found is None else int(found.update(updates=values, predicate=where)["num_updated_rows"])

    def replace_slices(
        self, table: str, staged: Staged, slices: Slices, batch: int, besides: dict[str, Slices] | None = None
    ) -> None:
        """Replace exactly the rows of the slices, in one commit; `besides`: what else its note is to say."""
        self.create(table)
        column = contract(table).slice
        assert column is not None
        touched = {column: slices, **(besides or {})}
        if self.count(table) == 0:
            self.append(table, staged, batch, touched)
        else:
            self._save(table, staged, "overwrite", batch, touched, slices)

    def upsert(
        self,
        table: str,
        staged: Staged,
        batch: int,
        touched: dict[str, Slices],
        days: Sequence[date] | None = None,
        patch: Few | None = None,
        removed: Few | None = None,
    ) -> None:
        """Insert rows and replace those with the same key, in one commit.

        `patch`: keys of other stored rows, and columns that have another value there from now on. `removed`: keys of
        stored rows that go. `days`: of the column by which the table is partitioned, those on which all these rows
        stand or stood; None: anywhere. Files that hold none of them stay; the others are written anew, which reads and
        writes their rows where they are, while a MERGE sends them through the network twice.
        """
        self.create(table)
        count = staged.rows + sum(few.rows for few in (patch, removed) if few)
        if count == 0:
            self.mark(table, batch)
            return
        found, declared = self.log(table), contract(table)
        assert found is not None
        files = _files(found, declared, days)
        if count > _SENT_ROWS or sum(file["size_bytes"] for file in files) > _REWRITTEN_BYTES:
            self._replace_days(table, staged, batch, touched, days, patch, removed)
            return
        page = staged.page if staged.page is not None else staged.frame.toArrow()
        was = {f"was_{name}" if name in staged.moves else name: name for name in declared.key}
        gone = page.select(list(was)).rename_columns(list(was.values()))
        if removed:
            gone = pa.concat_tables([gone, removed.frame.toArrow().select(gone.column_names).cast(gone.schema)])
        columns = arrow_schema(declared)
        edits = Edits(
            table,
            declared.key,
            page.select(columns.names).cast(columns),
            gone,
            patch.frame.toArrow() if patch else None,
        )
        place, indexed = self._place(table), _indexed(declared)
        actions = rewrite_files(files, edits, columns, place, partition_by=declared.partition_by, indexed=indexed)
        found.create_write_transaction(
            actions,
            "append",
            found.schema(),
            list(declared.partition_by),
            commit_properties=_properties(batch, touched),
        )

    def _replace_days(
        self,
        table: str,
        staged: Staged,
        batch: int,
        touched: dict[str, Slices],
        days: Sequence[date] | None,
        patch: Few | None,
        removed: Few | None,
    ) -> None:
        """The same by Spark: partitions are replaced by the staged rows and the stored ones that stay."""
        declared = contract(table)
        in_days = "true" if days is None else _on(declared.partition_by[0], days)
        key = list(declared.key)
        was = [F.col(f"was_{name}" if name in staged.moves else name).alias(name) for name in key]
        gone, rows = staged.frame.select(*was), staged.rows
        if gone.distinct().count() < rows:
            raise InfrastructureError(f"{table}: two rows are to be written for one key")
        if removed:
            gone, rows = gone.unionByName(removed.frame.select(*key)), rows + removed.rows
        others = self.read(table).where(in_days).join(sent(gone, rows), on=key, how="left_anti")
        if patch:
            names = [name for name in patch.frame.columns if name not in key]
            told = patch.frame.withColumnsRenamed({name: f"_{name}" for name in names})
            others = others.join(sent(told, patch.rows), on=key, how="left")
            others = others.withColumns({name: F.coalesce(f"_{name}", name) for name in names})
        # The stored rows stay in the order and about the files in which they were; of the others few files are made.
        few = staged.frame.select(*_typed(table))
        if declared.partition_by:
            few = few.hint("rebalance", *[F.col(name) for name in declared.partition_by])
        writer = others.select(*_typed(table)).unionByName(few).write.format(_FORMAT).mode("overwrite")
        writer = writer.option("replaceWhere", in_days).option("userMetadata", _note(batch, touched))
        writer.option("txnAppId", BATCHES).option("txnVersion", str(batch)).save(self.path(table))

    def append_rows(self, table: str, rows: list[dict[str, Any]], batch: int | None = None) -> None:
        """Add a few rows to a ledger."""
        self.create(table)
        self._save_page(table, _page(table, rows), batch, mode="append")

    def replace_rows(self, table: str, rows: list[dict[str, Any]], where: str | None = None) -> None:
        """Replace a ledger's rows, or those that match `where`."""
        self.create(table)
        self._save_page(table, _page(table, rows), mode="overwrite", predicate=where)

    # --- inside -------------------------------------------------------------------------------------------------

    def _place(self, table: str) -> fs.FileSystem:
        return fs.PyFileSystem(DeltaStorageHandler(self.path(table), self._options))

    def _save(
        self,
        table: str,
        rows: DataFrame | Staged,
        mode: str,
        batch: int,
        touched: dict[str, Slices] | None,
        slices: Slices = EVERYTHING,
        made_for: dict[str, str] | None = None,
    ) -> None:
        """Write rows, without Spark where they are few; an overwrite replaces the slices only."""
        column = contract(table).slice or ""
        if isinstance(rows, Staged) and rows.page is not None:
            where = None if slices.everything else slices.predicate(column, standard_sql_string)
            self._save_page(table, rows.page, batch, touched, made_for, mode=mode, predicate=where)
            return
        frame = rows.frame if isinstance(rows, Staged) else rows
        partitions = contract(table).partition_by
        if partitions:  # few files a partition, where each task would write one to each
            frame = frame.hint("rebalance", *[F.col(name) for name in partitions])
        writer = frame.select(*_typed(table)).write
        writer = writer.format(_FORMAT).mode(mode).option("userMetadata", _note(batch, touched, made_for))
        if made_for is None or self.batch(table) < batch:  # Spark drops a write whose number it has seen
            writer = writer.option("txnAppId", BATCHES).option("txnVersion", str(batch))
        if not slices.everything:
            writer = writer.option("replaceWhere", slices.predicate(column))
        writer.save(self.path(table))

    def _save_page(
        self,
        table: str,
        page: pa.Table,
        batch: int | None = None,
        touched: dict[str, Slices] | None = None,
        made_for: dict[str, str] | None = None,
        **mode: Any,
    ) -> None:
        write_deltalake(
            self.path(table),
            page,
            storage_options=self._options,
            commit_properties=_properties(batch, touched, made_for),
            **mode,
        )


def are_sent(rows: int) -> bool:
    """Whether so few rows are better sent to where those of a table are, which they are joined with, than the other way
    round. Spark asks this itself, but knows of no checkpoint how small it is."""
    return rows <= _SENT_ROWS


def sent(frame: DataFrame, rows: int) -> DataFrame:
    """The frame, of so many rows, as the second side of a join with a table's rows."""
    return F.broadcast(frame) if are_sent(rows) else frame


def _files(log: DeltaTable, declared: Contract, days: Sequence[date] | None) -> list[dict[str, Any]]:
    """What the log tells of the table's files on the given days."""
    files = pa.table(log.get_add_actions(flatten=True)).to_pylist()
    wanted = None if days is None else set(days)
    return [file for file in files if wanted is None or file[f"partition.{declared.partition_by[0]}"] in wanted]


def _plain_files(log: DeltaTable) -> list[str]:
    """The table's files where they are few and, by their paths alone, hold just its rows; else none."""
    if "://" in log.table_uri.removeprefix("file://") or log.protocol().min_reader_version > 1:
        return []  # a version above 1 is for what changes the rows of files: deletion vectors, mapped columns
    files = log.file_uris()
    return files if len(files) <= _FEW_FILES and not any("%" in file for file in files) else []


def _note(batch: int, touched: dict[str, Slices] | None, made_for: dict[str, str] | None = None) -> str:
    note: dict[str, Any] = {"batch": batch}
    note["touched"] = {column: found.to_json() for column, found in (touched or {}).items()}
    if made_for is not None:
        note["made_for"] = made_for
    return json.dumps(note, separators=(",", ":"))


def _properties(
    batch: int | None, touched: dict[str, Slices] | None, made_for: dict[str, str] | None = None
) -> CommitProperties:
    if batch is None:
        return CommitProperties()
    note = _note(batch, touched, made_for)
    return CommitProperties(app_transactions=[Transaction(BATCHES, batch)], custom_metadata={"userMetadata": note})


def _indexed(declared: Contract) -> list[str]:
    """The columns whose least and greatest values the log keeps of each file, so that readers can pass files over."""
    wanted = dict.fromkeys((*declared.key, *declared.cluster_by, *filter(None, [declared.slice])))
    return [name for name in wanted if name not in declared.partition_by]


def _on(column: str, days: Sequence[date]) -> str:
    return " or ".join(f"{column} = date'{day}'" for day in days)


def _typed(table: str) -> list[Column]:
    # Storage says nothing about nullability of a computed column; the table's own schema refuses nulls.
    return [F.col(c.name).cast(c.type).alias(c.name) for c in contract(table).columns]


def _page(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema(contract(table)))


def now() -> datetime:
    """The instant, in UTC."""
    return datetime.now(UTC)
