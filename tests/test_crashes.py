"""Jobs killed by `kill -9` from outside go on where they stopped: nothing is lost, nothing comes twice."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from shutil import copy2

import pytest

from data.generate import write_events
from tests import killing
from tests.killing import Kill, Kind

FIRST_LOAD: tuple[tuple[str, Kind], ...] = (
    ("bronze.events", "inside"),
    ("bronze.events", "commit"),  # the records are there, the index of files does not know them
    ("silver.sessions", "commit"),
)
INCREMENT: tuple[tuple[str, Kind], ...] = (
    ("silver.events", "inside"),
    ("gold.active_users_daily", "commit"),
)


@pytest.mark.slow
@pytest.mark.fault(
    of="crashes",
    injected="`kill -9` inside writes and right after commits, in a first load and an increment, run after run",
    holds="each run goes on where the last died; every table equals a lake that was never killed, the books balance",
)
def test_a_chain_of_kills_inside_writes_and_at_commits_costs_only_the_work_that_is_left(tmp_path: Path) -> None:
    files = sorted(write_events(tmp_path / "made", start=date(2026, 1, 5), days=3, users=40, seed=3).files)
    landing = tmp_path / "landing"
    landing.mkdir()
    lake, reference = tmp_path / "lake", tmp_path / "reference"

    kills: list[Kill] = []
    for arrived, points in ((files[:-1], FIRST_LOAD), (files, INCREMENT)):
        for file in arrived:
            copy2(file, landing)
        kills += [killing.kill_at(lake, landing, table, kind) for table, kind in points]
    print(*kills, sep="\n")
    assert [kill for kill in kills if kill.found is None] == []  # each rerun came as far as its point

    last = killing.finish(lake, landing)
    killing.finish(reference, landing)
    assert killing.differing(lake, reference) == []
    assert killing.unbalanced(lake) == []
    assert "bronze.events" not in last["changed_tables"]  # what was done was not done again
    assert killing.finish(lake, landing)["status"] == "nothing_new"
