"""Requests: replays, releases and rebuilds, each a batch of its own in the one sequence of numbers.

A request is recorded first and carried out by the next step that brings silver up to date, so that a crash between the
two neither loses nor repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from pipelines.lake import Lake
from pipelines.run import Run

# Selection of a rebuild of everything; otherwise `first/last`.
ALL_DATES = "all dates"
Kind = Literal["replay", "release", "rebuild"]


@dataclass(frozen=True)
class Request:
    """`selection`: of a replay a predicate on ops.dead_letters, of a release the number of the held batch, of a rebuild
    its dates."""

    batch_id: int
    kind: Kind
    selection: str

    @property
    def dates(self) -> tuple[date, date] | None:
        """First and last date of a rebuild of a range."""
        if self.kind != "rebuild" or self.selection == ALL_DATES:
            return None
        first, last = self.selection.split("/")
        return date.fromisoformat(first), date.fromisoformat(last)


def add(run: Run, kind: Kind, selection: str) -> int:
    """Record a request; returns its batch number."""
    batch = run.lake.last_batch() + 1
    row = {
        "batch_id": batch,
        "kind": kind,
        "selection": selection,
        "requested_at": run.context.started_at,
        "run_id": run.run_id,
    }
    run.lake.append_rows("ops.requests", [row], batch)
    return batch


def since(lake: Lake, batch: int) -> tuple[Request, ...]:
    """Requests with a higher number, in order."""
    rows = lake.rows("ops.requests", f"select batch_id, kind, selection from t where batch_id > {batch} order by 1")
    return tuple(Request(row["batch_id"], row["kind"], row["selection"]) for row in rows)
