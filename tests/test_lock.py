"""One run at a time on a lake."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import InfrastructureError
from pipelines.lock import alone

PROJECT = Path(__file__).resolve().parent.parent
_HOLDER = """
import sys
from pipelines.lock import alone
with alone(sys.argv[1], "nightly run"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the lake until it is killed or gets a line."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.mark.fault(
    of="concurrency",
    injected="a run starts while another one, that lives, has the lake",
    holds="it stops with exit code 3 and one line that names the holder, its process and since when",
)
def test_the_lock_of_a_living_holder_refuses_and_names_it(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError) as refused, alone(str(tmp_path), "second run"):
        pass
    assert f"is in use by nightly run, process {holder.pid}, since 20" in str(refused.value)
    assert (len(str(refused.value).splitlines()), refused.value.exit_code) == (1, 3)


@pytest.mark.fault(
    of="concurrency",
    injected="the holder of the lake's lock is killed",
    holds="the lock is free at once; the file that it leaves stops nobody",
)
def test_the_lock_of_a_dead_holder_is_free(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    assert "nightly run" in (tmp_path / ".lock").read_text()
    with alone(str(tmp_path), "next run"):
        assert "next run" in (tmp_path / ".lock").read_text()


def test_a_run_that_may_wait_starts_when_the_holder_ends(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert holder.stdin is not None
    holder.stdin.write(b"go\n")
    holder.stdin.flush()
    started = time.monotonic()
    with alone(str(tmp_path), "next run", wait_seconds=60):
        assert time.monotonic() - started < 60
