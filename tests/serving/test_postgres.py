"""Publishing to PostgreSQL, on a real server."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from pipelines.config import PROJECT
from pipelines.contracts import load_contracts
from pipelines.errors import ConfigurationError, InfrastructureError
from pipelines.serving.postgres import Change, publish
from pipelines.serving.postgres_tables import Table
from tests.rows import Row, day, utc
from tests.serving.postgres_server import Server, running
from tests.serving.small_lake import SmallLake

SESSIONS, PATHS, TIERS = "silver.sessions", "gold.flow_patterns_daily", "gold.engagement_tiers_daily"
ALL = (SESSIONS, PATHS, TIERS)
MONDAY, TUESDAY = day("2026-01-05"), day("2026-01-06")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture
def lake(tmp_path: Path) -> SmallLake:
    made = SmallLake(tmp_path / "a lake")
    made.replace(SESSIONS, [session("a"), session("b", events=2), session("c", session_date=TUESDAY)])
    made.replace(PATHS, [path("/a > /b"), path("/c", sessions=5)])
    made.replace(TIERS, [])
    made.publish(*ALL)
    return made


class Place:
    """A schema of one test's own."""

    def __init__(self, server: Server, schema: str) -> None:
        self.server, self.schema = server, schema

    def publish(self, lake: SmallLake, *, whole: bool = False) -> list[Change]:
        told: list[str] = []
        return publish(
            lake.root, self.server.url, self.schema, whole=whole, tell=told.append, seconds_before_retry=0.01
        )

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The answer as rows; `{}` in the query is the schema."""
        with psycopg.connect(self.server.url, row_factory=dict_row, options="-c timezone=UTC") as con:
            return con.execute(query.replace("{}", self.schema).encode()).fetchall()

    def do(self, statements: str) -> None:
        with psycopg.connect(self.server.url) as con:
            con.execute(statements.replace("{}", self.schema).encode())


@pytest.fixture
def place(server: Server, request: pytest.FixtureRequest) -> Place:
    return Place(server, "p" + request.node.name.removeprefix("test_")[:40].lower().replace("[", "_").rstrip("]"))


def session(session_id: str, *, events: int = 1, session_date: Any = MONDAY, **other: Any) -> Row:
    return {
        "site_id": "shop",
        "session_id": session_id,
        "session_date": session_date,
        "event_count": events,
        "created_at": utc("2026-01-07T03:00:00.000001"),
        **other,
    }


def path(text: str, *, sessions: int = 1, site_id: str = "shop") -> Row:
    return {"site_id": site_id, "date": MONDAY, "path": text, "sessions": sessions}


def in_lake(lake: SmallLake, table: str) -> list[tuple[Any, ...]]:
    rows = lake.lake.rows(table)
    return sorted((tuple(row.values()) for row in rows), key=repr)


def in_postgres(place: Place, table: str) -> list[tuple[Any, ...]]:
    rows = place.rows(f"select * from {{}}.{table.split('.')[1]}")
    return sorted((tuple(row.values()) for row in rows), key=repr)


def assert_same(place: Place, lake: SmallLake, *tables: str) -> None:
    for table in tables or ALL:
        assert in_postgres(place, table) == in_lake(lake, table)


def by_table(done: list[Change]) -> dict[str, tuple[int, int, int]]:
    return {change.table: (change.sent, change.written, change.removed) for change in done}


# --- what arrives -------------------------------------------------------------------------------------------------


def test_a_first_publish_brings_every_row_and_says_which_versions(place: Place, lake: SmallLake) -> None:
    done = place.publish(lake)
    assert by_table(done) == {SESSIONS: (3, 3, 0), PATHS: (2, 2, 0), TIERS: (0, 0, 0)}
    assert_same(place, lake)
    versions = place.rows("select table_name, version, batch_id, run_id from {}.published order by table_name")
    assert [tuple(row.values()) for row in versions] == [
        (TIERS, lake.lake.version(TIERS), 1, "run-1"),
        (PATHS, lake.lake.version(PATHS), 1, "run-1"),
        (SESSIONS, lake.lake.version(SESSIONS), 1, "run-1"),
    ]


def test_values_arrive_as_they_are(place: Place, lake: SmallLake) -> None:
    texts = [
        "",
        " ",
        "\\N",
        "\\.",
        "a\n\\.\nb",
        'say "hi", all',
        "tab\tcr\rlf\n",
        "NULL",
        "{}",
        "ü 日本 🎉",
        "it's",
        "%s",
    ]
    rows = [
        session(
            f"s{number}",
            entry_page=text,
            exit_page=None,
            journey_path=[text, *texts, None],
            pages_visited=[],
            duration_seconds=[0.1, 1e-300, 1e300, 1 / 3, None][number % 5],
            revenue=Decimal("99999999999999999999.1234"),
            start_time=utc("2026-01-05T23:59:59.999999"),
            converted=True,
        )
        for number, text in enumerate(texts)
    ]
    lake.replace(SESSIONS, rows)
    lake.publish(*ALL)
    place.publish(lake)
    assert_same(place, lake)


def test_the_tables_are_declared_as_the_contracts_say(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    declared = load_contracts()[SESSIONS]
    columns = place.rows(
        "select attname, format_type(atttypid, atttypmod) as type, attnotnull, "
        "col_description(attrelid, attnum) as said from pg_attribute "
        "where attrelid = '{}.sessions'::regclass and attnum > 0 order by attnum"
    )
    assert [(c["attname"], c["attnotnull"]) for c in columns] == [(c.name, c.required) for c in declared.columns]
    types = {c["attname"]: c["type"] for c in columns}
    assert types["created_at"] == "timestamp with time zone"
    assert types["revenue"] == "numeric(28,4)"
    assert types["journey_path"] == "text[]"
    assert types["duration_seconds"] == "double precision"
    said = {c["attname"]: c["said"] for c in columns}
    assert said["duration_seconds"] == "From first to last event; null for one event. [s]"
    indexes = {
        row["indexdef"].split(" USING ")[1] for row in place.rows("select * from pg_indexes where schemaname='{}'")
    }
    assert {"btree (site_id, session_id)", "btree (site_id, created_at)"} <= indexes
    with pytest.raises(psycopg.errors.UniqueViolation):
        place.do("insert into {}.sessions select * from {}.sessions")


def test_every_published_table_can_be_declared_in_postgresql(place: Place) -> None:
    place.do("create schema {}")
    tables = [Table(place.schema, c) for name, c in load_contracts().items() if c.layer == "gold" or name == SESSIONS]
    with psycopg.connect(place.server.url) as con:
        for table in tables:
            con.execute(table.definition())
            con.execute(table.comments())
    assert len(place.rows("select 1 from pg_tables where schemaname = '{}'")) == len(tables) > 10


# --- only what changed --------------------------------------------------------------------------------------------


def test_nothing_new_sends_nothing(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    lake.publish(*ALL)
    assert place.publish(lake) == []
    assert {row["run_id"] for row in place.rows("select run_id from {}.published")} == {"run-2"}


def test_only_rows_that_differ_travel(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    before = place.rows("select session_id, xmin::text as written_by from {}.sessions")
    # One session changed, two merged into one (so one is gone), one is new; the slice is written anew, "a" as it was.
    lake.replace(SESSIONS, [session("a"), session("b", events=9), session("d")])
    lake.publish(*ALL)
    done = place.publish(lake)
    assert by_table(done) == {SESSIONS: (2, 2, 1)}
    assert not done[0].whole
    assert_same(place, lake)
    after = place.rows("select session_id, xmin::text as written_by from {}.sessions")
    assert [row for row in after if row["session_id"] == "a"] == [row for row in before if row["session_id"] == "a"]


def test_any_way_between_two_states_ends_at_the_lake(place: Place, lake: SmallLake) -> None:
    chance = random.Random(7)
    for _ in range(12):
        for date in (MONDAY, TUESDAY):
            if chance.random() < 0.7:
                chosen = chance.sample("abcdefgh", chance.randrange(6))
                rows = [session(s, events=chance.randrange(3), session_date=date) for s in chosen if s.islower()]
                there = {row["session_id"] for row in lake.lake.rows(SESSIONS) if row["session_date"] != date}
                rows = [row for row in rows if row["session_id"] not in there]
                lake.replace(SESSIONS, rows, f"session_date = date'{date}'")
        if chance.random() < 0.5:
            lake.replace(PATHS, [path(p, sessions=chance.randrange(3)) for p in chance.sample("xyz", 2)])
        if chance.random() < 0.3:
            found = lake.lake.log(SESSIONS)
            assert found is not None
            found.optimize.compact()  # files change, rows do not
        lake.publish(*ALL)
        if chance.random() < 0.8:
            place.publish(lake)
            assert_same(place, lake)


def test_a_session_that_moves_to_another_date_stays_one_row(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    lake.replace(
        SESSIONS, [session("b", events=2), session("c", session_date=TUESDAY), session("a", session_date=TUESDAY)]
    )
    lake.publish(*ALL)
    assert by_table(place.publish(lake)) == {SESSIONS: (1, 1, 0)}
    assert_same(place, lake)


def test_files_of_the_held_version_that_are_gone_make_it_compare_all_rows(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    lake.replace(SESSIONS, [session("a"), session("z")])
    lake.publish(*ALL)
    found = lake.lake.log(SESSIONS)
    assert found is not None
    found.vacuum(0, enforce_retention_duration=False, dry_run=False)
    done = place.publish(lake)
    assert by_table(done) == {SESSIONS: (2, 1, 2)}
    assert done[0].whole
    assert_same(place, lake)


def test_rows_that_someone_removed_come_back_with_the_next_change(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    place.do("delete from {}.sessions where session_id = 'c'")
    lake.replace(SESSIONS, [session("a", events=7), session("b", events=2), session("c", session_date=TUESDAY)])
    lake.publish(*ALL)
    (done,) = place.publish(lake)
    assert done.whole
    assert_same(place, lake)


def test_whole_mends_rows_that_someone_changed(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    place.do("update {}.sessions set event_count = 99 where session_id = 'c'")
    assert place.publish(lake) == []
    assert by_table(place.publish(lake, whole=True)) == {SESSIONS: (3, 1, 0), PATHS: (2, 0, 0), TIERS: (0, 0, 0)}
    assert_same(place, lake)


def test_a_table_that_is_published_no_more_goes(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    lake.publish(SESSIONS, PATHS)
    place.publish(lake)
    assert place.rows("select to_regclass('{}.engagement_tiers_daily') as found") == [{"found": None}]
    assert_same(place, lake, SESSIONS, PATHS)


# --- what PostgreSQL would refuse ---------------------------------------------------------------------------------


@pytest.mark.fault(
    of="serving",
    injected="NUL characters in texts and lists, and two keys that differ only in them",
    holds="published with the replacement character; of the two keys one row is left out, and the publish says so",
)
def test_nul_characters_are_replaced(place: Place, lake: SmallLake) -> None:
    lake.replace(SESSIONS, [session("n\0l", entry_page="/\0", journey_path=["x\0y"]), session("n\ufffdl")])
    lake.publish(*ALL)
    done = {change.table: change for change in place.publish(lake)}
    assert (done[SESSIONS].sent, done[SESSIONS].left_out) == (1, 1)
    assert "1 LEFT OUT" in done[SESSIONS].sentence()
    assert place.rows("select session_id, entry_page, journey_path from {}.sessions") == [
        {"session_id": "n\ufffdl", "entry_page": "/\ufffd", "journey_path": ["x\ufffdy"]}
    ]


@pytest.mark.fault(
    of="serving",
    injected="the same key twice in the lake",
    holds="one of the rows is published, always the same, and the publish says that one is left out; "
    "once the lake is in order PostgreSQL equals it",
)
def test_a_key_that_the_lake_holds_twice_is_published_once(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    lake.replace(SESSIONS, [session("a", events=3), session("a", events=1), session("c", session_date=TUESDAY)])
    lake.publish(*ALL)
    (done,) = place.publish(lake)
    assert done.left_out == 1
    kept = "select session_id, event_count from {}.sessions order by session_id"
    assert [tuple(row.values()) for row in place.rows(kept)] == [("a", 1), ("c", 1)]
    lake.replace(SESSIONS, [session("a", events=3)], f"session_date = date'{MONDAY}'")
    lake.publish(*ALL)
    (done,) = place.publish(lake)
    assert done.left_out == 0
    assert_same(place, lake)


@pytest.mark.fault(
    of="serving",
    injected="paths of 50,000 and session ids of 3,000 random characters, too long for an index",
    holds="the path is published (its index holds an MD5); the session is left out, and the publish says so",
)
def test_keys_too_long_for_an_index_do_not_stop_the_rest(place: Place, lake: SmallLake) -> None:
    chance = random.Random(1)
    long = "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(50_000))
    lake.replace(PATHS, [path(long), path(long[:-1])])
    lake.replace(SESSIONS, [session("a"), session(long[:3000])])
    lake.publish(*ALL)
    left_out = {change.table: change.left_out for change in place.publish(lake)}
    assert left_out == {SESSIONS: 1, PATHS: 0, TIERS: 0}
    assert_same(place, lake, PATHS)
    assert [row["session_id"] for row in place.rows("select session_id from {}.sessions")] == ["a"]


# --- what goes wrong ----------------------------------------------------------------------------------------------


def _die(place: Place, times: int) -> None:
    """The server ends the connection of whoever notes a version, so many times; a sequence knows no rollback."""
    place.do(
        "create sequence {}.deaths; create function {}.die() returns trigger language plpgsql as $$ begin "
        f"if nextval('{{}}.deaths') <= {times} then perform pg_terminate_backend(pg_backend_pid()); end if; "
        "return new; end $$; create trigger die before insert on {}.published for each row execute function {}.die()"
    )


@pytest.mark.fault(
    of="serving",
    injected="PostgreSQL ends the connection twice, at the last statements of the publish",
    holds="the publish is tried again and ends with every table of the new state",
)
def test_a_lost_connection_is_tried_again(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    _die(place, 2)
    lake.replace(SESSIONS, [session("a", events=5)])
    lake.publish(*ALL)
    assert by_table(place.publish(lake)) == {SESSIONS: (1, 1, 2)}
    assert_same(place, lake)


@pytest.mark.fault(
    of="serving",
    injected="PostgreSQL ends every connection of the publish",
    holds="after five attempts it stops with one line; readers have the old state of every table, whole",
)
def test_a_connection_that_is_always_lost_leaves_the_old_state(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    before = {table: in_postgres(place, table) for table in ALL}
    _die(place, 1000)
    lake.replace(SESSIONS, [session("new")])
    lake.replace(PATHS, [path("/new")])
    lake.publish(*ALL)
    with pytest.raises(InfrastructureError) as caught:
        place.publish(lake)
    assert "\n" not in str(caught.value)
    assert {table: in_postgres(place, table) for table in ALL} == before
    assert {row["run_id"] for row in place.rows("select run_id from {}.published")} == {"run-1"}
    assert place.rows("select last_value from {}.deaths") == [{"last_value": 5}]


@pytest.mark.fault(
    of="serving",
    injected="the PostgreSQL server is stopped, and comes back while a publish tries",
    holds="the publish waits and ends well",
)
def test_a_server_that_restarts_is_waited_for(place: Place, lake: SmallLake, server: Server) -> None:
    url = server.url
    server.stop()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(publish, lake.root, url, place.schema, tell=lambda _: None, seconds_before_retry=0.5)
        time.sleep(0.5)
        server.start()
        assert len(working.result()) == 3
    assert_same(place, lake)


def test_a_server_that_is_not_there_is_told_in_one_line(lake: SmallLake) -> None:
    told: list[str] = []
    with pytest.raises(InfrastructureError, match=r"^PostgreSQL: connection failed: .*127\.0\.0\.1.*"):
        publish(lake.root, "postgresql://nobody@127.0.0.1:1/x", "p", tell=told.append, seconds_before_retry=0)
    assert len(told) == 4


@pytest.mark.parametrize("wrong", ["password", "database"])
def test_who_is_refused_is_not_tried_again(place: Place, lake: SmallLake, wrong: str) -> None:
    url = place.server.url
    url = {"password": url.replace("@", "x@"), "database": url.removesuffix("postgres") + "none"}[wrong]
    told: list[str] = []
    with pytest.raises(ConfigurationError) as caught:
        publish(lake.root, url, place.schema, tell=told.append)
    assert told == []
    assert "\n" not in str(caught.value)


def test_what_is_no_url_is_not_repeated_for_it_may_hold_a_password(lake: SmallLake) -> None:
    with pytest.raises(ConfigurationError, match="--postgres: expected a URL") as caught:
        publish(lake.root, "secret word", "p")
    assert "secret" not in str(caught.value)


def test_two_publishes_at_once_follow_each_other(place: Place, lake: SmallLake) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: place.publish(lake), range(4)))
    assert sorted(len(one) for one in done) == [0, 0, 0, 3]
    assert_same(place, lake)


def test_a_reader_sees_no_half_of_a_publish(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    seen: set[tuple[int, int]] = set()
    stop = threading.Event()

    def look() -> None:
        with psycopg.connect(place.server.url) as con:
            con.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not stop.is_set():
                row = con.execute(
                    f"select (select max(event_count) from {place.schema}.sessions), "
                    f"(select max(sessions) from {place.schema}.flow_patterns_daily)".encode()
                ).fetchone()
                con.commit()
                assert row is not None
                seen.add((row[0], row[1]))

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for state in range(10, 16):
            lake.replace(SESSIONS, [session("a", events=state)])
            lake.replace(PATHS, [path("/a", sessions=state)])
            lake.publish(*ALL)
            place.publish(lake)
        stop.set()
        looking.result()
    assert (15, 15) in seen or len(seen) > 1
    assert seen <= {(2, 5), *((state, state) for state in range(10, 16))}


# --- what stands there already ------------------------------------------------------------------------------------


def test_another_lake_takes_the_place_only_when_told_to(place: Place, lake: SmallLake, tmp_path: Path) -> None:
    place.publish(lake)
    other = SmallLake(tmp_path / "other")
    other.replace(SESSIONS, [session("elsewhere")])
    other.publish(SESSIONS)
    with pytest.raises(ConfigurationError, match="another lake: publish with --whole"):
        place.publish(other)
    assert_same(place, lake)
    place.publish(other, whole=True)
    assert_same(place, other, SESSIONS)


def test_a_table_that_is_not_from_here_is_left_alone(place: Place, lake: SmallLake) -> None:
    place.do("create schema {}; create table {}.sessions (mine text); insert into {}.sessions values ('precious')")
    with pytest.raises(ConfigurationError, match="not published from here: choose another with --schema"):
        place.publish(lake)
    assert place.rows("select * from {}.sessions") == [{"mine": "precious"}]


def test_a_writer_needs_only_a_schema_of_its_own_and_readers_keep_their_right(place: Place, lake: SmallLake) -> None:
    place.do(
        "create role {}_writer login password 'w'; create role {}_reader login password 'r'; "
        "create schema {} authorization {}_writer; grant usage on schema {} to {}_reader; "
        "alter default privileges for role {}_writer in schema {} grant select on tables to {}_reader"
    )
    password = place.server.url.split(":")[2].split("@")[0]
    as_writer = place.server.url.replace(f"postgres:{password}", f"{place.schema}_writer:w")
    as_reader = place.server.url.replace(f"postgres:{password}", f"{place.schema}_reader:r")
    for _ in range(2):
        publish(lake.root, as_writer, place.schema)
        with psycopg.connect(as_reader) as con:
            assert con.execute(f"select count(*) from {place.schema}.sessions".encode()).fetchone() == (3,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                con.execute(f"delete from {place.schema}.sessions".encode())
        _as_of_an_older_contract(place)  # the second time the table is made anew


def _as_of_an_older_contract(place: Place) -> None:
    place.do(
        "alter table {}.sessions drop column region; update {}.published set shape = 'older' "
        "where table_name = 'silver.sessions'"
    )


def test_a_table_of_an_older_shape_is_made_anew(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    _as_of_an_older_contract(place)
    assert by_table(place.publish(lake)) == {SESSIONS: (3, 3, 0)}
    assert_same(place, lake)


def test_a_view_that_keeps_an_older_shape_is_named(place: Place, lake: SmallLake) -> None:
    place.publish(lake)
    _as_of_an_older_contract(place)
    place.do("create view {}.report as select count(*) from {}.sessions")
    with pytest.raises(ConfigurationError, match=r"view \S+report depends on table .*: drop it, publish"):
        place.publish(lake)
    assert place.rows("select * from {}.report") == [{"count": 3}]


def test_the_shape_tells_columns_keys_and_types_apart_and_ignores_words() -> None:
    declared = load_contracts()[SESSIONS]
    shape = Table("x", declared).shape
    first, *others = declared.columns
    reworded = declared.model_copy(update={"columns": (first.model_copy(update={"description": "New."}), *others)})
    optional = declared.model_copy(update={"columns": (first.model_copy(update={"required": False}), *others)})
    assert Table("x", reworded).shape == shape
    assert Table("x", optional).shape != shape
    assert Table("x", declared.model_copy(update={"key": ("session_id",)})).shape != shape


# --- the command --------------------------------------------------------------------------------------------------


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "jobs/publish.py", *arguments],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_takes_the_url_from_the_environment(place: Place, lake: SmallLake) -> None:
    done = _run("--lakehouse", lake.root, "--schema", place.schema, PIPELINE_POSTGRES_URL=place.server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "silver.sessions: 3 rows sent, 3 written, 0 removed" in done.stdout
    assert_same(place, lake)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--env", "nowhere"], "error: --env: expected one of"),
        ([], "error: no PostgreSQL to publish to: give --postgres URL"),
        (["--postgres", "x", "--schema", "Bad Name"], "error: --postgres, --schema: schema_name:"),
    ],
)
def test_a_mistake_in_the_call_is_one_line(arguments: list[str], says: str) -> None:
    done = _run(*arguments, PIPELINE_POSTGRES_URL="")
    assert done.returncode == 2
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1
