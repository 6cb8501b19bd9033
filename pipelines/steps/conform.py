"""Bronze → silver.events: what arrived, and what was asked for, since the batch that silver.events reflects.

Every decision is written before silver.events commits, marked with the batch that silver.events is being brought to,
and stands only once that commit is there: a repeat after a crash first forgets what the failed try had decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts import contract
from pipelines.errors import ConfigurationError, DataRefusedError
from pipelines.lake import Lake
from pipelines.lake_frames import are_sent
from pipelines.progress import StepNote
from pipelines.quality import gate
from pipelines.quality.gate import Measured
from pipelines.run import Run
from pipelines.silver import canonical
from pipelines.silver import events as silver_events
from pipelines.silver.pseudonyms import record_hash
from pipelines.sources import Source, load_source
from pipelines.steps import aliases, holds, links, lookups, repair, requests

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Work:
    """What silver.events is to take in. `arrived`: new batch → (source, records)."""

    done: int
    target: int
    arrived: dict[int, tuple[str, int]]
    asked: tuple[requests.Request, ...]
    held: tuple[holds.Hold, ...] = ()

    @property
    def from_scratch(self) -> bool:
        return any(request.kind == "rebuild" and request.dates is None for request in self.asked)

    @property
    def dates(self) -> tuple[date, date] | None:
        """First and last date of a rebuild of a range."""
        return next((request.dates for request in self.asked if request.dates is not None), None)

    @property
    def released(self) -> list[int]:
        return [int(request.selection) for request in self.asked if request.kind == "release"]

    @property
    def open_letters(self) -> str:
        """Predicate on ops.dead_letters."""
        return "replayed_in is null"

    @property
    def put_back(self) -> str | None:
        """Predicate on ops.dead_letters: those that go through again."""
        if self.from_scratch:  # every verdict is given anew
            return self.open_letters
        chosen = [f"({request.selection})" for request in self.asked if request.kind == "replay"]
        return f"{self.open_letters} and ({' or '.join(chosen)})" if chosen else None


def conform(run: Run) -> None:
    """Bring silver.events, and what is kept beside it, up to the last batch."""
    aliases.catch_up(run)
    links.catch_up(run)
    _release_where_the_mapping_is_back(run)
    while (work := _outstanding(run.lake)) is not None:
        run.warm_up()
        with (
            run.progress.step("silver.events") as note,
            run.lake.expecting(_reading(run.lake, work)),
            run.lake.scratch(),
        ):
            _take_in(run, work, note)


def _reading(lake: Lake, work: Work) -> int:
    """About how many records come in; what is stored around them is read by few columns."""
    if work.asked:
        return lake.count("bronze.events")
    return sum(records for _, records in work.arrived.values())


def _outstanding(lake: Lake) -> Work | None:
    """What lies between silver.events and the last batch; up to the next rebuild, which is done by itself."""
    done, target = lake.batch("silver.events"), lake.last_batch()
    if done >= target:
        return None
    asked = requests.since(lake, done)
    rebuilds = [request.batch_id for request in asked if request.kind == "rebuild"]
    if rebuilds:
        target = max(done + 1, rebuilds[0] - 1)
    arrived = {
        batch: (source, records)
        for (source, batch), records in lake.records_by_batch("bronze.events").items()
        if done < batch <= target
    }
    return Work(done, target, arrived, tuple(request for request in asked if request.batch_id <= target))


def _release_where_the_mapping_is_back(run: Run) -> None:
    """A batch that waits only for its source's mapping goes on by itself once that can be read."""
    for held in holds.waiting(run.lake):
        if held["check_name"] == holds.MAPPING and _works(run, held["source"]):
            requests.add(run, "release", str(held["batch_id"]))


def source_of(run: Run, name: str) -> Source:
    """The mapping of a source, by name or as the run was given it; raises ConfigurationError."""
    if name not in run.sources:
        run.sources[name] = load_source(name)
    return run.sources[name]


def _works(run: Run, name: str) -> bool:
    try:
        source = source_of(run, name)  # first: it needs no session
        canonical.build(run.lake.read("bronze.events"), source, context=run.context)
    except ConfigurationError:
        return False
    return True


