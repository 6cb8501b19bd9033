"""One run: landing → bronze → silver → gold → served. Read, build, gate, write, record: driven by the contracts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any, TypeVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.bronze import events as bronze_events
from pipelines.bronze import files as landing
from pipelines.context import RunContext
from pipelines.contracts import Contract, contract
from pipelines.errors import ConfigurationError
from pipelines.lake import Lake
from pipelines.ops.books import ACCOUNTED_FOR, books_of
from pipelines.plan import GOLD, SERVED, SILVER, Step, waves
from pipelines.progress import Progress
from pipelines.quality import gate
from pipelines.quality.gate import Measured, Result
from pipelines.silver import events as silver_events
from pipelines.slices import EVERYTHING, Slices
from pipelines.sources import Source, load_source

T = TypeVar("T")

# Derived tables of one wave that are built side by side: small steps wait for the driver more than for a core.
_SIDE_BY_SIDE = 4


@dataclass
class Run:
    """The steps of one run over one lake; `results` gathers the gates' verdicts."""

    lake: Lake
    context: RunContext
    progress: Progress
    run_id: str
    sources: dict[str, Source] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    new_records: int = 0
    skipped_files: list[str] = field(default_factory=list)
    new_fields: dict[str, list[str]] = field(default_factory=dict)

    def bring_up_to_date(self, source: Source, location: str) -> None:
        """The whole way for one source."""
        self.ingest(source, location)
        self.build_silver()
        self.build_gold()
        self.publish()

    # --- landing → bronze -----------------------------------------------------------------------------------------

    def ingest(self, source: Source, location: str) -> None:
        """Take every new file at `location` into bronze.events as one batch."""
        self.sources[source.source] = source
        done = self.lake.batch("bronze.events")
        with self.progress.step(f"landing · {source.source}") as note:
            taken = [
                row
                for row in self.lake.rows("bronze.files")
                if row["source"] == source.source and row["batch_id"] <= done
            ]
            listing = landing.list_new(location, taken)
            self.skipped_files += listing.skipped
            note.words = f"{len(listing.new)} new files, {listing.known} known"
            if listing.skipped:
                note.words += f", {len(listing.skipped)} passed over (hidden names)"
            note.fields = {"new_files": len(listing.new), "known_files": listing.known, "skipped": listing.skipped}
        if listing.new:
            self._warm_up()
            with self.progress.step("bronze.events") as note:
                records = self._take(source, listing.new, done + 1)
                self.new_records += records
                note.words = f"{records:,} records"
                note.fields = {"batch_id": done + 1, "records": records, "source": source.source}

    def _take(self, source: Source, files: list[landing.LandingFile], batch: int) -> int:
        lines = bronze_events.read_lines(self.lake.session(), [file.path for file in files])
        counted = bronze_events.blocks(lines).collect()
        per_file: dict[str, int] = {}
        for block in counted:
            per_file[block["origin"]] = per_file.get(block["origin"], 0) + block["lines"]
        records = sum(per_file.values())
        unread = sorted(set(per_file) - {file.path for file in files})
        self._judge(
            "landing→bronze",
            "bronze.events",
            [
                Measured("new_files", len(files), least=1),
                Measured("lines_of_unlisted_files", len(unread), most=0),
                Measured("records", records, least=1, severity="warn"),
            ],
            records,
        )
        # The index first: its rows count as taken only once bronze.events itself reflects the batch.
        index = [
            {**vars(file), "source": source.source, "records": per_file.get(file.path, 0), "batch_id": batch}
            for file in files
        ]
        self.lake.replace_rows("bronze.files", index, where=f"batch_id >= {batch}")
        frame = bronze_events.build(
            lines,
            self.lake.frame(
                [tuple(block) for block in counted], "origin string, _block bigint, lines bigint, _first bigint"
            ),
            source=source.source,
            batch_id=batch,
            ingested_at=self.context.started_at,
        )
        self.lake.append("bronze.events", frame, batch)
        return records

    # --- bronze → silver ------------------------------------------------------------------------------------------

    def build_silver(self) -> None:
        """Bring silver up to the last batch of bronze."""
        batch, done = self.lake.batch("bronze.events"), self.lake.batch("silver.events")
        if done < batch:
            self._warm_up()
            with self.progress.step("silver.events") as note:
                self._update_events(done, batch, note)
        self._derive(SILVER)

    def _update_events(self, done: int, batch: int, note: Any) -> None:
        new = self.lake.read("bronze.events").where(F.col("batch_id") > done)
        candidates = silver_events.candidates(new, self._mappings(done), context=self.context).persist()
        try:
            measured = self._measure_candidates(candidates)
            self._judge_candidates(measured)
            self._write_refused(candidates, measured, batch)
            if self.lake.count("silver.events") == 0:
                winners = candidates.where("reason is null and rank = 1")
                self._write_repeats(candidates.where("reason is null and arrival > 1"), measured["repeats"], batch)
                touched = dict.fromkeys(silver_events.SLICE_COLUMNS, EVERYTHING)
                self.lake.append("silver.events", silver_events.build(winners, context=self.context), batch, touched)
            else:
                self._update_stored_events(candidates, measured, batch)
        finally:
            candidates.unpersist()
        note.words = (
            f"{measured['accepted']:,} accepted, {measured['repeats']:,} repeats, {measured['refused']:,} refused"
        )
        note.fields = {"events_processed": measured["received"], "batch_id": batch}
        note.fields |= {name: measured[name] for name in ("accepted", "repeats", "refused")}

    def _mappings(self, done: int) -> dict[str, Source]:
        """The mapping of each source that has records waiting."""
        rows = self.lake.rows("bronze.files", ["source", "batch_id"])
        names = {row["source"] for row in rows if row["batch_id"] > done}
        for name in names - self.sources.keys():
            try:
                self.sources[name] = load_source(name)
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"bronze holds records of source {name!r}, whose mapping is not known: {error}"
                ) from error
        return {name: self.sources[name] for name in names}

    def _measure_candidates(self, candidates: DataFrame) -> dict[str, Any]:
        """Everything that gate, books and look-ups need of the new records, in one pass that also fills the cache."""
        accepted = F.col("reason").isNull()
        first = accepted & (F.col("arrival") == 1)
        checks = gate.checks_on(contract("silver.events"), candidates.columns)
        fields = F.slice(F.array_distinct(F.flatten(F.collect_set("new_fields"))), 1, 20)
        numbers = candidates.agg(
            F.count("*").alias("received"),
            F.count_if(first).alias("accepted"),
            F.count_if(accepted & (F.col("arrival") > 1)).alias("repeats"),
            F.count_if(~accepted).alias("refused"),
            F.coalesce(F.sum(F.size("uncast")), F.lit(0)).alias("uncast_fields"),
            F.collect_set(F.when(accepted, F.col("event_date"))).alias("days"),
            F.sort_array(fields).alias("new_fields"),
            F.struct(*gate.violations(checks, among=accepted)).alias("violations"),
        ).first()
        assert numbers is not None
        return numbers.asDict(recursive=True)

    def _judge_candidates(self, measured: dict[str, Any]) -> None:
        declared = contract("silver.events")
        checks = [check for check in declared.row_checks() if check.name in measured["violations"]]
        received, refused = measured["received"], measured["refused"]
        usable = received - refused
        if measured["new_fields"]:
            self.new_fields["silver.events"] = measured["new_fields"]
        self._judge(
            "bronze→silver",
            "silver.events",
            [
                # Of a batch with records some must be usable: no rule can tell anything from none.
                *gate.row_rules(checks, measured["violations"], usable, expected=received > 0),
                Measured(
                    "dead_letter_share",
                    refused / received if received else 0.0,
                    most=self.context.settings.gates.max_dead_letter_share,
                    severity="warn",
                ),
                Measured(
                    "books_balance", received - measured["accepted"] - measured["repeats"] - refused, least=0, most=0
                ),
                Measured("uncast_fields", measured["uncast_fields"], most=0, severity="warn"),
                Measured("new_fields", len(measured["new_fields"]), most=0, severity="warn"),
            ],
            received,
        )

    def _write_refused(self, candidates: DataFrame, measured: dict[str, Any], batch: int) -> None:
        if measured["refused"]:
            refused = candidates.where("reason is not null").withColumns(
                {
                    "layer": F.lit("silver"),
                    "refused_at": F.lit(self.context.started_at),
                    "replayed_at": F.lit(None).cast("timestamp"),
                }
            )
            self._append_once("ops.dead_letters", refused, batch)

    def _write_repeats(self, repeats: DataFrame, expected: int, batch: int) -> None:
        if expected:
            self._append_once("ops.duplicates", repeats, batch)

    def _append_once(self, table: str, frame: DataFrame, batch: int) -> None:
        """Append what belongs to batches that the table does not reflect yet (a crash may lie behind it)."""
        booked = self.lake.batch(table)
        self.lake.append(table, frame.where(F.col("batch_id") > booked), batch)

    def _update_stored_events(self, candidates: DataFrame, measured: dict[str, Any], batch: int) -> None:
        """Insert what is new, let better copies win, and repair exactly the sessions that this touches."""
        stored = self.lake.read("silver.events")
        days = sorted(measured["days"])
        near = silver_events.near(days, stored, whole_sites=[], context=self.context)
        compared = silver_events.against_stored(candidates.where("reason is null"), near).localCheckpoint()
        repeats = compared.where("is_repeat")
        measured["repeats"] = repeats.count()
        self._write_repeats(repeats, measured["repeats"], batch)
        inserts = compared.where("is_winner")
        whole_sites = self._sites_with_client_sessions(inserts)
        reach = silver_events.near(days, stored, whole_sites=whole_sites, context=self.context)
        sessions = silver_events.touched_sessions(inserts, reach, context=self.context).localCheckpoint()
        starts = Slices.of(
            (r["site_id"], r["session_date"]) for r in sessions.select("site_id", "session_date").distinct().collect()
        )
        affected = stored.where(starts.predicate("session_date")).join(
            sessions.select("site_id", "session_id"), on=["site_id", "session_id"], how="left_semi"
        )
        changed = silver_events.changes(inserts, affected, context=self.context).localCheckpoint()
        places: dict[str, list[tuple[str, date]]] = {name: [] for name in silver_events.SLICE_COLUMNS}
        for row in silver_events.touched_slices(changed).collect():
            places[row["column"]].append((row["site_id"], row["date"]))
        touched = {name: Slices.of(pairs) for name, pairs in places.items()}
        changed_days = sorted({day for _, day in places["event_date"]})
        where = " or ".join(f"old.event_date = date'{day}'" for day in changed_days) or "false"
        self.lake.upsert("silver.events", changed.drop("_old"), batch, touched, where)
        measured["accepted"] = inserts.where("_old is null").count()

    def _sites_with_client_sessions(self, inserts: DataFrame) -> list[str]:
        sites = [row["site_id"] for row in inserts.select("site_id").distinct().collect()]
        return [site_id for site_id in sites if self.context.sites.of(site_id).session.key == "client"]

    # --- silver → silver and gold ---------------------------------------------------------------------------------

    def build_gold(self) -> None:
        """Bring every gold table up to the last batch of silver."""
        self._derive(GOLD)

    def _derive(self, steps: tuple[Step, ...]) -> None:
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            for wave in waves(steps):
                _all(pool, [partial(self._update, step) for step in wave])

    def _update(self, step: Step) -> None:
        """Recompute the slices of one table that its inputs touched since the batch it reflects."""
        declared, table = step.contract, step.table
        batch = min(self.lake.batch(name) for name in step.inputs)
        done = self.lake.batch(table)
        if done >= batch:
            return
        touched = Slices({})
        for name, column in declared.inputs.items():
            assert column is not None
            touched |= self.lake.touched_since(name, done, column)
        if not touched:
            return
        self._warm_up()
        with self.progress.step(table) as note:
            rows = self._replace(step, touched.widened(forward=declared.looks_back_days), batch)
            note.words = f"{rows:,} rows" + ("" if touched.everything else f" in {touched.count()} slices")
            note.fields = {"rows": rows, "slices": touched.count(), "everything": touched.everything}

    def _replace(self, step: Step, slices: Slices, batch: int) -> int:
        declared = step.contract
        assert declared.slice is not None
        needed = slices.widened(back=declared.looks_back_days)
        inputs = [
            self.lake.read(name).where(needed.predicate(column or "")) for name, column in declared.inputs.items()
        ]
        built = step.build(*inputs, context=self.context).where(slices.predicate(declared.slice))
        if declared.first_written_columns and self.lake.count(step.table):
            built = _keep_first_written(built, self.lake.read(step.table).where(slices.predicate(declared.slice)), step)
        staged = built.localCheckpoint()
        checks = declared.row_checks()
        counts = staged.agg(F.count("*").alias(gate.ROWS), *gate.violations(checks)).first()
        assert counts is not None
        rows = counts[gate.ROWS]
        crossing: gate.Gate = "bronze→silver" if declared.layer == "silver" else "silver→gold"
        expected = rows > 0 or _expects_rows(declared, inputs[0])
        self._judge(crossing, step.table, gate.row_rules(checks, counts.asDict(), rows, expected=expected), rows)
        self.lake.replace_slices(step.table, staged, slices, batch)
        return int(rows)

    # --- gold → served --------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Name the consistent set of versions that is served, in one commit, once the books balance."""
        books = books_of(self.lake)
        missing = books["received"] - sum(books[term] for term in ACCOUNTED_FOR)
        batch = self.lake.batch("silver.events")
        rows = [
            {
                "table_name": table,
                "version": version,
                "batch_id": batch,
                "run_id": self.run_id,
                "published_at": self.context.started_at,
            }
            for table in SERVED
            if (version := self.lake.version(table)) is not None
        ]
        served = {row["table_name"]: row["version"] for row in self.lake.rows("ops.published")}
        if served == {row["table_name"]: row["version"] for row in rows}:
            return
        with self.progress.step("ops.published") as note:
            measured = [
                Measured("records_unaccounted_for", missing, least=0, most=0),
                Measured("tables", len(rows), least=len(SERVED)),
            ]
            self._judge("gold→served", "ops.published", measured, books["received"])
            self.lake.replace_rows("ops.published", rows)
            note.words = f"{len(rows)} tables"

    # --- inside ---------------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        """There is work to do: load what judges it while Spark starts."""
        gate.preload()
        self.lake.session()

    def _judge(self, crossing: gate.Gate, table: str, measured: list[Measured], rows: int) -> None:
        results = gate.judge(crossing, table, measured, rows)
        with _gathering:
            self.results += results
        gate.stop_on_failure(results)


_gathering = threading.Lock()


def _expects_rows(declared: Contract, first_input: DataFrame) -> bool:
    """Whether an empty result would be a fault: nothing can be wrong with no rows, so this asks the input."""
    where = declared.expects_rows_where
    return where is not None and not first_input.where(where).isEmpty()


def _keep_first_written(built: DataFrame, old: DataFrame, step: Step) -> DataFrame:
    """Carry over what a row said when it was first written."""
    kept = step.contract.first_written_columns
    before = old.select(*step.contract.key, *[F.col(name).alias(f"_{name}") for name in kept])
    joined = built.join(before, on=list(step.contract.key), how="left")
    return joined.withColumns({name: F.coalesce(f"_{name}", name) for name in kept}).select(*step.contract.column_names)


def _all(pool: ThreadPoolExecutor, work: list[Callable[[], T]]) -> list[T]:
    """Run the pieces side by side, wait for all, then raise the first error if there was one."""
    futures = [pool.submit(piece) for piece in work]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
    return [future.result() for future in futures]
