"""What a Kafka topic may hold, lose and become, on a real broker; its address; where to go on, and how much at once."""

from __future__ import annotations

import base64
import shutil
import time
from typing import Any

import pytest
from confluent_kafka import Producer

from pipelines.bronze import topics
from pipelines.bronze.topics import Address, Offered, Range, address, next_ranges, resume
from pipelines.errors import ConfigurationError, DataRefusedError, InfrastructureError
from tests.bronze.conftest import Broker, Take, records
from tests.rows import utc

# --- what the broker removed ------------------------------------------------------------------------------------------


@pytest.mark.fault(
    of="topics",
    injected="the broker removed records before they were read",
    holds="the run stops and says which, or reports them where this is allowed",
)
def test_records_expired_before_they_were_read_stop_the_run(broker: Broker, take: Take) -> None:
    topic = broker.make_topic()
    broker.send(topic, ["a"])
    take(topic)
    broker.send(topic, ["b", "c", "d"])
    broker.expire(topic, before=3)

    told = rf"^topic '{topic}' lost records .* partition 0: up to 2 \(offsets 1 to 2\).* set landing.on_offset_gap"
    with pytest.raises(DataRefusedError, match=told):
        take(topic)

    run = take(topic, on_offset_gap="report")
    assert [(raw, position) for _, position, raw in records(run)] == [("a", 0), ("d", 3)]
    assert [(result.check.name, result.check.value, result.success) for result in run.results] == [
        (f"lost_offsets_{topic}-0", 2, False)
    ]
    assert take(topic).results == []


def test_a_loss_of_everything_that_was_new_is_reported_once(broker: Broker, take: Take) -> None:
    topic = broker.make_topic()
    broker.send(topic, ["a"])
    take(topic)
    broker.send(topic, ["b", "c"])
    broker.expire(topic, before=3)
    assert len(take(topic, on_offset_gap="report").results) == 1
    broker.send(topic, ["d"])
    run = take(topic)
    assert [raw for _, _, raw in records(run)] == ["a", "d"]


def test_history_that_expired_before_the_first_run_is_no_loss(broker: Broker, take: Take) -> None:
    topic = broker.make_topic()
    broker.send(topic, ["a", "b"])
    broker.expire(topic, before=1)
    assert records(take(topic)) == [(f"{topic}-0", 1, "b")]


@pytest.mark.parametrize("since", [1, 2, 5])
@pytest.mark.fault(
    of="topics", injected="a topic is deleted and made anew", holds="it is refused: its offsets mean something else"
)
def test_a_topic_made_anew_is_refused_however_much_it_holds(broker: Broker, take: Take, since: int) -> None:
    topic = broker.make_topic()
    broker.send(topic, ["a", "b"])
    take(topic)
    broker.remove_topic(topic)
    broker.make_topic(name=topic)
    broker.send(topic, [f"new {number}" for number in range(since)])

    with pytest.raises(DataRefusedError, match=f"^topic '{topic}' was deleted and made anew .* landing.on_offset_gap"):
        take(topic)

    run = take(topic, on_offset_gap="report")
    assert [(result.check.name, result.success) for result in run.results] == [(f"made_anew_{topic}", False)]
    broker.send(topic, ["last"])
    shutil.rmtree(take(topic).lake.path("bronze.offsets"))
    expected = ["a", "b", *[f"new {number}" for number in range(since)], "last"]
    assert sorted(raw for _, _, raw in records(take(topic))) == sorted(expected)


# --- what a record may be ---------------------------------------------------------------------------------------------


@pytest.mark.fault(
    of="topics", injected="transactions that are aborted", holds="only committed records are taken, each once"
)
def test_of_transactions_only_committed_records_are_taken_each_once(broker: Broker, take: Take) -> None:
    topic = broker.make_topic()
    producer = Producer({"bootstrap.servers": broker.servers, "transactional.id": topic})
    producer.init_transactions()

    def send(*values: str) -> None:
        for value in values:
            producer.produce(topic, value, partition=0)
        producer.flush()

    def write(*values: str, commit: bool) -> None:
        producer.begin_transaction()
        send(*values)
        (producer.commit_transaction if commit else producer.abort_transaction)()

    write("aborted", commit=False)
    write("a", "b", commit=True)
    producer.begin_transaction()
    send("c")
    broker.send(topic, ["outside"])  # behind the open transaction: must wait for it
    assert [raw for _, _, raw in records(take(topic))] == ["a", "b"]
    send("d")
    producer.commit_transaction()
    write("aborted", "aborted too", commit=False)
    run = take(topic)
    assert [raw for _, _, raw in records(run)] == ["a", "b", "c", "outside", "d"]
    assert [row["end_offset"] for row in run.lake.rows("bronze.offsets", "select * from t order by batch_id")] == [
        5,
        12,
    ]

    write("aborted", commit=False)
    version = run.lake.version("bronze.events")
    run = take(topic)
    assert (run.new_records, run.lake.version("bronze.events")) == (0, version)


def test_what_is_no_text_too_large_or_deleted_comes_with_its_place(broker: Broker, take: Take) -> None:
    topic = broker.make_topic()
    broken = b'{"a": "\xff\xfe"}'
    values = ['{"a": "é\u2028"}', broken, None, "", "x" * 101, "two\nlines\r\n", "nul\x00", "é" * 50, "last"]
    broker.send(topic, values)
    run = take(topic, max_record_bytes=100)
    rows = run.lake.rows("bronze.events", "select position, raw, defect from t order by position")
    assert [(row["position"], row["raw"], row["defect"]) for row in rows] == [
        (0, '{"a": "é\u2028"}', None),
        (1, base64.b64encode(broken).decode(), "not_utf8"),
        (2, "", None),
        (3, "", None),
        (4, "x" * 101, "too_large: 101 bytes"),
        (5, "two\nlines\r\n", None),
        (6, "nul\x00", None),
        (7, "é" * 50, None),
        (8, "last", None),
    ]


