"""The whole way of a run: landing → bronze → silver → gold → served."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pipelines.plan import SILVER
from pipelines.run import Run
from pipelines.sources import Source
from pipelines.steps.conform import conform
from pipelines.steps.derive import derive
from pipelines.steps.ingest import ingest
from pipelines.steps.publish import publish


def bring_up_to_date(run: Run, feeds: Sequence[tuple[Source, str]] = ()) -> None:
    """Take what is new of each source, then bring every table up to date and publish.

    A source that fails does not stop the others; it ends in `run.failures`.
    """
    run.goes_on = True
    take(run, feeds)
    build_silver(run)
    build_gold(run)


def take(run: Run, feeds: Sequence[tuple[Source, str]]) -> None:
    """Take what is new of each source into bronze."""
    for source, location in feeds:
        run.spare_others(partial(ingest, run, source, location), f"landing · {source.source}")


def build_silver(run: Run) -> None:
    """Bring silver up to the last batch."""
    derive(run, SILVER)  # what a run that died left behind: silver.events is repaired by silver.sessions
    run.attempt("silver.events", partial(conform, run))
    derive(run, SILVER)


def build_gold(run: Run) -> None:
    """Bring the run's gold tables up to the last batch of silver, and publish."""
    derive(run, run.gold)
    run.attempt("ops.published", partial(publish, run))
