"""Publishing to PostgreSQL, on a real server: what it would refuse, what goes wrong, and what stands there already."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from pipelines.contracts import load_contracts
from pipelines.errors import ConfigurationError, InfrastructureError
from pipelines.serving.postgres import publish
from pipelines.serving.postgres_tables import Table
from tests.serving.postgres_place import (
    ALL,
    MONDAY,
    PATHS,
    SESSIONS,
    TIERS,
    TUESDAY,
    Place,
    assert_same,
    by_table,
    filled,
    in_postgres,
    path,
    session,
)
from tests.serving.small_lake import SmallLake


@pytest.fixture
def lake(tmp_path: Path) -> SmallLake:
    return filled(tmp_path / "a lake")


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
def test_a_server_that_restarts_is_waited_for(place: Place, lake: SmallLake) -> None:
    server, url = place.server, place.server.url
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
