"""What differs between two published versions of a table, by the files that only one of them has.

A row that stands in no changed file did not change, so the rows of the files that went and of those that came are
compared, and what is equal in both stays at home. It needs no note in the log and holds for any kind of commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from pipelines.contracts import Column, Contract
from pipelines.errors import ConfigurationError
from pipelines.serving.published import files_of, open_at, rows_of

# PostgreSQL's index takes entries of 2,704 bytes: an id of a key may have so many.
LONGEST_ID = 2000

_ROWS_AT_A_TIME = 20_000


@dataclass(frozen=True)
class Changes:
    """Queries in DuckDB: rows to insert or update, and keys to remove (None: every key that `sent` does not hold)."""

    sent: str
    gone: str | None


def hashed(column: Column) -> bool:
    """Whether a key column of text may be too long for an index, which then holds its MD5.

    Ids are short, and people look rows up by them; pages and paths have no limit.
    """
    return (
        column.type == "string"
        and not column.accepted
        and column.max_length is None
        and not column.name.endswith("_id")
    )


def changes(con: duckdb.DuckDBPyConnection, root: str, declared: Contract, version: int, held: int | None) -> Changes:
    """From version `held` of the table to `version`; all of it where `held` is None or cannot be read any more."""
    new = open_at(root, declared.table, version)
    assert new is not None
    old = _readable(root, declared.table, held)
    if old is None:
        return Changes(_unique(con, _storable(declared, rows_of(new)), declared), gone=None)
    now, then = set(files_of(new)), set(files_of(old))
    came = _storable(declared, rows_of(new, sorted(now - then)))
    went = _storable(declared, rows_of(old, sorted(then - now)))
    key = ", ".join(f'"{name}"' for name in declared.key)
    return Changes(
        sent=_unique(con, f"{came} except {went}", declared),
        gone=f"select {key} from ({went}) except select {key} from ({came})",
    )


def _readable(root: str, table: str, version: int | None) -> DeltaTable | None:
    """The table at a version that its log and files still hold."""
    if version is None:
        return None
    try:
        found = open_at(root, table, version)
    except ConfigurationError:
        return None
    return found if found is not None and all(Path(file).exists() for file in files_of(found)) else None


def _storable(declared: Contract, rows: str) -> str:
    """The contract's columns as PostgreSQL can hold them: no NUL in a text, no id too long for an index."""
    columns = [f'{_without_nul(column)} as "{column.name}"' for column in declared.columns]
    ids = [c.name for c in declared.columns if c.name in declared.key and c.type == "string" and not hashed(c)]
    short = [f'strlen("{name}") <= {LONGEST_ID}' for name in ids]
    return f"select {', '.join(columns)} from ({rows}) where {' and '.join(short) or 'true'}"


def _without_nul(column: Column) -> str:
    if column.type == "string":
        return f"replace(\"{column.name}\", chr(0), '\ufffd')"
    if column.type == "array<string>":
        return f"list_transform(\"{column.name}\", lambda text: replace(text, chr(0), '\ufffd'))"
    return f'"{column.name}"'


def _unique(con: duckdb.DuckDBPyConnection, rows: str, declared: Contract) -> str:
    """One row a key as the index sees it: the lake holds no two, but a damaged one must not stop the publish."""
    by_name = {column.name: column for column in declared.columns}
    key = ", ".join(f'md5("{name}")' if hashed(by_name[name]) else f'"{name}"' for name in declared.key)
    if con.execute(f"select 1 from ({rows}) group by {key} having count(*) > 1 limit 1").fetchone() is None:
        return rows
    order = ", ".join(f'"{name}"' for name in declared.column_names)
    return f"select * from ({rows}) qualify row_number() over (partition by {key} order by {order}) = 1"


def csv_blocks(con: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[Column]) -> Iterator[memoryview]:
    """The rows as CSV for PostgreSQL's COPY, a block of many lines at a time; a null is empty, all else quoted.

    DuckDB makes a text of every row; the texts lie one after the other in memory, which is the CSV.
    """
    fields = ", ".join(f"coalesce('\"' || replace({_text(c)}, '\"', '\"\"') || '\"', '')" for c in columns)
    reader = con.execute(f"select concat_ws(',', {fields}) || chr(10) from ({rows})").to_arrow_reader(_ROWS_AT_A_TIME)
    for batch in reader:
        lines = batch.column(0)
        assert lines.type == pa.string()
        _, offsets, text = lines.buffers()
        ends = memoryview(offsets).cast("i")
        yield memoryview(text)[ends[lines.offset] : ends[lines.offset + len(lines)]]


def _text(column: Column) -> str:
    """The value as PostgreSQL reads it."""
    if column.type == "array<string>":
        quoted = r"""'"' || replace(replace(text, '\', '\\'), '"', '\"') || '"'"""
        return (
            f"'{{' || array_to_string(list_transform(\"{column.name}\", "
            f"lambda text: coalesce({quoted}, 'NULL')), ',') || '}}'"
        )
    return f'"{column.name}"::varchar'
