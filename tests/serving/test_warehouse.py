"""The warehouse file, and every way to read the tables that docs/warehouse.md shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipelines.config import PROJECT
from pipelines.contracts import contract
from pipelines.errors import ConfigurationError
from pipelines.serving.warehouse import write
from tests.rows import day, utc
from tests.serving.small_lake import SmallLake

SESSIONS, STATS = "silver.sessions", "gold.journey_stats_daily"
SNIPPETS = re.findall(
    r"```python\n(.*?)```", (PROJECT / "docs" / "warehouse.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.fixture
def lake(tmp_path: Path) -> SmallLake:
    return _lake(tmp_path / "it's a lake")


def _lake(root: Path) -> SmallLake:
    made = SmallLake(root)
    made.replace(
        SESSIONS,
        [
            {"site_id": "shop", "session_id": "a", "session_date": day("2026-01-05"), "journey_path": ["/", "/b"]},
            {
                "site_id": "shop",
                "session_id": "b",
                "session_date": day("2026-01-06"),
                "start_time": utc("2026-01-06T01:00"),
            },
        ],
    )
    made.replace(STATS, [{"site_id": "shop", "date": day("2026-01-05"), "total_journeys": 1234}])
    made.publish(SESSIONS, STATS)
    return made


def test_a_fresh_process_reads_it_without_an_extension(lake: SmallLake, tmp_path: Path) -> None:
    target = tmp_path / "warehouse.duckdb"
    assert write(lake.root, target) == 3
    script = (
        "import duckdb, sys; con = duckdb.connect(sys.argv[1], read_only=True); "
        "con.execute('set autoinstall_known_extensions = false; set autoload_known_extensions = false'); "
        "print(con.execute('select session_id, session_date::varchar, journey_path from silver.sessions order by 1')"
        ".fetchall())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout == "[('a', '2026-01-05', ['/', '/b']), ('b', '2026-01-06', [])]\n"


def test_views_and_columns_are_described(lake: SmallLake, tmp_path: Path) -> None:
    write(lake.root, tmp_path / "w.duckdb")
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as con:
        (said,) = con.execute("select comment from duckdb_views() where view_name = 'sessions'").fetchall()
        declared = contract(SESSIONS)
        assert said == (f"{declared.description} Grain: {declared.grain}.",)
        columns = dict(
            con.execute("select column_name, comment from duckdb_columns() where table_name = 'sessions'").fetchall()
        )
        assert list(columns) == declared.column_names
        assert columns["duration_seconds"] == "From first to last event; null for one event. [s]"


def test_it_shows_what_was_published_and_not_what_came_later(lake: SmallLake, tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    write(lake.root, target)
    lake.replace(STATS, [])
    with duckdb.connect(str(target), read_only=True) as con:
        assert con.execute(f"select total_journeys from {STATS}").fetchall() == [(1234,)]
    write(lake.root, target)  # written, but not published
    with duckdb.connect(str(target), read_only=True) as con:
        assert con.execute(f"select total_journeys from {STATS}").fetchall() == [(1234,)]
    lake.publish(SESSIONS, STATS)
    write(lake.root, target)
    with duckdb.connect(str(target), read_only=True) as con:
        assert con.execute(f"select total_journeys from {STATS}").fetchall() == []


def test_who_has_it_open_is_not_disturbed_by_the_next_one(lake: SmallLake, tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    write(lake.root, target)
    with duckdb.connect(str(target), read_only=True) as con:
        write(lake.root, target)
        assert con.execute(f"select count(*) from {SESSIONS}").fetchall() == [(2,)]


@pytest.mark.fault(
    of="serving",
    injected="a published table is missing while the warehouse is made",
    holds="the old warehouse stays, byte for byte, and nothing beside it",
)
def test_a_failure_leaves_the_old_one_and_nothing_beside_it(lake: SmallLake, tmp_path: Path) -> None:
    target = tmp_path / "out" / "w.duckdb"
    write(lake.root, target)
    before = target.read_bytes()
    lake.lake.append_rows(
        "ops.published",
        [{"table_name": "gold.gone", "version": 1, "batch_id": 1, "run_id": "r", "published_at": utc("2026-01-01")}],
    )
    with pytest.raises(ConfigurationError, match=r"gold\.gone is published but is not there"):
        write(lake.root, target)
    assert target.read_bytes() == before
    assert [file.name for file in target.parent.iterdir()] == ["w.duckdb"]


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if "spark" not in s])
def test_every_way_to_read_that_is_documented_gives_the_published_numbers(tmp_path: Path, snippet: str) -> None:
    lake = _lake(tmp_path / ".lake")
    write(lake.root, tmp_path / ".lake" / "warehouse.duckdb")
    lake.replace(STATS, [])  # newer than what is published
    done = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1234" in done.stdout.replace(",", "").replace("_", "")


def test_the_documented_ways_are_there() -> None:
    text = "\n".join(SNIPPETS)
    assert len(SNIPPETS) == 5
    for engine in ("import duckdb", "import polars", "to_pandas", "spark.read"):
        assert engine in text


def test_the_command_tells_a_mistake_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "jobs/warehouse.py", "--lakehouse", str(tmp_path)], cwd=PROJECT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: nothing is published at {tmp_path}: run the pipeline first (make run-local)\n"
    assert list(tmp_path.iterdir()) == []