def _take_in(run: Run, work: Work, note: StepNote) -> None:
    _forget_failed_try(run.lake, work.done)
    if work.dates is not None:
        _retake(run, work, work.dates, note)
        return
    frames, unreadable = _conformed(run, work)
    work = replace(work, held=unreadable)
    candidates, measured = _candidates(run, frames, work)
    held = holds.judge(run, work.arrived, measured)
    if held:  # what is held must not compete with the rest: look at the rest alone
        work = replace(work, held=(*work.held, *held))
        candidates, measured = _candidates(run, frames, work)
    if work.held:
        run.failures.append(_pending(work.held))
    totals = _totals(measured)
    if measured:
        _judge(run, totals)
    holds.record(run, work.held, work.released, target=work.target)
    if work.from_scratch:
        run.lake.update("ops.duplicates", "replaced_in is null", {"replaced_in": str(work.target)})
    _write_dead_letters(run, candidates, totals["refused"], work)
    if not measured:  # whatever came is held
        run.lake.mark("silver.events", work.target)
    elif run.lake.count("silver.events") == 0 or work.from_scratch:
        if totals["repeats"]:
            _write_repeats(run, candidates.where("reason is null and arrival > 1"), work)
        repair.write_all(run, candidates, totals["accepted"], work.target)
    else:
        accepted = candidates.where("reason is null")
        compared, seen = repair.compare(run, accepted, totals["received"], totals["days"])
        totals |= {"accepted": seen["new"], "repeats": seen["repeats"]}
        if totals["repeats"]:
            _write_repeats(run, compared.where("is_repeat"), work)
        repair.insert(run, compared.where("is_winner"), [*totals["days"], *seen["days"]], work.target)
    note.words = f"{totals['accepted']:,} accepted, {totals['repeats']:,} repeats, {totals['refused']:,} refused"
    note.fields = {"events_processed": totals["received"], "batch_id": work.target, "held": len(work.held)}
    note.fields |= {name: totals[name] for name in ("accepted", "repeats", "refused")}


def _retake(run: Run, work: Work, dates: tuple[date, date], note: StepNote) -> None:
    """Read the records behind the events of these dates again, and cut their sessions again.

    Who is accepted stays: an event that today's rules would refuse, or give another key or date, is told and nothing
    changes, since its place in the books would move: that takes a rebuild of everything.
    """
    first, last = dates
    within = f"event_date >= date'{first}' and event_date <= date'{last}'"
    stored = run.lake.read("silver.events").where(within)
    bronze = run.lake.read("bronze.events").select(*canonical.META)
    is_theirs = record_hash(F.col("raw"), run.context) == F.col("record_hash")
    records = bronze.join(stored.select("record_hash").distinct(), is_theirs, "left_semi")
    names = sorted({source for source, _ in run.lake.records_by_batch("bronze.events")})
    frames = [
        canonical.build(records.where(F.col("source") == name), source_of(run, name), context=run.context)
        for name in names
    ]
    accepted = _among_copies(run, frames).where(f"reason is null and is_least and {within}")
    again, found, _ = run.lake.checkpoint(
        silver_events.against_stored(accepted, stored, context=run.context).where("record_hash = _old.record_hash")
    )
    expected = run.lake.rows("silver.events", f"select count(*) as n from t where {within}")[0]["n"]
    if found != expected:
        run.lake.mark("silver.events", work.target)
        run.failures.append(
            DataRefusedError(
                f"rebuild of {first} to {last}: today {expected - found:,} of {expected:,} events are read"
                " differently (refused, or another id or date): rebuild without dates"
            )
        )
        return
    days = [first + step * _DAY for step in range((last - first).days + 1)]
    repair.insert(run, again, days, work.target)
    note.words = f"{expected:,} events read again"


def _pending(held: tuple[holds.Hold, ...]) -> ConfigurationError | DataRefusedError:
    records = sum(hold.records for hold in held)
    told = "; ".join(f"batch {hold.batch_id} of {hold.source}: {hold.detail}" for hold in held)
    message = f"{records:,} records are held as pending: {told}"
    if all(hold.check_name == holds.MAPPING for hold in held):
        return ConfigurationError(message)
    return DataRefusedError(f"{message} (let one go on: jobs/replay.py --batch ID --accept)")


