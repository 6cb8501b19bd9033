"""Rows as Parquet files that a commit can name, and such files written anew where some of their rows change.

Memory is bounded by bytes, whatever the size of a record. deltalake's own writer gathers rows by their number, several
times over: lines of 1 MB took it 5 GB, here 0.2, and ordinary ones a fifth more time. Readers are spared too: Spark
divides a file among tasks by its row groups, and holds no rows of two at a time.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import reduce
from itertools import chain
from operator import and_
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction, RemoveAction
from pyarrow import fs

from pipelines.errors import InfrastructureError

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_GROUP_BYTES = 16 << 20  # of a row group, as rows in memory: lines of JSON take about a tenth of it on disk
_FILE_BYTES = 128 << 20  # on disk
# Hardly two are equal: to look for those that are took as long as all the rest.
_NO_DICTIONARY = ("raw", "position", "event_id", "record_hash")
_ROWS_AT_A_TIME = 32_768  # that are read of a file which is written anew
_KEYS_AT_A_TIME = 262_144  # of these only the keys; for each such part those looked for are hashed anew
_AT_ONCE = 4  # partitions: each holds a row group of these in memory

# What becomes of a row that is written anew, where it is not the number of a row that patches it.
_GONE, _STAYS = -1, -2
_NO_ROWS = np.empty(0, dtype=np.int64)

Partition = dict[str, str]


def write_files(
    rows: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    place: fs.FileSystem,
    *,
    partition_by: Sequence[str],
    indexed: Sequence[str],
) -> list[AddAction]:
    """Write a stream of rows below a table's root; the files, with their statistics of the columns `indexed`.

    Each batch of rows belongs to one partition.
    """
    added = []
    groups = _groups(rows, schema, partition_by)
    coming = next(groups, None)
    while coming is not None:
        partition, written = coming[0], list[pq.FileMetaData]()
        folder = "/".join(f"{name}={value}" for name, value in partition.items())  # names of sources need no escapes
        path = "/".join(filter(None, [folder, f"part-{uuid.uuid4()}.zstd.parquet"]))
        with place.open_output_stream(path) as sink:
            with _writer(sink, schema, partition_by, indexed, written) as writer:
                while coming is not None and coming[0] == partition and sink.tell() < _FILE_BYTES:
                    writer.write_table(coming[1].drop_columns(list(partition_by)), row_group_size=coming[1].num_rows)
                    coming = next(groups, None)
            size = sink.tell()
        at = int(time.time() * 1000)
        added.append(AddAction(path, size, dict(partition), at, True, _statistics(written[0], indexed)))
    return added


def _groups(
    rows: Iterable[pa.RecordBatch], schema: pa.Schema, partition_by: Sequence[str]
) -> Iterator[tuple[Partition, pa.Table]]:
    held: list[pa.Table] = []
    size, partition = 0, Partition()
    for part in rows:
        if part.num_rows == 0:
            continue
        own = _partition(part, partition_by)
        if held and (own != partition or size + part.nbytes > _GROUP_BYTES):
            yield partition, pa.concat_tables(held)
            held, size = [], 0
        held.append(pa.Table.from_batches([part]).cast(schema))
        size, partition = size + part.nbytes, own
    if held:
        yield partition, pa.concat_tables(held)


def _partition(part: pa.RecordBatch, partition_by: Sequence[str]) -> Partition:
    least_and_most = {name: pc.min_max(part[name]).as_py() for name in partition_by}
    if any(found["min"] != found["max"] for found in least_and_most.values()):
        raise ValueError("rows of one batch belong to several partitions")
    return {name: str(found["min"]) for name, found in least_and_most.items()}


def _writer(
    sink: pa.NativeFile,
    schema: pa.Schema,
    partition_by: Sequence[str],
    indexed: Sequence[str],
    written: list[pq.FileMetaData],
) -> pq.ParquetWriter:
    stored = pa.schema([field for field in schema if field.name not in partition_by])
    return pq.ParquetWriter(
        sink,
        stored,
        compression="zstd",  # at its fastest: quicker than snappy, and half the size
        compression_level=1,
        use_dictionary=[name for name in stored.names if name not in _NO_DICTIONARY],
        write_statistics=[name for name in stored.names if name in indexed],
        store_schema=False,
        metadata_collector=written,
    )


def _statistics(written: pq.FileMetaData, indexed: Sequence[str]) -> str:
    """As Delta's log keeps them; of a column that has none for some row group, nothing is said."""
    told: dict[str, dict[str, object]] = {"minValues": {}, "maxValues": {}, "nullCount": {}}
    groups = [written.row_group(n) for n in range(written.num_row_groups)]
    for n, column in enumerate(written.schema.names):
        found = [group.column(n).statistics for group in groups] if column in indexed else []
        if found and all(each is not None and each.has_min_max for each in found):
            told["minValues"][column] = _as_told(min(each.min for each in found))
            told["maxValues"][column] = _as_told(max(each.max for each in found), timedelta(microseconds=999))
            told["nullCount"][column] = sum(each.null_count for each in found)
    return json.dumps({"numRecords": written.num_rows, **told}, ensure_ascii=False)


