"""silver.identities beside silver.events: which of its rows change, and which stored events change hands by that."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.lake_frames import Staged
from pipelines.run import Run
from pipelines.silver import events as silver_events
from pipelines.silver import identities
from pipelines.steps import beside

_TABLE = "silver.identities"


@dataclass(frozen=True)
class Links:
    """What a batch changes.

    `now`: the rows of silver.identities for the devices of the batch, as they are to be. `changed`: those of devices of
    which some change, None where none does. `persons`: stored events that belong to another person from now on (key,
    session_id, dates by which tables are sliced, `_person`), None for none; `moved`: how many.
    """

    now: DataFrame
    changed: beside.Part | None = None
    persons: DataFrame | None = None
    moved: int = 0


def catch_up(run: Run) -> None:
    """Make silver.identities anew where it does not reflect silver.events."""
    beside.catch_up(run, _TABLE, everything)


def everything(run: Run, events: DataFrame) -> Staged:
    """The whole table from all events."""
    return beside.staged(run, _TABLE, identities.build(events, context=run.context))


def changes(run: Run, inserts: DataFrame, stored: DataFrame) -> Links:
    """What events that come change, given the stored ones.

    The stored table tells whether anything does. Only then all stored events of these devices are looked at, wherever
    they are, by the few columns that matter; rows are read whole only of those that change hands.
    """
    lake, context = run.lake, run.context
    before = lake.read(_TABLE)
    concerned = identities.of_devices(inserts).select(*identities.DEVICE).distinct()
    of_batch = before.join(F.broadcast(concerned), on=identities.DEVICE, how="left_semi")
    devices, found, _ = lake.checkpoint(identities.changed_devices(inserts, of_batch))
    if not found:
        return Links(of_batch)
    columns = (*identities.SEEN, "event_utc_date", *silver_events.SLICE_COLUMNS, "session_id", "person_id")
    history, _, _ = lake.checkpoint(
        identities.of_devices(stored.select(*columns))
        .join(F.broadcast(devices), on=identities.DEVICE, how="left_semi")
        .join(silver_events.stored_keys(inserts), on=silver_events.KEY, how="left_anti")
    )
    coming = identities.of_devices(inserts.select(*identities.SEEN)).join(
        devices, on=identities.DEVICE, how="left_semi"
    )
    seen = history.select(*identities.SEEN).unionByName(coming)
    changed = beside.part(run, _TABLE, identities.build(seen, context=context), devices)
    linked = identities.link(history.withColumn("_was", F.col("person_id")), changed.rows.frame)
    persons, moved, _ = lake.checkpoint(linked.where("person_id <> _was").withColumn("_person", F.col("person_id")))
    now = of_batch.join(devices, on=identities.DEVICE, how="left_anti").unionByName(changed.rows.frame)
    return Links(now, changed, persons if moved else None, moved)


def write(run: Run, links: Links, batch: int) -> None:
    """Bring the table to the batch, once silver.events is there."""
    beside.write(run.lake, _TABLE, links.changed, batch)
