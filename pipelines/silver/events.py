"""silver.events: distinct events with their sessions, kept up to date by what arrives, never by event time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.silver import sessionize
from pipelines.slices import Slices, besides_persons

CONTRACT = contract("silver.events")
KEY = list(CONTRACT.key)

# What sessionizing says about an event: with person_id the only columns of a stored event that later events can change.
SESSION_COLUMNS = (
    "session_id",
    "session_date",
    "page_view_number",
    "page_view_date",
    "is_entry",
    "is_exit",
    "session_converted",
    "time_on_page_us",
    "session_bot_reason",
    "is_countable",
)
OWN_COLUMNS = [name for name in CONTRACT.column_names if name not in (*SESSION_COLUMNS, "changed_in")]

# What copies of any date share in its place; any date will do, since all events of their site share it.
_ANY_DATE = date(1970, 1, 1)

_IDENTITY = ("anonymous_id", "user_id", "client_session_id", "visitor_id")

# What tells a record from all others, in the order of arrival.
RECORD = ("batch_id", "origin", "position")

# Columns by whose dates derived tables are sliced.
SLICE_COLUMNS = ("event_date", "session_date", "page_view_date")
# What changes in an event that is handed over.
PATCHED = ("person_id", "changed_in")
# By what a commit says which slices it touched.
SLICES = (*SLICE_COLUMNS, *[besides_persons(name) for name in SLICE_COLUMNS])
# Where a stored event stands: in its slices, and under which date of its key.
_PLACE_COLUMNS = (*SLICE_COLUMNS, "event_utc_date")


def received(judged: Sequence[DataFrame]) -> DataFrame:
    """Records with their verdict (silver/canonical.py), a frame a source; `raw` is kept for refused ones only."""
    records = reduce(DataFrame.unionByName, judged)
    return records.withColumn("raw", F.when(F.col("reason").isNotNull(), F.col("raw")))


def copies_of_any_time(context: RunContext) -> bool:
    """Whether a site takes records with one event id for one event whatever their dates."""
    return any(site.dedupe == "any_time" for site in context.sites.rules)


def is_of_any_time(context: RunContext) -> Column:
    """Whether the event's site does."""
    return context.by_site(lambda site: site.dedupe) == "any_time"


def _shared_date(context: RunContext) -> Column:
    """With site and event id, what copies of an event share: its UTC date, or nothing."""
    if not copies_of_any_time(context):
        return F.col("event_utc_date")
    return F.when(is_of_any_time(context), F.lit(_ANY_DATE)).otherwise(F.col("event_utc_date"))


def copied(records: DataFrame, *, context: RunContext) -> DataFrame:
    """Hashes of what the copies of an event share (`_key`), of accepted ones. They are few where few were repeated."""
    accepted = records.where("reason is null").select(_copies_hash(context))
    return accepted.groupBy("_key").agg(F.count("*").alias("copies")).where("copies > 1").select("_key")


def ranked(records: DataFrame, several: DataFrame, *, context: RunContext) -> DataFrame:
    """The accepted records that share an event with others, among its copies: RECORD and what `candidates` adds.

    `several`: see `copied`. Only what shares a key is sorted.
    """
    copies = Window.partitionBy("_key", "site_id", "event_id", _shared_date(context))
    arrived = [F.col(name) for name in RECORD]
    by_arrival = copies.orderBy(*arrived)
    # The winner by comparison with the least, so that the order of arrival is the only one that rows are sorted by.
    order = F.struct("event_time", "sequence", "record_hash", *arrived)
    keyed = records.where("reason is null").withColumn("_key", _copies_hash(context))
    return keyed.join(several, on="_key", how="left_semi").select(
        *RECORD,
        F.row_number().over(by_arrival).alias("arrival"),
        F.first("source").over(by_arrival.rowsBetween(Window.unboundedPreceding, 0)).alias("first_source"),
        (order == F.min(order).over(copies)).alias("is_least"),
    )


