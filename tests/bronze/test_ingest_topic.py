"""A Kafka topic as a source, on a real broker: each record once, whatever happens to the process and its index."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines import runner
from pipelines.context import RunContext
from pipelines.funnels import Funnels
from pipelines.lake import Lake
from pipelines.progress import Progress
from pipelines.run import Run
from pipelines.settings import Sites, load_settings
from pipelines.steps.ingest import ingest
from tests.bronze.conftest import Broker, Take, batches, no_session, records
from tests.model.strategies import FUNNELS, SITES, random_events, small_settings
from tests.runs import CANONICAL, as_records, bring_up_to_date, content, land, new_run

# --- each record once -------------------------------------------------------------------------------------------------


def test_each_record_is_taken_once_over_several_runs(broker: Broker, take: Take) -> None:
    topic = broker.make_topic(partitions=2)
    broker.send(topic, ["a", "b"], partition=0)
    broker.send(topic, ["c"], partition=1)
    take(topic)
    broker.send(topic, ["d"], partition=0)
    run = take(topic)
    broker.send(topic, ["e", "f"], partition=1)
    run = take(topic)

    assert records(run) == [
        (f"{topic}-0", 0, "a"),
        (f"{topic}-0", 1, "b"),
        (f"{topic}-0", 2, "d"),
        (f"{topic}-1", 0, "c"),
        (f"{topic}-1", 1, "e"),
        (f"{topic}-1", 2, "f"),
    ]
    assert [batch for batch, _, _ in batches(run)] == [1, 1, 1, 2, 3, 3]
    assert run.new_records == 2


def test_a_run_with_nothing_new_changes_no_table(broker: Broker, take: Take) -> None:
    topic = broker.make_topic()
    broker.send(topic, ["a"])
    first = take(topic)
    before = [first.lake.version(table) for table in ("bronze.events", "bronze.offsets")]
    again = take(topic)
    assert [again.lake.version(table) for table in ("bronze.events", "bronze.offsets")] == before
    assert again.new_records == 0


def test_an_empty_topic_makes_no_table(broker: Broker, take: Take) -> None:
    run = take(broker.make_topic())
    assert run.lake.version("bronze.events") is None


@pytest.mark.fault(of="topics", injected="a partition is added", holds="it is read from its start")
def test_a_partition_added_later_is_read_from_its_start(broker: Broker, take: Take) -> None:
    topic = broker.make_topic()
    broker.send(topic, ["a"])
    take(topic)
    broker.add_partitions(topic, 2)
    broker.send(topic, ["b", "c"], partition=1)
    assert records(take(topic)) == [(f"{topic}-0", 0, "a"), (f"{topic}-1", 0, "b"), (f"{topic}-1", 1, "c")]


def test_a_backlog_is_taken_in_batches_of_bounded_size(broker: Broker, take: Take) -> None:
    topic = broker.make_topic(partitions=2)
    broker.send(topic, [str(number) for number in range(7)], partition=0)
    broker.send(topic, ["x"], partition=1)
    run = take(topic, max_offsets_per_batch=4)
    assert batches(run) == [
        *[(1, f"{topic}-0", position) for position in (0, 1, 2)],
        (1, f"{topic}-1", 0),
        *[(2, f"{topic}-0", position) for position in (3, 4, 5, 6)],
    ]
    assert take(topic).new_records == 0


def test_two_topics_and_files_of_one_source_are_told_apart(broker: Broker, take: Take, tmp_path: Path) -> None:
    one, other = broker.make_topic(), broker.make_topic()
    broker.send(one, ["a"])
    broker.send(other, ["b"])
    file = land(tmp_path / "landing", "x-0", ["c"])
    run = take(str(file))
    for _ in range(2):
        for topic in (one, other):
            run = take(topic)
    assert sorted(records(run)) == sorted([(f"{one}-0", 0, "a"), (f"{other}-0", 0, "b"), (str(file), 1, "c")])


# --- the index is a cache ---------------------------------------------------------------------------------------------


def lose_the_table(run: Run) -> None:
    shutil.rmtree(run.lake.path("bronze.offsets"))


def lose_a_batch(run: Run) -> None:
    run.lake.replace_rows("bronze.offsets", [], where="batch_id = 2")


def truncate_a_file(run: Run) -> None:
    for file in Path(run.lake.path("bronze.offsets")).glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:100])


def garble_the_log(run: Run) -> None:
    for file in Path(run.lake.path("bronze.offsets"), "_delta_log").glob("*.json"):
        file.write_text("{")


def remove_a_file(run: Run) -> None:
    next(Path(run.lake.path("bronze.offsets")).glob("*.parquet")).unlink()


def claim_more_than_was_taken(run: Run) -> None:
    rows = run.lake.rows("bronze.offsets")
    tampered = [{**row, "end_offset": row["end_offset"] + 1, "records": row["records"] + 1} for row in rows]
    run.lake.replace_rows("bronze.offsets", tampered)


def leave_rows_of_a_batch_that_never_came(run: Run) -> None:
    last = run.lake.rows("bronze.offsets")[-1]
    rows = [{**last, "first_offset": 3, "end_offset": 5, "records": 2, "batch_id": batch} for batch in (3, 4)]
    run.lake.append_rows("bronze.offsets", rows)


@pytest.mark.parametrize(
    "damage",
    [
        lose_the_table,
        lose_a_batch,
        truncate_a_file,
        garble_the_log,
        remove_a_file,
        claim_more_than_was_taken,
        leave_rows_of_a_batch_that_never_came,
    ],
)
@pytest.mark.fault(
    of="lost state",
    injected="the index of offsets is lost, damaged, incomplete or claims too much",
    holds="nothing doubles and nothing is skipped",
)
def test_losing_or_damaging_the_index_neither_doubles_nor_skips(
    broker: Broker, take: Take, damage: Callable[[Run], None]
) -> None:
    topic = broker.make_topic()
    broker.send(topic, ["a", "b"])
    take(topic)
    broker.send(topic, ["c"])
    damage(take(topic))
    broker.send(topic, ["d", "e"])

    for batch in (3, 3):
        run = take(topic)
        assert [(number, position) for number, _, position in batches(run)] == [
            (1, 0),
            (1, 1),
            (2, 2),
            (batch, 3),
            (batch, 4),
        ]


@pytest.mark.fault(
    of="crashes",
    injected="a run dies between the records of a topic and the index of offsets",
    holds="the offsets are read back from the records",
)
def test_a_run_that_dies_before_it_writes_the_index_is_made_good(
    broker: Broker, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = broker.make_topic()
    broker.send(topic, ["a", "b"])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "append_rows", die)
        with pytest.raises(KeyboardInterrupt):
            take(topic)
    broker.send(topic, ["c"])
    assert [raw for _, _, raw in records(take(topic))] == ["a", "b", "c"]


# --- killed, and all the way to gold ----------------------------------------------------------------------------------


AT = {"started_at": datetime(2026, 5, 1, tzinfo=UTC), "as_of": date(2026, 4, 30)}


def take_in_small_batches(location: str, root: str) -> None:
    """What a process of its own does until it is killed."""
    settings = load_settings("local")
    landing = settings.landing.model_copy(update={"max_offsets_per_batch": 1000})
    settings = settings.model_copy(update={"landing": landing})
    context = RunContext(settings=settings, sites=Sites(), funnels=Funnels(), **AT)
    ingest(Run(Lake(root, {}, no_session), context, Progress("killed", human=False), "killed"), CANONICAL, location)


@pytest.mark.fault(of="crashes", injected="`kill -9` at random times while a topic is read", holds="each record once")
def test_a_process_killed_again_and_again_takes_each_record_once(broker: Broker, take: Take, tmp_path: Path) -> None:
    topic = broker.make_topic(partitions=2)
    for partition in range(2):
        broker.send(topic, [str(number) for number in range(20_000)], partition)
    log = tmp_path / "lake/bronze/events/_delta_log"
    processes = multiprocessing.get_context("spawn")
    for kill in range(4):
        seen = len(list(log.glob("*.json")))
        process = processes.Process(target=take_in_small_batches, args=(broker.url(topic), str(tmp_path / "lake")))
        process.start()
        while process.is_alive() and len(list(log.glob("*.json"))) <= seen + 1:
            time.sleep(0.001)
        time.sleep(0.03 * kill)  # somewhere within a batch, not always at the same place
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    run = take(topic)
    assert [(origin, position) for origin, position, _ in records(run)] == [
        (f"{topic}-{partition}", number) for partition in range(2) for number in range(20_000)
    ]
    assert len({batch for batch, _, _ in batches(run)}) > 4


GOLD = ("gold.journey_stats_daily", "gold.funnel_daily")


def test_a_topic_goes_all_the_way_and_a_second_run_finds_nothing_new(
    broker: Broker, spark: SparkSession, tmp_path: Path
) -> None:
    context = RunContext(settings=small_settings(), sites=SITES, funnels=FUNNELS, **AT)

    def run_from_topic() -> Run:
        run = new_run(spark, tmp_path / "lake", context, *GOLD)
        runner.bring_up_to_date(run, [(CANONICAL, broker.url(topic))])
        assert not run.failures
        return run

    topic = broker.make_topic(partitions=3)
    lines = [record["_line"] for record in as_records(random_events(random.Random(7), 30))]
    broker.send(topic, lines[:20] + lines[:5], partition=0)
    broker.send(topic, ["no JSON", *lines[20:]], partition=2)
    run = run_from_topic()

    land(tmp_path / "landing", "all.jsonl", [*lines, *lines[:5], "no JSON"])
    bring_up_to_date(spark, tmp_path / "one_shot", context, tmp_path / "landing", *GOLD)
    for table in run.served:
        assert content(tmp_path / "lake", table) == content(tmp_path / "one_shot", table), table
    assert run.lake.count("silver.events") > 10
    assert run.lake.count("ops.dead_letters") == 1

    before = {table: run.lake.version(table) for table in run.served}
    assert run_from_topic().new_records == 0
    assert {table: run.lake.version(table) for table in run.served} == before
