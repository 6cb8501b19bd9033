"""The long proof: random arrivals with restarts, and kills of every kind, for as long as is asked for.

`python -m tests.soak --seconds N` ends with exit code 1 where anything differs, and writes its result to docs/soak.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import copy2, rmtree

from pyspark.sql import SparkSession

from data.generate import write_events
from pipelines.ops import rebuild
from pipelines.plan import GOLD, SERVED
from pipelines.spark import build_session
from tests import arrivals, killing
from tests.conftest import SPARK
from tests.killing import KINDS, Kind
from tests.runs import CANONICAL, Row, land, new_run

PAGE = killing.PROJECT / "docs/soak.md"
# The tables in the order in which a run writes them.
WRITTEN = ("bronze.events", "bronze.files", "ops.duplicates", "ops.dead_letters", *SERVED, "ops.published")
LEDGERS = ("ops.quality_results", "ops.runs")
PHASES = ("first load", "increment")
_GOLD = {step.table for step in GOLD}
_OF_TIME_FOR_KILLS = 0.55
# A lake is killed at so many points in each phase as there are such spans in the time that is given, 2 to 6.
_SECONDS_A_KILL = 300
_TOLD, _TOLD_CHARACTERS = 5, 300
_SECONDS_OF_A_RUN = (4.0, 40.0)


@dataclass
class Tally:
    """What was done, and what differed."""

    seed: int
    started: datetime
    seconds: float
    kills: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    missed: int = 0
    at_random_times: int = 0
    lakes: int = 0
    killed_events: int = 0
    seeds: list[int] = field(default_factory=list)
    events: int = 0
    batches: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    rebuilds: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def say(self, words: str) -> None:
        took = int((datetime.now(UTC) - self.started).total_seconds())
        print(f"{took // 60:4}:{took % 60:02}  {words}", flush=True)

    def expect_none(self, where: str, found: list[str]) -> None:
        """Note what differs; it is told at once and decides the exit code."""
        for words in found[:_TOLD]:
            self.say(f"DIFFERENT  {where}: {words[:_TOLD_CHARACTERS]}")
        self.differences += [f"{where}: {words[:_TOLD_CHARACTERS]}" for words in found]


# --- kills -----------------------------------------------------------------------------------------------------------


def kill_round(tally: Tally, folder: Path, seed: int) -> None:
    """One lake: a first load and an increment, each killed again and again, against a lake that no kill has met."""
    rng = random.Random(seed)
    made = write_events(folder / "made", start=date(2026, 1, 5), days=3, users=rng.choice((20, 40, 80)), seed=seed)
    files = sorted(made.files)
    for file in files:
        _spoil(file)
    landing, lake, reference = folder / "landing", folder / "lake", folder / "reference"
    landing.mkdir()
    for phase, arrived in zip(PHASES, (files[:-1], files), strict=True):
        for file in arrived:
            copy2(file, landing)
        for table, kind in _targets(tally, phase, rng):
            kill = killing.kill_at(lake, landing, table, kind)
            if kill.found is None:
                tally.missed += 1
                tally.say(f"kill: {phase}, {table}: the run ended before it")
                break
            tally.kills[phase, table, kill.found] += 1
            tally.say(f"kill: {phase}, {table}: {kill.found}")
        seconds = rng.uniform(*_SECONDS_OF_A_RUN)
        if killing.kill_after(lake, landing, seconds):
            tally.at_random_times += 1
            tally.say(f"kill: {phase}, after {seconds:.1f} s")
        killing.finish(lake, landing)
        tally.expect_none(f"books after kills, seed {seed}, {phase}", killing.unbalanced(lake))
    killing.finish(reference, landing)
    tally.expect_none(f"tables after kills, seed {seed}", killing.differing(lake, reference))
    again = killing.finish(lake, landing)["status"]
    tally.expect_none(f"a run after kills, seed {seed}", [again] if again != "nothing_new" else [])
    tally.lakes += 1
    records = made.lines + 2 * len(files)
    tally.killed_events += records
    tally.say(f"kill: lake {tally.lakes} (seed {seed}, {records:,} records) compared")


def _spoil(file: Path) -> None:
    """Add a repeat and a malformed line, so that every table has something to write."""
    text = file.read_text(encoding="utf-8")
    file.write_text(text + text.splitlines()[0] + "\nnot json\n", encoding="utf-8")


def _targets(tally: Tally, phase: str, rng: random.Random) -> list[tuple[str, Kind]]:
    """The points that were hit least, in the order in which a run comes to them; of gold, built side by side, one."""
    points: list[tuple[str, Kind]] = [(table, kind) for table in (*WRITTEN, *LEDGERS) for kind in KINDS]
    least = sorted(points, key=lambda point: (tally.kills[phase, point[0], point[1]], rng.random()))
    chosen: list[tuple[str, Kind]] = []
    at_most = min(6, max(2, int(tally.seconds / _SECONDS_A_KILL)))
    for table, kind in least:
        if len(chosen) < at_most and not (table in _GOLD and any(other in _GOLD for other, _ in chosen)):
            chosen.append((table, kind))
    return sorted(chosen, key=points.index)


# --- arrivals --------------------------------------------------------------------------------------------------------


def arrival_round(tally: Tally, spark: SparkSession, folder: Path, seed: int) -> None:
    """One lake of random arrivals with deaths and a rebuild, against one run over everything and the model."""
    rng = random.Random(seed)
    records = arrivals.random_records(rng, rng.choice((30, 100, 250, 600)))
    batches = arrivals.random_batches(rng, records, rng.randint(2, 5))
    parts, whole = folder / "parts", folder / "whole"
    deaths = arrivals.arrive(spark, parts, batches, [arrivals.random_fate(rng) for _ in batches])
    tally.deaths.update(deaths)
    tally.expect_none(f"model, seed {seed}", arrivals.differing_from_model(parts, records))

    land(whole / "landing", "all.jsonl", [record["_line"] for batch in batches for record in batch])
    arrivals.run_whole(spark, whole / "lake", whole / "landing")
    expected = arrivals.tables(whole)
    tally.expect_none(f"one run, seed {seed}", _differing(arrivals.tables(parts), expected))

    run = new_run(spark, parts / "lake", arrivals.CONTEXT)
    run.sources[CANONICAL.source] = CANONICAL
    first, last = None, None
    if rng.random() < 0.5:
        start = date(2026, 3, 1) + timedelta(days=rng.randrange(60))
        first, last = str(start), str(start + timedelta(days=rng.randrange(30)))
    rebuild.rebuild(run, argparse.Namespace(first=first, last=last))
    tally.rebuilds["of everything" if first is None else "of a range of dates"] += 1
    tally.expect_none(f"rebuild {first} {last}, seed {seed}", _differing(arrivals.tables(parts), expected))
    tally.expect_none(f"books, seed {seed}", arrivals.unbalanced(parts / "lake"))

    tally.seeds.append(seed)
    tally.events += len(records)
    tally.batches += len(batches)
    where = f" died {', '.join(deaths)};" if deaths else ""
    tally.say(f"arrival: seed {seed}, {len(records):,} records in {len(batches)} batches;{where} compared")


def _differing(found: dict[str, list[Row]], expected: dict[str, list[Row]]) -> list[str]:
    return [table for table in expected if found[table] != expected[table]]


# --- the result ------------------------------------------------------------------------------------------------------


def page(tally: Tally) -> str:
    """The result in Markdown."""
    took = datetime.now(UTC) - tally.started
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hit = sum(tally.kills.values())
    rebuilds = ", ".join(f"{count} {what}" for what, count in sorted(tally.rebuilds.items()))
    lines = [
        "# Soak",
        "",
        "The last result of `make soak`: random arrivals with restarts, and runs killed by `kill -9`, for as long as",
        "is asked for. It compares every silver and gold table row for row.",
        "",
        "| | |",
        "|---|---|",
        f"| date | {tally.started:%Y-%m-%d %H:%M} UTC, {took.total_seconds() / 60:.0f} minutes |",
        f"| machine | {os.cpu_count()} cores, {memory:.0f} GB memory, {platform.system()}, Python "
        f"{platform.python_version()} |",
        f"| result | **{len(tally.differences) or 'no'} differences** |",
        f"| killed lakes | {tally.lakes}, with {tally.killed_events:,} records: equal to a lake that was never killed, "
        "books balanced, the next run finds nothing new |",
        f"| kills | {hit + tally.at_random_times}: {hit} at chosen points, {tally.at_random_times} at random times; "
        f"{tally.missed} more were chosen, but the run ended before them |",
        f"| random lakes | {len(tally.seeds)}, with {tally.events:,} records in {tally.batches} batches: equal to the "
        "plain-Python model, to one run over everything, and to themselves after a rebuild |",
        f"| their deaths | {sum(tally.deaths.values())}, right before or after a write to "
        f"{len(_tables_of(tally.deaths))} different tables |",
        f"| their rebuilds | {rebuilds or 'none'} |",
        f"| seeds | from {tally.seed}; random lakes {', '.join(map(str, tally.seeds)) or 'none'} |",
        "",
        "Kills by table, and what the kill found in the table's folder: *inside* a write (data files that no commit",
        "names), or right after a *commit*.",
        "",
        f"| table | {' | '.join(f'{phase}, {kind}' for phase in PHASES for kind in KINDS)} |",
        f"|---|{'---:|' * len(PHASES) * len(KINDS)}",
    ]
    for table in (*WRITTEN, *LEDGERS):
        counts = [tally.kills[phase, table, kind] for phase in PHASES for kind in KINDS]
        lines.append(f"| `{table}` | {' | '.join(str(count or '–') for count in counts)} |")
    lines += ["", *[f"- {words}" for words in tally.differences[:50]]]
    return "\n".join(lines).rstrip() + "\n"


def _tables_of(deaths: Counter[str]) -> set[str]:
    return {words.rsplit(" ", 1)[1] for words in deaths}


def main() -> int:
    """Kills first, then arrivals, until the time is over."""
    parser = argparse.ArgumentParser(description="Random arrivals and kills, for as long as is asked for.")
    parser.add_argument("--seconds", type=float, default=1800, help="about how long (default: 1800)")
    parser.add_argument("--seed", type=int, default=None, help="first seed (default: by the clock)")
    arguments = parser.parse_args()
    started = datetime.now(UTC)
    seed = arguments.seed if arguments.seed is not None else int(started.timestamp()) % 1_000_000
    tally = Tally(seed, started, arguments.seconds)
    tally.say(f"seed {seed}, for about {arguments.seconds / 60:.0f} minutes")
    scratch = Path(tempfile.mkdtemp(prefix="soak-"))
    begun = time.monotonic()
    seed = _repeat(tally, partial(kill_round, tally), scratch, seed, begun + arguments.seconds * _OF_TIME_FOR_KILLS)
    spark = build_session(SPARK, "soak")
    spark.sparkContext.setLogLevel("ERROR")
    _repeat(tally, partial(arrival_round, tally, spark), scratch, seed, begun + arguments.seconds)
    spark.stop()
    if not tally.differences:
        rmtree(scratch)
    PAGE.write_text(page(tally), encoding="utf-8")
    tally.say(f"{len(tally.differences)} differences; {PAGE} written")
    return 1 if tally.differences else 0


def _repeat(tally: Tally, work: Callable[[Path, int], None], scratch: Path, seed: int, until: float) -> int:
    """Do it with one seed after another, at least once, as long as half of another would fit; returns the next seed.

    Each has a folder of its own, which stays where something differs.
    """
    longest = 0.0
    while not longest or time.monotonic() + longest / 2 < until:
        begun, before = time.monotonic(), len(tally.differences)
        folder = scratch / str(seed)
        folder.mkdir()
        try:
            work(folder, seed)
        except Exception as error:  # a run that does not end well is what this is to find
            tally.expect_none(f"failure, seed {seed}", [f"{type(error).__name__}: {error}"])
        if len(tally.differences) == before:
            rmtree(folder)
        else:
            tally.say(f"kept: {folder}")
        longest = max(longest, time.monotonic() - begun)
        seed += 1
    return seed


if __name__ == "__main__":
    sys.exit(main())
