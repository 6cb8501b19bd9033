"""A quarantined file → bronze.events: the lines of it that can be read, when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipelines.bronze.content import CHUNK_BYTES, Tap, UnreadableError, salvaged_text
from pipelines.bronze.files import Landing, LandingFile
from pipelines.bronze.inspection import Inspection
from pipelines.bronze.lines import Lines, lines_of
from pipelines.errors import ConfigurationError, DataRefusedError
from pipelines.run import Run
from pipelines.steps import file_index, quarantine
from pipelines.steps.ingest_files import RecordStream


def salvage(run: Run, source: str, path: str, *, unpack_bomb: bool = False) -> int:
    """Take the whole lines before the place where a quarantined file breaks off; how many records these are.

    UTF-16 and UTF-32 are taken as UTF-8. A file is salvaged once, whatever stops the run meanwhile. Raises
    ConfigurationError for a file that is not in quarantine as it is now, DataRefusedError where nothing can be read,
    and for a bomb without the flag.
    """
    aside = quarantine.of_source(run.lake, source)
    row = aside.get(path)
    if row is None:
        raise ConfigurationError(f"{path}: not in quarantine for source {source!r}")
    if row["salvaged_at"] is not None:
        raise ConfigurationError(f"{path}: its readable lines were taken at {row['salvaged_at']:%Y-%m-%d %H:%M} UTC")
    landing = Landing.at(path)
    file = next(iter(landing.list().files), None)
    if row["reason"] in ("binary", "unreadable"):
        raise DataRefusedError(f"{quarantine.sentence(row)}: nothing in it can be read as lines")
    if file is None or not quarantine.holds(row, file):
        raise ConfigurationError(f"{path}: it changed since it was quarantined: take it with an ordinary run")
    if row["reason"] == "bomb" and not unpack_bomb:
        raise DataRefusedError(f"{quarantine.sentence(row)}: it is unpacked only where this is asked for explicitly")
    with run.progress.step("bronze.events") as note:
        records = _take(run, source, landing, file)
        note.words = f"{records:,} records salvaged from {path}"
        note.fields = {"records": records, "source": source, "salvaged": path}
    row["salvaged_at"] = run.context.started_at
    quarantine.save(run.lake, source, aside)
    return records


def _take(run: Run, source: str, landing: Landing, file: LandingFile) -> int:
    limit = run.context.settings.landing.max_record_bytes
    index, _ = file_index.trusted(run.lake)
    for row in index:
        if (row["source"], row["path"]) == (source, file.path) and file_index.is_unknown(row):
            with landing.open(file) as tap:  # was it taken just before a run was stopped?
                if file_index.StoredLines(run.lake, [row]).are(row, _readable_lines(tap, limit)):
                    file_index.complete(run.lake, index, [(row, file, _found(tap, row["records"]))])
                    return int(row["records"])
    batch = run.lake.last_batch() + 1
    counted = 0

    def rows(tap: Tap) -> Iterator[pa.RecordBatch]:
        nonlocal counted
        for part in RecordStream(run, source, batch).of_lines(file.path, _readable_lines(tap, limit)):
            counted += part.num_rows
            yield part

    with landing.open(file) as tap:
        run.lake.append_batches("bronze.events", rows(tap), batch)
        file_index.add(run.lake, [file_index.row_of(source, file, _found(tap, counted), batch)])
    run.new_records += counted
    return counted


def _readable_lines(tap: Tap, max_record_bytes: int) -> Iterator[Lines]:
    """Lines up to where the file breaks off, without the one that is cut there."""
    try:
        yield from lines_of(salvaged_text(tap), max_record_bytes)
    except UnreadableError:
        return


def _found(tap: Tap, records: int) -> Inspection:
    while tap.read(CHUNK_BYTES):
        pass  # the checksum is of the whole file
    return Inspection(tap.kind, tap.checksum, tap.bytes_read, 0, records, has_long_line=False, is_utf8=True)