def test_more_than_one_arrow_batch_arrives_whole(broker: Broker, take: Take) -> None:
    topic = broker.make_topic(partitions=3)
    for partition in range(3):
        broker.send(topic, [f"{partition}:{number}" for number in range(10_000)], partition)
    run = take(topic)
    expected = [(f"{topic}-{p}", number, f"{p}:{number}") for p in range(3) for number in range(10_000)]
    assert records(run) == expected


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_topic_that_is_not_there_is_not_made(broker: Broker, take: Take) -> None:
    with pytest.raises(ConfigurationError, match=r"^--input: there is no topic 'nowhere' at 127\."):
        take("nowhere")
    assert "nowhere" not in broker.admin.list_topics(timeout=10).topics


@pytest.mark.fault(of="topics", injected="a broker that does not answer", holds="one clear line in bounded time")
def test_a_broker_that_does_not_answer_is_one_clear_line_in_bounded_time(
    take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "_ANSWER_SECONDS", 2)
    started = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"^no Kafka broker answers at 127\.0\.0\.1:1: .*refused") as told:
        take("kafka://127.0.0.1:1/topic")
    assert time.monotonic() - started < 8
    assert "\n" not in str(told.value)


def test_a_broker_that_falls_silent_ends_the_reading(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_SILENCE_SECONDS", 1)
    name = broker.make_topic()
    broker.send(name, ["a", "b"])
    with topics.Topic(address(broker.url(name)), {}) as topic:
        assert topic.offered().offsets == {0: (0, 2)}
        with broker.silent():
            reading = topic.read(
                [Range(0, 0, 2)], max_bytes=10, source="web", batch_id=1, at=utc("2026-01-05 12:00:00")
            )
            with pytest.raises(InfrastructureError, match=r"^no Kafka broker answers at "):
                list(reading.batches())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"no.such.option": "x"}, "landing.kafka: No such configuration property"),
        ({"sasl.password": "$NOT_SET_ANYWHERE"}, "set the environment variable NOT_SET_ANYWHERE"),
    ],
)
def test_wrong_options_are_a_configuration_error(take: Take, options: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        take("kafka://127.0.0.1:1/topic", kafka=options)


# --- addresses, where to go on, how much at once ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("kafka://h:9092/t", Address("h:9092", "t")),
        ("kafka://h:9092,g.example:1/a.b-c_d", Address("h:9092,g.example:1", "a.b-c_d")),
        ("kafka://[::1]:9092/t/", Address("[::1]:9092", "t")),
        ("kafka://h:9092", Address("h:9092", "topic_web_events")),
        ("kafka://h:9092/", Address("h:9092", "topic_web_events")),
    ],
)
def test_an_address_names_brokers_and_topic(location: str, expected: Address) -> None:
    assert address(location) == expected


@pytest.mark.parametrize("rest", ["", "h/t", "h:x/t", "h:1,/t", "h:1/t/u", "h:1/t u", "user:pw@h:1/t", ":1/t"])
def test_a_wrong_address_is_a_configuration_error(rest: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--input: kafka://"):
        address(f"kafka://{rest}")


def index_row(partition: int, end: int, batch: int, topic_id: str | None = "t1") -> dict[str, Any]:
    return {"partition": partition, "end_offset": end, "batch_id": batch, "topic_id": topic_id}


def test_rows_read_back_from_bronze_hold_for_the_topic_that_is_there() -> None:
    found = resume([index_row(0, 5, 1, None), index_row(0, 7, 2)], Offered("t1", {0: (0, 9)}))
    assert (found.start, found.lost, found.made_anew) == ({0: 7}, {}, False)


def test_rows_of_the_topic_before_it_was_made_anew_do_not_count() -> None:
    rows = [index_row(0, 50, 1, None), index_row(0, 90, 2, "t0"), index_row(0, 3, 3, None), index_row(0, 4, 4)]
    found = resume(rows, Offered("t1", {0: (0, 9)}))
    assert (found.start, found.made_anew) == ({0: 4}, False)


def test_a_partition_added_since_then_has_lost_what_expired_in_it() -> None:
    found = resume([index_row(0, 5, 1)], Offered("t1", {0: (0, 5), 1: (3, 4)}))
    assert (found.start, found.lost) == ({0: 5, 1: 3}, {1: 3})


def test_a_partition_that_is_gone_is_another_topic() -> None:
    assert resume([index_row(1, 5, 1)], Offered(None, {0: (0, 9)})).made_anew


def test_a_limit_is_shared_and_short_partitions_are_read_whole() -> None:
    offered = Offered(None, {0: (0, 100), 1: (0, 2), 2: (0, 100), 3: (0, 5)})
    start = {0: 0, 1: 0, 2: 10, 3: 5}
    assert next_ranges(start, offered, 12) == [Range(1, 0, 2), Range(2, 10, 15), Range(0, 0, 5)]


def test_a_limit_below_the_number_of_partitions_still_moves_on() -> None:
    offered = Offered(None, dict.fromkeys(range(5), (0, 1)))
    assert sum(part.end - part.first for part in next_ranges(dict.fromkeys(range(5), 0), offered, 2)) == 2
