"""silver.events: write it whole, or insert into it and repair exactly the sessions that this touches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.errors import ConfigurationError
from pipelines.lake_frames import Few, are_sent, sent
from pipelines.run import Run
from pipelines.silver import aliases, identities, sessionize
from pipelines.silver import events as silver_events
from pipelines.slices import EVERYTHING, Slices
from pipelines.steps import aliases as aliases_of
from pipelines.steps import links as links_of


def write_all(run: Run, candidates: DataFrame, events: int, batch: int) -> None:
    """Replace the table by the winners: the first load, and a rebuild."""
    winners = candidates.where("reason is null and is_least")
    named = None
    if aliases.are_wanted(run.context):
        named = aliases_of.everything(run, winners)
        winners = aliases.apply(winners, named.frame, few=are_sent(named.rows))
    links = links_of.everything(run, winners)
    few = are_sent(links.rows)
    linked = identities.link(winners, links.frame, few=few) if links.rows else winners
    rows = silver_events.build(linked, batch, context=run.context)
    touched = dict.fromkeys(silver_events.SLICES, EVERYTHING)
    fits = run.lake.fits_page(events)
    run.lake.overwrite("silver.events", run.lake.stage("silver.events", rows) if fits else rows, batch, touched)
    aliases_of.write_all(run, named, batch)
    run.lake.overwrite("silver.identities", links, batch, {})


def compare(run: Run, accepted: DataFrame, records: int, days: Sequence[date]) -> tuple[DataFrame, dict[str, Any]]:
    """Accepted records, and how many came, beside the stored events that they are copies of.

    `days`: the records' local dates. Says how many are `new` events, how many `repeats`, and on which local `days`
    stored ones are replaced.
    """
    stored = run.lake.read("silver.events")
    around = {*days, *_days_of_copies(run, accepted, stored)}
    near = silver_events.near(sorted(around), stored, context=run.context)
    is_replaced = F.col("is_winner") & F.col("_old").isNotNull()
    compared, _, seen = run.lake.checkpoint(
        silver_events.against_stored(
            accepted, near, context=run.context, few=are_sent(records) and not run.lake.reads_few(records)
        ),
        F.count_if("is_repeat").alias("repeats"),
        F.count_if(~F.col("is_repeat")).alias("new"),
        F.collect_set(F.when(is_replaced, F.col("_old.event_date"))).alias("days"),
    )
    return compared, seen


def _days_of_copies(run: Run, accepted: DataFrame, stored: DataFrame) -> list[date]:
    """Local dates of stored events that records of sites with `dedupe: any_time` are copies of: one read of the ids of
    all history of these sites, which no other site pays for.

    Raises ConfigurationError where stored events are copies of each other, as they may be by another rule.
    """
    if not silver_events.copies_of_any_time(run.context):
        return []
    ids = ["site_id", "event_id"]
    any_time = silver_events.is_of_any_time(run.context)
    mine = accepted.where(any_time).select(*ids).distinct()
    copies = stored.where(any_time).select(*ids, "event_date").join(F.broadcast(mine), on=ids, how="left_semi")
    found = copies.groupBy(*ids).agg(F.min("event_date").alias("day"), F.count("*").alias("events"))
    row = found.agg(
        F.collect_set("day").alias("days"), F.min(F.when(F.col("events") > 1, F.col("site_id"))).alias("site_id")
    ).collect()[0]
    if row["site_id"] is not None:
        raise ConfigurationError(
            f"sites.{row['site_id']}.dedupe: events stored by another rule share an id: run jobs/rebuild.py"
        )
    return list(row["days"])


def insert(run: Run, inserts: DataFrame, days: Sequence[date], batch: int) -> None:
    """Put events in, in the place of the stored one where `_old` is not null, cut the sessions around them anew, and
    hand over what belongs to another person by what they say."""
    lake, context = run.lake, run.context
    stored = lake.read("silver.events")
    named = aliases_of.changes(run, inserts, stored)
    inserts, days = named.inserts, [*days, *named.days]
    links = links_of.changes(run, inserts, stored)
    around = {*days, *_days_of_client_sessions(run, inserts)}
    sessions, found, starts = _touched_sessions(run, inserts, around, stored)
    affected = stored.where(starts.predicate("session_date")).join(
        sent(sessions.select("site_id", "session_id"), found), on=["site_id", "session_id"], how="left_semi"
    )
    persons = None if links.persons is None else sent(links.persons, links.moved)
    changed = silver_events.changes(
        identities.link(inserts, links.now), silver_events.with_persons(affected, persons), batch, context=context
    )
    staged = lake.stage("silver.events", changed, silver_events.places(), ["was_event_utc_date", "is_new"])
    touched, patch = silver_events.touched(staged.measured), None
    if links.persons is not None:
        elsewhere = links.persons.join(sent(sessions, found), on=["site_id", "session_id"], how="left_anti")
        frame, rows, measured = lake.checkpoint(
            silver_events.handed_over(elsewhere, batch),
            *silver_events.places(),
            columns=[F.col(name) for name in (*silver_events.KEY, *silver_events.PATCHED)],
        )
        patch = Few(frame, rows)
        touched = {by: slices | touched[by] for by, slices in silver_events.touched(measured).items()}
    lake.upsert("silver.events", staged, batch, touched, touched["event_date"].all_dates(), patch)
    aliases_of.write(run, named, batch)
    links_of.write(run, links, batch)


def _touched_sessions(
    run: Run, inserts: DataFrame, days: set[date], stored: DataFrame
) -> tuple[DataFrame, int, Slices]:
    """Stored sessions to cut anew, how many, and the slices in which they start. `days`: where to look for them."""
    while True:
        near = silver_events.near(sorted(days), stored, context=run.context)
        sessions, rows, found = run.lake.checkpoint(
            silver_events.touched_sessions(inserts, near, context=run.context),
            F.collect_set(F.struct("site_id", "session_date")).alias("starts"),
            F.collect_set(F.struct("first_day", "last_day")).alias("spans"),
        )
        if sessionize.cuts_runs(run.context):
            spans = [(row["first_day"], row["last_day"]) for row in found["spans"] if row["first_day"] is not None]
            reached = {first + timedelta(step) for first, last in spans for step in range((last - first).days + 1)}
            if not reached <= days:  # a run may go on before and after what was looked at
                days = days | reached
                continue
        return sessions, rows, Slices.of((row["site_id"], row["session_date"]) for row in found["starts"])


def _days_of_client_sessions(run: Run, inserts: DataFrame) -> set[date]:
    """Days on which the stored sessions start that the inserts' clients name: no gap ends such a session.

    Asked of silver.sessions, which holds a row where silver.events holds a session.
    """
    if all(site.session.key != "client" for site in run.context.sites.rules):
        return set()
    named = inserts.where(sessionize.uses_client_session(run.context)).select(
        "site_id", F.col("client_session_id").alias("session_id")
    )
    started = (
        run.lake.read("silver.sessions")
        .join(named.distinct(), on=["site_id", "session_id"], how="left_semi")
        .select(F.to_date("start_time").alias("day"))
        .distinct()
    )
    return {row["day"] for row in started.collect()}
