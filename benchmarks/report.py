"""What `make bench` measured, as tables: benchmarks/RESULTS.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.answers import Answers
from benchmarks.measure import Cost

PAGE = Path(__file__).resolve().parent / "RESULTS.md"
SAME_TABLES, ALL_TABLES = "ours", "ours_all_tables"
FULL, INCREMENT, EMPTY = "full run", "1 % more", "nothing new"
_BASES = {"DuckDB": "duckdb", "plain Spark": "plain_spark"}
_CONTENDERS = {
    "duckdb": "DuckDB",
    "polars": "Polars",
    "chdb": "ClickHouse (chdb)",
    "plain_spark": "plain Spark",
    "plain_spark_sweep": "plain Spark, users by running sum",
    SAME_TABLES: "this project, the same tables",
    ALL_TABLES: "this project, all tables",
}


@dataclass(frozen=True)
class Figures:
    """What a run cost."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int

    @staticmethod
    def of(cost: Cost, written_bytes: int) -> Figures:
        return Figures(cost.wall_seconds, cost.cpu_seconds, cost.peak_memory_bytes, written_bytes)


Measured = tuple[str, Figures, Answers | None]
"""What was done, its figures, and its answers where it has some."""


@dataclass
class Size:
    """One amount of data, and what each contender made of it."""

    name: str
    lines: int
    raw_bytes: int
    added_lines: int
    figures: dict[tuple[str, str], Figures] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def write(page: Path, sizes: list[Size], start_up: Figures, heap: str, load: float) -> None:
    """Replace the page. `heap`: of the JVM, in words; `load`: the machine's load average before the first run."""
    page.write_text("\n".join(_lines(sizes, start_up, heap, load)) + "\n", encoding="utf-8")


def _lines(sizes: list[Size], start_up: Figures, heap: str, load: float) -> Iterator[str]:
    busy = "other programs were using it" if load > 1 else "nothing else was using it"
    yield "# The same work, side by side"
    yield ""
    yield (
        f"Written by `make bench` on {date.today()}: {os.cpu_count()} cores, {_memory_gib():.0f} GiB of memory,"
        f" {platform.system()} {platform.machine()}, Python {platform.python_version()}, {_engines()}. Heap of the"
        f" JVM: {heap}. The machine's load average before was {load:.1f}: {busy}."
    )
    yield ""
    yield (
        "Raw JSON Lines become typed and distinct events with sessions, sessions, a funnel of four ordered steps,"
        " active users of the day and of 30 days, and daily page metrics with exact percentiles, as Parquet files on"
        " disk. 2 % of the lines are repeats and 0.5 % are wrong. The code of each contender is in `benchmarks/peers`."
        " Plain Spark runs on Spark's defaults but for its memory. This project besides keeps every raw line (bronze),"
        " says of each why it was refused, enriches, checks every table and writes Delta; *all tables* is what a user"
        " gets who asks for nothing else. Each row is one run, a process of its own from its start to its end, one"
        " after the other."
    )
    yield ""
    yield (
        "**The answers of all contenders in a table are equal**: counts, sums and hashes of the events and sessions of"
        " each day, and all of the funnel, the active users and the page metrics. Where they are not, the run stops,"
        " and this page lacks that size and those after it."
    )
    yield ""
    yield (
        "CPU and memory are those of all processes, memory the highest sum of their resident sets. *Written* is what"
        " lies on disk afterwards and did not before. *Nothing new* is a run of this project without new files; after"
        " *1 % more* (95 % of it on the last day, 5 % up to three days late) the others compute everything again."
    )
    yield ""
    yield (
        f"Starting the JVM and a Spark session, and nothing else: {start_up.wall_seconds:.1f} s wall,"
        f" {start_up.cpu_seconds:.1f} s CPU, {start_up.peak_bytes / 2**30:.1f} GiB."
    )
    yield from _growth(sizes)
    for size in sizes:
        yield from _section(size, start_up)


def _growth(sizes: list[Size]) -> Iterator[str]:
    """What a line costs this project in full runs, by size; nothing where it did none."""
    rows = []
    for size in sizes:
        for variant in (SAME_TABLES, ALL_TABLES):
            if (figures := size.figures.get((variant, FULL))) is not None:
                wall, cpu = (seconds / size.lines * 1e6 for seconds in (figures.wall_seconds, figures.cpu_seconds))
                tables, memory = _CONTENDERS[variant].removeprefix("this project, "), figures.peak_bytes / 2**30
                rows.append(f"| {size.name}, {tables} | {wall:.1f} | {cpu:.1f} | {memory:.2f} |")
    if rows:
        yield from ("", "## What a line costs this project", "", "Full runs, in µs a line.", "")
        yield from ("| | wall | CPU | peak memory GiB |", "|---|---:|---:|---:|", *rows)


def _section(size: Size, start_up: Figures) -> Iterator[str]:
    yield from ("", f"## {size.name}", "")
    yield f"{size.lines:,} lines, {size.raw_bytes / 1e6:,.0f} MB."
    for part in (FULL, INCREMENT, EMPTY):
        rows = {contender: figures for (contender, done), figures in size.figures.items() if done == part}
        if not rows:
            continue
        bases = {words: rows[name] for words, name in _BASES.items() if name in rows and part != EMPTY}
        bases |= {"start-up": start_up} if part == EMPTY else {}
        heads = [f"wall, × {words}" for words in bases] + [f"CPU, × {words}" for words in bases]
        more = f" ({size.added_lines:,} lines)" if part == INCREMENT else ""
        yield from ("", f"### {part[0].upper()}{part[1:]}{more}", "")
        yield f"| | wall s | CPU s | peak memory GiB | written MB |{''.join(f' {head} |' for head in heads)}"
        yield f"|---|{'---:|' * (4 + len(heads))}"
        for contender, figures in rows.items():
            ratios = [figures.wall_seconds / base.wall_seconds for base in bases.values()]
            ratios += [figures.cpu_seconds / base.cpu_seconds for base in bases.values()]
            yield (
                f"| {_CONTENDERS[contender]} | {figures.wall_seconds:.1f} | {figures.cpu_seconds:.1f} |"
                f" {figures.peak_bytes / 2**30:.2f} | {figures.written_bytes / 1e6:,.0f} |"
                f"{''.join(f' {ratio:.2f} |' for ratio in ratios)}"
            )
    if size.failures:
        yield ""
    for contender, reason in size.failures.items():
        yield f"- **{_CONTENDERS[contender]} failed**: {reason}"


def _engines() -> str:
    """The versions of those that are installed; chdb is by `make bench-install` only."""
    found = []
    for name in ("duckdb", "polars", "chdb", "pyspark", "delta-spark"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
