"""Publishing to PostgreSQL, on a real server: what arrives, and that only what changed travels."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from pipelines.config import PROJECT
from pipelines.contracts import load_contracts
from pipelines.serving.postgres_tables import Table
from tests.rows import utc
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
    path,
    session,
)
from tests.serving.small_lake import SmallLake


@pytest.fixture
def lake(tmp_path: Path) -> SmallLake:
    return filled(tmp_path / "a lake")


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
