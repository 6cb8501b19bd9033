"""Tables kept beside silver.events, of which they are functions: a batch makes some of their rows anew.

They are written right after silver.events; where a run died between the two they are made anew as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts import contract
from pipelines.lake import Lake
from pipelines.lake_frames import Few, Staged
from pipelines.quality import gate
from pipelines.run import Run


@dataclass(frozen=True)
class Part:
    """All rows of a table that are of some owners, as they are to be, and the keys of stored rows of theirs that go."""

    rows: Staged
    gone: Few


def part(run: Run, table: str, rows: DataFrame, owners: DataFrame) -> Part:
    """The rows of `owners`, a frame of some of the table's columns, computed and judged."""
    made, key = staged(run, table, rows), list(contract(table).key)
    mine = run.lake.read(table).join(F.broadcast(owners), on=owners.columns, how="left_semi")
    gone, found, _ = run.lake.checkpoint(mine.join(made.frame, on=key, how="left_anti").select(*key))
    return Part(made, Few(gone, found))


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
    else:
        lake.upsert(table, changed.rows, batch, {}, removed=changed.gone)


def catch_up(run: Run, table: str, everything: Callable[[Run, DataFrame], Staged]) -> None:
    """Make the table anew where it does not reflect silver.events."""
    lake = run.lake
    if lake.touched_since("silver.events", lake.batch(table), "event_date"):
        with run.progress.step(table) as note, lake.expecting(lake.count("silver.events")):
            made = everything(run, lake.read("silver.events"))
            lake.overwrite(table, made, lake.batch("silver.events"), {})
            note.words = f"{made.rows:,} rows, made anew"
