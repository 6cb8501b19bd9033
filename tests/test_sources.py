"""The mappings that ship, each on its own sample, and mappings that are mistaken."""

from __future__ import annotations

import gzip
from collections import Counter
from decimal import Decimal
from functools import reduce
from typing import Any, NamedTuple

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from pipelines.config import CONF, PROJECT
from pipelines.settings import load_sites
from pipelines.silver import canonical
from pipelines.sources import load_source
from pipelines.steps import lookups
from tests.conftest import MakeContext
from tests.rows import Row as Values
from tests.rows import day, records_frame
from tests.runs import new_run

SAMPLES = PROJECT / "data" / "samples"


class Sample(NamedTuple):
    """What a sample holds: lines accepted, distinct events among them, refusals by reason, types, bots, test users."""

    accepted: int
    distinct: int
    refused: dict[str, int]
    types: dict[str, int]
    bots: int = 0
    test_users: int = 0


EXPECTED = {
    "access_log": Sample(
        accepted=27,
        distinct=27,
        refused={"malformed": 1},
        types={"page_view": 13, "custom_event": 10, "error": 4},
        bots=4,
    ),
    "engagement": Sample(
        accepted=21,
        distinct=21,
        refused={"malformed": 1, "missing_identity": 1},
        types={"view": 9, "like": 5, "session_end": 4, "comment": 2, "custom_event": 1},
        test_users=3,
    ),
    "flow": Sample(
        accepted=24,
        distinct=23,
        refused={"malformed": 1},
        types={
            "page_view": 10,
            "click": 7,
            "error": 2,
            "scroll": 1,
            "form_start": 1,
            "form_submit": 1,
            "conversion": 1,
            "custom_event": 1,
        },
    ),
    "sessions": Sample(
        accepted=19,
        distinct=18,
        refused={"malformed": 1, "missing_identity": 1},
        types={
            "page_view": 11,
            "click": 1,
            "form_start": 1,
            "form_submit": 1,
            "conversion": 1,
            "video_play": 1,
            "session_start": 1,
            "session_end": 1,
            "custom_event": 1,
        },
        bots=1,
    ),
    "tracer": Sample(
        accepted=26,
        distinct=25,
        refused={"malformed": 1},
        types={
            "page_view": 14,
            "purchase": 3,
            "click": 1,
            "scroll": 1,
            "like": 1,
            "comment": 1,
            "form_start": 1,
            "form_submit": 1,
            "error": 1,
            "video_play": 1,
            "custom_event": 1,
        },
        test_users=2,
    ),
    "web": Sample(
        accepted=36,
        distinct=35,
        refused={"malformed": 3, "missing_identity": 1, "bad_timestamp": 1},
        types={
            "page_view": 17,
            "scroll": 4,
            "purchase": 3,
            "click": 2,
            "form_submit": 2,
            "form_start": 1,
            "error": 1,
            "video_play": 1,
            "like": 1,
            "comment": 1,
            "view": 1,
            "session_end": 1,
            "custom_event": 1,
        },
        bots=2,
        test_users=2,
    ),
}

Judged = dict[str, list[Row]]


def sample_lines(source: str) -> list[Values]:
    """The lines of a sample with their places."""
    found = []
    for path in sorted((SAMPLES / source).iterdir()):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = content.decode().removesuffix("\n").split("\n")
        found += [{"raw": raw, "origin": path.name, "position": i} for i, raw in enumerate(lines, start=1)]
    return found


