"""Kafka topic → bronze.events: what the topic holds beyond the taken offsets becomes one or several batches.

bronze.offsets says where to go on. It is written after bronze.events and is a cache: a batch that it lacks (the run
died between the two, the table was lost) or counts otherwise than bronze.events is read back from bronze.events.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

from pipelines.bronze import topics
from pipelines.contracts import Severity
from pipelines.errors import DataRefusedError
from pipelines.quality.gate import Measured
from pipelines.run import Run
from pipelines.sources import Source

_INDEX = "bronze.offsets"


def take_topic(run: Run, source: Source, location: str) -> None:
    """Take every committed record that the topic holds at this moment and that was not taken before."""
    landing = run.context.settings.landing
    where = topics.address(location)
    with topics.Topic(where, landing.kafka_options()) as topic:
        with run.progress.step(f"landing · {source.source}") as note:
            offered = topic.offered()
            taken = [row for row in taken_offsets(run, source.source) if row["topic"] == where.topic]
            resumption = topics.resume(taken, offered)
            _judge_gaps(run, where, resumption)
            waiting = sum(end - resumption.start[partition] for partition, (_, end) in offered.offsets.items())
            note.words = f"{waiting:,} new offsets in {len(offered.offsets)} partitions"
            note.fields = {"topic": where.topic, "new_offsets": waiting, "lost_offsets": resumption.lost}
        index = _Index(run, source.source, where.topic, offered.topic_id, resumption)
        at = dict(resumption.start)
        while ranges := topics.next_ranges(at, offered, landing.max_offsets_per_batch):
            batch = run.lake.last_batch() + 1
            with run.progress.step("bronze.events") as note:
                records = _take(run, topic, ranges, source.source, batch)
                total = sum(records.values())
                run.new_records += total
                note.words = f"{total:,} records"
                note.fields = {"batch_id": batch, "records": total, "source": source.source}
            at.update({part.partition: part.end for part in ranges})
            if records:
                index.record(at, records, batch)
        # Offsets without records make no batch: that they were passed is said with the last one.
        if done := run.lake.batch("bronze.events"):
            index.record(at, Counter(), done)


def _take(run: Run, topic: topics.Topic, ranges: list[topics.Range], source: str, batch: int) -> Counter[int]:
    """Records of the ranges by partition, written as one commit; none where the ranges hold none."""
    reading = topic.read(
        ranges,
        max_bytes=run.context.settings.landing.max_record_bytes,
        source=source,
        batch_id=batch,
        at=run.context.started_at,
    )
    parts = reading.batches()
    first = next(parts, None)
    if first is None:
        return reading.records
    run.expect_work()
    try:
        run.lake.append_batches("bronze.events", chain([first], parts), batch)
    except Exception as error:
        if reading.failure is not None:
            raise reading.failure from error
        raise
    return reading.records


class _Index:
    """Writes to bronze.offsets how far each partition was read, where it does not say so yet."""

    def __init__(self, run: Run, source: str, topic: str, topic_id: str | None, resumption: topics.Resumption) -> None:
        self._run = run
        self._same = {"source": source, "topic": topic, "topic_id": topic_id}
        self._recorded = dict(resumption.known)
        self._from = dict(resumption.start)

    def record(self, at: dict[int, int], records: Counter[int], batch: int) -> None:
        rows = [
            {
                **self._same,
                "partition": partition,
                "first_offset": self._from[partition],
                "end_offset": end,
                "records": records[partition],
                "batch_id": batch,
            }
            for partition, end in at.items()
            if self._recorded.get(partition) != end
        ]
        if rows:
            self._run.lake.append_rows(_INDEX, rows)
            self._recorded, self._from = dict(at), dict(at)


def _judge_gaps(run: Run, where: topics.Address, found: topics.Resumption) -> None:
    """Say which records were removed before they were read; raises DataRefusedError unless that is only reported."""
    if not found.lost and not found.made_anew:
        return
    stop = run.context.settings.landing.on_offset_gap == "stop"
    severity: Severity = "error" if stop else "warn"
    if found.made_anew:
        measured = [Measured(f"made_anew_{where.topic}", 1, most=0, severity=severity)]
        told = "was deleted and made anew since the last batch, or is of another cluster: its offsets start over"
        how = "To read it from its start"
    else:
        measured = [
            Measured(f"lost_offsets_{where.topic}-{partition}", lost, most=0, severity=severity)
            for partition, lost in sorted(found.lost.items())
        ]
        told = "lost records before they were read, by the broker's retention: " + ", ".join(
            f"partition {partition}: up to {lost:,} (offsets {found.start[partition] - lost} to "
            f"{found.start[partition] - 1})"
            for partition, lost in sorted(found.lost.items())
        )
        how = "To go on with what is left"
    try:
        run.judge("landing→bronze", "bronze.events", measured, 0)
    except DataRefusedError as error:
        words = f"topic {where.topic!r} {told}. {how}, set landing.on_offset_gap to report in conf/settings"
        raise DataRefusedError(words) from error
    run.progress.log("offset_gap", topic=where.topic, made_anew=found.made_anew, lost_offsets=found.lost)


# --- the index ------------------------------------------------------------------------------------------------------


def taken_offsets(run: Run, source: str) -> list[dict[str, Any]]:
    """The source's rows of the index that hold, after mending it where it does not agree with bronze.events."""
    lake = run.lake
    done = lake.batch("bronze.events")
    held = {
        batch: records for (name, batch), records in lake.records_by_batch("bronze.events").items() if name == source
    }
    rows = _readable(run, source)
    counted: Counter[int] = Counter()
    for row in rows:
        counted[row["batch_id"]] += row["records"]
    oldest = min(held, default=done + 1)
    # Of a batch older than all that bronze still holds of the source only the index knows.
    kept = [
        row
        for row in rows
        if row["batch_id"] <= done
        and (held.get(row["batch_id"], 0) == counted[row["batch_id"]] or row["batch_id"] < oldest)
    ]
    missing = held.keys() - {row["batch_id"] for row in kept if row["records"]}
    found = _from_bronze(run, source, missing) if missing else []
    if found or len(kept) < len(rows):
        lake.replace_rows(_INDEX, kept + found, where=f"source = '{source}'")
        run.progress.log("index_mended", table=_INDEX, dropped=len(rows) - len(kept), read_back=len(found))
    return kept + found


