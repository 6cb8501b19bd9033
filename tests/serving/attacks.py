"""Statements that try to get out of POST /query, and docs/query_attacks.md: `python -m tests.serving.attacks`.

Each is sent to the API with a key for `shop` alone. A harmless one may be answered, but never with a row of `blog`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from pipelines.serving.api.engine import Engine, Snapshot
from pipelines.serving.api.gate import RefusedError, check
from pipelines.serving.api.sandbox import Sandbox
from pipelines.serving.api.settings import ApiSettings, load_api_settings
from tests.serving.conftest import sample, settings_in
from tests.serving.lakes import publish

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/query_attacks.md"

ATTACKS: dict[str, list[str]] = {
    "Other sites' rows": [
        "select * from silver.sessions where site_id = 'blog'",
        "select * from silver.sessions where site_id <> 'shop' or true or site_id = 'blog'",
        "select * from site_0.silver.sessions",
        "select * from site_1.silver.sessions",
        "select * from memory.silver.sessions",
        "select * from lookup.session_ids",
        "select * from site_0.lookup.persons",
        'select * from "site_0"."silver"."sessions"',
        "select * from silver.sessions union all select * from site_0.silver.sessions",
        "with sessions as (select 1) select * from silver.sessions, site_0.silver.sessions",
        "select (select max(session_id) from site_1.silver.sessions)",
        "select * from silver.sessions s where exists (select * from site_1.gold.funnel_daily)",
        "select * from gold.funnel_daily at (version => 1)",
        "select rowid, * from silver.sessions where site_id like 'b%'",
        "select * from silver.sessions tablesample 100 percent",
    ],
    "Files and the network": [
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_text('/etc/passwd')",
        "select content from read_blob('/proc/self/environ')",
        "select * from read_parquet('data/*.parquet')",
        "select * from read_json_auto('/etc/hosts')",
        "select * from glob('/**')",
        "select * from parquet_metadata('x.parquet')",
        "select * from sniff_csv('/etc/passwd')",
        "select * from delta_scan('/tmp')",
        "select * from 'https://example.org/x.csv'",
        "select * from read_csv('https://example.org/x.csv')",
        "copy (select 1) to '/tmp/out.csv'",
        "copy silver.sessions to '/tmp/out.parquet' (format parquet)",
        "export database '/tmp/out'",
        "import database '/tmp/out'",
        "attach '/tmp/other.duckdb' as other",
        "attach ':memory:' as other",
        "install httpfs",
        "load httpfs",
        "select * from sqlite_scan('x.db', 't')",
        "select * from postgres_scan('host=localhost', 'public', 't')",
        "select getenv('HOME')",
    ],
    "Writing and changing": [
        "insert into silver.sessions select * from silver.sessions",
        "update silver.sessions set site_id = 'shop'",
        "delete from silver.sessions",
        "with d as (delete from silver.sessions returning *) select * from d",
        "with i as (insert into gold.funnel_daily select * from gold.funnel_daily returning *) select * from i",
        "merge into silver.sessions using silver.sessions s on true when matched then delete",
        "truncate silver.sessions",
        "drop view silver.sessions",
        "create table t as select 1",
        "create temp table t as select * from silver.sessions",
        "create view v as select 1",
        "create macro f() as table select * from site_0.silver.sessions",
        "create or replace view silver.sessions as select 1",
        "select 1 into t",
        "alter table silver.sessions rename to s",
        "begin transaction",
        "checkpoint",
        "vacuum",
        "analyze",
        "comment on table silver.sessions is 'x'",
        "prepare p as select 1",
        "execute p",
        "deallocate p",
        "detach site_0",
        "use site_0",
        "call pragma_version()",
        "call enable_logging()",
    ],
    "Settings and what the engine knows of itself": [
        "set threads = 64",
        "set lock_configuration = false",
        "set enable_external_access = true",
        "reset memory_limit",
        "pragma database_list",
        "pragma memory_limit = '100GB'",
        "select * from duckdb_settings()",
        "select * from duckdb_databases()",
        "select * from duckdb_secrets()",
        "select * from duckdb_tables",
        "select * from pragma_storage_info('sessions')",
        "select * from sqlite_master",
        "select * from information_schema.tables",
        "select * from pg_catalog.pg_class",
        "with duckdb_tables as (select 1) select * from duckdb_tables union all (select 2)",
        "select * from (with sqlite_master as (select 1) select 1), sqlite_master",
        "select current_setting('temp_directory')",
        "select current_database(), current_schema(), current_user",
        "select version()",
        "select now(), random(), uuid()",
        "show tables",
        "show all tables",
        "describe silver.sessions",
        "summarize silver.sessions",
        "explain select 1",
        "explain analyze select * from silver.sessions",
        "select * from query('select 1')",
        "select * from query_table('site_0.silver.sessions')",
        "select json_execute_serialized_sql(json_serialize_sql('select 1'))",
        "from json_execute_serialized_sql(json_serialize_sql('select * from site_0.silver.sessions'))",
        "select nextval('s')",
        "select * from duckdb_logs",
        "select columns('.*') from silver.sessions",
        "select error('x')",
        "select txid_current()",
        "select write_log('x')",
    ],
    "More than one statement, and what hides one": [
        "select 1; select 2",
        "select 1; drop view silver.sessions",
        "select 1;;attach '/tmp/x' as y",
        "/* */ ; copy (select 1) to '/tmp/x'",
        "select 1 -- \n; set threads = 9",
        "select '\\'; drop view silver.sessions; --'",
        "select $$ ; $$ from silver.sessions; select 3",
        "select 1) ; select * from (select 2",
        "select 1 /* ' */ ; select ' /* ' ; */ '",
        "",
        "   ",
        "-- nothing",
        ";",
        "select",
        "selectt 1",
        "select \x00 1",
        "select * from silver.sessions where \uff07 = 1",
        "select ?",
        "select $1",
        "select :name",
        "select * from identifier('silver.sessions')",
    ],
    "Too much": [
        "select " + "(" * 3000 + "1" + ")" * 3000,
        "select " + "[" * 3000 + "1" + "]" * 3000,
        "select " + "not " * 2000 + "true",
        "select " + "- " * 2500 + "1",
        "select " + "case when 1=1 then " * 500 + "1" + " else 0 end" * 500,
        "select * from " + "(select * from " * 300 + "silver.sessions" + ")" * 300,
        "select " + "1+" * 2400 + "1",
        "select '" + "x" * 20_000 + "'",
        "select " + ",".join(f"c{n}" for n in range(4000)),
        "with recursive r as (select 1 as n union all select n + 1 from r) select count(*) from r",
        "select count(*) from " + ", ".join(f"silver.sessions s{n}" for n in range(16)),
        "select * from range(1000000000000)",
        "select * from generate_series(1, 1000000000000)",
        "select list_sum(range(1000000000))",
        "select repeat('x', 2000000000)",
        "select lpad('x', 2000000000, 'y')",
        "select " + "replace(" * 14 + "'xxxxxxxxxx'" + ", 'x', 'xxxxxxxxxx')" * 14,
        "select string_agg(a.exit_page, ',') from " + ", ".join(f"silver.sessions {name}" for name in "abcdefghijk"),
        "select array_agg(a) from " + ", ".join(f"silver.sessions {name}" for name in "abcdefghijk"),
        "select regexp_matches(concat(" + ",".join(["exit_page"] * 200) + "), '(a*)*b') from silver.sessions",
    ],
}
STATEMENTS = [statement for group in ATTACKS.values() for statement in group]


def attempt(sandbox: Sandbox, snapshot: Snapshot, settings: ApiSettings, sql: str) -> tuple[str, str]:
    """Who dealt with a statement, and what was said."""
    try:
        tables = check(sql, snapshot.tables, settings.query)
    except RefusedError as error:
        return "gate", str(error)
    try:
        found = sandbox.ask(sql, tables, [snapshot.files["shop"]], 100)
    except RefusedError as error:
        return "sandbox", str(error)
    return "answered", f"{len(found['rows'])} rows of the caller's own"


def shown(sql: str) -> str:
    text = sql if len(sql) <= 110 else f"{sql[:80]} … ({len(sql):,} characters)"
    text = text.encode("unicode_escape").decode().replace("|", "\\|").replace("`", "'")
    return f"`{text}`" if text.strip() else "(empty)"


def main() -> int:
    folder = Path(tempfile.mkdtemp())
    publish(folder / "lake", sample())
    settings = settings_in(folder)
    settings = settings.model_copy(update={"query": load_api_settings().query.model_copy(update={"max_seconds": 5})})
    engine = Engine(str(folder / "lake"), settings)
    engine.refresh()
    assert engine.current is not None
    sandbox = Sandbox(settings.query)
    lines = []
    counts = {"gate": 0, "sandbox": 0, "answered": 0}
    for group, statements in ATTACKS.items():
        lines += ["", f"## {group}", "", "| statement | stopped by | what was said |", "|---|---|---|"]
        for sql in statements:
            started = time.monotonic()
            by, words = attempt(sandbox, engine.current, settings, sql)
            counts[by] += 1
            words = words.split("; there are ")[0].split("Candidate")[0][:140].replace("|", "\\|").replace("\n", " ")
            lines.append(f"| {shown(sql)} | {by} | {words} |")
            assert time.monotonic() - started < settings.query.max_seconds + 60
    sandbox.close()
    PAGE.write_text(
        f"""# Attacks on POST /query

Made by `make query-attacks` from `tests/serving/attacks.py`: {len(STATEMENTS)} statements, asked with a key for the
site `shop` in a lake that holds `blog` too. {counts["gate"]} were refused by the gate
(`pipelines/serving/api/gate.py`), {counts["sandbox"]} stopped behind it (`sandbox.py`), {counts["answered"]} are
harmless and were answered, without a row of `blog`. `tests/serving/test_query_attacks.py` sends each to a running
server, and each once more to the sandbox without the gate before it.
"""
        + "\n".join(lines)
        + "\n",
        encoding="utf-8",
    )
    print(counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
