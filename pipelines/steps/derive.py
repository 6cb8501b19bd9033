"""Silver and gold tables that are derived from others: recompute what was touched since the batch they reflect.

Most are functions of (site, date) slices of their inputs. The rest (`write: replace`) need the whole of an input, such
as a person's history; they are made again as soon as an input moved, or the last complete date where they depend on it.
"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts import Contract
from pipelines.lake import Lake
from pipelines.lake_frames import Few, Staged, sent
from pipelines.plan import Step, order
from pipelines.quality import gate
from pipelines.run import Run
from pipelines.slices import EVERYTHING, NOTHING, Slices, besides_persons

# Tables that are built side by side: small steps wait for the driver more than for a core.
_SIDE_BY_SIDE = 4


def derive(run: Run, steps: tuple[Step, ...]) -> None:
    """Bring the tables up to the batch that all their inputs reflect."""
    inputs = _Inputs(run.lake)
    by_table = {step.table: step for step in steps}
    ready = order(steps)
    running: dict[Future[None], str] = {}
    errors: list[BaseException] = []
    with run.lake.scratch(), ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        while ready.is_active():
            for table in sorted(ready.get_ready(), key=list(by_table).index):
                work = partial(_update, run, by_table[table], inputs)
                running[pool.submit(run.attempt, table, work)] = table
            if not running:  # what is left depends on what failed
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                table = running.pop(future)
                if error := future.exception():
                    errors.append(error)
                else:
                    ready.done(table)
    if errors:
        raise errors[0]


class _Inputs:
    """Rows that the steps of a run read. Few of them are computed once for all steps: planning to read a table takes
    longer than reading them."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._held: dict[tuple[str, str], DataFrame] = {}
        self._reading = threading.Lock()

    def of(self, table: str, where: str, *, few: bool) -> DataFrame:
        """The table's rows that match; `few`: whether the step reads few rows in all."""
        if not few:
            return self._lake.read(table).where(where)
        with self._reading:
            if (table, where) not in self._held:
                self._held[table, where], _, _ = self._lake.checkpoint(self._lake.read(table).where(where))
            return self._held[table, where]


def _update(run: Run, step: Step, inputs: _Inputs) -> None:
    """Recompute the slices of one table that its inputs touched, or the whole where it cannot be cut."""
    declared, table, lake = step.contract, step.table, run.lake
    batch = min(run.reached.get(name) or lake.batch(name) for name in step.inputs)
    done = lake.batch(table)
    touched = NOTHING
    days_ahead = step.days_ahead(run.context)
    looked_ahead = {} if days_ahead is None else declared.looks_ahead
    if done < batch:
        for name, column in declared.inputs.items():
            touched |= lake.touched_since(name, done, step.touched_by(name, column, run.context))
        for name, column in looked_ahead.items():
            by = step.touched_by(name, column, run.context)
            touched |= lake.touched_since(name, done, by).widened(back=days_ahead or 0)
    another_day = declared.as_of and batch > 0 and lake.made_for(table) != run.context.last_dates
    if declared.write == "replace" and (touched or another_day):
        touched = EVERYTHING
    if not touched:
        if done:  # else there is no table that could reflect anything
            run.reached[table] = max(done, batch)
        return
    run.warm_up()
    slices = touched.widened(forward=declared.looks_back_days)
    cut, handed = _by_change(lake, step, slices, done)
    made = slices - handed
    needed = {
        name: [(column or "", made.widened(back=declared.looks_back_days))] for name, column in declared.inputs.items()
    }
    for name, column in looked_ahead.items():
        needed[name].append((column, made.widened(forward=days_ahead or 0)))
    reading = sum(lake.rows_in(name, dates, column) for name, parts in needed.items() for column, dates in parts)
    if handed:
        reading += sum(lake.rows_in(name, handed, column or "") for name, column in declared.inputs.items())
    with run.progress.step(table) as note, lake.expecting(reading):
        few = lake.reads_few(reading)
        read = [
            inputs.of(name, " or ".join(dates.predicate(column) for column, dates in parts), few=few)
            for name, parts in needed.items()
        ]
        staged = _judged(run, step, _built(run, step, made, read), read[0])
        if declared.write == "replace":
            lake.overwrite(table, staged, batch, {}, run.context.last_dates if declared.as_of else None)
        elif handed:
            told = {declared.slice or "": slices, **cut}
            persons, gone = _handed_over(lake, step, handed, done), _gone(lake, step, staged, made)
            changed = staged if staged.page is not None else _changed(lake, step, staged, made)
            lake.upsert(table, changed, batch, told, slices.all_dates(), persons, gone)
        else:
            lake.replace_slices(table, staged, slices, batch, cut)
        run.reached[table] = batch
        note.words = f"{staged.rows:,} rows" + ("" if touched.everything else f" in {touched.count()} slices")
        note.fields = {"rows": staged.rows, "slices": touched.count(), "everything": touched.everything}


