"""Landing files → bronze.events: every file that can be read is taken once, whatever is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from pipelines.bronze import events as bronze_events
from pipelines.bronze.content import Limits, UnreadableError, text
from pipelines.bronze.files import Landing, LandingFile
from pipelines.bronze.inspection import Inspection, inspect
from pipelines.bronze.lines import Lines, lines_of
from pipelines.errors import InfrastructureError
from pipelines.quality.gate import Measured
from pipelines.run import Run
from pipelines.settings import LandingSettings, Settings
from pipelines.sources import Source
from pipelines.spark import runs_locally
from pipelines.steps import file_index, quarantine

_SIDE_BY_SIDE = 4

_Examined = Inspection | UnreadableError | None


@dataclass(frozen=True)
class NewFile:
    """A file that is to be taken, and what was found in it."""

    file: LandingFile
    inspection: Inspection

    @property
    def path(self) -> str:
        return self.file.path


@dataclass
class Found:
    """What a landing place offers; `left` are files that changed while they were looked at."""

    new: list[NewFile] = field(default_factory=list)
    known: int = 0
    quarantined: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    made_again: int = 0

    def words(self) -> str:
        told = [f"{len(self.new)} new files, {self.known} known"]
        told += [f"{len(self.skipped)} passed over (hidden names)"] if self.skipped else []
        told += (
            [f"{len(self.left)} left for the next run (changed while read): {_some(self.left)}"] if self.left else []
        )
        told += [f"{len(self.quarantined)} in quarantine: {_some(self.quarantined)}"] if self.quarantined else []
        told += [f"{self.made_again} entries of the index made again"] if self.made_again else []
        return ", ".join(told)


def take_files(run: Run, source: Source, location: str) -> None:
    """Take every new file at `location` into bronze.events, in a batch per reader that is needed.

    Files that cannot be read are quarantined and files that change meanwhile are left for the next run; both are told.
    """
    landing = Landing.at(location)
    with run.progress.step(f"landing · {source.source}") as note:
        found = _look(run, source.source, landing)
        run.skipped_files += found.skipped
        note.words = found.words()
        note.fields = {
            "new_files": len(found.new),
            "known_files": found.known,
            "skipped": found.skipped,
            "quarantined": found.quarantined,
            "left": found.left,
            "index_made_again": found.made_again,
        }
    plain, by_spark = _by_reader(found.new, run.context.settings)
    if plain:
        with run.progress.step("bronze.events") as note:
            note.words = _take_plain(run, source.source, landing, plain, found)
    if by_spark:
        run.warm_up()
        with run.progress.step("bronze.events") as note:
            note.words = _take_by_spark(run, source.source, landing, by_spark, found)
    if found.quarantined or found.left:
        measured = [
            Measured("quarantined_files", len(found.quarantined), most=0, severity="warn"),
            Measured("files_left_for_the_next_run", len(found.left), most=0, severity="warn"),
        ]
        run.judge("landing→bronze", "bronze.files", measured, len(found.new))


# --- what is there --------------------------------------------------------------------------------------------------


def _look(run: Run, source: str, landing: Landing) -> Found:
    """List the place, inspect what is not known, and bring index and quarantine up to date with it."""
    settings = run.context.settings.landing
    index, made_again = file_index.trusted(run.lake)
    of_path: dict[str, list[file_index.Row]] = {}
    for row in index:
        if row["source"] == source:
            of_path.setdefault(row["path"], []).append(row)
    aside = quarantine.of_source(run.lake, source)
    listing = landing.list()
    found = Found(skipped=listing.skipped, made_again=made_again)
    unseen = []
    for file in listing.files:
        if quarantine.holds(aside.get(file.path), file):
            if aside[file.path]["salvaged_at"] is None:
                found.quarantined.append(quarantine.sentence(aside[file.path]))
            else:
                found.known += 1
        elif any(_is_the_listed(row, file) for row in of_path.get(file.path, [])):
            found.known += 1
            aside.pop(file.path, None)
        else:
            unseen.append(file)
    readable = []
    for file, result in zip(unseen, _side_by_side(lambda file: _examine(landing, file, settings), unseen), strict=True):
        if result is None:
            found.left.append(file.path)
        elif isinstance(result, UnreadableError):
            row = quarantine.row_of(source, file, result, run.context.started_at)
            aside[file.path] = quarantine.first_of(aside.get(file.path), row)
            found.quarantined.append(quarantine.sentence(aside[file.path]))
        else:
            aside.pop(file.path, None)
            readable.append(NewFile(file, result))
            if file.path not in of_path:  # no doubt that it is new: what follows may start while the rest is looked at
                run.expect_work()
    before = _taken_before(run, landing, readable, of_path)
    found.new = [new for new in readable if new.path not in before]
    found.known += len(before)
    if found.new:
        run.expect_work()
    file_index.complete(
        run.lake, index, [(before[new.path], new.file, new.inspection) for new in readable if new.path in before]
    )
    quarantine.save(run.lake, source, aside)
    return found


def _side_by_side(examine: Callable[[LandingFile], _Examined], files: list[LandingFile]) -> Iterator[_Examined]:
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        yield from pool.map(examine, files)


def _is_the_listed(row: file_index.Row, file: LandingFile) -> bool:
    return (row["size_bytes"], row["modified_ns"]) == (file.size_bytes, file.modified_ns)


def _examine(landing: Landing, file: LandingFile, settings: LandingSettings) -> _Examined:
    """What is in the file or why it cannot be read; None where it changed or vanished meanwhile."""
    result: Inspection | UnreadableError
    try:
        with landing.open(file) as tap:
            result = inspect(tap, limits(settings), settings.max_record_bytes)
    except UnreadableError as error:
        result = error
    except FileNotFoundError:
        return None
    except OSError as error:
        result = UnreadableError("unreadable", error.strerror or str(error).splitlines()[0])
    if not landing.is_unchanged(file):
        return None
    if isinstance(result, Inspection) and result.stored_bytes != file.size_bytes:
        return UnreadableError("unreadable", f"it gave {result.stored_bytes:,} of {file.size_bytes:,} bytes")
    return result


def _taken_before(
    run: Run, landing: Landing, files: list[NewFile], of_path: dict[str, list[file_index.Row]]
) -> dict[str, file_index.Row]:
    """By path, the index row under which this content was taken from it before."""
    found: dict[str, file_index.Row] = {}
    unknown: list[tuple[NewFile, file_index.Row]] = []
    for new in files:
        for row in sorted(of_path.get(new.path, []), key=lambda row: row["batch_id"]):
            if row["checksum"] == new.inspection.checksum:
                found[new.path] = row
            elif file_index.is_unknown(row) and row["records"] == new.inspection.records:
                unknown.append((new, row))
    stored = file_index.StoredLines(run.lake, [row for _, row in unknown])
    settings = run.context.settings.landing
    for new, row in unknown:
        if new.path not in found:
            with landing.open(new.file) as tap:
                if stored.are(row, lines_of(text(tap, limits(settings)), settings.max_record_bytes)):
                    found[new.path] = row
    return found


def limits(settings: LandingSettings) -> Limits:
    """How far a packed file may expand."""
    return Limits(settings.max_expanded_bytes, settings.max_expansion_ratio)


def _by_reader(files: list[NewFile], settings: Settings) -> tuple[list[NewFile], list[NewFile]]:
    """Files for the plain reader, and for Spark.

    The plain reader starts at once, reads what Spark cannot, holds little in memory, and takes a million lines in 1.5
    seconds of a processor, where Spark takes twenty times that. So Spark reads only where it has more machines than
    this one, and only what is worth sending there.
    """
    size = sum(new.inspection.text_bytes for new in files)
    if size <= settings.landing.small_batch_bytes or runs_locally(settings.spark):
        return files, []
    suits = {new.path: new.inspection.suits_spark(new.path) for new in files}
    return [new for new in files if not suits[new.path]], [new for new in files if suits[new.path]]


# --- taking it ------------------------------------------------------------------------------------------------------


def _take_plain(run: Run, source: str, landing: Landing, files: list[NewFile], found: Found) -> str:
    """Stream the files' lines into one batch; a file that is not what was inspected is left, and the rest goes on."""
    while files:
        batch = run.lake.last_batch() + 1
        writing = RecordStream(run, source, batch)
        try:
            run.lake.append_batches("bronze.events", _judged(run, files, writing.of_files(landing, files)), batch)
        except Exception:
            if writing.changed is None:
                raise
            found.left.append(writing.changed)
            files = [new for new in files if new.path != writing.changed]
        else:
            return _taken(run, source, files, batch)
    return "0 records"


