"""The same work by this project and by what one would pick instead, side by side: `make bench`.

    .venv/bin/python -m benchmarks.compare --events 1000000 10000000 --alone 30000000 --sessions 10000 1000000 \
        --heavy 300000 --scattered 300000

Raw JSON Lines → typed, distinct, sessionized events and sessions, an ordered funnel, active users of the day and of
30 days, daily page metrics with exact percentiles, on disk (benchmarks/peers/__init__.py). Every contender is a process
of its own, one after the other. Its answers must equal the first's before its times count: where any differ, the run
ends with exit code 1 and writes nothing. A contender that fails has its reason in the table, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from benchmarks import answers, report
from benchmarks.answers import Answers
from benchmarks.events import scatter, write_day, write_flaws, write_history
from benchmarks.measure import Cost, run_command, run_job
from benchmarks.report import ALL_TABLES, EMPTY, FULL, INCREMENT, SAME_TABLES, Figures, Measured, Size

_ROOT = Path(__file__).resolve().parent.parent
PEERS = ("duckdb", "polars", "chdb", "plain_spark", "plain_spark_sweep")
_USUAL_PEERS = PEERS[:4]
# Who shows what an uneven visitor or many files cost: ours, and one that its answers are compared with.
_SHAPED = ("duckdb", SAME_TABLES)
_TABLES = {
    SAME_TABLES: (
        *("gold.funnel_daily", "gold.active_users_daily"),
        *("gold.page_metrics_daily", "gold.page_performance_daily"),
    ),
    ALL_TABLES: (),
}
"""Variant of ours → the gold tables that it builds; none: all."""

_PLAIN_HEAP = "4g"
_LAST = date(2026, 6, 30)
_DAYS = 30
_SESSION_EVENTS = 7
_EVENTS_A_VISITOR = 50
_HEAVY_PERCENT = 20
_SCATTERED_FILES = 5_000
# What a size takes on disk for each event: raw lines of 330 bytes, one contender's tables, what it spills.
_DISK_BYTES = 2000


class DifferenceError(Exception):
    """A contender's answers are not those of the first."""


