"""silver.aliases: who came from another domain of the site, as more of it becomes known."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from pipelines import runner
from pipelines.context import RunContext
from pipelines.ops.books import Books
from pipelines.run import Run
from pipelines.settings import PrivacyRule, SessionRule, Site, Sites
from pipelines.silver import aliases
from pipelines.steps import requests
from tests import model
from tests.arrivals import CONTEXT, Death, DyingLake
from tests.conftest import MakeContext
from tests.model.examples import event
from tests.rows import Row, events_frame, table_frame
from tests.runs import CANONICAL, as_records, content, differences, in_key_order, land, new_run

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def at(second: float, visitor: str, url: str | None = None, **more: object) -> Row:
    """A page view of the device `visitor`."""
    time = NOON + timedelta(seconds=second)
    known = {"event_type": "page_view", "anonymous_id": visitor, "record_hash": "m", "page_url": url}
    return {**known, "event_time": time, **more}


def test_a_visitor_is_an_alias_of_whom_the_first_page_view_names_within_two_minutes(
    spark: SparkSession, context: MakeContext
) -> None:
    made = context(sites={"shop": {"link_parameter": "_v"}})
    events = events_frame(
        spark,
        [
            at(0, "a", event_id="a"),
            at(120, "just", "https://two.example/p?x=1&_v=a#top", event_id="just"),
            at(120.000001, "late", "/?_v=a", event_id="late"),
            at(-120, "before", "/?_v=a", event_id="before"),
            at(30, "second", "/", event_id="first"),
            at(31, "second", "/?_v=a", event_id="named too late"),
            at(30, "clicked first", None, event_type="click", event_id="click"),
            at(31, "clicked first", "/?_v=a", event_id="landing"),
            at(60, "hop", "/?_v=just", event_id="hop"),
            at(0, "a", "/?_v=just", event_id="not a landing"),
            at(60, "itself", "/?_v=itself", event_id="itself"),
            at(60, "unknown", "/?_v=nobody", event_id="unknown"),
            at(60, "other parameter", "/?v=a&x_v=a", event_id="other"),
            at(60, "spelled", "/?_v=%61", event_id="spelled"),
            at(60, "other site", "/?_v=a", event_id="blog", site_id="blog"),
        ],
    )

    def row(visitor: str, alias_of: str, second: float, event_id: str, is_alias: bool) -> Row:
        landed = {"landed_at": NOON + timedelta(seconds=second), "event_id": event_id, "is_alias": is_alias}
        return {"site_id": "shop", "visitor_id": visitor, "alias_of": alias_of, **landed}

    expected = [
        row("just", "a", 120, "just", True),
        row("late", "a", 120.000001, "late", False),
        row("before", "a", -120, "before", True),
        row("clicked first", "a", 31, "landing", True),
        row("hop", "just", 60, "hop", True),
        row("unknown", "nobody", 60, "unknown", False),
        row("spelled", "a", 60, "spelled", True),
    ]
    found = aliases.build(events, events, context=made)
    expected_rows = table_frame(spark, "silver.aliases", expected)
    assert_df_equality(found, expected_rows, ignore_row_order=True, ignore_nullable=True)
    visitors = {row["event_id"]: row["visitor_id"] for row in aliases.apply(events, found).collect()}
    told = ("just", "late", "before", "first", "click", "hop", "unknown", "blog")
    # hop is an alias of just, which is one of a: one step only
    assert [visitors[name] for name in told] == ["a", "late", "a", "second", "a", "just", "unknown", "other site"]


def record(event_id: str, second: float, visitor: str, url: str = "/", **more: object) -> Row:
    return event(event_id, NOON + timedelta(seconds=second), page_url=url, anonymous_id=visitor, site_id="shop", **more)


def arrives(spark: SparkSession, root: Path, number: int, batch: list[Row], context: RunContext) -> Run:
    land(root / "landing", f"{number}.jsonl", [one["_line"] for one in batch])
    run = new_run(spark, root / "lake", context)
    runner.take(run, [(CANONICAL, str(root / "landing"))])
    return run


@pytest.mark.fault(
    of="arrival",
    injected="events that make someone an alias, and later unmake it, arrive after their sessions were written",
    holds="the visitor's sessions are joined and parted again, on every day",
)
def test_an_alias_comes_and_goes_with_what_becomes_known(
    spark: SparkSession, context: MakeContext, tmp_path: Path
) -> None:
    made = context(sites={"shop": {"link_parameter": "_v"}})
    arrivals = (
        [record("b1", 0, "b", "/?_v=a"), record("b2", 100_000, "b"), record("a2", 100_060, "a")],
        [record("a1", -60, "a", user_id="ann")],
        [record("b0", -9_999, "b")],
    )
    found = []
    for number, events in enumerate(arrivals):
        runner.build_silver(arrives(spark, tmp_path, number, as_records(events), made))
        sessions = content(tmp_path / "lake", "silver.sessions")
        rows = content(tmp_path / "lake", "silver.aliases")
        found.append(
            (
                sorted((row["visitor_id"], row["person_id"], row["event_count"]) for row in sessions),
                [(row["visitor_id"], row["alias_of"], row["is_alias"]) for row in rows],
            )
        )
    assert found == [
        ([("a", "a", 1), ("b", "b", 1), ("b", "b", 1)], [("b", "a", False)]),
        ([("a", "ann", 2), ("a", "ann", 2)], [("b", "a", True)]),
        ([("a", "ann", 1), ("a", "ann", 1), ("b", "b", 1), ("b", "b", 1), ("b", "b", 1)], []),
    ]


# --- any arrival -----------------------------------------------------------------------------------------------------

SITES = Sites(
    sites={
        "open": Site(link_parameter="visit"),
        "client": Site(link_parameter="visit", session=SessionRule(key="client"), timezone="Asia/Tokyo"),
        "closed": Site(
            link_parameter="_v",
            privacy=PrivacyRule(hash_identifiers=True),
            dedupe="any_time",
            session=SessionRule(break_on_campaign=True),
        ),
        "plain": Site(),
    }
)
WHO = (
    ("a", None, None),
    ("b", None, None),
    ("c", None, None),
    ("d", None, "k"),
    (None, "ann", None),
    (None, None, "k"),
)
TIMES = (0, 0.000001, 1, 119, 120, 120.000001, 240, 241, 1_900, 5_000, 43_190, 43_200, 3 * 86_400)
TABLES = ("silver.events", "silver.aliases", "silver.identities", "silver.sessions", "silver.user_days")


def handed_over(rng: random.Random, size: int) -> list[Row]:
    """Events of few visitors within few minutes, who often land with a name; some come again, changed."""
    events = []
    for number in range(size):
        site_id = rng.choice(list(SITES.sites))
        anonymous_id, user_id, client = rng.choice(WHO)
        name = SITES.of(site_id).link_parameter or "visit"
        named = rng.choice((None, "a", "b", "c", "d", "ann", "k"))
        given = {
            "anonymous_id": anonymous_id,
            "user_id": user_id or rng.choice((None, None, None, None, "ann", "bob")),
            "client_session_id": client or rng.choice((None, None, "k")),
            "page_url": f"/?{name}={named}" if named else "/",
            "sequence": rng.choice((None, None, 1)),
            "utm_campaign": rng.choice((None, None, None, "may")),
        }
        kind = rng.choice(("page_view", "page_view", "click"))
        shared = rng.choice((None, None, None, None, "e1", "e2", "e3"))
        when = NOON + timedelta(seconds=rng.choice(TIMES))
        channels = {"channel": "Unassigned"} if given["utm_campaign"] else {}
        events.append(event(shared or f"n{number}", when, kind, site_id=site_id, **given, **channels))
    return as_records(events)


def differing(root: Path, records: list[Row], context: RunContext) -> list[str]:
    expected = model.run(records, SITES, context.funnels, context.settings)
    told = []
    for table in TABLES:
        rows = content(root, table)
        names = list(rows[0])
        wanted = in_key_order(table, [{name: row[name] for name in names} for row in expected[table]])
        told += [f"{table}: {words}" for words in differences(rows, wanted)]
    return told


@pytest.mark.slow
@pytest.mark.fault(
    of="arrival",
    injected="visitors handed over between domains, hashed ids, copies of any date: shuffled, repeated, late",
    holds="silver equals the plain-Python model after every batch, after a death between its tables and a rebuild",
)
@pytest.mark.parametrize("seed", [1])
def test_any_arrival_of_handed_over_visitors_equals_the_model(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    context = replace(CONTEXT, sites=SITES)
    records = handed_over(rng, 110)
    arrived = rng.sample(records, len(records)) + rng.sample(records, 20)
    cuts = [0, 60, 100, 110, 130]
    was_alias = set()
    for number in range(4):
        run = arrives(spark, tmp_path, number, arrived[cuts[number] : cuts[number + 1]], context)
        if number == 2:
            run.lake = dying = DyingLake(tmp_path / "lake", lambda: spark, writes=2, after=True)
            with pytest.raises(Death):
                runner.build_silver(run)
            assert dying.died_at == "after upsert of silver.events"
            run = new_run(spark, tmp_path / "lake", context)
        runner.build_silver(run)
        assert not run.failures
        assert differing(tmp_path / "lake", arrived[: cuts[number + 1]], context) == [], number
        rows = run.lake.rows("silver.aliases")
        was_alias |= {(row["site_id"], row["visitor_id"], row["alias_of"], row["is_alias"]) for row in rows}
    now = {(row["site_id"], row["visitor_id"], row["alias_of"], row["is_alias"]) for row in rows}
    assert {is_alias for *_, is_alias in now} == {True, False}
    assert was_alias > now  # some were undone on the way
    assert Books.of(run.lake).total.missing == 0

    run = new_run(spark, tmp_path / "lake", context)
    run.sources[CANONICAL.source] = CANONICAL
    for dates in ("2026-01-05/2026-01-06", requests.ALL_DATES):
        requests.add(run, "rebuild", dates)
        runner.build_silver(run)
        assert not run.failures
        assert differing(tmp_path / "lake", arrived, context) == [], dates
