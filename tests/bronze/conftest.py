"""Runs that take landing files, and a real Kafka broker on loopback with runs that take its topics."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from pyspark.sql import SparkSession

from pipelines.lake import Lake
from pipelines.progress import Progress
from pipelines.run import Run
from pipelines.steps.ingest import ingest as take_in
from tests.bronze.landing import Ingest
from tests.conftest import MakeContext
from tests.ports import free_port
from tests.runs import CANONICAL, no_session

PROJECT = Path(__file__).parents[2]
Take = Callable[..., Run]
START_SECONDS, EFFECT_SECONDS, STOP_SECONDS = 90, 30, 20


# --- landing files -------------------------------------------------------------------------------------------------


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b"one\n\nthree")
    return folder


@pytest.fixture
def ingest(tmp_path: Path, context: MakeContext) -> Ingest:
    return Ingest(tmp_path / "lake", context)


@pytest.fixture
def ingest_by_spark(ingest: Ingest, spark: SparkSession) -> Ingest:
    ingest.lake.session = lambda: spark
    ingest.settings["small_batch_bytes"] = 0
    ingest.cluster = True
    return ingest


# --- topics -----------------------------------------------------------------------------------------------------------


class Broker:
    """What a test does to its topics; each call has taken effect when it returns."""

    def __init__(self, servers: str, pid: int) -> None:
        self.servers = servers
        self._pid = pid
        self.admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        self._producer = self._new_producer()

    def _new_producer(self) -> Producer:
        # Idempotent: what is sent again is there once. One request at a time: with several on their way a busy broker
        # now and then lost the first records of a topic just made, and told no error.
        options = {
            "bootstrap.servers": self.servers,
            "enable.idempotence": True,
            "max.in.flight.requests.per.connection": 1,
            "linger.ms": 0,
            "log_level": 0,
        }
        return Producer(options)

    def url(self, topic: str) -> str:
        return f"kafka://{self.servers}/{topic}"

    def make_topic(self, partitions: int = 1, name: str | None = None) -> str:
        name = name or f"topic_{uuid.uuid4().hex[:8]}"
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        self._wait_until(lambda: self._leaders(name) == partitions)
        return name

    def add_partitions(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)
        self._wait_until(lambda: self._leaders(topic) == partitions)
        self._producer = self._new_producer()  # one that does not remember how many there were

    def send(self, topic: str, values: Sequence[str | bytes | None], partition: int = 0) -> None:
        refused: list[KafkaError] = []

        def told(error: KafkaError | None, _: object) -> None:
            if error is not None:
                refused.append(error)

        for value in values:
            self._producer.produce(topic, value, partition=partition, on_delivery=told)
        assert self._producer.flush(30) == 0
        assert refused == []

    def expire(self, topic: str, before: int, partition: int = 0) -> None:
        """Remove records below an offset, as retention does."""
        place = TopicPartition(topic, partition, before)
        self.admin.delete_records([place])[place].result(30)

    def remove_topic(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(30)
        self._wait_until(lambda: topic not in self.admin.list_topics(timeout=10).topics)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """The broker holds its connections and says nothing."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def _leaders(self, topic: str) -> int:
        """Partitions of the topic that have a leader."""
        described = self.admin.list_topics(topic, timeout=10).topics[topic]
        return sum(partition.leader >= 0 for partition in described.partitions.values())

    @staticmethod
    def _wait_until(done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + EFFECT_SECONDS
        while not done():
            assert time.monotonic() < deadline, "the broker did not do what it was asked for"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of this session's own, with its data in a temporary folder."""
    if not (PROJECT / ".venv/kafka/jars").is_dir():
        pytest.skip("no Kafka broker: `deploy/kafka.sh install` fetches one")
    folder = tmp_path_factory.mktemp("kafka")
    port, own = free_port(), free_port()
    with (folder / "said").open("w") as said:
        command = [str(PROJECT / "deploy/kafka.sh"), "run", str(port), str(own), str(folder / "data")]
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        made = Broker(f"127.0.0.1:{port}", process.pid)
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, (folder / "said").read_text()
            try:
                made.admin.list_topics(timeout=1)
                break
            except KafkaException:
                assert time.monotonic() < deadline, (folder / "said").read_text()
        yield made
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# --- runs that take a topic ------------------------------------------------------------------------------------------


@pytest.fixture
def take(broker: Broker, context: MakeContext, tmp_path: Path) -> Take:
    """`take(topic, **landing)`: one run that takes what is new, under these landing settings."""

    def one_run(location: str, **landing: Any) -> Run:
        lake = Lake(str(tmp_path / "lake"), {}, no_session)
        run = Run(lake, context(landing=landing), Progress("test-run", human=False), "test-run")
        take_in(run, CANONICAL, location if "/" in location else broker.url(location))
        return run

    return one_run


def records(run: Run) -> list[tuple[str, int, str]]:
    """(origin, position, raw) of bronze.events."""
    rows = run.lake.rows("bronze.events", "select origin, position, raw from t order by origin, position")
    return [(row["origin"], row["position"], row["raw"]) for row in rows]


def batches(run: Run) -> list[tuple[int, str, int]]:
    """(batch_id, origin, position) of bronze.events."""
    rows = run.lake.rows(
        "bronze.events", "select batch_id, origin, position from t order by batch_id, origin, position"
    )
    return [(row["batch_id"], row["origin"], row["position"]) for row in rows]
