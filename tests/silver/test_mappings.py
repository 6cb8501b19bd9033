"""What a mapping may choose: ids by position, times, text by a pattern, keyed hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
from functools import reduce
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from pipelines.errors import ConfigurationError
from pipelines.silver import canonical
from pipelines.sources import Source
from tests.conftest import MakeContext
from tests.rows import records_frame


def mapping(**changes: Any) -> Source:
    """A source of JSON lines with the fields site, who, at and type."""
    columns = {"site_id": "site", "user_id": "who", "event_time": "at", "event_type": "coalesce(type, 'click')"}
    given = {"source": "own", "description": "x", "format": "json_lines", "fields": ["site", "who", "at", "type"]}
    return Source.model_validate({**given, "columns": columns, **changes})


def collected(frames: list[DataFrame]) -> list[Row]:
    """All rows in one job, in the order of file, batch and line."""
    rows = reduce(DataFrame.unionByName, frames).collect()
    return sorted(rows, key=lambda row: (row["source"], row["origin"], row["batch_id"], row["position"]))


@pytest.mark.fault(
    of="duplicates",
    injected="equal lines that are different events",
    holds="as many events as lines, the same ones when the file is taken again",
)
def test_an_id_by_position_counts_equal_lines_within_their_file(spark: SparkSession, context: MakeContext) -> None:
    like, view = '{"site": "s", "who": "u", "type": "like"}', '{"site": "s", "who": "u", "type": "view"}'
    columns = {"site_id": "site", "user_id": "who", "event_type": "type"}
    source = mapping(event_id="position", event_time="ingested", columns=columns)
    files = [("a", 1, [like, view, like]), ("a", 2, [like, view, like, like]), ("b", 1, [view, like])]
    frames = [
        records_frame(spark, "own", [{"raw": raw, "origin": name, "batch_id": batch} for raw in lines])
        for name, batch, lines in files
    ]
    rows = collected([canonical.build(reduce(DataFrame.unionByName, frames), source, context=context())])

    def expected(raw: str, occurrence: int) -> str:
        return hashlib.md5(f"own\x1f{raw}\x1f{occurrence}".encode()).hexdigest()

    # File b, and file a taken again after it has grown, make the same ids: nothing counts twice.
    assert [(row["origin"], row["batch_id"], row["event_id"]) for row in rows] == [
        ("a", 1, expected(like, 1)),
        ("a", 1, expected(view, 1)),
        ("a", 1, expected(like, 2)),
        ("a", 2, expected(like, 1)),
        ("a", 2, expected(view, 1)),
        ("a", 2, expected(like, 2)),
        ("a", 2, expected(like, 3)),
        ("b", 1, expected(view, 1)),
        ("b", 1, expected(like, 1)),
    ]
    assert {row["event_time"] for row in rows} == {rows[0]["ingested_at"]}


def test_what_a_mapping_says_about_time_and_fields_is_followed(spark: SparkSession, context: MakeContext) -> None:
    def record(**fields: Any) -> str:
        return json.dumps({"site": "s", "who": "u", **fields})

    # Records are ingested at 12:00:00 UTC.
    iso = mapping(future_tolerance_seconds=0, time_zone="Asia/Tokyo", ignored_fields=["noise"])
    declared = mapping(future_tolerance_seconds=60, time_format="dd.MM.yyyy HH:mm:ss")
    cases = [
        (iso, record(at="2026-01-05T12:00:00Z"), "2026-01-05 12:00:00"),
        (iso, record(at="2026-01-05T12:00:00.001Z"), "future_timestamp"),
        (iso, record(at="2026-01-05T12:00:00"), "2026-01-05 03:00:00"),
        (iso, record(at="2026-01-05", noise=1), "2026-01-04 15:00:00"),
        (declared, record(at="05.01.2026 12:01:00"), "2026-01-05 12:01:00"),
        (declared, record(at="05.01.2026 12:01:01"), "future_timestamp"),
        (declared, record(at="2026-01-05T12:00:00Z"), "bad_timestamp"),
    ]
    rows = collected(
        [
            canonical.build(
                records_frame(spark, name, [raw for own, raw, _ in cases if own is source]), source, context=context()
            )
            for name, source in (("declared", declared), ("iso", iso))
        ]
    )
    assert [row["reason"] or str(row["event_time"]) for row in rows] == [
        expected for source in (declared, iso) for own, _, expected in cases if own is source
    ]
    assert {row["new_fields"] for row in rows} == {None}
    assert [row["properties"] for row in rows] == [{}] * len(rows)


TEXT = {
    "format": "text_lines",
    "pattern": "^(?P<at>[0-9T:.Z-]+) (?P<who>[^ ]+) (?P<agent>[^|]*)(?:[|](?P<more>.*))?$",
    "fields": ["more", "at", "agent", "who"],  # the order of the pattern's groups does not matter
    "columns": {
        "site_id": "'log'",
        "event_type": "'click'",
        "event_time": "at",
        "anonymous_id": {"keyed_hash": ["who", "agent"]},
        "element_text": "more",
    },
}


def test_text_lines_are_read_by_named_groups_and_a_keyed_hash_is_an_hmac(
    spark: SparkSession, context: MakeContext
) -> None:
    lines = ["2026-01-05T12:00:00Z ann é agent|more", "2026-01-05T12:00:00Z ann é agent\r", "2026-01-05T12:00:00Z", ""]
    keys = ["a short key", "a key longer than a block of SHA-256, which has 64 bytes, so that it is hashed first"]
    rows = collected(
        [
            canonical.build(
                records_frame(spark, f"key{number}", lines), mapping(**TEXT), context=context(privacy={"hash_key": key})
            )
            for number, key in enumerate(keys)
        ]
    )
    malformed = ("malformed", "not one line of the declared pattern", None, None)
    expected = []
    for key in keys:
        digest = hmac.new(key.encode(), "ann\x1fé agent".encode(), hashlib.sha256).hexdigest()[:32]
        expected += [(None, None, digest, "more"), (None, None, digest, None), malformed, malformed]
    assert [(row["reason"], row["detail"], row["anonymous_id"], row["element_text"]) for row in rows] == expected


def hashed(value: str, key: str = "the key") -> str:
    return hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()[:32]


def test_a_site_may_store_identifiers_as_keyed_hashes_only(spark: SparkSession, context: MakeContext) -> None:
    """The same person in two sources stays one, also where one source's mapping hashes by itself."""
    site = {"privacy": {"hash_identifiers": True}, "test_users": {"user_id_pattern": "^test-"}}
    made = context(sites={"closed": site}, privacy={"hash_key": "the key"})
    columns = {"site_id": "site", "event_type": "'click'", "event_time": "at"}
    fields = ["site", "at", "who", "device", "visit"]
    ids = {"user_id": "who", "anonymous_id": "device", "client_session_id": "visit"}
    by_site = mapping(fields=fields, columns={**columns, **ids})
    by_mapping = mapping(fields=fields, columns={**columns, "user_id": {"keyed_hash": ["who"]}})
    by_line = mapping(fields=fields, columns={**columns, **ids}, event_id="position")
    records = [
        {"site": "closed", "at": "2026-01-05", "who": "ann", "device": "phone", "visit": "v1"},
        {"site": "closed", "at": "2026-01-05", "who": "test-1"},
        {"site": "open", "at": "2026-01-05", "who": "ann"},
    ]
    lines = [json.dumps(record) for record in records]
    sources = {"1": by_site, "2": by_mapping, "3": by_line}
    rows = collected(
        [canonical.build(records_frame(spark, name, lines), each, context=made) for name, each in sources.items()]
    )
    names = ("user_id", "anonymous_id", "client_session_id", "visitor_id", "is_test_user")
    ann, phone, visit, test = (hashed(value) for value in ("ann", "phone", "v1", "test-1"))
    assert [tuple(row[name] for name in names) for row in rows[:6]] == [
        (ann, phone, visit, phone, False),
        (test, None, None, test, True),
        ("ann", None, None, "ann", False),
        (ann, None, None, ann, False),
        (test, None, None, test, False),  # nothing but the mapping knows the id as it was sent
        (hashed("ann"), None, None, hashed("ann"), False),
    ]
    # What is a hash of a whole record must not tell by trying out either.
    raw = json.dumps(records[1])
    plain = [hashlib.md5(text.encode()).hexdigest() for text in (raw, f"own\x1f{raw}\x1f1")]
    assert [rows[1]["record_hash"], rows[7]["event_id"]] == [hashed(text) for text in plain]
    stored = {
        str(value) for row in rows for name, value in row.asDict().items() if name != "raw" and row["position"] < 3
    }
    assert not {text for text in stored if "test-1" in text or "phone" in text}


def test_without_a_key_identifiers_are_not_hashed_but_the_mistake_is_named(
    spark: SparkSession, context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINE_HASH_KEY", raising=False)
    made = context(defaults={"privacy": {"hash_identifiers": True}}, privacy={"hash_key": None})
    with pytest.raises(ConfigurationError) as refused:
        canonical.build(records_frame(spark, "made", []), mapping(), context=made)
    assert str(refused.value) == "conf/settings: privacy.hash_key: set the environment variable PIPELINE_HASH_KEY"
