"""Tables kept beside silver.events, of which they are functions: a batch makes some of their rows anew.

They are written right after silver.events; where a run died between the two they are made anew as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts import contract
from pipelines.lake import Lake, Staged
from pipelines.quality import gate
from pipelines.run import Run


@dataclass(frozen=True)
class Part:
    """All rows of a table that are of `owners`, a frame of some of its columns. `removes`: stored rows of theirs go."""

    rows: Staged
    owners: DataFrame
    removes: bool


def part(run: Run, table: str, rows: DataFrame, owners: DataFrame) -> Part:
    """The rows of `owners` as they are to be, computed and judged."""
    made = staged(run, table, rows)
    mine = run.lake.read(table).join(F.broadcast(owners), on=owners.columns, how="left_semi")
    gone = mine.join(made.frame, on=list(contract(table).key), how="left_anti")
    return Part(made, owners, not gone.isEmpty())


def staged(run: Run, table: str, rows: DataFrame) -> Staged:
    """Rows computed, and judged by the contract."""
    checks = contract(table).row_checks()
    made = run.lake.stage(table, rows, gate.violations(checks))
    if made.rows:
        judged = gate.row_rules(checks, made.measured, made.rows, expected=True)
        run.judge("bronze→silver", table, judged, made.rows)
    return made


def write(lake: Lake, table: str, changed: Part | None, batch: int) -> None:
    """Bring the table to the batch, once silver.events is there."""
    if changed is None:
        lake.mark(table, batch)
    elif changed.removes:
        others = lake.read(table).join(changed.owners, on=changed.owners.columns, how="left_anti")
        # Spark 4.2 fails on a checkpoint of a union with a checkpoint ("key not found"), not with its distinct rows.
        rows = others.unionByName(changed.rows.frame.distinct())
        lake.overwrite(table, lake.stage(table, rows), batch, {})
    else:
        lake.upsert(table, changed.rows, batch, {})


def catch_up(run: Run, table: str, everything: Callable[[Run, DataFrame], Staged]) -> None:
    """Make the table anew where it does not reflect silver.events."""
    lake = run.lake
    if lake.touched_since("silver.events", lake.batch(table), "event_date"):
        with run.progress.step(table) as note, lake.expecting(lake.count("silver.events")):
            made = everything(run, lake.read("silver.events"))
            lake.overwrite(table, made, lake.batch("silver.events"), {})
            note.words = f"{made.rows:,} rows, made anew"
