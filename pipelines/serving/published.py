"""Reads what is published, without Spark: every table at the version that ops.published names.

The log is read by `deltalake`, the files by DuckDB itself. Going through Arrow data sets instead would load pandas, and
that alone takes longer than most answers.
"""

from __future__ import annotations

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
