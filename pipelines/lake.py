"""The only module that writes Delta tables.

Frames are read through Spark (`lake_frames.py`). Questions to a table's log (`lake_log.py`), rows that fit on a page
(ledgers, and what a small change computes) and rows put in the place of others (`lake_files.py`) go through
`deltalake`, which needs no session and commits in milliseconds.

Every change to the lake is a numbered *batch*. A table's log says by its transaction action which batch it reflects,
in the same commit as the data, so a write that is repeated after a crash is recognised. The commit's user metadata
holds a *note*: which (site, date) slices it touched, for the tables that are derived from it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction
from pyarrow import fs
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts import Contract, contract, standard_sql_string
from pipelines.delta_types import arrow_schema, delta_schema
from pipelines.errors import InfrastructureError
from pipelines.lake_files import Edits, rewrite_files, write_files
from pipelines.lake_frames import FORMAT, Few, LakeFrames, Staged, page_of, rebalanced, sent, typed
from pipelines.lake_log import ANYTHING, BATCHES
from pipelines.slices import EVERYTHING, NOTHING, Slices

# Files of up to so much are written anew by this process; of more, a cluster's tasks do it.
_REWRITTEN_BYTES = 8 << 30


class Lake(LakeFrames):
    """Tables under one root, read and written."""

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
        _commit_files(found, declared, list(added), _properties(batch, None))

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

    def mark(self, table: str, batch: int) -> None:
        """Say that the table reflects a batch that changes none of its rows."""
        self.create(table)
        self._save_page(table, page_of(table, []), batch, {ANYTHING: NOTHING}, mode="append")

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
        """Insert rows and replace those with the same key, or the one that `staged` tells, in one commit.

        `patch`: keys of other stored rows, and columns that have another value there from now on. `removed`: keys of
        stored rows that go. `days`: of the column by which the table is partitioned, those on which all these rows
        stand or stood; None: anywhere. Files that hold none of them stay; the others are written anew, which reads and
        writes their rows where they are, while a MERGE sends them through the network twice.
        """
        self.create(table)
        patch, removed = (few if few and few.rows else None for few in (patch, removed))
        count = staged.rows + sum(few.rows for few in (patch, removed) if few)
        if count == 0:
            self.mark(table, batch)
            return
        found, declared = self.log(table), contract(table)
        assert found is not None
        files = _files(found, declared, days)
        if not self.can_hand(count) or sum(file["size_bytes"] for file in files) > _REWRITTEN_BYTES:
            self._replace_days(table, staged, batch, touched, days, patch, removed)
            return
        new, was = self.at_hand(table, staged), staged.replaced(declared.key)
        where = ~pc.field("is_new") if "is_new" in staged.told else None
        gone = new.to_table(columns=list(was), filter=where).rename_columns(list(was.values()))
        if removed:
            gone = pa.concat_tables([gone, removed.frame.toArrow().select(gone.column_names).cast(gone.schema)])
        edits = Edits(table, declared.key, new, gone, patch.frame.toArrow() if patch else None)
        columns, place, indexed = arrow_schema(declared), self._place(table), _indexed(declared)
        actions = rewrite_files(files, edits, columns, place, partition_by=declared.partition_by, indexed=indexed)
        _commit_files(found, declared, actions, _properties(batch, touched))

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
        gone = staged.frame.where("not is_new" if "is_new" in staged.told else "true")
        gone, rows = gone.select(*[F.col(name).alias(of) for name, of in staged.replaced(key).items()]), staged.rows
        for keys in (staged.frame.select(*key), gone):
            if keys.distinct().count() < keys.count():
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
        few = rebalanced(staged.frame.select(*typed(table)), declared.partition_by)
        writer = others.select(*typed(table)).unionByName(few).write.format(FORMAT).mode("overwrite")
        writer = writer.option("replaceWhere", in_days).option("userMetadata", _note(batch, touched))
        writer.option("txnAppId", BATCHES).option("txnVersion", str(batch)).save(self.path(table))

    def append_rows(self, table: str, rows: list[dict[str, Any]], batch: int | None = None) -> None:
        """Add a few rows to a ledger."""
        self.create(table)
        self._save_page(table, page_of(table, rows), batch, mode="append")

    def replace_rows(self, table: str, rows: list[dict[str, Any]], where: str | None = None) -> None:
        """Replace a ledger's rows, or those that match `where`."""
        self.create(table)
        self._save_page(table, page_of(table, rows), mode="overwrite", predicate=where)

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
        frame = rebalanced(rows.frame if isinstance(rows, Staged) else rows, contract(table).partition_by)
        writer = frame.select(*typed(table)).write
        writer = writer.format(FORMAT).mode(mode).option("userMetadata", _note(batch, touched, made_for))
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


def _files(log: DeltaTable, declared: Contract, days: Sequence[date] | None) -> list[dict[str, Any]]:
    """What the log tells of the table's files on the given days."""
    files = pa.table(log.get_add_actions(flatten=True)).to_pylist()
    wanted = None if days is None else set(days)
    return [file for file in files if wanted is None or file[f"partition.{declared.partition_by[0]}"] in wanted]


def _commit_files(
    log: DeltaTable, declared: Contract, actions: list[AddAction | RemoveAction], marks: CommitProperties
) -> None:
    """One commit that names files which are there, and forgets others."""
    log.create_write_transaction(actions, "append", log.schema(), list(declared.partition_by), commit_properties=marks)


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


def now() -> datetime:
    """The instant, in UTC."""
    return datetime.now(UTC)