@pytest.fixture(scope="module")
def judged(spark: SparkSession, context: MakeContext, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Every sample's rows through its mapping, in the order of file and line, under the sites that ship."""
    shipped = load_sites().model_dump()
    made = context(sites=shipped["sites"], defaults=shipped["defaults"])
    frames = [
        canonical.build(records_frame(spark, name, sample_lines(name)), load_source(name), context=made)
        for name in EXPECTED
    ]
    found: Judged = {name: [] for name in EXPECTED}
    run = new_run(spark, tmp_path_factory.mktemp("lake"), made)
    records = reduce(DataFrame.unionByName, frames).localCheckpoint()
    for row in lookups.enriched(run, records, records.count()).collect():
        found[row["source"]].append(row)
    return {name: sorted(rows, key=lambda row: (row["origin"], row["position"])) for name, rows in found.items()}


def test_every_mapping_that_ships_has_a_sample_and_is_tested_here() -> None:
    mappings = {path.stem for path in (CONF / "sources").iterdir()}
    assert mappings == {path.name for path in SAMPLES.iterdir() if path.is_dir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_gives_exactly_these_counts(judged: Judged, name: str) -> None:
    rows, expected = judged[name], EXPECTED[name]
    accepted = [row for row in rows if row["reason"] is None]
    assert len(rows) == len(sample_lines(name))
    assert Counter(row["reason"] for row in rows if row["reason"]) == expected.refused
    assert len(accepted) == expected.accepted
    assert len({(row["site_id"], row["event_id"], row["event_utc_date"]) for row in accepted}) == expected.distinct
    assert Counter(row["event_type"] for row in accepted) == expected.types
    assert sum(row["is_bot"] for row in accepted) == expected.bots
    assert sum(row["is_test_user"] for row in accepted) == expected.test_users


@pytest.mark.parametrize("name", EXPECTED)
def test_a_mapping_knows_and_reads_every_field_of_its_sample(judged: Judged, name: str) -> None:
    assert [row["raw"] for row in judged[name] if row["new_fields"] or row["uncast"]] == []


@pytest.mark.parametrize(
    ("name", "origin", "position", "expected"),
    [
        (
            "access_log",
            "access.log",
            6,
            {
                "site_id": "access_log",
                "event_type": "page_view",
                "event_name": None,
                "event_time": "2026-01-05 08:02:10",
                "sequence": 6,
                "user_id": None,
                "page_path": "/archive/2025.html",
                "page_host": None,
                "referrer_url": "https://www.example/articles/time%20zones",
                "bot_reason": None,
            },
        ),
        ("access_log", "access.log", 4, {"event_type": "custom_event", "event_name": "request"}),
        ("access_log", "access.log", 8, {"event_type": "error", "event_name": "http_404", "page_path": "/missing"}),
        ("access_log", "access.log", 9, {"utm_source": "newsletter", "utm_medium": "email", "referrer_url": None}),
        ("access_log", "access.log", 10, {"event_type": "page_view", "page_path": "/search.php"}),
        ("access_log", "access.log", 11, {"event_type": "custom_event", "event_name": "request"}),
        ("access_log", "access.log", 15, {"user_id": "clara", "person_id": "clara"}),
        (
            "access_log",
            "access.log",
            18,
            {
                "event_type": "error",
                "page_path": None,
                "properties": {"request": "\\x16\\x03\\x01\\x02", "status": "400", "size": "226"},
                "bot_reason": "empty_user_agent",
            },
        ),
        ("access_log", "access.log", 19, {"referrer_url": 'https://search.example/?q=\\"late events\\"'}),
        ("access_log", "access.log", 21, {"event_type": "custom_event", "bot_reason": None}),
        (
            "engagement",
            "batch-1.jsonl",
            6,
            {
                "event_type": "comment",
                "event_time": "2026-01-05 12:00:00",  # when it was ingested
                "sequence": 6,
                "visitor_id": "u-1",
                "client_session_id": "g-1",
                "element_text": "I had the same question.",
                "properties": {"item_id": "post-2"},
            },
        ),
        ("engagement", "batch-2.jsonl.gz", 2, {"event_type": "custom_event", "event_name": "share"}),
        (
            "flow",
            "2026-01-05.jsonl",
            9,
            {
                "site_id": "flow",
                "event_type": "form_submit",
                "event_time": "2026-01-05 09:01:55",
                "user_id": "u100",
                "client_session_id": "f-1",
                "page_path": "/signup",
                "element_selector": "form#signup button",
                "element_text": "Create account",
                "properties": {},
            },
        ),
        ("flow", "2026-01-05.jsonl", 12, {"page_url": "/docs/start?lang=de", "page_path": "/docs/start"}),
        ("flow", "2026-01-05.jsonl", 16, {"event_type": "custom_event", "event_name": "copy"}),
        (
            "sessions",
            "part-0.jsonl",
            1,
            {
                "site_id": "shop",
                "event_id": "e1",
                "event_type": "page_view",
                "event_time": "2026-01-05 12:00:00",
                "visitor_id": "c-1",
                "user_id": None,
                "page_host": "shop.example",
                "page_path": "/",
                "utm_source": "google",
                "utm_medium": "cpc",
                "utm_campaign": "lamps winter",
            },
        ),
        (
            "sessions",
            "part-0.jsonl",
            9,
            {"value": Decimal("120.5000"), "currency": "EUR", "properties": {"orderId": "O-77"}},
        ),
        ("sessions", "part-0.jsonl", 10, {"event_time": "2026-01-05 12:05:00", "event_id": "e10"}),
        ("sessions", "part-1.jsonl.gz", 6, {"event_date": day("2026-01-05"), "event_utc_date": day("2026-01-06")}),
        (
            "tracer",
            "events-1.jsonl",
            8,
            {
                "event_type": "custom_event",
                "event_name": "add_to_cart",
                "event_time": "2026-01-05 09:01:10.500000",
                "user_id": "u1",
                "page_path": "/products/42",
                "element_selector": "button#add",
                "properties": {"element": "button#add", "sku": "42", "quantity": "2"},
            },
        ),
        ("tracer", "events-1.jsonl", 15, {"value": Decimal("38.0000"), "currency": "USD"}),
        ("tracer", "events-1.jsonl", 4, {"load_time_ms": 1430, "event_time": "2026-01-05 09:00:20.750000"}),
        ("tracer", "events-2.jsonl.gz", 3, {"client_session_id": "mobile-77", "event_date": day("2026-01-06")}),
        (
            "web",
            "2026-01-05.jsonl",
            15,
            {
                "site_id": "shop",
                "event_id": "s-0013",
                "event_type": "purchase",
                "event_time": "2026-01-05 08:03:42.800000",
                "received_at": "2026-01-05 08:03:43.200000",
                "visitor_id": "a-anna",
                "person_id": "u-anna",
                "client_session_id": "s-1001",
                "page_path": "/checkout/confirmation",
                "value": Decimal("59.9000"),
                "currency": "EUR",
                "country": "DE",
                "city": "Berlin",
                "properties": {"order_id": "O-1", "items": '[{"sku":"L-204","quantity":1}]'},
            },
        ),
        ("web", "2026-01-05.jsonl", 3, {"utm_campaign": "winter_sale", "load_time_ms": 820}),
        # A reader in New York: still the day before by the blog's clock.
        ("web", "2026-01-06.jsonl.gz", 5, {"event_date": day("2026-01-05"), "event_utc_date": day("2026-01-06")}),
        ("web", "2026-01-06.jsonl.gz", 11, {"reason": "bad_timestamp", "detail": "cannot be read: yesterday"}),
    ],
)
def test_a_line_becomes_this_event(
    judged: Judged, name: str, origin: str, position: int, expected: dict[str, Any]
) -> None:
    (row,) = [row for row in judged[name] if (row["origin"], row["position"]) == (origin, position)]
    found = {
        column: str(row[column]) if column in ("event_time", "received_at") else row[column] for column in expected
    }
    assert found == expected
