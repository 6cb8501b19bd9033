"""Recompute silver and gold from bronze: everything, or a range of dates."""

from __future__ import annotations

import argparse
from datetime import date

from pipelines import runner
from pipelines.errors import ConfigurationError
from pipelines.run import Run
from pipelines.steps import requests
from pipelines.steps.conform import source_of


def add_range(made: argparse.ArgumentParser) -> None:
    """The arguments that limit a rebuild."""
    for name, words in (("--from", "first"), ("--to", "last")):
        made.add_argument(
            name, dest=words, metavar="DATE", help=f"{words} local date of the events to recompute (default: all)"
        )


def rebuild(run: Run, arguments: argparse.Namespace) -> None:
    """Record the request and carry it out.

    Without dates every record in bronze is judged anew, dead letters included, and silver and gold are replaced. With
    dates those records are that silver.events holds on these dates, or counts as their repeats. Raises
    ConfigurationError where a source's mapping cannot be read: nothing is recorded then.
    """
    first, last = _date("--from", arguments.first), _date("--to", arguments.last)
    if (first is None) != (last is None):
        raise ConfigurationError("--from and --to go together")
    if first is not None and last is not None and first > last:
        raise ConfigurationError(f"--from {first} is after --to {last}")
    for name in sorted({source for source, _ in run.lake.records_by_batch("bronze.events")}):
        source_of(run, name)
    requests.add(run, "rebuild", requests.ALL_DATES if first is None else f"{first}/{last}")
    runner.bring_up_to_date(run)


def _date(option: str, given: str | None) -> date | None:
    try:
        return date.fromisoformat(given) if given is not None else None
    except ValueError as error:
        raise ConfigurationError(f"{option}: expected a date such as 2026-01-31, got {given!r}") from error
