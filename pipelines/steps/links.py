"""silver.identities beside silver.events: which of its rows change, and which stored events change hands by that.

It is written right after silver.events, of which it is a function; where a run died between the two it is made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts import contract
from pipelines.lake import Staged
from pipelines.quality import gate
from pipelines.run import Run
from pipelines.silver import events as silver_events
from pipelines.silver import identities

_TABLE = "silver.identities"

# Up to as many rows are sent to where the events are, instead of the events to them.
FEW = 500_000


@dataclass(frozen=True)
class Links:
    """What a batch changes.

    `now`: the rows of silver.identities for the devices of the batch, as they are to be. `rows`: those of devices of
    which some change, None where none does; `removes`: besides, rows of these `devices` go. `persons`: stored events
    that belong to another person from now on (key, session_id, `_person`), None for none; `days`: their dates.
    """

    now: DataFrame
    rows: Staged | None = None
    removes: bool = False
    devices: DataFrame | None = None
    persons: DataFrame | None = None
    days: tuple[date, ...] = ()


def catch_up(run: Run) -> None:
    """Make silver.identities anew where it does not reflect silver.events."""
    lake = run.lake
    if lake.touched_since("silver.events", lake.batch(_TABLE), "event_date"):
        with run.progress.step(_TABLE) as note, lake.expecting(lake.count("silver.events")):
            staged = everything(run, lake.read("silver.events"))
            lake.overwrite(_TABLE, staged, lake.batch("silver.events"), {})
            note.words = f"{staged.rows:,} rows, made anew"


def everything(run: Run, events: DataFrame) -> Staged:
    """The whole table from all events."""
    return _staged(run, identities.build(events, context=run.context))


def changes(run: Run, inserts: DataFrame, stored: DataFrame) -> Links:
    """What events that come change, given the stored ones.

    The stored table tells whether anything does. Only then all stored events of these devices are looked at, wherever
    they are, by the few columns that matter; rows are read whole only of those that change hands.
    """
    lake, context = run.lake, run.context
    before = lake.read(_TABLE)
    concerned = inserts.select(*identities.DEVICE).where("anonymous_id is not null").distinct()
    of_batch = before.join(F.broadcast(concerned), on=identities.DEVICE, how="left_semi")
    devices, found, _ = lake.checkpoint(identities.changed_devices(inserts, of_batch))
    if not found:
        return Links(of_batch)
    columns = (*identities.SEEN, "event_utc_date", "event_date", "visitor_id", "session_id", "person_id")
    history, _, _ = lake.checkpoint(
        stored.select(*columns)
        .join(F.broadcast(devices), on=identities.DEVICE, how="left_semi")
        .join(silver_events.stored_keys(inserts), on=silver_events.KEY, how="left_anti")
    )
    coming = inserts.select(*identities.SEEN).join(devices, on=identities.DEVICE, how="left_semi")
    rows = _staged(run, identities.build(history.select(*identities.SEEN).unionByName(coming), context=context))
    linked = identities.link(history.withColumn("_was", F.col("person_id")), rows.frame)
    persons, moved, measured = lake.checkpoint(
        linked.where("person_id <> _was").withColumn("_person", F.col("person_id")),
        F.collect_set("event_date").alias("days"),
    )
    mine = before.join(F.broadcast(devices), on=identities.DEVICE, how="left_semi")
    gone = mine.join(rows.frame, on=list(contract(_TABLE).key), how="left_anti")
    now = of_batch.join(devices, on=identities.DEVICE, how="left_anti").unionByName(rows.frame)
    return Links(now, rows, not gone.isEmpty(), devices, persons if moved else None, tuple(sorted(measured["days"])))


def write(run: Run, links: Links, batch: int) -> None:
    """Bring the table to the batch, once silver.events is there."""
    lake = run.lake
    if links.rows is None:
        lake.mark(_TABLE, batch, {})
    elif links.removes:
        assert links.devices is not None
        others = lake.read(_TABLE).join(links.devices, on=identities.DEVICE, how="left_anti")
        # Spark 4.2 fails on a checkpoint of a union with a checkpoint ("key not found"), not with its distinct rows.
        rows = others.unionByName(links.rows.frame.distinct())
        lake.overwrite(_TABLE, lake.stage(_TABLE, rows), batch, {})
    else:
        lake.upsert(_TABLE, links.rows, batch, {}, "true")


def _staged(run: Run, rows: DataFrame) -> Staged:
    """Rows computed, and judged by the contract."""
    checks = contract(_TABLE).row_checks()
    staged = run.lake.stage(_TABLE, rows, gate.violations(checks))
    if staged.rows:
        judged = gate.row_rules(checks, staged.measured, staged.rows, expected=True)
        run.judge("bronze→silver", _TABLE, judged, staged.rows)
    return staged
