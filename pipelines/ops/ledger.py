"""What a run leaves on record: the verdicts of its gates and its own row in ops.runs."""

from __future__ import annotations

import json
from dataclasses import asdict

from pipelines.lake import now
from pipelines.ops.books import Books
from pipelines.plan import SERVED
from pipelines.run import Run
from pipelines.settings import Settings

_TRACKED = ("bronze.events", *SERVED, "ops.published")


def versions(run: Run) -> dict[str, int | None]:
    """Delta version of every data table."""
    return {table: run.lake.version(table) for table in _TRACKED}


def record(
    run: Run,
    settings: Settings,
    books: Books,
    *,
    job: str,
    status: str,
    before: dict[str, int | None],
    seconds: float,
    error: str | None,
) -> None:
    """Append the run's verdicts to ops.quality_results and its row to ops.runs."""
    at = now()
    if run.results:
        run.lake.append_rows("ops.quality_results", [result.row(run.run_id, at) for result in run.results])
    after = versions(run)
    changed = {table: [before[table], after[table]] for table in _TRACKED if before[table] != after[table]}
    run.lake.append_rows(
        "ops.runs",
        [
            {
                "run_id": run.run_id,
                "job": job,
                "environment": settings.environment,
                "as_of": run.context.last_date(run.context.sites.defaults),
                "as_of_by_site": json.dumps({site: day for site, day in run.context.last_dates.items() if site}),
                "status": status,
                "started_at": run.context.started_at,
                "seconds": round(seconds, 3),
                **asdict(books.total),
                "sources": json.dumps({name: asdict(terms) for name, terms in books.sources.items()}),
                "new_records": run.new_records,
                "versions": json.dumps(changed),
                "steps": json.dumps({name: round(took, 3) for name, took in run.progress.seconds.items()}),
                "error": error,
            }
        ],
    )