def _by_change(lake: Lake, step: Step, slices: Slices, done: int) -> tuple[dict[str, Slices], Slices]:
    """What the commit is to say of slices in which more than persons changes, and the slices that are only handed over.

    Those are none where few rows are read: to make these anew takes fewer queries.
    """
    if step.persons is None:
        return {}, NOTHING
    [(source, column)] = step.contract.inputs.items()
    cut = lake.touched_since(source, done, besides_persons(column or "")) if done else slices
    handed = slices - cut
    if lake.reads_few(lake.rows_in(source, slices, column or "")):
        handed = NOTHING
    return {besides_persons(step.contract.slice or ""): cut}, handed


def _built(run: Run, step: Step, slices: Slices, inputs: list[DataFrame]) -> DataFrame:
    """The rows of the slices, made anew."""
    declared, lake = step.contract, run.lake
    in_slices = slices.predicate(declared.slice or "")
    built = step.build(*[_narrowed(run, step, rows) for rows in inputs], context=run.build_context).where(in_slices)
    if declared.first_written_columns and lake.count(step.table):
        built = _keep_first_written(built, lake.read(step.table).where(in_slices), step)
    return built.select(*declared.column_names)


def _narrowed(run: Run, step: Step, rows: DataFrame) -> DataFrame:
    """A step that is not run where only persons changed must not see them."""
    return rows if step.reads_persons(run.context) else rows.drop("person_id")


def _handed_over(lake: Lake, step: Step, slices: Slices, done: int) -> Few:
    """Keys and persons of the rows that changed hands since batch `done`, in slices in which nothing else changed."""
    assert step.persons is not None
    [(source, column)] = step.contract.inputs.items()
    events = lake.read(source).where(slices.predicate(column or ""))
    key = list(step.contract.key)
    changed, found, _ = lake.checkpoint(events.where(F.col("changed_in") > done).select(*key).distinct())
    persons, found, _ = lake.checkpoint(step.persons(events.join(sent(changed, found), on=key, how="left_semi")))
    return Few(persons, found)


def _gone(lake: Lake, step: Step, staged: Staged, slices: Slices) -> Few:
    """Keys of stored rows of the slices that are not there any more."""
    key = list(step.contract.key)
    stored = lake.read(step.table).where(slices.predicate(step.contract.slice or "")).select(*key)
    gone, found, _ = lake.checkpoint(stored.join(staged.frame.select(*key), on=key, how="left_anti"))
    return Few(gone, found)


def _changed(lake: Lake, step: Step, staged: Staged, slices: Slices) -> Staged:
    """Those of the rows that the table does not hold as they are: of a day made anew for a few events, a few."""
    key = list(step.contract.key)
    others = [name for name in step.contract.column_names if name not in key]
    stored = lake.read(step.table).where(slices.predicate(step.contract.slice or ""))
    beside = staged.frame.join(stored.select(*key, F.struct(*others).alias("_stored")), on=key, how="left")
    differ = beside.where(~F.struct(*others).eqNullSafe(F.col("_stored")))
    return lake.stage(step.table, differ.withColumn("is_new", F.col("_stored").isNull()), told=["is_new"])


def _judged(run: Run, step: Step, rows: DataFrame, first_input: DataFrame) -> Staged:
    """The rows computed; raises DataRefusedError where they break a rule of the contract."""
    declared = step.contract
    checks = declared.row_checks()
    staged = run.lake.stage(step.table, rows, gate.violations(checks))
    crossing: gate.Gate = "bronze→silver" if declared.layer == "silver" else "silver→gold"
    expected = staged.rows > 0 or _expects_rows(declared, first_input)
    run.judge(
        crossing, step.table, gate.row_rules(checks, staged.measured, staged.rows, expected=expected), staged.rows
    )
    return staged


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