def _as_told(value: Any, up: timedelta = timedelta(0)) -> Any:
    """A bound as the log holds it: instants by milliseconds, the greatest one rounded up."""
    if isinstance(value, datetime):
        return (value + up).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value) if isinstance(value, date) else value


# --- files written anew ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edits:
    """What becomes of rows of a table, by their key.

    `new`: rows that come, with all columns. `gone`: the keys of the stored rows in whose place some of them come.
    `patch`: keys of stored rows, and columns that have another value there from now on.
    """

    table: str
    key: tuple[str, ...]
    new: ds.Dataset
    gone: pa.Table
    patch: pa.Table | None = None

    def concerned(self, schema: pa.Schema) -> Concerned:
        """What becomes of stored rows, by key.

        Raises InfrastructureError for two rows that come with one key, or go by one.
        """
        self._refuse_twice(_keys(self.new.to_table(columns=list(self.key)), self.key))
        named = [(self.gone, np.full(self.gone.num_rows, _GONE))]
        if self.patch is not None:
            named.append((self.patch, np.arange(self.patch.num_rows)))
        # As the table has them: what comes from elsewhere may be told in other types.
        types = pa.schema([schema.field(name) for name in self.key])
        rows = pa.concat_tables([part.select(types.names).cast(types) for part, _ in named])
        keys = _keys(rows, self.key)
        self._refuse_twice(keys)
        what = np.concatenate([*[becomes for _, becomes in named], [_STAYS]])
        return Concerned({name: pc.unique(rows[name]) for name in self.key}, keys, what)

    def _refuse_twice(self, keys: pa.Array) -> None:
        if pc.count_distinct(keys).as_py() < len(keys):
            raise InfrastructureError(f"{self.table}: two rows are to be written for one key")


@dataclass(frozen=True)
class Concerned:
    """Keys, and what becomes of the stored row that has one: `_GONE`, or the number of the row that patches it.

    `values`: of each column of the key, by which most rows are passed over. `what`: by key, and last `_STAYS`.
    """

    values: dict[str, pa.Array]
    keys: pa.Array
    what: np.ndarray

    def fate(self, rows: pa.Table) -> np.ndarray:
        """What becomes of each of these rows."""
        maybe = reduce(pc.and_, [pc.is_in(rows[name], value_set=found) for name, found in self.values.items()])
        place = pc.index_in(_keys(rows.filter(maybe), list(self.values)), value_set=self.keys)
        fate = np.full(rows.num_rows, _STAYS)
        fate[maybe.to_numpy()] = self.what[place.fill_null(-1).to_numpy()]
        return fate