def _take_by_spark(run: Run, source: str, landing: Landing, files: list[NewFile], found: Found) -> str:
    """Let Spark read the files once, compare with what was inspected, and write what is the same."""
    lines = None
    while files and lines is None:
        try:
            lines = bronze_events.read_lines(run.lake.session(), [new.path for new in files]).localCheckpoint()
        except Exception:
            if not (changed := [new.path for new in files if not landing.is_unchanged(new.file)]):
                raise
            found.left += changed
            files = [new for new in files if new.path not in changed]
    if lines is None:
        return "0 records"
    counted = bronze_events.blocks(lines).collect()
    per_file: dict[str, int] = {}
    for block in counted:
        per_file[block["origin"]] = per_file.get(block["origin"], 0) + block["lines"]
    unlisted = per_file.keys() - {new.path for new in files}
    unchanged = [new for new in files if landing.is_unchanged(new.file)]
    found.left += [new.path for new in files if new not in unchanged]
    same = [new for new in unchanged if per_file.get(new.path, 0) == new.inspection.records]
    others = [new.path for new in files if new not in same]
    # What Spark read otherwise than it is, for whatever reason, the plain reader takes, or finds that it changed.
    if unlike := [new for new in unchanged if new not in same]:
        _take_plain(run, source, landing, unlike, found)
    if same or unlisted:
        _judge(run, same, sum(per_file.get(new.path, 0) for new in same), unlisted=len(unlisted))
    if not same:
        return "0 records"
    batch = run.lake.last_batch() + 1
    frame = bronze_events.build(
        lines.where(~lines["origin"].isin(others)) if others else lines,
        run.lake.frame(pa.Table.from_pylist([block.asDict() for block in counted], schema=bronze_events.BLOCKS)),
        source=source,
        batch_id=batch,
        ingested_at=run.context.started_at,
    )
    run.lake.append("bronze.events", frame, batch)
    return _taken(run, source, same, batch)