class Bench:
    """What the contenders of a run share."""

    def __init__(self, folder: Path | None, memory: str | None) -> None:
        self.folder = folder
        self.memory = memory
        self.failed = False

    def size(
        self,
        events: int,
        contenders: Sequence[str],
        *,
        name: str = "",
        whole: bool = True,
        heavy_percent: int = 0,
        files: int | None = None,
    ) -> Size:
        """Run contenders on a history of `events`, then on 1 % more; `whole`: also the parts that follow a first run.

        `heavy_percent`: how many of the events are one visitor's; `files`: over how many files they are spread.
        Raises DifferenceError.
        """
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="bench-") as place:
            root = Path(place)
            landing, more = root / "landing", root / "more"
            lines = _write_history(landing, events, heavy_percent)
            if files is not None:
                scatter(landing, files)
            added = _write_increment(more, events, heavy_percent) if whole else 0
            size = Size(name or f"{events:,} events", lines, _bytes(landing), added)
            expected: dict[str, Answers] = {}
            for contender in contenders:
                run = self.ours if contender in _TABLES else self.peer
                work = work_in(root)
                try:
                    for part, figures, found in run(contender, work, landing, more if whole else None):
                        self._tell(size.name, contender, part, figures)
                        if found is not None:
                            reference = expected.setdefault(part, found)
                            if told := answers.differences(found, reference):
                                raise DifferenceError(f"{size.name}, {contender}, {part}: {'; '.join(told)}")
                        size.figures[contender, part] = figures
                except RuntimeError as error:
                    self.failed = True
                    size.failures[contender] = str(error).strip().splitlines()[-1]
                    print(f"{size.name} · {contender} failed: {error}", file=sys.stderr, flush=True)
                shutil.rmtree(work)
        return size

    def start_up(self) -> Cost:
        return run_command([sys.executable, "-m", "benchmarks.start_up"], environment=self._environment(None))

    def peer(self, peer: str, work: Path, landing: Path, more: Path | None) -> Iterable[Measured]:
        """What a peer makes of `landing`, then of `landing` and `more`."""
        out = work / "out"
        for part, folders in ((FULL, [landing]), (INCREMENT, [landing, more])):
            if None in folders:
                return
            command = [sys.executable, "-m", f"benchmarks.peers.{peer}", str(out), *map(str, folders)]
            cost = run_command(command, environment=self._environment(work, plain=True))
            yield part, Figures.of(cost, _bytes(out)), answers.of_peer(out)
            shutil.rmtree(out)

    def ours(self, variant: str, work: Path, landing: Path, more: Path | None) -> Iterable[Measured]:
        """What this project makes of `landing`, of nothing new, and of `more`."""
        lake = work / "lake"
        given = ["--conf", str(_ROOT / "benchmarks/conf"), "--lakehouse", str(lake), "--as-of", str(_LAST)]
        tables = _TABLES[variant]
        given += ["--tables", *tables] if tables else []
        for part, folder in ((FULL, landing), (EMPTY, landing), (INCREMENT, more)):
            if folder is None:
                return
            before = _bytes(lake)
            arguments = ["--source", "web", "--input", str(folder), *given]
            cost = run_job("run_pipeline", arguments, environment=self._environment(work))
            # Nothing is ever taken away, so what came is what was written.
            figures = Figures.of(cost, _bytes(lake) - before)
            yield part, figures, None if part == EMPTY else answers.of_ours(lake)

    def _environment(self, work: Path | None, *, plain: bool = False) -> dict[str, str]:
        """`plain`: a Spark without the configuration that this project's set-up gives to its own."""
        environment = {"PYTHONPATH": str(_ROOT), "PYSPARK_PYTHON": sys.executable}
        if heap := self.memory or (_PLAIN_HEAP if plain else None):
            environment["PYSPARK_SUBMIT_ARGS"] = f"--driver-memory {heap} pyspark-shell"
        if work is not None:
            environment |= {"TMPDIR": str(work / "tmp"), "SPARK_LOCAL_DIRS": str(work / "tmp")}
        if work is not None and plain:
            home = Path(sys.prefix, "java_home")
            environment |= {"SPARK_CONF_DIR": str(work / "tmp"), "SPARK_LOCAL_IP": "127.0.0.1"}
            environment |= {"JAVA_HOME": home.read_text(encoding="utf-8").strip()} if home.exists() else {}
        return environment

    @staticmethod
    def _tell(size: str, contender: str, part: str, figures: Figures) -> None:
        print(
            f"{size} · {contender} · {part}: {figures.wall_seconds:.1f} s wall, {figures.cpu_seconds:.1f} s CPU,"
            f" {figures.peak_bytes / 2**30:.2f} GiB, {figures.written_bytes / 1e6:,.0f} MB written",
            flush=True,
        )


def work_in(folder: Path) -> Path:
    """A new place for what one contender writes and spills."""
    work = folder / "work"
    (work / "tmp").mkdir(parents=True)
    # The whole configuration of plain Spark: without it the Java of the set-up does not start.
    shutil.copy(_ROOT / "deploy" / "spark" / "spark-env.sh", work / "tmp")
    return work


