"""Copies one published version into DuckDB files, one a site: `python -m pipelines.serving.api.build ROOT SETTINGS`.

A site's file holds that site's rows and nothing else, so whatever is asked of it cannot answer with another site's.
Runs in a process of its own, so that requests go on meanwhile. The copy appears under its name when it is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import zlib
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from pipelines.contracts import Contract, load_contracts
from pipelines.errors import ConfigurationError
from pipelines.serving.api.settings import ApiSettings
from pipelines.serving.published import Published, read_published, rows_at

MANIFEST = "manifest.json"
_LAYOUT = 2  # a copy of another layout is made anew

# Rows lie in the order in which they are asked for, so that DuckDB reads little: its statistics skip the rest.
_ORDER = {
    "silver.sessions": "start_time desc, session_id",
    "gold.page_metrics_daily": "page, date",
    "gold.page_performance_daily": "page, date, device_type",
}

# Look-ups of one session and of one person's, sorted by a hash: an index in DuckDB takes minutes to make on a million
# sessions and seconds to load, while these answer in milliseconds from the first time on. A person's sessions lie
# together, as whole rows: to gather them from all over silver.sessions took a hundred times as long.
_LOOKUPS = """
create schema {site}.lookup;
create table {site}.lookup.session_ids as
    select hash(session_id) as hashed, session_id, start_time from {site}.silver.sessions order by hashed;
create table {site}.lookup.persons as
    select hash(person_id) as hashed, person_id as person, * from {site}.silver.sessions
    union all
    select hash(user_id), user_id, * from {site}.silver.sessions where user_id <> person_id
    order by hashed, person, start_time, session_id
"""


def build(root: str, settings: ApiSettings) -> Path:
    """Make the copy of what is published at `root`, unless it is there; returns its folder.

    Raises ConfigurationError where nothing is published or a published version is gone.
    """
    published = read_published(root)
    folder = settings.data_folder.resolve()
    made_as = zlib.crc32(repr((_LAYOUT, sorted(settings.leave_out))).encode())
    target = folder / f"{published.name}.{made_as:08x}"
    if (target / MANIFEST).exists():
        return target
    partial = folder / f".{target.name}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _fill(root, published, partial, settings)
        with contextlib.suppress(OSError):  # another process made the same copy meanwhile
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _fill(root: str, published: Published, folder: Path, settings: ApiSettings) -> None:
    staging = folder / "staging.duckdb"
    con = duckdb.connect(str(staging), config={"threads": settings.build.threads})
    con.execute(f"set memory_limit = '{settings.build.memory}'; set timezone = 'UTC'; set enable_progress_bar = false")
    contracts = load_contracts()
    tables = {
        table: version
        for table, version in published.versions.items()
        if table in contracts and table not in settings.leave_out
    }
    for table, version in tables.items():
        _stage(con, root, contracts[table], version)
    found = " union ".join(f'select distinct site_id from "{table}"' for table in tables)
    sites = [site for (site,) in con.execute(f"{found} order by 1").fetchall()]
    for number, site in enumerate(sites):
        _write_site(con, folder / f"{number}.duckdb", site, list(tables))
    manifest = {
        "data_version": published.name,
        "published_at": published.published_at.isoformat(),
        "tables": tables,
        "sites": {
            site: {
                "file": f"{number}.duckdb",
                "last_date": _last_date(con, site, published.published_at.date(), tables).isoformat(),
            }
            for number, site in enumerate(sites)
        },
    }
    con.close()
    for left in folder.glob("staging.duckdb*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def _stage(con: duckdb.DuckDBPyConnection, root: str, declared: Contract, version: int) -> None:
    """All sites' rows with exactly the contract's columns, by site and then in the order of the answers."""
    rows, there = rows_at(root, declared.table, version)
    columns = ", ".join(
        f'"{column.name}"' if column.name in there else f'null::{duckdb_type(column.type)} as "{column.name}"'
        for column in declared.columns
    )
    con.execute(
        f'create table "{declared.table}" as select {columns} from ({rows}) order by site_id, {order(declared)}'
    )


def _write_site(con: duckdb.DuckDBPyConnection, path: Path, site: str, tables: list[str]) -> None:
    con.execute(f"attach '{path}' as site; create schema site.silver; create schema site.gold")
    for table in tables:
        layer, name = table.split(".")
        con.execute(f'create table site.{layer}."{name}" as select * from "{table}" where site_id = $1', [site])
    if "silver.sessions" in tables:
        con.execute(_LOOKUPS.format(site="site"))
    con.execute("checkpoint site; detach site")


def _last_date(con: duckdb.DuckDBPyConnection, site: str, published: date, tables: dict[str, Any]) -> date:
    """The site's newest date, but none after the publication: a wrong clock must not move what is asked by default."""
    if "silver.sessions" not in tables:
        return published
    row = con.execute(
        'select max(session_date) from "silver.sessions" where site_id = $1 and session_date <= $2', [site, published]
    ).fetchone()
    last: date = (row[0] if row else None) or published
    return last


def order(declared: Contract) -> str:
    """In which order a table's rows of one site lie, and are answered."""
    if declared.table in _ORDER:
        return _ORDER[declared.table]
    key = [name for name in declared.key if name != "site_id"]
    dates = [name for name in key if name in ("date", declared.slice)]
    return ", ".join(f'"{name}"' for name in [*dates, *(name for name in key if name not in dates)])


def duckdb_type(type_: str) -> str:
    """DuckDB's name of a contract's type."""
    if type_.startswith("map<"):
        return "map(varchar, varchar)"
    if type_.startswith("array<"):
        return "varchar[]"
    return {"string": "varchar", "timestamp": "timestamptz"}.get(type_, type_)


def main() -> int:
    root, settings = sys.argv[1:3]
    os.nice(5)
    try:
        print(build(root, ApiSettings.model_validate_json(settings)))
    except (ConfigurationError, duckdb.Error, OSError) as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
