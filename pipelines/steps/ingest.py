"""Landing → bronze.events: what is new at a location becomes part of numbered batches."""

from __future__ import annotations

from pipelines.run import Run
from pipelines.sources import Source
from pipelines.steps.ingest_files import take_files
from pipelines.steps.ingest_topic import take_topic


def ingest(run: Run, source: Source, location: str) -> None:
    """Take what is new at `location`: a file, a folder, an object-store prefix, or `kafka://host:port/topic`."""
    run.sources[source.source] = source
    take = take_topic if location.startswith("kafka://") else take_files
    take(run, source, location)
