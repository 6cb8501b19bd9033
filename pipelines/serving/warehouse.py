"""One DuckDB file with a described view for every published table: `make warehouse`.

A view names the Parquet files of its version. So the file holds no data, opens with any DuckDB of the same storage
format without an extension and without the network, and says the same until it is made again.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from pipelines.contracts import load_contracts, standard_sql_string
from pipelines.serving.published import connect


def write(root: str, target: Path) -> int:
    """Put the warehouse at `target`; how many views it has.

    The old one stays in place until the new one is whole; who has it open goes on reading it. Raises
    ConfigurationError where nothing is published.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        with connect(root, str(new)) as con:
            views = _views(con)
            for view in views:
                _describe(con, view)
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)
    return len(views)


def _views(con: duckdb.DuckDBPyConnection) -> list[str]:
    found = con.execute("select schema_name || '.' || view_name from duckdb_views() where not internal").fetchall()
    return [str(name) for (name,) in found]


def _describe(con: duckdb.DuckDBPyConnection, view: str) -> None:
    declared = load_contracts().get(view)
    if declared is None:
        return
    name = f'{declared.layer}."{declared.name}"'
    con.execute(f"comment on view {name} is {standard_sql_string(f'{declared.description} Grain: {declared.grain}.')}")
    columns = {row[0] for row in con.execute(f"describe {name}").fetchall()}
    for column in declared.columns:
        words = column.description + (f" [{column.unit}]" if column.unit else "")
        if column.name in columns:
            con.execute(f'comment on column {name}."{column.name}" is {standard_sql_string(words)}')
