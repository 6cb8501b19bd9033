"""silver.aliases beside silver.events: which of its rows change, and which stored events have another visitor then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.lake_frames import Staged
from pipelines.run import Run
from pipelines.silver import aliases
from pipelines.silver import events as silver_events
from pipelines.steps import beside

_TABLE = "silver.aliases"


@dataclass(frozen=True)
class Aliases:
    """What a batch changes.

    `inserts`: the events that come, with the visitors that they have from now on, and the stored ones whose visitor
    changes, as if they came again in their own place; `days`: local dates of these. `changed`: rows of silver.aliases.
    """

    inserts: DataFrame
    days: tuple[date, ...] = ()
    changed: beside.Part | None = None


def catch_up(run: Run) -> None:
    """Make silver.aliases anew where it does not reflect silver.events."""
    if aliases.are_wanted(run.context):
        beside.catch_up(run, _TABLE, everything)
    elif run.lake.log("silver.events") is not None:
        run.lake.create(_TABLE)


def everything(run: Run, events: DataFrame) -> Staged:
    """The whole table from all events."""
    return beside.staged(run, _TABLE, aliases.build(events, events, context=run.context))


def changes(run: Run, inserts: DataFrame, stored: DataFrame) -> Aliases:
    """What events that come change, given the stored ones; nothing, and no work, where no site names a parameter.

    The stored table tells whether any visitor must be looked at. Only then all their stored events are looked at,
    wherever they are, by few columns; addresses are read around their landings, and rows whole only of those that move.
    """
    lake, context = run.lake, run.context
    if not aliases.are_wanted(context):
        return Aliases(inserts)
    inserts = inserts.select(*silver_events.OWN_COLUMNS, "_old")
    before = lake.read(_TABLE)
    visitors, found, _ = lake.checkpoint(aliases.concerned(inserts, before, context=context))
    mine = inserts.select("site_id", aliases.own_visitor().alias("visitor_id")).distinct()
    of_batch = before.join(F.broadcast(mine), on=aliases.VISITOR, how="left_semi")
    if not found:
        return Aliases(lake.checkpoint(aliases.apply(inserts, of_batch))[0])
    replaced = silver_events.stored_keys(inserts)
    owners = visitors.withColumnRenamed("visitor_id", "_own")
    few = [name for name in aliases.SEEN if name != "page_url"]
    columns = [*few, "event_utc_date", "event_date", "visitor_id"]
    coming, history = (
        events.select(*columns)
        .withColumn("_own", aliases.own_visitor())
        .join(F.broadcast(owners), on=owners.columns, how="left_semi")
        .drop("_own")
        for events in (inserts, stored)
    )
    history, _, _ = lake.checkpoint(history.join(replaced, on=silver_events.KEY, how="left_anti"))
    first, _, landed = lake.checkpoint(
        aliases.first_views(history.unionByName(coming)), F.collect_set("event_date").alias("days")
    )
    seen = [*aliases.SEEN, "event_utc_date"]
    near = (
        silver_events.near(landed["days"], stored, context=context)
        .select(*seen)
        .join(replaced, on=silver_events.KEY, how="left_anti")
        .unionByName(inserts.select(*seen))
    )
    landings = near.join(F.broadcast(first.drop("event_date")), on=silver_events.KEY, how="left_semi")
    changed = beside.part(run, _TABLE, aliases.build(landings, near, context=context), visitors)
    renamed = aliases.apply(history.withColumn("_was", F.col("visitor_id")), changed.rows.frame)
    moving, moved, measured = lake.checkpoint(
        renamed.where("visitor_id <> _was").select(*silver_events.KEY, "event_date", "visitor_id"),
        F.collect_set("event_date").alias("days"),
    )
    now = of_batch.join(visitors, on=aliases.VISITOR, how="left_anti").unionByName(changed.rows.frame)
    named, _, _ = lake.checkpoint(aliases.apply(inserts, now))
    if moved:
        theirs = stored.where(F.col("event_date").isin(*measured["days"]))
        named = named.unionByName(lake.checkpoint(silver_events.renamed(theirs, moving))[0])
    return Aliases(named, tuple(sorted(measured["days"])), changed)


def write(run: Run, found: Aliases, batch: int) -> None:
    """Bring the table to the batch, once silver.events is there."""
    if aliases.are_wanted(run.context):
        beside.write(run.lake, _TABLE, found.changed, batch)


def write_all(run: Run, rows: Staged | None, batch: int) -> None:
    """Replace the table; None where no site names a parameter."""
    if rows is not None:
        run.lake.overwrite(_TABLE, rows, batch, {})
    elif run.lake.count(_TABLE):  # of a rule that is no more
        run.lake.overwrite(_TABLE, run.lake.read(_TABLE).limit(0), batch, {})
    else:
        run.lake.create(_TABLE)
