"""Runs that follow each other in one process (`--every`)."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from data.generate import write_events
from pipelines import cli, runner
from pipelines.errors import ConfigurationError, DataRefusedError, InfrastructureError, PipelineError
from pipelines.lake import Lake
from pipelines.plan import gold_for, served
from pipelines.run import Run
from pipelines.sources import load_source
from tests.runs import content, no_session


def arguments(lake: Path, *given: str) -> argparse.Namespace:
    parser = cli.parser("test")
    cli.add_every(parser)
    cli.add_tables(parser)
    shared = ["--lakehouse", str(lake), "--as-of", "2026-01-10", "--json", "--tables", "gold.active_users_daily"]
    return parser.parse_args([*shared, *given])


def end_after_this_run() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_each_run_takes_what_came_and_those_that_find_nothing_leave_no_trace(
    spark: SparkSession, tmp_path: Path
) -> None:
    landing, later = tmp_path / "landing", tmp_path / "later"
    for folder, first in ((landing, date(2026, 1, 5)), (later, date(2026, 1, 7))):
        write_events(folder, start=first, days=2, users=40, seed=first.day)
    told: list[str] = []
    seen: list[int] = []

    def run(run: Run) -> None:
        seen.append(run.lake.count("silver.events"))
        if len(seen) == 3:
            for path in later.iterdir():
                path.rename(landing / f"later-{path.name}")
            end_after_this_run()
        runner.bring_up_to_date(run, [(load_source("web"), str(landing))])

    assert cli.main("test", arguments(tmp_path / "lake", "--every", "0"), run, out=told.append) == 0

    assert 0 == seen[0] < seen[1] == seen[2]
    assert len(told) == 2
    lake = Lake(str(tmp_path / "lake"), {}, no_session)
    runs = lake.rows("ops.runs", "select run_id, status from t order by started_at")
    assert [row["status"] for row in runs] == ["succeeded", "succeeded"]
    logs = {path.stem for path in (tmp_path / "lake/logs").iterdir()}
    assert logs == {row["run_id"] for row in runs}

    assert cli.main("test", arguments(tmp_path / "once"), run, out=told.append) == 0
    for table in served(gold_for(["gold.active_users_daily"])):
        assert content(tmp_path / "lake", table) == content(tmp_path / "once", table), table


@pytest.mark.parametrize(
    ("ends", "code", "runs"),
    [
        ([ConfigurationError], 2, 1),
        ([InfrastructureError], 3, 1),
        ([None, ConfigurationError, DataRefusedError, InfrastructureError], 3, 4),
        ([DataRefusedError, None, end_after_this_run, InfrastructureError], 0, 3),
    ],
)
def test_a_mistake_in_the_call_ends_the_first_run_and_a_failure_of_the_machine_any(
    ends: list[type[PipelineError] | Callable[[], None] | None], code: int, runs: int, tmp_path: Path
) -> None:
    told: list[int] = []

    def run(run: Run) -> None:
        end = ends[len(told)]
        told.append(1)
        if isinstance(end, type):
            raise end("it ends")
        if end is not None:
            end()

    before = signal.getsignal(signal.SIGTERM)
    assert cli.main("test", arguments(tmp_path, "--every", "0"), run, out=lambda _: None) == code
    assert len(told) == runs
    assert signal.getsignal(signal.SIGTERM) is before
