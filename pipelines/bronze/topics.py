"""A Kafka topic, read between explicit offsets into Arrow: what it holds, where to go on, its records.

librdkafka reads and Arrow carries: 100 records arrive in a quarter of a second, 300,000 in three, where Spark has not
even started. A consumer group is neither joined nor asked: what was taken is known from the lake alone.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from pipelines.bronze.lines import is_utf8, told
from pipelines.contracts import contract
from pipelines.errors import ConfigurationError, InfrastructureError

DEFAULT_TOPIC = "topic_web_events"

_ANSWER_SECONDS = 10  # for a question to the broker
_SILENCE_SECONDS = 30  # without a record while there must be some
_MESSAGES_AT_ONCE = 1000  # of up to a megabyte each, as a rule
_PART_RECORDS, _PART_BYTES = 20_000, 1 << 24  # of the Arrow batches that are handed on
_NO_ID = "A" * 22  # zero, from a broker that knows no ids
_NO_SUCH_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_EXCEPTION)
_NO_ANSWER = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE)


@dataclass(frozen=True)
class Address:
    """Brokers to ask first (`host:port,host:port`), and the topic."""

    servers: str
    topic: str


def address(location: str) -> Address:
    """`kafka://host:port[,host:port]/topic`; raises ConfigurationError for anything else."""
    expected = "expected kafka://HOST:PORT[,HOST:PORT]/TOPIC"
    servers, _, topic = location.removeprefix("kafka://").partition("/")
    topic = topic.rstrip("/") or DEFAULT_TOPIC
    if "@" in servers:
        raise ConfigurationError("--input: kafka://…: user and password belong into the setting landing.kafka")
    if not all(re.fullmatch(r"[^\s,:]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}", server) for server in servers.split(",")):
        raise ConfigurationError(f"--input: {location}: {expected}")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic):
        raise ConfigurationError(f"--input: {location}: {topic!r} is no name of a topic: {expected}")
    return Address(servers, topic)


@dataclass(frozen=True)
class Offered:
    """What the broker holds: the topic's id, and per partition the earliest offset and the end (exclusive).

    The end is that of committed records, so that it never divides a transaction that is still open.
    """

    topic_id: str | None
    offsets: dict[int, tuple[int, int]]


@dataclass(frozen=True)
class Resumption:
    """Per partition the offset to go on from and how many were removed unread; or that this is another topic.

    `known` says from where the index would go on; a partition that it does not know is not in it.
    """

    known: dict[int, int]
    start: dict[int, int]
    lost: dict[int, int]
    made_anew: bool


def resume(taken: Iterable[Mapping[str, Any]], offered: Offered) -> Resumption:
    """Compare a topic's rows of bronze.offsets with what the broker holds.

    A topic that was deleted and made again has another id (or ends before what was taken); then every partition starts
    at its earliest offset. So does a topic never read; a partition that was added since then starts at 0.
    """
    rows = list(taken)
    others = [row["batch_id"] for row in rows if offered.topic_id and row["topic_id"] not in (None, offered.topic_id)]
    since = max(others, default=0)
    mine = [row for row in rows if row["topic_id"] == offered.topic_id or row["batch_id"] > since]
    known: dict[int, int] = {}
    for row in sorted(mine, key=lambda row: (row["batch_id"], row["end_offset"])):
        known[row["partition"]] = row["end_offset"]
    ends = {partition: end for partition, (_, end) in offered.offsets.items()}
    if (rows and not mine) or any(ends.get(partition, -1) < offset for partition, offset in known.items()):
        return Resumption({}, {partition: first for partition, (first, _) in offered.offsets.items()}, {}, True)
    start, lost = {}, {}
    for partition, (earliest, _) in offered.offsets.items():
        expected = known.get(partition, 0 if known else earliest)
        start[partition] = max(expected, earliest)
        if earliest > expected:
            lost[partition] = earliest - expected
    return Resumption(known, start, lost, False)


@dataclass(frozen=True)
class Range:
    """Offsets of a partition, from `first` to before `end`."""

    partition: int
    first: int
    end: int


def next_ranges(start: Mapping[int, int], offered: Offered, limit: int) -> list[Range]:
    """What to read next, at most `limit` offsets: short partitions whole, the others an equal share."""
    waiting = [Range(p, start[p], end) for p, (_, end) in offered.offsets.items() if end > start[p]]
    chosen, left = [], limit
    for number, whole in enumerate(sorted(waiting, key=lambda r: (r.end - r.first, r.partition))):
        share = min(whole.end - whole.first, left // (len(waiting) - number))
        if share:
            chosen.append(Range(whole.partition, whole.first, whole.first + share))
            left -= share
    return chosen


class Topic(AbstractContextManager["Topic"]):
    """A connection to one topic.

    Raises ConfigurationError where there is no such topic, InfrastructureError where no broker answers in time.
    """

    def __init__(self, where: Address, options: Mapping[str, str]) -> None:
        self.where = where
        self._first_error: str | None = None
        shared: dict[str, Any] = {
            "group.id": "medallion",  # must be named; it is never joined
            **options,
            "bootstrap.servers": where.servers,
            "error_cb": self._keep_first_error,
            "log_level": 0,  # what stands in the way is said once, in one line
        }
        reading: dict[str, Any] = {
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",  # never go on somewhere else without a word
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
        }
        try:
            self._admin = AdminClient(shared)
            self._consumer = Consumer({**shared, **reading})
        except KafkaException as error:
            raise ConfigurationError(f"conf/settings: landing.kafka: {_cause(error).str()}") from error

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def offered(self) -> Offered:
        """What the broker holds at this moment."""
        name = self.where.topic
        try:
            asked = self._admin.describe_topics(TopicCollection([name]), request_timeout=_ANSWER_SECONDS)
            described = asked[name].result()
            offsets = {
                partition.id: self._consumer.get_watermark_offsets(TopicPartition(name, partition.id), _ANSWER_SECONDS)
                for partition in described.partitions
            }
        except KafkaException as error:
            raise self._explained(_cause(error)) from error
        topic_id = str(described.topic_id)
        return Offered(None if topic_id == _NO_ID else topic_id, offsets)

    def read(self, ranges: list[Range], *, max_bytes: int, source: str, batch_id: int, at: datetime) -> Reading:
        """The records of the ranges as rows of bronze.events."""
        places = [TopicPartition(self.where.topic, part.partition, part.first) for part in ranges]
        self._consumer.assign(places)
        self._consumer.resume(places)  # those that the batch before was done with
        return Reading(self, ranges, max_bytes, {"source": source, "batch_id": batch_id, "ingested_at": at})

    def messages(self, ranges: list[Range]) -> Iterator[list[tuple[int, int, bytes | None]]]:
        """(partition, offset, value) of every record in the assigned ranges, each partition in order.

        A range has ended when its last offset, one behind it, or the end of the partition was seen: its last offsets
        may hold no record.
        """
        at = {part.partition: part.first for part in ranges}
        ends = {part.partition: part.end for part in ranges}
        heard = time.monotonic()
        while ends:
            found = []
            for answer in self._consumer.consume(_MESSAGES_AT_ONCE, 0.1):
                partition, offset, error = answer.partition(), answer.offset(), answer.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    if answer.topic() is None and not error.fatal():
                        continue  # about the connection: it is tried again
                    raise self._explained(error)
                if partition not in ends or offset is None or offset < at[partition]:
                    continue
                heard = time.monotonic()
                if error is None and offset < ends[partition]:
                    found.append((partition, offset, answer.value()))
                    at[partition] = offset + 1
                else:
                    at[partition] = offset
                if at[partition] >= ends[partition]:
                    del ends[partition]
                    self._consumer.pause([TopicPartition(self.where.topic, partition)])
            if time.monotonic() - heard > _SILENCE_SECONDS:
                raise self._explained(None)
            if found:
                yield found
                heard = time.monotonic()  # the writer's time is not the broker's

    def _keep_first_error(self, error: KafkaError) -> None:
        self._first_error = self._first_error or error.str()

    def _explained(self, error: KafkaError | None) -> ConfigurationError | InfrastructureError:
        topic, servers = self.where.topic, self.where.servers
        if error is not None and error.code() in _NO_SUCH_TOPIC:
            return ConfigurationError(f"--input: there is no topic {topic!r} at {servers}")
        if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:
            return InfrastructureError(f"topic {topic!r} changed while it was read ({error.str()}): run again")
        if error is None or error.code() in _NO_ANSWER:
            self._admin.poll(0)  # hands over what it met
            reason = self._first_error or "no reason was given"
            return InfrastructureError(f"no Kafka broker answers at {servers}: {reason}")
        return InfrastructureError(f"topic {topic!r} at {servers}: {error.str()}")


class Reading:
    """Records on their way, as Arrow batches of bronze.events; `records` counts them by partition, `failure` ended it.

    What writes the batches wraps an error that it meets on the way: `failure` holds it as it was.
    """

    def __init__(self, topic: Topic, ranges: list[Range], max_bytes: int, constants: Mapping[str, Any]) -> None:
        self.records: Counter[int] = Counter()
        self.failure: Exception | None = None
        self._topic, self._ranges, self._max_bytes, self._constants = topic, ranges, max_bytes, constants

    def batches(self) -> Iterator[pa.RecordBatch]:
        waiting: list[tuple[int, int, bytes]] = []
        size = 0
        try:
            for found in self._topic.messages(self._ranges):
                # No value marks a key as deleted (a tombstone): a record without content.
                waiting += [(partition, offset, value or b"") for partition, offset, value in found]
                size += sum(len(value) for _, _, value in waiting[-len(found) :])
                if size >= _PART_BYTES or len(waiting) >= _PART_RECORDS:
                    yield self._batch(waiting)
                    waiting, size = [], 0
            if waiting:
                yield self._batch(waiting)
        except Exception as error:
            self.failure = error
            raise

    def _batch(self, messages: list[tuple[int, int, bytes]]) -> pa.RecordBatch:
        partitions, offsets, values = zip(*messages, strict=True)
        self.records.update(partitions)
        names = {partition: f"{self._topic.where.topic}-{partition}" for partition in set(partitions)}
        raw, defect = _texts(values, self._max_bytes)
        columns = {name: pa.repeat(value, len(messages)) for name, value in self._constants.items()}
        columns |= {"raw": raw, "defect": defect, "position": pa.array(offsets, pa.int64())}
        columns |= {"origin": pa.array([names[partition] for partition in partitions], pa.string())}
        wanted = contract("bronze.events").column_names
        return pa.RecordBatch.from_arrays([columns[name] for name in wanted], wanted)


def _texts(values: tuple[bytes, ...], max_bytes: int) -> tuple[pa.Array, pa.Array]:
    """`raw` and `defect` of records."""
    raw = pa.array(values, pa.binary()).view(pa.string())
    if max(map(len, values)) <= max_bytes and is_utf8(raw):
        return raw, pa.nulls(len(values), pa.string())
    texts, defects = zip(*[told(value, max_bytes) for value in values], strict=True)
    return pa.array(texts, pa.string()), pa.array(defects, pa.string())


def _cause(error: KafkaException) -> KafkaError:
    cause: KafkaError = error.args[0]
    return cause
