"""Random arrivals of random records: cut, shuffled, repeated and stopped, they must all end in the same tables."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from pipelines import runner
from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.lake import Lake
from pipelines.ops.books import Books
from pipelines.plan import SERVED
from pipelines.run import Run
from pipelines.sources import Source
from tests.model import UNSPECIFIED_COLUMNS
from tests.model import run as run_model
from tests.model.strategies import FUNNELS, SITES, random_events, small_settings
from tests.runs import CANONICAL, Row, as_records, content, differences, in_key_order, land, new_run, no_session

CONTEXT = RunContext(
    settings=small_settings(),
    sites=SITES,
    funnels=FUNNELS,
    started_at=datetime(2026, 5, 1, tzinfo=UTC),
    as_of=date(2026, 4, 30),
)
NEXT_WEEK, LONG_AGO = timedelta(days=7), timedelta(days=300)


def random_records(rng: random.Random, size: int) -> list[Row]:
    """Records of every site; one of 300 days ago, one of next week, and some that bridge a gap between others."""
    events = random_events(rng, size)
    now = CONTEXT.started_at
    for number, time in enumerate((now - LONG_AGO, now + NEXT_WEEK)):
        events.append({**rng.choice(events), "event_id": f"far{number}", "event_time": time, "received_at": None})
    for number, event in enumerate(rng.sample(events, min(len(events), size // 20))):
        for seconds in (1800, 3600):
            apart = {"event_id": f"bridge{number}-{seconds}", "event_time": event["event_time"] + timedelta(0, seconds)}
            events.append({**event, **apart})
    return as_records(_received_in_time(event) for event in events)


def _received_in_time(event: Row) -> Row:
    """Without its receipt where that makes it an event of the future, which the pipeline refuses and the model not."""
    received = event["received_at"]
    refused = received is not None and event["event_time"] > received + timedelta(days=1)
    return {**event, "received_at": None} if refused else event


def random_batches(rng: random.Random, records: list[Row], batches: int) -> list[list[Row]]:
    """The records in any order, a third of them once more, cut anywhere; every batch holds some."""
    arrived = rng.sample(records, len(records)) + rng.sample(records, len(records) // 3)
    cuts = sorted(rng.sample(range(1, len(arrived)), batches - 1))
    return [arrived[start:end] for start, end in zip([0, *cuts], [*cuts, len(arrived)], strict=True)]


# --- a process that dies ---------------------------------------------------------------------------------------------


class Death(BaseException):
    """The process ends here."""


_WRITES = (
    *("append", "append_batches", "append_rows", "delete", "mark", "overwrite"),
    *("replace_rows", "replace_slices", "update", "upsert"),
)


class DyingLake(Lake):
    """A lake whose process dies right before or right after its n-th write, and writes nothing any more."""

    def __init__(self, root: Path, session: Callable[[], SparkSession], *, writes: int, after: bool) -> None:
        super().__init__(str(root), {}, session)
        self.died_at: str | None = None
        self._left, self._after = writes, after
        self._counting = threading.Lock()

    def _write(self, name: str, *given: Any, **named: Any) -> Any:
        with self._counting:
            self._left -= 1
            last = self._left == 0
            if self._left < 0 or (last and not self._after):
                self.died_at = self.died_at or f"before {name} of {given[0]}"
                raise Death
        result = getattr(Lake, name)(self, *given, **named)
        if last:
            self.died_at = f"after {name} of {given[0]}"
            raise Death
        return result


def _mortal(name: str) -> Callable[..., Any]:
    return lambda lake, *given, **named: lake._write(name, *given, **named)


for _name in _WRITES:
    setattr(DyingLake, _name, _mortal(_name))


def run_until_death(spark: SparkSession, root: Path, landing: Path, *, writes: int, after: bool) -> str | None:
    """A whole run whose process dies at a write; where, or null where it ended before."""
    run = new_run(spark, root, CONTEXT)
    run.lake = lake = DyingLake(root, lambda: spark, writes=writes, after=after)
    try:
        runner.bring_up_to_date(run, [(CANONICAL, str(landing))])
    except Death:
        return lake.died_at
    return None


def run_whole(spark: SparkSession, root: Path, landing: Path, source: Source = CANONICAL) -> Run:
    """A whole run that nothing stops."""
    run = new_run(spark, root, CONTEXT)
    runner.bring_up_to_date(run, [(source, str(landing))])
    assert not run.failures, run.failures
    return run


Fate = tuple[int, bool] | None
"""At which write a run dies, and whether after it; null: it lives."""


def random_fate(rng: random.Random) -> Fate:
    """Six runs of ten die, within the number of writes of a whole run."""
    return (rng.randint(1, 20), rng.random() < 0.5) if rng.random() < 0.6 else None


def arrive(spark: SparkSession, root: Path, batches: list[list[Row]], fates: Sequence[Fate]) -> list[str]:
    """Each batch lands as a file and is taken by a run, which may die; the next one goes on from what is there.

    Returns where runs died.
    """
    deaths = []
    for number, (batch, fate) in enumerate(zip(batches, fates, strict=True)):
        land(root / "landing", f"{number}.jsonl", [record["_line"] for record in batch])
        if fate is None:
            run_whole(spark, root / "lake", root / "landing")
        else:
            died = run_until_death(spark, root / "lake", root / "landing", writes=fate[0], after=fate[1])
            deaths += [died] if died else []
    run_whole(spark, root / "lake", root / "landing")
    return deaths


# --- what must hold --------------------------------------------------------------------------------------------------


def tables(root: Path) -> dict[str, list[Row]]:
    """What every served table holds, row by row."""
    return {table: content(root / "lake", table) for table in SERVED}


def differing_from_model(root: Path, records: list[Row], served: Sequence[str] = SERVED) -> list[str]:
    """What differs in any of the tables from the plain-Python model of these records."""
    expected = run_model(records, SITES, FUNNELS, small_settings())
    told = []
    for table in served:
        left_out = UNSPECIFIED_COLUMNS.get(table, ())
        names = [name for name in contract(table).comparable_columns if name not in left_out]
        rows = in_key_order(table, [{name: row[name] for name in names} for row in expected[table]])
        told += [f"{table}: {words}" for words in differences(content(root / "lake", table, left_out), rows)]
    return told


def unbalanced(root: Path) -> list[str]:
    """Sources, and the whole, whose books do not balance."""
    books = Books.of(Lake(str(root), {}, no_session))
    terms = {**books.sources, "all sources": books.total}
    return [f"{name}: {term}" for name, term in terms.items() if term.missing]
