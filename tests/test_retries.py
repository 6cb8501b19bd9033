"""A step that fails for what may pass is tried again, with bounds; anything else is told at once."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from pipelines import cli
from pipelines.errors import ConfigurationError, DataRefusedError, InfrastructureError
from pipelines.progress import Progress
from pipelines.run import Run
from tests.arrivals import CONTEXT
from tests.test_lake import REQUEST, lake_at

PAUSE = 0.02
"""Seconds before the first retry, in place of a second."""


def run_at(root: Path) -> Run:
    log = Progress("test-run", human=False, log_file=root / "log.jsonl")
    return Run(lake_at(root), CONTEXT, log, "test-run", seconds_before_retry=PAUSE)


@pytest.mark.fault(
    of="concurrency",
    injected="another writer deletes the rows that a commit is about to delete",
    holds="the conflict is retried on the new state and the commit goes through",
)
def test_a_conflict_with_a_concurrent_writer_is_retried_on_the_new_state(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    lake = run.lake
    lake.append_rows("ops.requests", [REQUEST | {"batch_id": number} for number in (1, 2)], 2)
    conflicts: list[CommitFailedError] = []

    def work() -> None:
        table = DeltaTable(lake.path("ops.requests"))
        if not conflicts:
            lake.delete("ops.requests", "batch_id = 1")  # somebody else is faster
        try:
            table.delete("batch_id <= 2")
        except CommitFailedError as conflict:
            conflicts.append(conflict)
            raise

    run.attempt("ops.requests", work)
    assert len(conflicts) == 1
    assert lake.rows("ops.requests") == []


@pytest.mark.fault(
    of="concurrency",
    injected="a connection that fails every time",
    holds="four tries, each pause longer than twice the last one's least; each is logged; then the failure itself",
)
def test_what_may_pass_is_tried_three_times_more_with_growing_pauses(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    at = []

    def work() -> None:
        at.append(time.monotonic())
        raise ConnectionError("connection reset by peer\nand more lines")

    with pytest.raises(ConnectionError):
        run.attempt("bronze.events", work)
    pauses = [after - before for before, after in pairwise(at)]
    assert len(at) == 4
    assert all(pause >= PAUSE * 2**number for number, pause in enumerate(pauses))
    told = (tmp_path / "log.jsonl").read_text().splitlines()
    assert len(told) == 3
    assert all('"step_retried"' in line and '"connection reset by peer"' in line for line in told)


def test_what_passes_in_time_leaves_no_failure(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    tries = []

    def work() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise TimeoutError("operation timed out")

    run.spare_others(work, "landing")
    assert (len(tries), run.failures) == (4, [])


@pytest.mark.fault(
    of="concurrency",
    injected="a failure that trying again cannot mend",
    holds="it is not tried again",
)
@pytest.mark.parametrize(
    "failure",
    [
        ConfigurationError("no such source"),
        DataRefusedError("a check does not hold"),
        InfrastructureError("the lake is in use"),
        PermissionError("permission denied"),
        ValueError("a bug"),
    ],
)
def test_what_does_not_pass_is_not_tried_again(tmp_path: Path, failure: Exception) -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        raise failure

    with pytest.raises(type(failure), match=re.escape(str(failure))):
        run_at(tmp_path).attempt("step", work)
    assert len(tries) == 1


@pytest.mark.fault(
    of="concurrency",
    injected="a connection that fails every time, in a job",
    holds="after the retries the job ends with exit code 3 and one line; the stack trace is in the run's log only",
)
def test_what_does_not_pass_in_time_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ConnectionError("connection reset by peer\nand more lines")

    def work(run: Run) -> None:
        run.seconds_before_retry = PAUSE
        run.attempt("bronze.events", fail)

    parsed = cli.parser("test").parse_args(["--lakehouse", str(tmp_path), "--json"])
    told: list[str] = []
    assert cli.main("test", parsed, work, out=told.append) == 3
    assert json.loads(told[-1])["error"] == "ConnectionError: connection reset by peer"
    assert "Traceback" not in "".join(capsys.readouterr())
    (log,) = (tmp_path / "logs").iterdir()
    assert log.read_text().count("Traceback") == 1