def _readable(run: Run, source: str) -> list[dict[str, Any]]:
    """Rows of the index; none where it is damaged, which is no loss."""
    try:
        return run.lake.rows(_INDEX, f"select * from t where source = '{source}'")
    except Exception as damage:  # whatever the reader says of a log or file that is missing or broken
        run.progress.log("index_unreadable", table=_INDEX, error=str(damage))
    run.lake.remove_index(_INDEX)
    return []


def _batches_of_files(run: Run, source: str) -> set[int]:
    """Batches that hold the source's files; none where that index is damaged: they only save a look."""
    try:
        rows = run.lake.rows("bronze.files", f"select distinct batch_id from t where source = '{source}'")
    except Exception:
        return set()
    return {row["batch_id"] for row in rows}


def _from_bronze(run: Run, source: str, batches: set[int]) -> list[dict[str, Any]]:
    """Index rows of these batches as bronze.events tells them, without those that came from files."""
    wanted = batches - _batches_of_files(run, source)
    if not wanted:
        return []
    found = run.lake.rows(
        "bronze.events",
        "select origin, batch_id, min(position) as first_offset, max(position) + 1 as end_offset, count(*) as records "
        f"from t where source = '{source}' and batch_id in ({', '.join(map(str, sorted(wanted)))}) "
        "and origin not like '%/%' group by origin, batch_id",  # no topic has a slash in its name, every path has
    )
    rows = []
    for row in found:
        topic, _, partition = row.pop("origin").rpartition("-")
        rows.append({**row, "source": source, "topic": topic, "topic_id": None, "partition": int(partition)})
    return rows
