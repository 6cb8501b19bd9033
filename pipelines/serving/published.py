"""Reads what is published, without Spark: every table at the version that ops.published names.

The log is read by `deltalake`, the files by DuckDB itself. Going through Arrow data sets instead would load pandas, and
that alone takes longer than most answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.errors import ConfigurationError

# Ledgers are read as they are: nothing downstream depends on their being consistent with each other.
_LEDGERS = ("ops.runs", "ops.quality_results", "ops.dead_letters", "ops.duplicates", "ops.published")

# Delta's names of types where DuckDB has others.
_TYPES = {
    "string": "varchar",
    "long": "bigint",
    "timestamp": "timestamptz",
    "map<string, string>": "map(varchar, varchar)",
    "array<string>": "varchar[]",
}


@dataclass(frozen=True)
class Published:
    """The consistent set that is served: which run published it, and the version of each table."""

    commit: int
    run_id: str
    published_at: datetime
    versions: dict[str, int]

    @property
    def name(self) -> str:
        """Names the set in file names, cache keys and answers; two sets never share it."""
        return f"{self.commit}-{self.run_id}"


def published_commit(root: str) -> tuple[str, int] | None:
    """Which ops.published this is, and its version, which moves with every set; None where nothing is published."""
    table = open_at(root, "ops.published")
    return None if table is None else (str(table.metadata().id), table.version())


def read_published(root: str) -> Published:
    """The published set, from one version of ops.published; raises ConfigurationError where there is none."""
    table = open_at(root, "ops.published")
    with duckdb.connect() as con:
        con.execute("set timezone = 'UTC'")
        rows = con.execute(rows_of(table)).fetchall() if table else []
    if table is None or not rows:
        raise ConfigurationError(f"nothing is published at {root}: run the pipeline first (make run-local)")
    names = [field.name for field in table.schema().fields]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    last = max(found, key=lambda row: row["published_at"])
    return Published(
        table.version(), last["run_id"], last["published_at"], {row["table_name"]: row["version"] for row in found}
    )


def rows_at(root: str, table: str, version: int) -> tuple[str, list[str]]:
    """SQL that gives a table's rows at a version, and its columns; ConfigurationError where they are gone."""
    opened = open_at(root, table, version)
    if opened is None:
        raise ConfigurationError(f"{table} is published but is not there")
    return rows_of(opened), [field.name for field in opened.schema().fields]


def connect(root: str, database: str = ":memory:") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with a view `layer.table` for every published table and ledger; files are read when asked.

    `root` is a local folder; `database` a DuckDB file that keeps the views, new or without any. Raises
    ConfigurationError where nothing is published or a published version is gone.
    """
    if "://" in root:
        raise ConfigurationError(f"{root}: published tables are read from a local or mounted folder only")
    con = duckdb.connect(database)
    con.execute("set timezone = 'UTC'")
    published = open_at(root, "ops.published")
    if published is None:
        raise ConfigurationError(f"nothing is published at {root}: run the pipeline first (make run-local)")
    versions: dict[str, int | None] = dict(
        con.execute(f"select table_name, version from ({rows_of(published)})").fetchall()
    )
    for table, version in {**versions, **dict.fromkeys(_LEDGERS)}.items():
        opened = open_at(root, table, version)
        if opened is not None:
            layer, name = table.split(".")
            con.execute(f'create schema if not exists {layer}; create view {layer}."{name}" as {rows_of(opened)}')
        elif table in versions:
            raise ConfigurationError(f"{table} is published but is not there")
    return con


def open_at(root: str, table: str, version: int | None = None) -> DeltaTable | None:
    """The table at a version, else at its newest; None where it does not exist."""
    path = str(Path(root).resolve().joinpath(*table.split(".")))
    if not DeltaTable.is_deltatable(path):
        return None
    try:
        return DeltaTable(path, version=version)
    except DeltaError as error:
        raise ConfigurationError(f"{table} cannot be read at version {version}: {error}") from error


def files_of(table: DeltaTable) -> list[str]:
    """Paths of this version's files; deltalake writes a blank in a folder's name as `%20`."""
    return [unquote(uri) for uri in table.file_uris()]


def rows_of(table: DeltaTable, files: list[str] | None = None) -> str:
    """SQL that gives the rows of this version, or of some of its files, with the columns and types of its schema."""
    types = {field.name: str(field.type) for field in table.schema().fields}
    types = {name: _duckdb_type(type_) for name, type_ in types.items()}
    files = files_of(table) if files is None else files
    if not files:
        return f"select {', '.join(f'null::{type_} as {_name(name)}' for name, type_ in types.items())} where false"
    listed = ", ".join("'" + uri.replace("'", "''") + "'" for uri in files)
    partitions = ", ".join(f"{_name(name)}: {types[name]}" for name in table.metadata().partition_columns)
    hive = f", hive_partitioning = true, hive_types = {{{partitions}}}" if partitions else ""
    return f"select {', '.join(map(_name, types))} from read_parquet([{listed}]{hive})"


def _name(column: str) -> str:
    return f'"{column}"'


def _duckdb_type(printed: str) -> str:
    """DuckDB's name of a Delta type, from deltalake's way of printing it."""
    if printed.startswith("PrimitiveType"):
        delta = printed.split('"')[1]
    elif printed.startswith("ArrayType"):
        delta = "array<string>"
    else:
        delta = "map<string, string>"
    return _TYPES.get(delta, delta)