# --- what comes in ------------------------------------------------------------------------------------------------


def _conformed(run: Run, work: Work) -> tuple[dict[str, DataFrame], tuple[holds.Hold, ...]]:
    """The records that come in, by source, as canonical events with their verdict.

    New batches of a source whose mapping cannot be read are held; the others go on.
    """
    lake = run.lake
    bronze = lake.read("bronze.events").select(*canonical.META)
    of_batch = {batch: source for source, batch in lake.records_by_batch("bronze.events")}
    if work.from_scratch:
        kept_out = [held["batch_id"] for held in holds.waiting(lake) if held["batch_id"] not in work.released]
        records = bronze.where((F.col("batch_id") <= work.target) & ~F.col("batch_id").isin(kept_out))
        must = set(of_batch.values())
    else:
        records = bronze.where(F.col("batch_id").isin([*work.arrived, *work.released]))
        must = {of_batch[batch] for batch in work.released}
        if work.put_back is not None:
            letters = lake.read("ops.dead_letters").where(work.put_back).select(*_as_received())
            letters = letters.localCheckpoint()  # the table is written while they are in use
            records = records.unionByName(letters)
            must |= {row["source"] for row in letters.select("source").distinct().collect()}
    frames, held = {}, []
    for name in sorted(must | {source for source, _ in work.arrived.values()}):
        try:
            frames[name] = canonical.build(
                records.where(F.col("source") == name), source_of(run, name), context=run.context
            )
        except ConfigurationError as error:
            if name in must:
                raise
            mine = [(batch, count) for batch, (source, count) in work.arrived.items() if source == name]
            held += [holds.Hold(batch, name, count, holds.MAPPING, str(error)) for batch, count in mine]
    return frames, tuple(held)


def _as_received() -> list[Column]:
    """A dead letter as the bronze row that it was."""
    defect = F.when(F.col("detail").rlike(canonical.DEFECT), F.col("detail"))
    return [(defect if name == "defect" else F.col(name)).alias(name) for name in canonical.META]


def _candidates(run: Run, frames: dict[str, DataFrame], work: Work) -> tuple[DataFrame, list[dict[str, Any]]]:
    """Records among their copies, computed once, and what they say."""
    if not frames:
        return run.lake.read("silver.events").limit(0), []
    kept_out = [hold.batch_id for hold in work.held]
    allowed = [frame.where(~F.col("batch_id").isin(kept_out)) if kept_out else frame for frame in frames.values()]
    candidates = _among_copies(run, allowed)
    return candidates, _measure(candidates, work)


def _among_copies(run: Run, judged: list[DataFrame]) -> DataFrame:
    """Records enriched, and their place among the copies of an event; what they say by themselves is computed once."""
    lake, context = run.lake, run.context
    records, rows = lake.keep(silver_events.received(judged))
    enriched = lookups.enriched(run, records, rows)
    several, events, _ = lake.checkpoint(silver_events.copied(records, context=context))
    if not events:
        return silver_events.candidates(enriched, None)
    ranks, copies, _ = lake.checkpoint(silver_events.ranked(records, several, context=context))
    return silver_events.candidates(enriched, ranks, few=are_sent(copies))


# --- what it says -------------------------------------------------------------------------------------------------