def candidates(records: DataFrame, ranks: DataFrame | None, *, few: bool = True) -> DataFrame:
    """The records of `received` and their place among the copies of an event.

    Grain: one row per record. `arrival`: 1 for the copy that arrived first, by which repeats are booked whatever the
    batches were; `first_source` is its source. `is_least`: the winner, the least (event_time, sequence, hash of raw).
    `ranks`: see `ranked`; none where no event is shared; `few`: they fit in memory.
    """
    alone = {"arrival": F.lit(1), "first_source": F.col("source"), "is_least": F.lit(True)}
    if ranks is None:
        return records.withColumns(alone)
    told = ranks.withColumnsRenamed({name: f"_{name}" for name in ranks.columns})
    same = [F.col(name) == F.col(f"_{name}") for name in RECORD]
    joined = records.join(F.broadcast(told) if few else told, on=same, how="left")
    return joined.select(
        *records.columns, *[F.coalesce(F.col(f"_{name}"), value).alias(name) for name, value in alone.items()]
    )


def _copies_hash(context: RunContext) -> Column:
    return F.xxhash64("site_id", "event_id", _shared_date(context)).alias("_key")


def build(winners: DataFrame, batch: int, *, context: RunContext) -> DataFrame:
    """The whole table from winners alone: what a first load and a rebuild write for `batch`."""
    rows = sessionize.build(winners.select(*OWN_COLUMNS), context=context).withColumn("changed_in", F.lit(batch))
    return rows.select(*CONTRACT.column_names)


def against_stored(accepted: DataFrame, stored: DataFrame, *, context: RunContext, few: bool = False) -> DataFrame:
    """Compare candidates with the stored events that they are copies of.

    `few`: they fit in memory, and so the stored events are not moved to them. `stored` may be limited to the days of
    the candidates and their neighbours, and those of copies elsewhere. Adds `_old` (the stored event's order, visitor,
    date of its key and slices; null for a new event), `is_repeat` (an earlier arrival is the same event) and
    `is_winner`.
    """
    shared = ["site_id", "event_id", "_shared_date"]
    old = stored.withColumn("_shared_date", _shared_date(context))
    if few:
        coming = F.broadcast(accepted.select(_copies_hash(context)))
        old = old.withColumn("_key", _copies_hash(context)).join(coming, on="_key", how="left_semi")
    old = old.select(*shared, _as_stored().alias("_old"))
    mine = F.struct(*_order_struct())
    theirs = F.struct("_old.event_time", "_old.sequence", "_old.record_hash")
    return (
        accepted.withColumn("_shared_date", _shared_date(context))
        .join(old, on=shared, how="left")
        .drop("_shared_date")
        .withColumn("is_repeat", (F.col("arrival") > 1) | F.col("_old").isNotNull())
        .withColumn("is_winner", F.col("is_least") & (F.col("_old").isNull() | (mine < theirs)))
        .withColumn("first_source", F.coalesce("_old.first_source", "first_source"))
    )


def _as_stored() -> Column:
    return F.struct(*_order_struct(), *_IDENTITY, "session_id", "first_source", *_PLACE_COLUMNS)


def renamed(stored: DataFrame, visitors: DataFrame) -> DataFrame:
    """The stored events that `visitors` (KEY, `visitor_id`) holds, with that visitor, as inserts in their own place."""
    told = visitors.select(*KEY, F.col("visitor_id").alias("_visitor"))
    mine = stored.join(told, on=KEY, how="inner").withColumn("_old", _as_stored())
    return mine.withColumn("visitor_id", F.col("_visitor")).select(*OWN_COLUMNS, "_old")


