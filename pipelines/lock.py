"""One run at a time on a lake."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pipelines.errors import InfrastructureError


@contextmanager
def alone(root: str, who: str, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lake for one run; raises InfrastructureError naming the holder where another keeps it for longer.

    The operating system gives the lock back when its holder dies, however it dies. Only a local lake is guarded:
    an object store has no such lock.
    """
    if "://" in root:
        yield
        return
    path = Path(root, ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait_seconds
    with path.open("a+", encoding="utf-8") as file:
        while not _locked(file):
            if time.monotonic() >= until:
                file.seek(0)
                holder = file.read().strip() or "another run"
                raise InfrastructureError(f"{root} is in use by {holder}: wait for it to end, or use --wait")
            time.sleep(min(0.2, max(0.0, until - time.monotonic())))
        file.truncate(0)
        file.write(f"{who}, process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        file.flush()
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
