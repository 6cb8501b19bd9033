"""A published lake of generated sessions and gold tables of a plausible size, by DuckDB and Arrow, without Spark.

The gold tables' numbers are random and fit neither the sessions nor each other: they are there to be read.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import write_deltalake

from pipelines.contracts import Column, contract
from pipelines.delta_types import arrow_schema
from pipelines.serving.api.build import duckdb_type

FIRST = date(2025, 7, 1)
DAYS = 180
PAGES = 300
PEOPLE_SHARE = 0.3
"""Persons for each session."""

_CHANNELS = ("Direct", "Organic Search", "Paid Search", "Organic Social", "Email", "Referral")
_DEVICES = ("desktop", "mobile", "tablet")
_STEPS = ("Entry", "Browse", "Product", "Cart", "Checkout", "Confirmation")


def _one_of(values: tuple[str, ...], of: str) -> str:
    return f"[{', '.join(repr(value) for value in values)}][1 + (hash(i, '{of}') % {len(values)})::int]"


def _sessions(sessions: int) -> dict[str, str]:
    """Column → SQL over `i`, the session's number, `t`, its start, and `k`, its number of page views."""
    people = int(sessions * PEOPLE_SHARE)
    page = f"'/page-' || (hash(i, {{}}) % {PAGES})"
    return {
        "site_id": "case when i % 5 = 0 then 'blog' else 'shop' end",
        "session_id": "md5(i::varchar)",
        "visitor_id": f"'v' || (hash(i) % {people})",
        "person_id": f"'u' || (hash(i) % {people})",
        "user_id": f"case when i % 3 = 0 then 'u' || (hash(i) % {people}) end",
        "start_time": "t",
        "end_time": "case when k = 1 then t else t + to_seconds(k * 25) end",
        "session_date": "t::date",
        "event_count": "k",
        "page_view_count": "k",
        "page_count": "k",
        "entry_page": page.format(1),
        "exit_page": page.format("k"),
        "journey_path": f"list_transform(range(1, k + 1), n -> {page.format('n')})",
        "pages_visited": f"list_transform(range(1, k + 1), n -> {page.format('n')})",
        "duration_seconds": "case when k > 1 then k * 25.0 end",
        "bounced": "k = 1",
        "engaged": "k > 1",
        "converted": "hash(i, 'converted') % 20 = 0",
        "had_error": "hash(i, 'error') % 50 = 0",
        "revenue": "case when hash(i, 'converted') % 20 = 0 then 49.9 else 0 end",
        "channel": _one_of(_CHANNELS, "channel"),
        "traffic_source": _one_of(("google", "bing", "newsletter", "(direct)"), "source"),
        "device_type": _one_of(_DEVICES, "device"),
        "browser": _one_of(("Chrome", "Safari", "Firefox", "Edge"), "browser"),
        "os": _one_of(("Windows", "iOS", "Android", "macOS"), "os"),
        "country": _one_of(("DE", "FR", "US", "GB", "IN"), "country"),
        "is_bot": "false",
        "has_test_user": "false",
        "is_countable": "true",
        "created_at": "t",
    }


def _gold() -> dict[str, dict[str, str]]:
    """Table → its dimensions beside site and date: column → SQL of a list of values."""
    pages = f"list_transform(range({PAGES}), n -> '/page-' || n)"
    listed = {name: f"{list(values)!r}" for name, values in (("channel", _CHANNELS), ("device_type", _DEVICES))}
    return {
        "gold.page_metrics_daily": {"page": pages},
        "gold.page_performance_daily": {"page": pages, "device_type": listed["device_type"]},
        "gold.funnel_daily": {"funnel": "['stages']", "step_number": f"range(1, {len(_STEPS) + 1})"},
        "gold.journey_stats_daily": {},
        "gold.active_users_daily": {},
        "gold.traffic_sources_daily": {
            "channel": listed["channel"],
            "traffic_source": "['google', 'bing', 'newsletter', '(direct)']",
            "campaign": "['spring', '(not set)']",
        },
        "gold.devices_daily": {
            "device_type": listed["device_type"],
            "browser": "['Chrome', 'Safari', 'Firefox', 'Edge']",
            "os": "['Windows', 'iOS', 'Android', 'macOS']",
        },
        "gold.session_anomalies": {"session_id": "list_transform(range(50), n -> md5(n::varchar))"},
    }


def write_lake(root: Path, sessions: int) -> None:
    """Write the tables and publish them."""
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'; set preserve_insertion_order = false; set enable_progress_bar = false")
    microseconds = DAYS * 86_400_000_000 // sessions
    base = f"""
        select i, timestamptz '{FIRST}' + to_microseconds(i * {microseconds}) as t, 1 + (hash(i, 'k') % 8)::int as k
        from range({sessions}) as n(i)
    """
    versions = {"silver.sessions": _write(con, root, "silver.sessions", _sessions(sessions), base)}
    for table, dimensions in _gold().items():
        names = "".join(f", {name}" for name in dimensions)
        rows = f"select 'shop' as site_id, date '{FIRST}' + d::int as day{names}"
        source = f"(select unnest(range({DAYS})) as d)"
        for number, (name, values) in enumerate(dimensions.items()):
            source += f" cross join (select unnest({values}) as {name}) as d{number}"
        given = {"site_id": "site_id", "date": "day", "session_date": "day", **{name: name for name in dimensions}}
        versions[table] = _write(con, root, table, given, f"{rows} from {source}")
    at = datetime.combine(FIRST + timedelta(days=DAYS), time(4), tzinfo=UTC)
    published = [
        {"table_name": table, "version": version, "batch_id": 1, "run_id": "generated", "published_at": at}
        for table, version in versions.items()
    ]
    schema = arrow_schema(contract("ops.published"))
    write_deltalake(root / "ops/published", pa.Table.from_pylist(published, schema=schema))


def _write(con: duckdb.DuckDBPyConnection, root: Path, table: str, given: dict[str, str], source: str) -> int:
    declared = contract(table)
    columns = ", ".join(
        f'({given.get(column.name, _some(column))})::{duckdb_type(column.type)} as "{column.name}"'
        for column in declared.columns
    )
    reader = con.execute(f"select {columns} from ({source})").to_arrow_reader(200_000)
    path = root.joinpath(*table.split("."))
    schema = arrow_schema(declared)
    batches = (pa.Table.from_batches([batch]).cast(schema).combine_chunks().to_batches()[0] for batch in reader)
    write_deltalake(
        path,
        pa.RecordBatchReader.from_batches(schema, batches),
        partition_by=list(declared.partition_by) or None,
    )
    return 0


def _some(column: Column) -> str:
    """A random value that the contract allows."""
    if column.accepted:
        return f"'{column.accepted[0]}'"
    if column.type in ("bigint", "int") or column.type.startswith("decimal"):
        return "1 + floor(random() * 100)"
    return {"double": "random()", "string": "'(not set)'", "boolean": "random() < 0.5"}.get(column.type, "null")