def touched_sessions(inserts: DataFrame, near: DataFrame, *, context: RunContext) -> DataFrame:
    """Stored sessions that the inserts can extend, split or merge: (site_id, session_id, session_date).

    Under inactivity those of the visitor within one gap of an event that comes or is replaced (with all of their run
    where a site cuts runs), under `client` those of its id, and the session of a stored event that is replaced. `near`:
    stored events from one gap before to one gap after, and on the days on which the stored sessions start that the
    inserts' clients name, which no gap ends. `first_day` and `last_day` of what lies in `near` of the run that a gap
    ends, null under `client`: where cut runs reach out of `near`, it must be widened.
    """
    marked = near.withColumn("_by_client", sessionize.uses_client_session(context))
    spans = marked.groupBy("site_id", "session_id", "session_date", "_by_client", "visitor_id").agg(
        F.min("event_time").alias("_from"),
        F.max("event_time").alias("_to"),
        F.min("event_date").alias("first_day"),
        F.max("event_date").alias("last_day"),
    )
    gap_us = context.by_site(lambda site: site.session.gap_seconds).cast("bigint") * 1_000_000
    if sessionize.cuts_runs(context):
        spans = _spans_of_runs(spans, gap_us)
    by_client = sessionize.uses_client_session(context)
    at_us = F.unix_micros("event_time").alias("_at")
    comes = inserts.select(
        "site_id", "client_session_id", by_client.alias("_by_client"), "visitor_id", at_us, gap_us.alias("_gap")
    )
    is_replaced = F.col("_old").isNotNull()
    goes = inserts.where(is_replaced).select(
        "site_id",
        F.lit(None).cast("string").alias("client_session_id"),
        F.lit(False).alias("_by_client"),
        "_old.visitor_id",
        F.unix_micros("_old.event_time").alias("_at"),
        gap_us.alias("_gap"),
    )
    n, s = comes.unionByName(goes).distinct().alias("n"), spans.alias("s")
    same_visitor = (
        (F.col("n.site_id") == F.col("s.site_id"))
        & (F.col("n.visitor_id") == F.col("s.visitor_id"))
        & ~F.col("n._by_client")
        & ~F.col("s._by_client")
        & (F.col("n._at") + F.col("n._gap") >= F.unix_micros("s._from"))
        & (F.col("n._at") - F.col("n._gap") <= F.unix_micros("s._to"))
    )
    same_client_session = (
        (F.col("n.site_id") == F.col("s.site_id"))
        & (F.col("n.client_session_id") == F.col("s.session_id"))
        & F.col("n._by_client")
        & F.col("s._by_client")
    )
    columns = [F.col(f"s.{name}").alias(name) for name in ("site_id", "session_id", "session_date")]
    days = [F.col(f"s.{name}").alias(name) for name in ("first_day", "last_day")]
    no_days = [F.lit(None).cast("date").alias(name) for name in ("first_day", "last_day")]
    replaced = inserts.where(is_replaced).select("site_id", "_old.session_id", "_old.session_date", *no_days)
    return (
        s.join(n, on=same_visitor, how="inner")
        .select(*columns, *days)
        .unionByName(s.join(n, on=same_client_session, how="inner").select(*columns, *no_days))
        .unionByName(replaced)
        .groupBy("site_id", "session_id", "session_date")
        .agg(F.min("first_day").alias("first_day"), F.max("last_day").alias("last_day"))
    )


def _spans_of_runs(spans: DataFrame, gap_us: Column) -> DataFrame:
    """Give each session the span of its run: of all sessions of the visitor that no gap divides."""
    visitor = Window.partitionBy("site_id", "_by_client", "visitor_id").orderBy("_from", "_to", "session_id")
    pause_us = F.unix_micros("_from") - F.unix_micros(F.lag("_to").over(visitor))
    opens = F.col("_by_client") | F.coalesce(pause_us > gap_us, F.lit(True))
    so_far = visitor.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    numbered = spans.withColumn("_opens", opens.cast("int")).withColumn("_run", F.sum("_opens").over(so_far))
    run = Window.partitionBy("site_id", "_by_client", "visitor_id", "_run")
    ends = {"_from": F.min, "_to": F.max, "first_day": F.min, "last_day": F.max}
    return numbered.withColumns({name: end(name).over(run) for name, end in ends.items()})


