"""Frames read from Delta tables, and frames computed once: by which session, in memory or in files.

They go through Spark. Rows that fit on a page are collected, so that they can be written without it.
"""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pipelines.contracts import contract
from pipelines.delta_types import arrow_schema
from pipelines.lake_log import LakeLog
from pipelines.spark import for_few_rows

if TYPE_CHECKING:
    import pyarrow.dataset as ds

FORMAT = "delta"
_ROWS = "_rows"

# Up to as many rows go through `deltalake`, whose small commit takes a fiftieth of the time of Spark's.
_PAGE = 20_000

# Steps that read up to as many rows are done by interpreted plans.
_FEW_ROWS = 10_000

# In such steps, tables of up to as many files are read by these files: Delta finds out by Spark jobs, two or three a
# scan, which took a quarter of the time of a small increment.
_FEW_FILES = 64

# The keys of up to so many rows are held by this process: at most about 1 GB.
_KEYS = 2_000_000

# Up to so many rows are sent to where a table's rows are read, instead of the table's rows to them.
_SENT_ROWS = 500_000


@dataclass(frozen=True)
class Staged:
    """Rows computed and measured, about to be written; `page` holds them too where they are few.

    `told`: columns besides the table's, which say what of the stored rows goes for a row: `was_<column>`, what that has
    in a column of the key, if not the same; `is_new`, whether there is none.
    """

    frame: DataFrame
    rows: int
    measured: dict[str, Any]
    page: pa.Table | None
    told: tuple[str, ...] = ()

    def replaced(self, key: Sequence[str]) -> dict[str, str]:
        """Where the key of the row that goes stands: names of columns, and what they are called there."""
        return {f"was_{name}" if f"was_{name}" in self.told else name: name for name in key}


@dataclass(frozen=True)
class Few:
    """Rows computed, and how many."""

    frame: DataFrame
    rows: int


class LakeFrames(LakeLog):
    """Tables under one root, read through Spark."""

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
            return self.session().createDataFrame(page_of(table, []))  # not from Python rows: that starts a worker
        if self._few_expected and (files := _plain_files(found)):
            schema = StructType.fromJson(json.loads(found.schema().to_json()))
            frame = self.session().read.schema(schema).option("basePath", self.path(table)).parquet(*files)
            return frame.select(*schema.names)
        return self.session().read.format(FORMAT).load(self.path(table))

    def frame(self, rows: pa.Table) -> DataFrame:
        """A small frame from rows at hand; not from Python's own, which would start a Python worker."""
        return self.session().createDataFrame(rows)

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
        observation = Observation()
        place = _written(frame.observe(observation, F.count("*").alias(_ROWS)), self._scratch)
        return self.session().read.schema(frame.schema).parquet(place), observation.get[_ROWS]

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Inside, `keep` and `at_hand` have a folder beside the tables; a lake on an object store has none."""
        if "://" in self.root:
            yield
            return
        self._scratch = Path(self.root, ".scratch")
        shutil.rmtree(self._scratch, ignore_errors=True)  # what a killed run left there
        try:
            yield
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def fits_page(self, rows: int) -> bool:
        """Whether so few rows are better collected and written without Spark."""
        return rows <= _PAGE

    def stage(self, table: str, frame: DataFrame, measures: Sequence[Column] = (), told: Sequence[str] = ()) -> Staged:
        """Compute once what is to be written, with the types of the contract, and aggregates of `frame`.

        `told`: columns of `frame` that an upsert reads besides, as of `Staged`.
        """
        computed, rows, measured = self.checkpoint(frame, *measures, columns=[*typed(table), *map(F.col, told)])
        page = None
        if self.fits_page(rows):
            schema = arrow_schema(contract(table))
            for name in told:
                type_ = pa.bool_() if name == "is_new" else schema.field(name.removeprefix("was_")).type
                schema = schema.append(pa.field(name, type_))
            page = computed.toArrow().cast(schema)
        return Staged(computed, rows, measured, page, tuple(told))

    def can_hand(self, rows: int) -> bool:
        """Whether `at_hand` takes so many rows without filling this process's memory."""
        return rows <= _KEYS if self._scratch else are_sent(rows)

    def at_hand(self, table: str, staged: Staged) -> ds.Dataset:
        """Staged rows for this process, to be read by partitions: many, inside `scratch`, from files."""
        import pyarrow.dataset as ds  # here, since it takes a quarter of a start, and most starts find nothing new

        if staged.page is not None or not staged.rows or not self._scratch:
            return ds.dataset(staged.page if staged.page is not None else staged.frame.toArrow())
        partition_by = contract(table).partition_by
        types = pa.schema([arrow_schema(contract(table)).field(name) for name in partition_by])
        place = _written(rebalanced(staged.frame, partition_by), self._scratch, partition_by)
        return ds.dataset(place, format="parquet", partitioning=ds.partitioning(types, flavor="hive"))


def rebalanced(frame: DataFrame, partition_by: Sequence[str]) -> DataFrame:
    """Rows about to be written: few files a partition, where each task would write one to each."""
    return frame.hint("rebalance", *[F.col(name) for name in partition_by]) if partition_by else frame


def _written(frame: DataFrame, folder: Path, partition_by: Sequence[str] = ()) -> str:
    """Where the frame is in files, which are read once or twice: looking for values that repeat would cost more than it
    saves."""
    place = str(folder / uuid.uuid4().hex)
    writer = frame.write.option("compression", "zstd").option("parquet.enable.dictionary", "false")
    writer.partitionBy(*partition_by).parquet(place)
    return place


def are_sent(rows: int) -> bool:
    """Whether so few rows are better sent to where those of a table are, which they are joined with, than the other way
    round. Spark asks this itself, but knows of no checkpoint how small it is."""
    return rows <= _SENT_ROWS


def sent(frame: DataFrame, rows: int) -> DataFrame:
    """The frame, of so many rows, as the second side of a join with a table's rows."""
    return F.broadcast(frame) if are_sent(rows) else frame


def _plain_files(log: DeltaTable) -> list[str]:
    """The table's files where they are few and, by their paths alone, hold just its rows; else none."""
    if "://" in log.table_uri.removeprefix("file://") or log.protocol().min_reader_version > 1:
        return []  # a version above 1 is for what changes the rows of files: deletion vectors, mapped columns
    files = log.file_uris()
    return files if len(files) <= _FEW_FILES and not any("%" in file for file in files) else []


def typed(table: str) -> list[Column]:
    # Storage says nothing about nullability of a computed column; the table's own schema refuses nulls.
    return [F.col(c.name).cast(c.type).alias(c.name) for c in contract(table).columns]


def page_of(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema(contract(table)))
