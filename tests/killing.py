"""Jobs as processes of their own, killed from outside (SIGKILL) at a chosen write, at a commit, or at any moment.

The table's folder is watched. When what is waited for appears, the process group is stopped, what the folder holds is
looked at, and the group is killed as it stands: so it is known what the kill hit.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.lake import Lake
from pipelines.ops.books import Books
from pipelines.plan import SERVED
from tests.runs import content, no_session

PROJECT = Path(__file__).resolve().parent.parent
Kind = Literal["inside", "commit"]
KINDS: tuple[Kind, ...] = ("inside", "commit")
_COMMIT = re.compile(r"\d{20}\.json")
_LOOK_EVERY_SECONDS = 0.0005
_DEAD_AFTER_SECONDS = 30


@dataclass(frozen=True)
class Kill:
    """`inside`: the table had new data files that no commit names; `commit`: a new commit and no such file.

    `found` is what the folder held at the kill; null where the job ended before what was waited for came.
    """

    table: str
    wanted: Kind
    found: Kind | None


def start(lake: Path, landing: Path, source: str = "web") -> subprocess.Popen[bytes]:
    """jobs/run_pipeline.py, leader of a process group."""
    command = [sys.executable, "jobs/run_pipeline.py", "--source", source, "--input", str(landing)]
    environment = {
        **os.environ,
        "SPARK_SUBMIT_OPTS": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m",
        "PYTHONPATH": str(PROJECT),
    }
    return subprocess.Popen(
        [*command, "--lakehouse", str(lake), "--json"],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(lake: Path, landing: Path) -> dict[str, Any]:
    """A run to its end; its summary. Raises where it does not end well."""
    job = start(lake, landing)
    out, err = job.communicate()
    if job.returncode != 0:
        raise AssertionError(f"exit code {job.returncode}: {err.decode()[-2000:]} {out.decode()[-2000:]}")
    told: dict[str, Any] = json.loads(out)
    return told


def kill_at(lake: Path, landing: Path, table: str, wanted: Kind) -> Kill:
    """Run the job and kill it inside the next write to the table, or right after its next commit."""
    folder = lake / table.replace(".", "/")
    files, commits = set(_data_files(folder)), set(_commits(folder))
    job = start(lake, landing)
    while job.poll() is None:
        new_commits = set(_commits(folder)) - commits
        sign = new_commits if wanted == "commit" else set(_data_files(folder)) - files
        if sign:
            os.killpg(job.pid, signal.SIGSTOP)
            new_files = set(_data_files(folder)) - files
            found: Kind = "inside" if new_files - _named(folder) else "commit"
            _kill(job)
            return Kill(table, wanted, found)
        time.sleep(_LOOK_EVERY_SECONDS)
    _drain(job)
    return Kill(table, wanted, None)


def kill_after(lake: Path, landing: Path, seconds: float) -> bool:
    """Run the job and kill it after a time; whether it still ran."""
    job = start(lake, landing)
    try:
        job.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(job)
        return True
    _drain(job)
    return False


def differing(lake: Path, reference: Path) -> list[str]:
    """Which tables are not equal, row for row; bronze, dead letters and repeats by their records."""
    told = [table for table in SERVED if content(lake, table) != content(reference, table)]
    told += [
        table
        for table, columns in _RECORDS.items()
        if _records(lake, table, columns) != _records(reference, table, columns)
    ]
    return told


def unbalanced(lake: Path) -> list[str]:
    """Sources, and the whole, whose books do not balance or where something is left to do."""
    books = Books.of(Lake(str(lake), {}, no_session))
    terms = {**books.sources, "all sources": books.total}
    return [f"{name}: {term}" for name, term in terms.items() if term.missing or term.pending]


_RECORDS = {
    "bronze.events": "source, raw, origin, position",
    "ops.dead_letters": "source, raw, origin, position, reason",
    "ops.duplicates": "source, origin, position",
}


def _records(lake: Path, table: str, columns: str) -> list[dict[str, Any]]:
    return Lake(str(lake), {}, no_session).rows(table, f"select {columns} from t order by {columns}")


# --- looking ---------------------------------------------------------------------------------------------------------


def _data_files(folder: Path | str) -> Iterator[str]:
    """Every file of a table but its log's, also one that is still being written."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != "_delta_log":
                        yield from _data_files(entry.path)
                elif not entry.name.endswith(".crc"):
                    yield entry.path
    except FileNotFoundError:
        return


def _commits(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder / "_delta_log") as entries:
            yield from (entry.name for entry in entries if _COMMIT.fullmatch(entry.name))
    except FileNotFoundError:
        return


def _named(folder: Path) -> set[str]:
    """Data files that some commit has added."""
    lines = (line for name in _commits(folder) for line in (folder / "_delta_log" / name).read_text().splitlines())
    actions = (json.loads(line) for line in lines if line)
    return {str(folder / action["add"]["path"]) for action in actions if "add" in action}


# --- killing ---------------------------------------------------------------------------------------------------------


def _kill(job: subprocess.Popen[bytes]) -> None:
    os.killpg(job.pid, signal.SIGKILL)
    _drain(job)
    until = time.monotonic() + _DEAD_AFTER_SECONDS
    while _lives(job.pid):  # the JVM, too: what it still wrote would come after the kill
        assert time.monotonic() < until, f"process group {job.pid} does not die"
        time.sleep(0.01)


def _drain(job: subprocess.Popen[bytes]) -> None:
    job.communicate()


def _lives(group: int) -> bool:
    """Whether a process of the group is there that is not just waiting to be buried."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:
                continue
            state, _, found = stat.rpartition(")")[2].split()[:3]
            if int(found) == group and state not in "ZX":
                return True
    return False