def changes(inserts: DataFrame, affected: DataFrame, batch: int, *, context: RunContext) -> DataFrame:
    """Rows of silver.events that differ once the inserts are in: the inserts, and stored events of their sessions.

    `affected`: every stored event of the touched sessions; `_person` is whom it belongs to from now on. Returns the
    contract's columns, `_old` (the slices that a stored row leaves; nulls for a new event), `_changes_hands` (whether
    nothing but its person differs), and as of Staged `was_event_utc_date` and `is_new`.
    """
    stay = affected.join(stored_keys(inserts), on=KEY, how="left_anti")
    changeable = (*SESSION_COLUMNS, "person_id")
    everything = stay.select(
        *OWN_COLUMNS, F.struct(*changeable).alias("_before"), F.struct(*_PLACE_COLUMNS).alias("_old"), "_person"
    ).unionByName(
        inserts.select(
            *OWN_COLUMNS,
            F.lit(None).cast(_struct_type(changeable)).alias("_before"),
            F.struct(*[F.col(f"_old.{name}").alias(name) for name in _PLACE_COLUMNS]).alias("_old"),
            F.col("person_id").alias("_person"),
        )
    )
    told = everything.withColumn("person_id", F.col("_person")).drop("_person")
    sessionized = sessionize.build(told, context=context)
    is_new = F.col("_before").isNull()
    is_cut_anew = ~F.struct(*SESSION_COLUMNS).eqNullSafe(F.struct(*[f"_before.{name}" for name in SESSION_COLUMNS]))
    differs = is_new | is_cut_anew | (F.col("person_id") != F.col("_before.person_id"))
    return (
        sessionized.where(differs)
        .withColumns({"changed_in": F.lit(batch), "_changes_hands": ~is_new & ~is_cut_anew})
        .select(
            *[*CONTRACT.column_names, "_old", "_changes_hands"],
            _stored_date(),
            F.col("_old.event_utc_date").isNull().alias("is_new"),
        )
    )


def with_persons(stored: DataFrame, persons: DataFrame | None) -> DataFrame:
    """Stored events with `_person`: that of `persons` (KEY, `_person`) where it holds the event, else their own."""
    if persons is None:
        return stored.withColumn("_person", F.col("person_id"))
    joined = stored.join(persons.select(*KEY, "_person"), on=KEY, how="left")
    return joined.withColumn("_person", F.coalesce("_person", "person_id"))


def handed_over(persons: DataFrame, batch: int) -> DataFrame:
    """What changes in the stored events that `persons` (KEY, SLICE_COLUMNS, `_person`) holds, which stay in their
    slices: KEY and PATCHED, with `_old` and `_changes_hands` as of `changes`."""
    return persons.select(
        *KEY,
        F.col("_person").alias("person_id"),
        F.lit(batch).alias("changed_in"),
        *SLICE_COLUMNS,
        F.struct(*_PLACE_COLUMNS).alias("_old"),
        F.lit(True).alias("_changes_hands"),
    )


def stored_keys(inserts: DataFrame) -> DataFrame:
    """The keys of the stored events that inserts replace; of new ones their own, which nothing stored has."""
    return inserts.select("site_id", "event_id", _stored_date().alias("event_utc_date"))


def _stored_date() -> Column:
    return F.coalesce("_old.event_utc_date", "event_utc_date").alias("was_event_utc_date")


def places() -> list[Column]:
    """Aggregates of `changes`: by each of SLICES, the distinct (site_id, date) that rows stand in or stood in."""
    kinds = [(name, name, F.lit(True)) for name in SLICE_COLUMNS]
    kinds += [(besides_persons(name), name, ~F.col("_changes_hands")) for name in SLICE_COLUMNS]
    return [
        F.collect_set(F.when(place.isNotNull() & counts, F.struct("site_id", place.alias("date")))).alias(
            f"{when}_{by}"
        )
        for by, name, counts in kinds
        for when, place in (("now", F.col(name)), ("before", F.col(f"_old.{name}")))
    ]


def touched(measured: dict[str, list[Row]]) -> dict[str, Slices]:
    """What `places` found, as slices by SLICES."""
    return {
        by: Slices.of((row["site_id"], row["date"]) for when in ("now", "before") for row in measured[f"{when}_{by}"])
        for by in SLICES
    }


def near(days: Sequence[date], stored: DataFrame, *, context: RunContext) -> DataFrame:
    """Stored events on the given local dates and as many days around them as a session's gap can reach."""
    gaps = [site.session.gap_seconds for site in context.sites.rules]
    reach = 1 + max(gaps) // 86_400
    around = Slices({"": frozenset(days)}).widened(back=reach, forward=reach)
    return stored.where(F.col("event_date").isin(around.all_dates()))


def _order_struct() -> list[Column]:
    return [F.col("event_time"), F.col("sequence"), F.col("record_hash")]


def _struct_type(names: tuple[str, ...]) -> str:
    types = {column.name: column.type for column in CONTRACT.columns}
    return "struct<" + ",".join(f"{name}:{types[name]}" for name in names) + ">"
