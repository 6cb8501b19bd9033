"""What a mapping may choose: ids by position, times, text by a pattern, keyed hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
from functools import reduce
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

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
