"""bronze.events: every line of every file, verbatim, at its line number."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession

from pipelines.bronze import events
from pipelines.contracts import contract
from tests.rows import utc

BLOCK_BYTES = 8192


@pytest.fixture
def small_blocks(spark: SparkSession) -> Iterator[None]:
    """Spark cuts files into blocks of 8 KiB."""
    spark.conf.set("spark.sql.files.maxPartitionBytes", str(BLOCK_BYTES))
    yield
    spark.conf.unset("spark.sql.files.maxPartitionBytes")


def take(spark: SparkSession, *paths: Path) -> list[Row]:
    """The files' rows as bronze.events, in the order of origin and position."""
    lines = events.read_lines(spark, [str(path) for path in paths])
    counted = [tuple(block) for block in events.blocks(lines).collect()]
    frame = spark.createDataFrame(counted, "origin string, _block bigint, lines bigint, _first bigint")
    built = events.build(lines, frame, source="web", batch_id=3, ingested_at=utc("2026-01-05 12:00:00"))
    assert built.columns == contract("bronze.events").column_names
    return sorted(built.collect(), key=lambda row: (row["origin"], row["position"]))


@pytest.mark.usefixtures("small_blocks")
def test_line_numbers_are_exact_for_a_file_read_in_several_blocks(spark: SparkSession, tmp_path: Path) -> None:
    long, short = tmp_path / "long.jsonl", tmp_path / "short.jsonl"
    # Lines of all lengths, so that blocks end within lines; some blank; the last without its line end.
    content = ["" if number % 7 == 0 else f"{number}:" + "x" * (number * 37 % 300) for number in range(1, 301)]
    long.write_text("\n".join(content))
    short.write_text("a\nb\n")
    lines = events.read_lines(spark, [str(long), str(short)])
    assert events.blocks(lines).where(f"origin = '{long}'").count() > 4

    rows = take(spark, short, long)

    assert [(row["position"], row["raw"]) for row in rows if row["origin"] == str(long)] == [
        (number, line) for number, line in enumerate(content, start=1)
    ]
    assert [(row["position"], row["raw"]) for row in rows if row["origin"] == str(short)] == [(1, "a"), (2, "b")]


def test_lines_are_kept_verbatim(spark: SparkSession, tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes('{"a": 1}\r\n\n[]\n  {"a":1}{"b":2} \n\t\n"é\u2028ü\ufeff"\n'.encode())
    packed.write_bytes(gzip.compress(b"one\n\nthree"))

    rows = take(spark, plain, packed)

    assert [(row["position"], row["raw"]) for row in rows if row["origin"] == str(plain)] == [
        (1, '{"a": 1}\r'),
        (2, ""),
        (3, "[]"),
        (4, '  {"a":1}{"b":2} '),
        (5, "\t"),
        (6, '"é\u2028ü\ufeff"'),
    ]
    assert [(row["position"], row["raw"]) for row in rows if row["origin"] == str(packed)] == [
        (1, "one"),
        (2, ""),
        (3, "three"),
    ]
    assert {(row["source"], row["batch_id"]) for row in rows} == {("web", 3)}


def test_a_files_name_is_no_pattern_and_comes_back_as_it_was_listed(spark: SparkSession, tmp_path: Path) -> None:
    names = ["[ab].jsonl", "a.jsonl", "b.jsonl", "s*.jsonl", "some.jsonl", "q?.jsonl", "qu.jsonl", "{x,y}.jsonl"]
    names += ["back\\slash.jsonl", "a b.jsonl", "a%20b.jsonl", "50%.jsonl", "a+b.jsonl", "com,ma.jsonl", "h#sh.jsonl"]
    names += ["ü.jsonl", "day=2026-01-05/p.jsonl", "day=2026-01-06/p.jsonl", "_part=1.jsonl"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")

    rows = take(spark, *[tmp_path / name for name in names])

    assert {row["origin"]: row["raw"] for row in rows} == {str(tmp_path / name): name for name in names}
    assert len(rows) == len(names)
