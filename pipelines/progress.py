"""What a run says while it works: steps for a person, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any


@dataclass
class StepNote:
    """Filled in by a step while it runs; shown and logged at its end."""

    words: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


class Progress:
    """Reports steps; `seconds` holds the wall time of each, `log` lines go to `log_file` if given."""

    def __init__(self, run_id: str, *, human: bool, machine: bool = False, log_file: Path | None = None) -> None:
        self.run_id = run_id
        self.seconds: dict[str, float] = {}
        self._human = human
        self._machine = machine
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        if log_file is not None:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            self._file = log_file.open("a", encoding="utf-8")

    @contextmanager
    def step(self, name: str) -> Iterator[StepNote]:
        """Time a step; its note is shown when it ends, its failure is logged."""
        started = time.monotonic()
        note = StepNote()
        self.log("step_started", step=name)
        try:
            yield note
        except BaseException as error:
            self.log("step_failed", step=name, error=str(error).splitlines()[0] if str(error) else type(error).__name__)
            self._show(f"  ✗ {name}")
            raise
        took = time.monotonic() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + took
        self.log("step_finished", step=name, execution_time_s=round(took, 3), **note.fields)
        self._show(f"  ✓ {name:<30} {took:5.1f} s  {note.words}".rstrip())

    def say(self, words: str) -> None:
        """A line for a person."""
        self._show(words)

    def log(self, event: str, **fields: Any) -> None:
        """A line for machines: to the run's log file, and to stderr where nobody watches."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "run_id": self.run_id, "event": event, **fields}, default=str, ensure_ascii=False)
        with self._lock:
            if self._file is not None:
                self._file.write(line + "\n")
                self._file.flush()
            if self._machine:
                print(line, file=sys.stderr, flush=True)

    def remove_log(self) -> None:
        """Leave no log file, of a run that found nothing."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink()
            self._file = None

    def _show(self, words: str) -> None:
        if self._human:
            with self._lock:
                print(words, file=sys.stderr, flush=True)
