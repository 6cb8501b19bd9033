"""bronze.files, the index of taken files: a cache of what bronze.events holds, checked before it is trusted.

It is written after the records, so it never says more than they do. What is missing in it (it was lost or damaged, or a
crash came between) is made again from bronze.events, which knows a file's path and lines but not its size, time and
checksum: those are completed when the file is listed and its content is found to be the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipelines.bronze import events as bronze_events
from pipelines.bronze.files import LandingFile
from pipelines.bronze.inspection import Inspection
from pipelines.bronze.lines import Lines
from pipelines.contracts import standard_sql_string
from pipelines.lake import Lake

Row = dict[str, Any]

TABLE = "bronze.files"
_UNKNOWN = {"size_bytes": -1, "modified_ns": -1, "checksum": ""}
_COMPARED = ["raw", "defect"]
_COMPARED_LINES = 100_000


def row_of(source: str, file: LandingFile, inspection: Inspection, batch: int) -> Row:
    """The index row of a file that was taken whole."""
    return {
        **vars(file),
        "source": source,
        "checksum": inspection.checksum,
        "records": inspection.records,
        "batch_id": batch,
    }


def is_unknown(row: Row) -> bool:
    """Whether the row was made again, and its file's bytes are not known yet."""
    return not row["checksum"]


def trusted(lake: Lake) -> tuple[list[Row], int]:
    """The rows that count, of all sources, and how many of them had to be made again."""
    stored, damaged = _stored(lake)
    done = lake.batch("bronze.events")
    rows = [row for row in stored if row["batch_id"] <= done]
    indexed = Counter[tuple[str, int]]()
    for row in (*rows, *_offsets(lake)):
        indexed[row["source"], row["batch_id"]] += row["records"]
    short = {
        batch for (source, batch), n in lake.records_by_batch("bronze.events").items() if indexed[source, batch] < n
    }
    if not short and not damaged:
        return rows, 0
    kept = {(row["source"], row["batch_id"], row["path"]): row for row in rows}
    made = {key: row for key, row in _from_bronze(lake, short) if kept.get(key, {}).get("records") != row["records"]}
    rows = list({**kept, **made}.values())
    if damaged:
        lake.remove_index(TABLE)
        lake.replace_rows(TABLE, rows)
    elif made:
        batches = {batch for _, batch, _ in made}
        _replace_batches(lake, rows, batches)
    return rows, len(made)


def add(lake: Lake, rows: list[Row]) -> None:
    """Note files as taken, once bronze.events holds their records (leftovers of the same batch are replaced)."""
    if rows:
        lake.replace_rows(TABLE, rows, where=f"batch_id >= {min(row['batch_id'] for row in rows)}")


def complete(lake: Lake, rows: list[Row], found: list[tuple[Row, LandingFile, Inspection]]) -> None:
    """Fill in or renew what some of the rows say of their files' size, time and checksum."""
    for row, file, inspection in found:
        row.update(vars(file), checksum=inspection.checksum)
    if batches := {row["batch_id"] for row, _, _ in found}:
        _replace_batches(lake, rows, batches)


class StoredLines:
    """What bronze.events holds for rows of the index whose files are to be compared, in the order of these rows.

    Many small files are read with one query, a large one with many: some 100,000 lines are held at a time.
    """

    def __init__(self, lake: Lake, rows: list[Row]) -> None:
        self._lake = lake
        self._groups: list[list[Row]] = []
        size = _COMPARED_LINES
        for row in rows:
            size += row["records"]
            if size >= _COMPARED_LINES:
                self._groups.append([])
                size = row["records"]
            self._groups[-1].append(row)
        self._loaded: dict[tuple[int, str], pa.Table] = {}

    def are(self, row: Row, lines: Iterator[Lines]) -> bool:
        """Whether these are exactly the lines of the row's file and batch."""
        position = 1
        for part in _grouped(lines):
            stored = self._of(row) if row["records"] <= _COMPARED_LINES else self._range(row, position, part.num_rows)
            if not stored.equals(part):
                return False
            position += part.num_rows
        return bool(position - 1 == row["records"])

    def _of(self, row: Row) -> pa.Table:
        """All lines of a file that is not large; loads its whole group."""
        key = row["batch_id"], row["path"]
        if key not in self._loaded:
            group = next(group for group in self._groups if row in group)
            among = ", ".join(standard_sql_string(path) for path in {row["path"] for row in group})
            batches = ", ".join(str(batch) for batch in {row["batch_id"] for row in group})
            found = self._query(f"origin in ({among}) and batch_id in ({batches})", row["source"])
            self._loaded = {(row["batch_id"], row["path"]): found.slice(0, 0) for row in group}
            start = 0
            counted = Counter(zip(found["batch_id"].to_pylist(), found["origin"].to_pylist(), strict=True))
            for place in sorted(counted):
                self._loaded[place] = found.slice(start, counted[place])
                start += counted[place]
        return self._loaded[key].select(_COMPARED)

    def _range(self, row: Row, first: int, count: int) -> pa.Table:
        within = f"position >= {first} and position < {first + count}"
        where = f"batch_id = {row['batch_id']} and origin = {standard_sql_string(row['path'])} and {within}"
        return self._query(where, row["source"]).select(_COMPARED)

    def _query(self, where: str, source: str) -> pa.Table:
        found = self._lake.table(
            "bronze.events",
            f"select batch_id, origin, raw, defect from t where source = {standard_sql_string(source)} and {where} "
            "order by batch_id, origin, position",
        )
        assert found is not None  # it has the rows that the index is made from
        return found.cast(pa.schema([bronze_events.SCHEMA.field(name) for name in found.column_names]))


def _grouped(lines: Iterator[Lines]) -> Iterator[pa.Table]:
    """Lines in tables of about as many as are compared at a time."""
    held: list[pa.Table] = []
    for raw, defect in lines:
        held.append(pa.table({"raw": raw, "defect": defect}))
        if sum(part.num_rows for part in held) >= _COMPARED_LINES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _replace_batches(lake: Lake, rows: list[Row], batches: set[int]) -> None:
    among = ", ".join(str(batch) for batch in sorted(batches))
    lake.replace_rows(TABLE, [row for row in rows if row["batch_id"] in batches], where=f"batch_id in ({among})")


def _stored(lake: Lake) -> tuple[list[Row], bool]:
    """The rows as they are stored, and whether the table cannot be read."""
    try:
        return lake.rows(TABLE), False
    except Exception:  # whatever the reader says of a log or file that is missing or broken: nothing hangs on it
        return [], True


def _offsets(lake: Lake) -> list[Row]:
    """The index of topics holds the other batches; where it is damaged, their records still come from no file."""
    try:
        return lake.rows("bronze.offsets", "select source, batch_id, records from t")
    except Exception:
        return []


def _from_bronze(lake: Lake, batches: set[int]) -> Iterator[tuple[tuple[str, int, str], Row]]:
    if not batches:
        return
    among = ", ".join(str(batch) for batch in sorted(batches))
    counted = lake.rows(
        "bronze.events",
        f"select source, batch_id, origin, count(*) as records from t where batch_id in ({among}) "
        "and origin like '%/%' group by source, batch_id, origin",
    )
    for row in counted:
        path = row.pop("origin")
        yield (row["source"], row["batch_id"], path), {**row, "path": path, **_UNKNOWN}