def rewrite_files(
    files: Sequence[dict[str, Any]],
    edits: Edits,
    schema: pa.Schema,
    place: fs.FileSystem,
    *,
    partition_by: Sequence[str],
    indexed: Sequence[str],
) -> list[AddAction | RemoveAction]:
    """Write the files that hold rows which the edits concern anew without them, and the rows that come beside these.

    `files`: as the log tells of them, flattened. The rows that stay are neither sorted nor moved: of each file first
    the keys are read, of one that is concerned then all columns, a few rows at a time.
    """
    concerned = edits.concerned(schema)
    stored: dict[tuple[Any, ...], list[dict[str, Any]]] = {each: [] for each in _partitions(edits.new, partition_by)}
    for file in files:
        stored.setdefault(tuple(file[f"partition.{name}"] for name in partition_by), []).append(file)

    def rewrite(partition: tuple[Any, ...]) -> list[AddAction | RemoveAction]:
        fixed = dict(zip(partition_by, partition, strict=True))
        changed = []
        for file in stored[partition]:
            parts = _open(place, file).iter_batches(_KEYS_AT_A_TIME, columns=list(edits.key))
            keys = (_with(pa.Table.from_batches([part]), fixed, schema) for part in parts)
            fate = np.concatenate([_NO_ROWS, *[concerned.fate(part) for part in keys]])
            if (fate != _STAYS).any():
                changed.append((file, fate))
        rows = (part for file, fate in changed for part in _edited(_open(place, file), fate, edits, fixed, schema))
        new = _in_partition(edits.new, fixed, schema)
        added = write_files(chain(rows, new), schema, place, partition_by=partition_by, indexed=indexed)
        now = int(time.time() * 1000)
        told: dict[str, str | None] = {name: str(value) for name, value in fixed.items()}
        return [*added, *[RemoveAction(file["path"], True, now, file["size_bytes"], told) for file, _ in changed]]

    with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as pool:
        return [action for found in pool.map(rewrite, stored) for action in found]


def _edited(
    file: pq.ParquetFile, fate: np.ndarray, edits: Edits, fixed: dict[str, Any], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The file's rows that stay, with what is patched."""
    at = 0
    for part in file.iter_batches(_ROWS_AT_A_TIME):
        mine = fate[at : at + part.num_rows]
        at += part.num_rows
        rows = _with(pa.Table.from_batches([part]), fixed, schema)
        if edits.patch is not None and (mine >= 0).any():
            patched = edits.patch.take(pa.array(mine[mine >= 0]))
            for name in set(patched.column_names) - set(edits.key):
                told = patched[name].combine_chunks().cast(schema.field(name).type)
                column = pc.replace_with_mask(rows[name].combine_chunks(), pa.array(mine >= 0), told)
                rows = rows.set_column(rows.column_names.index(name), name, column)
        yield from (rows.filter(pa.array(mine != _GONE)) if (mine == _GONE).any() else rows).to_batches()


def _open(place: fs.FileSystem, file: dict[str, Any]) -> pq.ParquetFile:
    return pq.ParquetFile(place.open_input_file(file["path"]))


def _with(rows: pa.Table, fixed: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """The rows with the columns of their partition, which not all files hold, and no others than the schema's."""
    for name, value in fixed.items():
        if name in rows.column_names:
            continue
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, schema.field(name).type), rows.num_rows))
    names = [name for name in schema.names if name in rows.column_names]
    return rows.select(names).cast(pa.schema([schema.field(name) for name in names]))


def _partitions(rows: ds.Dataset, partition_by: Sequence[str]) -> list[tuple[Any, ...]]:
    if not partition_by:
        return [()] if rows.count_rows() else []
    found = rows.to_table(columns=list(partition_by)).group_by(list(partition_by)).aggregate([])
    return list(zip(*[found[name].to_pylist() for name in partition_by], strict=True))


def _in_partition(rows: ds.Dataset, fixed: dict[str, Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    where = [pc.field(name) == pa.scalar(value, schema.field(name).type) for name, value in fixed.items()]
    mine = reduce(and_, where) if where else None
    for fragment in rows.get_fragments(mine):
        if hasattr(fragment, "open"):  # a file, which is of the partition
            # Not by the dataset's own reader, which reads files ahead up to 1 GB.
            parts = pq.ParquetFile(fragment.open()).iter_batches(_ROWS_AT_A_TIME)
        else:
            parts = fragment.to_batches(filter=mine)
        for part in parts:
            yield from _with(pa.Table.from_batches([part]), fixed, schema).to_batches()


def _keys(rows: pa.Table, names: Sequence[str]) -> pa.Array:
    """Each row's key as one text: its parts, each behind its length, so that no two keys are alike."""
    parts = []
    for name in names:
        part = rows[name].cast(pa.large_string()).combine_chunks()
        parts += [pc.binary_length(part).cast(pa.large_string()), part]
    return pc.binary_join_element_wise(*parts, pa.scalar(":", pa.large_string()))