def _write_history(landing: Path, events: int, heavy_percent: int) -> int:
    """A file a day with its repeats and wrong lines in another; how many lines."""
    visitors = max(1, events // _EVENTS_A_VISITOR)
    lines = write_history(
        landing, last=_LAST, days=_DAYS, events=events, visitors=visitors, heavy_percent=heavy_percent
    )
    days = [str(_LAST - timedelta(days=step)) for step in range(_DAYS)]
    return lines + sum(write_flaws(landing, day) for day in days)


def _write_increment(more: Path, events: int, heavy_percent: int) -> int:
    """1 % more: 95 % of it on the last day, the rest up to three days late; how many lines."""
    visitors, batch = max(1, events // _EVENTS_A_VISITOR), events // 100
    lines = 0
    for late, share in ((0, 0.95), (1, 0.05 / 3), (2, 0.05 / 3), (3, 0.05 / 3)):
        day = _LAST - timedelta(days=late)
        lines += write_day(
            *(more, f"new-{late}", day),
            events=round(batch * share),
            visitors=visitors,
            seed=3,
            heavy_percent=heavy_percent,
        )
    return lines


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="*", default=[1_000_000, 10_000_000], help="sizes, side by side")
    parser.add_argument(
        "--heavy", type=int, nargs="*", default=[], help=f"sizes of which one visitor has {_HEAVY_PERCENT} %%"
    )
    parser.add_argument("--scattered", type=int, nargs="*", default=[], help=f"sizes in {_SCATTERED_FILES:,} files")
    parser.add_argument("--alone", type=int, nargs="*", default=[], help="sizes for us alone, same tables")
    parser.add_argument(
        "--sessions", type=int, nargs="*", default=[10_000], help="sessions of a month, for us alone, all tables"
    )
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(_USUAL_PEERS))
    parser.add_argument("--ours", nargs="*", choices=list(_TABLES), default=list(_TABLES), help="variants of ours")
    parser.add_argument(
        "--memory", help=f"heap of the JVM (default: ours what set-up gives, plain Spark's {_PLAIN_HEAP})"
    )
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile (default: a temporary folder)")
    parser.add_argument("--results", type=Path, default=report.PAGE, help="where the tables go")
    return parser.parse_args()


def _sizes(bench: Bench, arguments: argparse.Namespace) -> Iterator[Size]:
    for events in arguments.events:
        yield bench.size(events, [*arguments.peers, *arguments.ours])
    for events in arguments.heavy:
        name = f"{events:,} events, {_HEAVY_PERCENT} % of them by one visitor"
        yield bench.size(events, _SHAPED, name=name, heavy_percent=_HEAVY_PERCENT)
    for events in arguments.scattered:
        name = f"{events:,} events in {_SCATTERED_FILES:,} files"
        yield bench.size(events, _SHAPED, name=name, files=_SCATTERED_FILES)
    for sessions in arguments.sessions:
        name = f"{sessions:,} sessions of a month, ours alone"
        yield bench.size(sessions * _SESSION_EVENTS, [ALL_TABLES], whole=False, name=name)
    for events in arguments.alone:
        yield bench.size(events, [SAME_TABLES], name=f"{events:,} events, ours alone")


def main() -> int:
    arguments = _arguments()
    bench = Bench(arguments.folder, arguments.memory)
    load = os.getloadavg()[0]  # before our own work adds to it
    asked = [*arguments.events, *arguments.heavy, *arguments.scattered, *arguments.alone]
    largest = max([*asked, *(sessions * _SESSION_EVENTS for sessions in arguments.sessions)], default=0)
    free = shutil.disk_usage(bench.folder or tempfile.gettempdir()).free
    if free < largest * _DISK_BYTES:
        print(f"{largest:,} events need {largest * _DISK_BYTES >> 30} GiB on disk, {free >> 30} free", file=sys.stderr)
        return 2
    heap = f"{bench.memory or 'as set-up gives it'} for this project, {bench.memory or _PLAIN_HEAP} for plain Spark"
    sizes: list[Size] = []
    try:
        start_up = Figures.of(bench.start_up(), 0)
        print(f"start-up alone: {start_up.wall_seconds:.1f} s wall", flush=True)
        for size in _sizes(bench, arguments):
            sizes.append(size)
            # After each, since the next may take an hour.
            report.write(arguments.results, sizes, start_up, heap, load)
    except DifferenceError as error:
        print(f"answers differ: {error}", file=sys.stderr)
        return 1
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
