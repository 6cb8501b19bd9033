"""Does cost follow the change? A batch of 1 % on histories that double, against rebuilding everything.

    .venv/bin/python -m benchmarks.increments --events 2500000 5000000 10000000

For each size: a first load; a batch of one event (what a run costs that has next to nothing to do); a batch of 1 % of
the largest history (95 % on its last day, 5 % up to three days late); one event of 300 days ago; one of next week;
repeats of the last day; a full rebuild. Each is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from benchmarks.events import write_day, write_history
from benchmarks.measure import Cost, run_job

_LAST = date(2026, 6, 30)
_DAY = timedelta(days=1)


def measure(
    events: int, batch: int, repeats: int, tables: list[str], root: Path, tell: Callable[[str], None]
) -> dict[str, Cost]:
    """The cost of each kind of run on a history of `events`; always so many a day, so that history means days."""
    chosen = ["--tables", *tables] if tables else []
    per_day = 330_000
    days = max(1, events // per_day)
    landing, lake = root / "landing", root / "lake"
    visitors = 200_000
    found: dict[str, Cost] = {}

    def do(name: str, job: str, *arguments: str) -> None:
        cost = found[name] = run_job(job, [*arguments, *chosen, "--lakehouse", str(lake)])
        steps = ", ".join(f"{step} {seconds:.0f}" for step, seconds in cost.summary["steps"].items() if seconds >= 1)
        tell(
            f"{events:,} · {name}: {cost.wall_seconds:.0f} s wall, {cost.cpu_seconds:.0f} s CPU,"
            f" {cost.peak_memory_bytes / 2**30:.1f} GiB · {cost.summary['new_records']:,} records · {steps}"
        )

    def take(name: str) -> None:
        do(name, "run_pipeline", "--source", "web", "--input", str(landing))

    write_history(landing, last=_LAST, days=days, events=events, visitors=visitors)
    take("first load")
    one = {"visitors": visitors, "seed": 2}
    write_day(landing, "one", _LAST, events=1, **one)
    take("one session")
    write_day(landing, "new-0", _LAST, events=round(batch * 0.95), visitors=visitors, seed=3)
    for late in (1, 2, 3):
        write_day(
            landing, f"new-{late}", _LAST - late * _DAY, events=round(batch * 0.05 / 3), visitors=visitors, seed=3
        )
    take("1 % of the largest")
    write_day(landing, "old", _LAST - 300 * _DAY, events=1, **one)
    take("one session 300 days ago")
    write_day(landing, "future", _LAST + 7 * _DAY, events=1, **one)
    take("one session of next week")
    if repeats:
        for copy in range(-(-repeats // per_day)):
            shutil.copy(landing / f"{_LAST}.jsonl", landing / f"again-{copy}.jsonl")
        take("repeats of the last day")
    do("full rebuild", "rebuild")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[2_500_000, 5_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=1_000_000, help="repeats of the last day's events")
    parser.add_argument("--tables", nargs="+", default=[], help="gold tables that are made (default: all)")
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    figures = {}
    for events in arguments.events:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as root:
            found = measure(
                events,
                max(arguments.events) // 100,
                arguments.repeats,
                arguments.tables,
                Path(root),
                lambda text: print(text, flush=True),
            )
        figures[events] = {
            name: {
                "wall_seconds": cost.wall_seconds,
                "cpu_seconds": cost.cpu_seconds,
                "peak": cost.peak_memory_bytes,
                "steps": cost.summary["steps"],
                "new_records": cost.summary["new_records"],
            }
            for name, cost in found.items()
        }
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
