"""Run a job as a process of its own and say what it cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of a process and everything that it started."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    summary: dict[str, Any]


def run_job(job: str, arguments: Sequence[str], *, environment: dict[str, str] | None = None) -> Cost:
    """Run `jobs/<job>.py --json`; raises RuntimeError with what it printed if it does not end well."""
    command = [sys.executable, str(_ROOT / "jobs" / f"{job}.py"), *arguments, "--json"]
    return run_command(command, environment=environment)


def run_command(command: Sequence[str], *, environment: dict[str, str] | None = None) -> Cost:
    """Run a command to its end; its summary is the last line on stdout, a JSON object, or empty where there is none.

    Raises RuntimeError with what it printed if it does not end well.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    watch = _Watch(process.pid)
    out, err = process.communicate()
    wall = time.monotonic() - started
    cpu, memory = watch.end()
    if process.returncode != 0:
        said = err.decode() + out.decode()
        raise RuntimeError(f"{' '.join(command[1:3])} ended with {process.returncode}: {said[-2000:]}")
    lines = out.decode().strip().splitlines()
    return Cost(wall, cpu, memory, json.loads(lines[-1]) if lines else {})


class _Watch:
    """Processor time and memory of a session's processes, read from /proc ten times a second."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._cpu: dict[int, int] = {}
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def end(self) -> tuple[float, int]:
        self._ended.set()
        self._thread.join()
        return sum(self._cpu.values()) / _TICKS, self._peak

    def _follow(self) -> None:
        while not self._ended.is_set():
            self._look()
            self._ended.wait(0.1)

    def _look(self) -> None:
        found: dict[int, tuple[int, int, int]] = {}  # parent, size of the address space, resident bytes
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            try:
                text = Path(entry.path, "stat").read_text(encoding="utf-8")
            except OSError:
                continue  # it has ended
            fields = text.rsplit(")", 1)[1].split()
            if int(fields[3]) == self._session:
                self._cpu[int(entry.name)] = int(fields[11]) + int(fields[12])
                resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
                found[int(entry.name)] = int(fields[1]), int(fields[20]), resident
        # A child that has not started its program yet is its parent's memory under another number; Spark starts many.
        own = [
            resident
            for parent, size, resident in found.values()
            if parent not in found or abs(found[parent][1] - size) > size / 100
        ]
        self._peak = max(self._peak, sum(own))