def _measure(candidates: DataFrame, work: Work) -> list[dict[str, Any]]:
    """Everything that gates, books and look-ups need, a row per batch, in one pass."""
    accepted = F.col("reason").isNull()
    first = accepted & (F.col("arrival") == 1)
    checks = gate.checks_on(contract("silver.events"), candidates.columns)
    fields = F.slice(F.array_distinct(F.flatten(F.collect_set("new_fields"))), 1, 20)
    # A rebuild decides nothing about batches any more.
    batch = F.lit(0) if work.from_scratch else F.col("batch_id")
    rows = candidates.groupBy(batch.alias("batch_id")).agg(
        F.count("*").alias("received"),
        F.count_if(first).alias("accepted"),
        F.count_if(accepted & (F.col("arrival") > 1)).alias("repeats"),
        F.count_if(~accepted).alias("refused"),
        F.coalesce(F.sum(F.size("uncast")), F.lit(0)).alias("uncast_fields"),
        F.collect_set(F.when(accepted, F.col("event_date"))).alias("days"),
        F.max(F.when(accepted, F.unix_micros("event_time"))).alias("newest_us"),
        F.struct(*[F.count_if(accepted & F.col(name).isNull()).alias(name) for name in holds.DRIFTING]).alias("nulls"),
        F.sort_array(fields).alias("new_fields"),
        F.struct(*gate.violations(checks, among=accepted)).alias("violations"),
    )
    return [row.asDict(recursive=True) for row in rows.collect()]


def _totals(measured: list[dict[str, Any]]) -> dict[str, Any]:
    counts = ("received", "accepted", "repeats", "refused", "uncast_fields")
    names = measured[0]["violations"] if measured else ()
    return {
        **{name: sum(row[name] for row in measured) for name in counts},
        "days": sorted({day for row in measured for day in row["days"]}),
        "new_fields": sorted({name for row in measured for name in row["new_fields"]})[:20],
        "violations": {name: sum(row["violations"][name] for row in measured) for name in names},
    }


def _judge(run: Run, totals: dict[str, Any]) -> None:
    checks = [check for check in contract("silver.events").row_checks() if check.name in totals["violations"]]
    received, refused = totals["received"], totals["refused"]
    if totals["new_fields"]:
        run.new_fields["silver.events"] = totals["new_fields"]
    run.judge(
        "bronze→silver",
        "silver.events",
        [
            # Of records that were not refused some must be there to judge: no rule can tell anything from none.
            *gate.row_rules(checks, totals["violations"], received - refused, expected=received > refused),
            Measured("books_balance", received - totals["accepted"] - totals["repeats"] - refused, least=0, most=0),
            Measured("uncast_fields", totals["uncast_fields"], most=0, severity="warn"),
            Measured("new_fields", len(totals["new_fields"]), most=0, severity="warn"),
        ],
        received,
    )


# --- what is written ----------------------------------------------------------------------------------------------


def _forget_failed_try(lake: Lake, done: int) -> None:
    """Take back decisions of a try that ended before silver.events committed."""
    for table in ("ops.dead_letters", "ops.duplicates"):
        if lake.batch(table) > done:
            lake.delete(table, f"judged_in > {done}")
    for table, mark, also in (
        ("ops.dead_letters", "replayed_in", {"replayed_at": "null"}),
        ("ops.duplicates", "replaced_in", {}),
    ):
        if lake.rows(table, f"select 1 from t where {mark} > {done} limit 1"):
            lake.update(table, f"{mark} > {done}", {mark: "null", **also})
    holds.forget_failed_try(lake, done)


def _write_dead_letters(run: Run, candidates: DataFrame, refused: int, work: Work) -> None:
    """Close the letters that are put back, and add those that are refused now."""
    if work.put_back is not None:
        instant = f"timestamp '{run.context.started_at:%Y-%m-%dT%H:%M:%S.%fZ}'"
        values = {"replayed_in": str(work.target), "replayed_at": instant}
        run.lake.update("ops.dead_letters", work.put_back, values)
    if refused:
        letters = candidates.where("reason is not null").withColumns(
            {
                "layer": F.lit("silver"),
                "judged_in": F.lit(work.target),
                "refused_at": F.lit(run.context.started_at),
                "replayed_at": F.lit(None).cast("timestamp"),
                "replayed_in": F.lit(None).cast("bigint"),
            }
        )
        run.lake.append("ops.dead_letters", run.lake.stage("ops.dead_letters", letters), work.target)


def _write_repeats(run: Run, repeats: DataFrame, work: Work) -> None:
    marks = {"judged_in": F.lit(work.target), "replaced_in": F.lit(None).cast("bigint")}
    staged = run.lake.stage("ops.duplicates", repeats.withColumns(marks))
    run.lake.append("ops.duplicates", staged, work.target)
