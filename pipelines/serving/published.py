"""Reads what is published, without Spark: every table at the version that ops.published names."""

from __future__ import annotations

from pathlib import Path

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.errors import ConfigurationError

# Ledgers are read as they are: nothing downstream depends on their being consistent with each other.
_LEDGERS = ("ops.runs", "ops.quality_results", "ops.dead_letters", "ops.duplicates", "ops.published")


def published_versions(root: str, storage_options: dict[str, str] | None = None) -> dict[str, int]:
    """Table → Delta version of the consistent set that is served; raises ConfigurationError where there is none."""
    path = table_path(root, "ops.published")
    if not DeltaTable.is_deltatable(path, storage_options):
        raise ConfigurationError(f"nothing is published at {root}: run the pipeline first (make run-local)")
    rows = (
        DeltaTable(path, storage_options=storage_options)
        .to_pyarrow_table(columns=["table_name", "version"])
        .to_pylist()
    )
    return {row["table_name"]: row["version"] for row in rows}


def connect(root: str, storage_options: dict[str, str] | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with a view `layer.table` for every published table and ledger; files are read when asked."""
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    versions: dict[str, int | None] = dict(published_versions(root, storage_options))
    versions |= {
        table: None for table in _LEDGERS if DeltaTable.is_deltatable(table_path(root, table), storage_options)
    }
    for table, version in versions.items():
        try:
            opened = DeltaTable(table_path(root, table), version=version, storage_options=storage_options)
        except DeltaError as error:
            raise ConfigurationError(f"{table} is published but cannot be read: {error}") from error
        layer, name = table.split(".")
        con.register(f"_{layer}_{name}", opened.to_pyarrow_dataset())
        con.execute(f'create schema if not exists {layer}; create view {layer}."{name}" as from _{layer}_{name}')
    return con


def table_path(root: str, table: str) -> str:
    """`<root>/<layer>/<table>`; absolute where it is a local folder."""
    absolute = root if "://" in root else str(Path(root).resolve())
    return f"{absolute}/{table.replace('.', '/')}"
