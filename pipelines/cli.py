"""Arguments, exit codes and the frame of a run, for everything in jobs/.

Exit codes: 0 done, 1 data refused by a quality gate, 2 wrong usage or configuration, 3 infrastructure.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.context import RunContext
from pipelines.errors import ConfigurationError, DataRefusedError, InfrastructureError, PipelineError
from pipelines.funnels import load_funnels
from pipelines.lake import Lake, now
from pipelines.lock import alone
from pipelines.ops import ledger, summary
from pipelines.ops.books import Books
from pipelines.plan import GOLD, gold_for
from pipelines.progress import Progress
from pipelines.run import Run
from pipelines.settings import Settings, load_settings, load_sites
from pipelines.sources import Source, load_source
from pipelines.spark import build_session

EXIT_CODES = __doc__.split("\n\n")[1] if __doc__ else ""


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments that every job shares."""
    made = argparse.ArgumentParser(description=description, epilog=EXIT_CODES)
    made.add_argument("--env", default="local", help="settings to run under: a file in conf/settings (default: local)")
    made.add_argument(
        "--lakehouse", metavar="DIR", help="root of the Delta tables, DIR/<layer>/<table> (default: from settings)"
    )
    made.add_argument(
        "--conf", metavar="DIR", help="folder with sites.yaml and funnels.yaml of your own (default: conf)"
    )
    made.add_argument(
        "--as-of", metavar="DATE", help="last complete day of every site (default: yesterday by the site's clock)"
    )
    made.add_argument(
        "--wait",
        type=float,
        default=0,
        metavar="SECONDS",
        help="how long to wait for a run that has the lake (default: 0)",
    )
    made.add_argument("--json", action="store_true", help="print the run's summary as one JSON object on stdout")
    return made


