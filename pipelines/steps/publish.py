"""Gold → served: name the consistent set of versions, once the books balance."""

from __future__ import annotations

from pipelines.ops.books import Books, layer_differences
from pipelines.quality.gate import Measured
from pipelines.run import Run


def publish(run: Run) -> None:
    """Replace ops.published in one commit; what was served before stays so until then."""
    lake = run.lake
    batch = lake.batch("silver.events")
    rows = [
        {
            "table_name": table,
            "version": version,
            "batch_id": batch,
            "run_id": run.run_id,
            "published_at": run.context.started_at,
        }
        for table in run.served
        if (version := lake.version(table)) is not None
    ]
    if not lake.rows("ops.published") and lake.count("silver.events") == 0:
        return  # everything so far is held or refused
    served = {row["table_name"]: row for row in lake.rows("ops.published")}
    if {name: row["version"] for name, row in served.items()} == {row["table_name"]: row["version"] for row in rows}:
        return
    with run.progress.step("ops.published") as note:
        books = Books.of(lake)
        measured = [
            Measured("records_unaccounted_for", books.total.missing, least=0, most=0),
            Measured("tables", len(rows), least=len(run.served)),
        ]
        measured += [
            Measured(f"records_unaccounted_for_of_{source}", terms.missing, least=0, most=0)
            for source, terms in sorted(books.sources.items())
        ]
        since = min(served[table]["batch_id"] if table in served else 0 for table in run.served)
        measured += [
            Measured(name, differing, least=0, most=0)
            for name, differing in layer_differences(lake, run.served, since).items()
        ]
        run.judge("gold→served", "ops.published", measured, books.total.received)
        lake.replace_rows("ops.published", rows)
        note.words = f"{len(rows)} tables"
