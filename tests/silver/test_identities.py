"""silver.identities: whose a device's anonymous events are, as more of it becomes known."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines import runner
from pipelines.silver import identities
from pipelines.steps import links
from tests.arrivals import Death
from tests.conftest import MakeContext
from tests.model import Row
from tests.model import sessions as model_sessions
from tests.model.identities import identities as expected_identities
from tests.model.identities import link
from tests.model.strategies import random_events
from tests.rows import events_frame, table_frame
from tests.runs import CANONICAL, content, land, new_run

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def at(event_id: str, second: float, user_id: str | None = None, **more: object) -> Row:
    """An event of the device `phone`."""
    time = NOON + timedelta(seconds=second)
    known = {"anonymous_id": "phone", "visitor_id": "phone", "record_hash": "m"}
    return {**known, "event_id": event_id, "event_time": time, "user_id": user_id, **more}


def row(second: float, user_id: str, event_id: str, until: float | None = None, **more: object) -> Row:
    """A row of the device `phone`."""
    ends = None if until is None else NOON + timedelta(seconds=until)
    starts = NOON + timedelta(seconds=second)
    return {"site_id": "shop", "anonymous_id": "phone", "valid_from": starts, "valid_to": ends} | {
        "user_id": user_id,
        "event_id": event_id,
        **more,
    }


def same(found: DataFrame, expected: DataFrame) -> None:
    assert_df_equality(found, expected, ignore_row_order=True, ignore_nullable=True)


def test_a_row_stands_for_a_stretch_of_one_user(spark: SparkSession, context: MakeContext) -> None:
    events = [
        at("a", 0),
        at("b", 1, "ann"),
        at("c", 2),
        at("d", 3, "ann"),
        at("e", 4, "bob", sequence=1),
        at("f", 4, "ann", sequence=2),
        at("g", 5, "ann"),
        at("h", 6, "bob", anonymous_id=None),
    ]
    found = identities.build(events_frame(spark, events), context=context())
    expected = [row(1, "ann", "b", 4), row(4, "bob", "e", 4, sequence=1), row(4, "ann", "f", sequence=2)]
    same(found, table_frame(spark, "silver.identities", expected))


def test_an_anonymous_event_is_the_nearest_users_before_else_the_first_after(spark: SparkSession) -> None:
    known = table_frame(
        spark, "silver.identities", [row(10, "ann", "b", 20, sequence=2), row(20, "bob", "e", sequence=None)]
    )
    events = events_frame(
        spark,
        [
            at("first", 0),
            at("same instant, before", 10, sequence=1),
            at("same instant, after", 10, sequence=3),
            at("later", 19),
            at("a", 20),
            at("f", 20),
            at("last", 99),
            at("said", 99, "cat"),
            at("other site", 99, site_id="blog"),
            at("no device", 99, anonymous_id=None),
        ],
    )
    for few in (True, False):
        found = identities.link(events, known, few=few).select("event_id", "person_id").collect()
        assert {found["event_id"]: found["person_id"] for found in found} == {
            "first": "ann",
            "same instant, before": "ann",
            "same instant, after": "ann",
            "later": "ann",
            "a": "ann",  # of the same instant and before e by its id
            "f": "bob",
            "last": "bob",
            "said": "cat",
            "other site": "phone",
            "no device": "phone",
        }


def test_any_events_are_linked_as_the_model_does(spark: SparkSession, context: MakeContext) -> None:
    distinct = model_sessions.deduplicate(random_events(random.Random(6), 800))
    link(distinct)
    names = ("site_id", "event_id", "event_time", "sequence", "anonymous_id", "user_id", "visitor_id")
    bare = [{**{name: event[name] for name in names}, "record_hash": event["record_hash"]} for event in distinct]
    events = table_frame(spark, "silver.events", bare)
    rows = identities.build(events, context=context()).localCheckpoint()
    same(rows, table_frame(spark, "silver.identities", expected_identities(distinct)))
    found = identities.link(events, rows).select("record_hash", "person_id").collect()
    assert {row["record_hash"]: row["person_id"] for row in found} == {
        event["record_hash"]: event["person_id"] for event in distinct
    }
    assert len({row["user_id"] for row in rows.select("user_id").collect()}) > 1


@pytest.mark.parametrize(
    ("event", "old", "changes"),
    [
        (at("n", 15), None, False),
        (at("n", 15, "ann"), None, False),
        (at("n", 10, "ann", sequence=9), None, False),
        (at("n", 25, "bob"), None, False),
        (at("n", 15, "bob"), None, True),
        (at("n", 25, "ann"), None, True),
        (at("n", 5, "ann"), None, True),  # the first row starts earlier
        (at("n", 15, "ann"), at("n", 17, "ann"), True),
        (at("n", 17, "ann"), at("n", 17, "ann"), False),  # read again
        (at("n", 17), at("n", 17, "ann"), True),
        (at("n", 17), at("n", 17), False),
    ],
)
def test_a_device_changes_where_an_event_says_otherwise_than_its_rows(
    spark: SparkSession, event: Row, old: Row | None, changes: bool
) -> None:
    known = table_frame(spark, "silver.identities", [row(10, "ann", "b", 20), row(20, "bob", "e")])
    names = ("anonymous_id", "visitor_id", "user_id", "event_time", "sequence")
    before = F.struct(*[F.col(name).alias(name) for name in names])
    if old is None:
        inserts = events_frame(spark, [event]).withColumn("_old", F.lit(None).cast(_OLD))
    else:
        olds = events_frame(spark, [old]).select("event_id", before.alias("_old"))
        inserts = events_frame(spark, [event]).join(olds, on="event_id", how="left")
    found = identities.changed_devices(inserts, known).collect()
    assert [tuple(device) for device in found] == ([("shop", "phone")] if changes else [])


_OLD = "struct<anonymous_id:string,visitor_id:string,user_id:string,event_time:timestamp,sequence:bigint>"


def line(event_id: str, minute: float, device: str = "phone", **more: object) -> str:
    time = NOON + timedelta(minutes=minute)
    known = {"site_id": "shop", "event_type": "page_view", "anonymous_id": device, "page_path": "/"}
    return json.dumps({**known, "event_id": event_id, "event_time": time.isoformat(), **more})


@pytest.mark.slow
@pytest.mark.fault(
    of="identity",
    injected="log-ins that arrive late, one between the events of another user, one that is taken back",
    holds="stored events of the device, of any day, belong to whom they belong in one run over everything",
)
def test_links_reach_back_to_any_day_and_follow_what_arrives_late(
    spark: SparkSession, context: MakeContext, tmp_path: Path
) -> None:
    day = 1440
    arrivals = [
        ([line("a", 0), line("b", 5 * day), line("x", 0, device="tablet")], {"a": "phone", "b": "phone"}),
        ([line("c", 9 * day, user_id="ann")], {"a": "ann", "b": "ann", "c": "ann"}),
        ([line("d", 10 * day), line("e", 6 * day, user_id="ann")], {"a": "ann", "d": "ann"}),
        ([line("f", 4 * day, user_id="bob")], {"a": "bob", "b": "bob", "d": "ann"}),
        ([line("f", 4 * day - 1)], {"a": "ann", "b": "ann", "f": "ann", "d": "ann"}),  # a better copy knows no user
    ]
    for number, (lines, persons) in enumerate(arrivals):
        land(tmp_path / "landing", f"{number}.jsonl", lines)
        run = new_run(spark, tmp_path / "lake", context())
        runner.take(run, [(CANONICAL, str(tmp_path / "landing"))])
        runner.build_silver(run)
        events = {row["event_id"]: row["person_id"] for row in content(tmp_path / "lake", "silver.events")}
        assert {name: events[name] for name in persons} == persons
        assert events["x"] == "tablet"
        days = {(row["person_id"], row["date"]) for row in content(tmp_path / "lake", "silver.user_days")}
        assert {person for person, _ in days} == set(events.values())
        sessions = {row["person_id"] for row in content(tmp_path / "lake", "silver.sessions")}
        assert sessions == set(events.values())
    (known,) = content(tmp_path / "lake", "silver.identities")
    assert (known["user_id"], known["event_id"], known["valid_to"]) == ("ann", "e", None)


@pytest.mark.slow
@pytest.mark.fault(
    of="crashes",
    injected="a run dies after silver.events and before silver.identities",
    holds="the next run, with nothing new, makes silver.identities anew",
)
def test_a_run_that_dies_before_the_links_are_written_leaves_them_to_the_next(
    spark: SparkSession, context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_in() -> None:
        run = new_run(spark, tmp_path / "lake", context())
        runner.take(run, [(CANONICAL, str(tmp_path / "landing"))])
        runner.build_silver(run)

    def die(*_: object) -> None:
        raise Death

    land(tmp_path / "landing", "0.jsonl", [line("a", 0), line("b", 1, user_id="ann")])
    take_in()
    land(tmp_path / "landing", "1.jsonl", [line("c", 2, user_id="bob"), line("d", 3)])
    with monkeypatch.context() as patched:
        patched.setattr(links, "write", die)
        with pytest.raises(Death):
            take_in()
    take_in()
    assert [row["user_id"] for row in content(tmp_path / "lake", "silver.identities")] == ["ann", "bob"]
    persons = {row["event_id"]: row["person_id"] for row in content(tmp_path / "lake", "silver.events")}
    assert persons == {"a": "ann", "b": "ann", "c": "bob", "d": "bob"}