def add_source(made: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The arguments of jobs that read a source."""
    made.add_argument(
        "--source",
        required=required,
        action="append",
        default=[],
        help="a source in conf/sources, or the path of a mapping of your own; may be repeated, each with its --input",
    )
    made.add_argument(
        "--input",
        required=required,
        action="append",
        default=[],
        metavar="PATH",
        help="file or folder (new files only), or kafka://host:port/topic",
    )


def add_mappings(made: argparse.ArgumentParser) -> None:
    """The argument of jobs that read bronze's records through their sources' mappings."""
    made.add_argument(
        "--mapping",
        metavar="FILE",
        action="append",
        default=[],
        help="a mapping of your own that bronze holds records of",
    )


def add_tables(made: argparse.ArgumentParser) -> None:
    """The argument of jobs that build gold."""
    made.add_argument(
        "--tables",
        metavar="TABLE",
        nargs="+",
        help="build and serve only these gold tables and what they read (default: all)",
    )


def add_every(made: argparse.ArgumentParser) -> None:
    """The argument of jobs that may go on as one process."""
    made.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="run again and again in this process, so many seconds from start to start (default: once); SIGTERM ends it"
        " after the run that it is in",
    )


def feeds(arguments: argparse.Namespace) -> list[tuple[Source, str]]:
    """The sources that a job reads, each with its place."""
    if len(arguments.source) != len(arguments.input):
        raise ConfigurationError(
            f"--source and --input go in pairs, got {len(arguments.source)} and {len(arguments.input)}"
        )
    return [(load_source(name), place) for name, place in zip(arguments.source, arguments.input, strict=True)]


def main(
    job: str, arguments: argparse.Namespace, work: Callable[[Run], None], *, out: Callable[[str], object] = print
) -> int:
    """Do `work` as one run: progress, ledger, summary, exit code; a user's mistake is one line, never a stack trace."""
    every = getattr(arguments, "every", None)
    if every is None:
        return _run(job, arguments, work, out)
    return _again_and_again(lambda: _run(job, arguments, work, out, others_follow=True), every)


def _again_and_again(run: Callable[[], int], every: float) -> int:
    """Runs that start `every` so many seconds, one after the other. Ends after a run in which SIGTERM came (0), a first
    run that finds a mistake in the call (2), any that failed for the machine's sake (3), or at once by an interrupt.

    Spark stays, and what it compiled. Configuration and mappings are read anew for each run; a mistake in them is told
    by each run until it is mended.
    """
    ends = {ConfigurationError.exit_code, InfrastructureError.exit_code}
    asked: list[int] = []  # no threading.Event: one that a handler sets while it is waited for may wait for itself
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        while not asked:
            due = time.monotonic() + every
            if (code := run()) in ends:
                return code
            ends = {InfrastructureError.exit_code}
            while not asked and (left := due - time.monotonic()) > 0:
                time.sleep(min(0.2, left))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _run(
    job: str,
    arguments: argparse.Namespace,
    work: Callable[[Run], None],
    out: Callable[[str], object],
    *,
    others_follow: bool = False,
) -> int:
    """`others_follow`: in this process, so it waits for the lake as long as it takes, and leaves no trace where
    it finds nothing new."""
    try:
        run, settings = _prepare(arguments)
        wait_seconds = math.inf if others_follow else arguments.wait
        with alone(run.lake.root, f"{job} {run.run_id}", wait_seconds=wait_seconds):
            return _do(job, run, settings, work, out, as_json=arguments.json, others_follow=others_follow)
    except PipelineError as error:
        return _stop(error, out, as_json=arguments.json)
    except Exception as error:  # storage that cannot be reached fails in as many ways as there are stores
        return _stop(InfrastructureError(_first_line(error)), out, as_json=arguments.json)


def _do(
    job: str,
    run: Run,
    settings: Settings,
    work: Callable[[Run], None],
    out: Callable[[str], object],
    *,
    as_json: bool,
    others_follow: bool,
) -> int:
    started = time.monotonic()
    before = ledger.versions(run)
    status: str = "succeeded"
    failure: PipelineError | None = None
    try:
        work(run)
    except PipelineError as error:
        status, failure = ("refused" if isinstance(error, DataRefusedError) else "failed"), error
    except Exception as error:  # Spark and storage raise what they like; the log keeps the whole of it
        run.progress.log("error", error=str(error), traceback=traceback.format_exc())
        status, failure = "failed", InfrastructureError(_first_line(error))
    after = ledger.versions(run)
    changed = [table for table in after if after[table] != before[table]]
    if failure is None and run.failures:  # the rest went on
        failure = _together(run.failures)
        went_on = set(changed) - {"bronze.events", "silver.events"}
        status = "partial" if went_on else "refused" if isinstance(failure, DataRefusedError) else "failed"
    if failure is None and not changed:
        status = "nothing_new"
        if others_follow:
            run.progress.remove_log()
            return 0
    seconds = time.monotonic() - started
    words = str(failure) if failure else None
    if isinstance(failure, ConfigurationError) and not changed:
        return _stop(failure, out, as_json=as_json)  # a mistake in the call is no run
    books = Books.of(run.lake)
    ledger.record(run, settings, books, job=job, status=status, before=before, seconds=seconds, error=words)
    told = summary.collect(run, books, job=job, status=status, seconds=seconds, changed=changed, error=words)
    run.progress.log(
        "run_finished", status=status, execution_time_s=round(seconds, 3), **told["books"], changed=changed
    )
    out(json.dumps(told, default=str, ensure_ascii=False) if as_json else summary.sentences(told))
    return failure.exit_code if failure else 0


def _together(failures: list[PipelineError]) -> PipelineError:
    """One error for all; its kind, and so the exit code, is the first one's."""
    return type(failures[0])("; ".join(dict.fromkeys(str(failure) for failure in failures)))


def _prepare(arguments: argparse.Namespace) -> tuple[Run, Settings]:
    settings = load_settings(arguments.env)
    own = Path(arguments.conf) if arguments.conf else None
    sites = load_sites(own / "sites.yaml") if own else load_sites()
    funnels = load_funnels(own / "funnels.yaml") if own and (own / "funnels.yaml").exists() else load_funnels()
    tables = getattr(arguments, "tables", None)
    gold = gold_for(tables) if tables else GOLD
    at = now()
    context = RunContext(
        settings=settings,
        sites=sites,
        funnels=funnels,
        started_at=at,
        as_of=_as_of(arguments.as_of),
    )
    run_id = f"{at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
    root = arguments.lakehouse or settings.lakehouse

    starting = threading.Lock()
    started: list[SparkSession] = []

    def session() -> SparkSession:
        with starting:  # steps that run side by side ask at once
            if not started:
                with run.progress.step("start Spark"):
                    started.append(build_session(settings.spark))
            return started[0]

    lake = Lake(root, settings.storage_options, session)
    human = settings.log_format == "human" and not arguments.json
    log_file = Path(lake.root, "logs", f"{run_id}.jsonl") if "://" not in lake.root else None
    progress = Progress(run_id, human=human, log_file=log_file, machine=settings.log_format == "json")
    mappings = [load_source(name) for name in getattr(arguments, "mapping", [])]
    run = Run(lake, context, progress, run_id, sources={source.source: source for source in mappings}, gold=gold)
    return run, settings


def _as_of(given: str | None) -> date | None:
    try:
        return date.fromisoformat(given) if given else None
    except ValueError as error:
        raise ConfigurationError(f"--as-of: expected a date such as 2026-01-31, got {given!r}") from error


def _stop(error: PipelineError, out: Callable[[str], object], *, as_json: bool) -> int:
    if as_json:
        out(json.dumps({"status": "failed", "error": str(error)}))
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