def _judged(run: Run, files: list[NewFile], rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows, and at their end, which is before they are committed, the verdict on how many there were."""
    records = 0
    for part in rows:
        records += part.num_rows
        yield part
    _judge(run, files, records, unlisted=0)


def _judge(run: Run, files: list[NewFile], records: int, *, unlisted: int) -> None:
    measured = [
        Measured("lines_of_unlisted_files", unlisted, most=0),
        Measured("records_unlike_inspection", records - _records(files), least=0, most=0),
        Measured("records", records, least=1, severity="warn"),
    ]
    run.judge("landing→bronze", "bronze.events", measured, records)


def _taken(run: Run, source: str, files: list[NewFile], batch: int) -> str:
    file_index.add(run.lake, [file_index.row_of(source, new.file, new.inspection, batch) for new in files])
    run.new_records += _records(files)
    return f"{_records(files):,} records"


def _records(files: list[NewFile]) -> int:
    return sum(new.inspection.records for new in files)


class RecordStream:
    """Rows of bronze.events for one batch, as they are read; `changed` is the file that was not what was inspected."""

    def __init__(self, run: Run, source: str, batch: int) -> None:
        self.changed: str | None = None
        self._settings = run.context.settings.landing
        self._source, self._batch, self._ingested_at = source, batch, run.context.started_at

    def of_files(self, landing: Landing, files: list[NewFile]) -> Iterator[pa.RecordBatch]:
        """Rows of files one after the other; raises InfrastructureError at the first that is not what was inspected."""
        for new in files:
            try:
                with landing.open(new.file) as tap:
                    lines = lines_of(text(tap, limits(self._settings)), self._settings.max_record_bytes)
                    yield from self.of_lines(new.path, lines)
                    same = tap.checksum == new.inspection.checksum
            except (OSError, UnreadableError):
                same = False
            if not same:
                self.changed = new.path
                raise InfrastructureError(f"{new.path} changed while it was read")

    def of_lines(self, origin: str, lines: Iterator[Lines]) -> Iterator[pa.RecordBatch]:
        """Rows of one file."""
        position = 1
        for raw, defect in lines:
            yield bronze_events.record_batch(
                raw,
                defect,
                position,
                source=self._source,
                origin=origin,
                ingested_at=self._ingested_at,
                batch_id=self._batch,
            )
            position += len(raw)


def _some(names: list[str]) -> str:
    return "; ".join(names[:3]) + ("; …" if len(names) > 3 else "")
