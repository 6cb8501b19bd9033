"""bronze.events: the lines of landing files, verbatim, with the place that each came from."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.window import Window

_BLOCK = ("origin", "_block")

SCHEMA = pa.schema(
    {
        "source": pa.string(),
        "raw": pa.string(),
        "origin": pa.string(),
        "position": pa.int64(),
        "ingested_at": pa.timestamp("us", tz="UTC"),
        "batch_id": pa.int64(),
        "defect": pa.string(),
    }
)
"""The contract's columns for Arrow."""

BLOCKS = pa.schema({"origin": pa.string(), "_block": pa.int64(), "lines": pa.int64(), "_first": pa.int64()})
"""The rows of `blocks`."""


def record_batch(
    raw: pa.Array, defect: pa.Array, first: int, *, source: str, origin: str, ingested_at: datetime, batch_id: int
) -> pa.RecordBatch:
    """Consecutive lines of a file as rows; `first` is the number of the first."""
    given = {"source": source, "origin": origin, "ingested_at": ingested_at, "batch_id": batch_id}
    columns = {name: pa.repeat(pa.scalar(value, SCHEMA.field(name).type), len(raw)) for name, value in given.items()}
    columns |= {"raw": raw, "defect": defect, "position": pa.array(np.arange(first, first + len(raw)), pa.int64())}
    return pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def read_lines(session: SparkSession, paths: list[str]) -> DataFrame:
    """Every line of the files as text, blank ones included: (raw, origin, _block, _order).

    Read as text and parsed once, later: a JSON reader drops blank lines and `[]`, and splits arrays. For files that
    `Inspection.suits_spark` says suit: lines of any size, and bytes that are no UTF-8, go through `lines.lines_of`.
    """
    literal = [re.sub(r"([\\*?\[\]{}])", r"\\\1", path) for path in paths]  # a name is not a pattern
    return (
        session.read.option("lineSep", "\n")
        .text(literal)
        .select(
            F.col("value").alias("raw"),
            _path(F.col("_metadata.file_path")).alias("origin"),
            F.col("_metadata.file_block_start").alias("_block"),
            F.monotonically_increasing_id().alias("_order"),
        )
    )


def blocks(lines: DataFrame) -> DataFrame:
    """Lines per block that Spark reads a file in: (origin, _block, lines, _first). One row a block: small."""
    return lines.groupBy(*_BLOCK).agg(F.count("*").alias("lines"), F.min("_order").alias("_first"))


def build(lines: DataFrame, counted: DataFrame, *, source: str, batch_id: int, ingested_at: datetime) -> DataFrame:
    """The contract's columns. `position` is the line number from 1, exact for files read in several blocks:

    lines of the blocks before (a running sum over `counted`) plus the line's place in its own block.
    """
    before = Window.partitionBy("origin").orderBy("_block").rowsBetween(Window.unboundedPreceding, -1)
    start = counted.select(
        *_BLOCK, (F.coalesce(F.sum("lines").over(before), F.lit(0)) + 1 - F.col("_first")).alias("_shift")
    )
    return lines.join(F.broadcast(start), on=list(_BLOCK), how="inner").select(
        F.lit(source).alias("source"),
        "raw",
        "origin",
        (F.col("_order") + F.col("_shift")).alias("position"),
        F.lit(ingested_at).alias("ingested_at"),
        F.lit(batch_id).cast("bigint").alias("batch_id"),
        F.lit(None).cast("string").alias("defect"),
    )


def _path(uri: Column) -> Column:
    """The path as listed: Spark gives a URI with escapes."""
    return F.regexp_replace(F.url_decode(F.regexp_replace(uri, r"\+", "%2B")), r"^file:/*", "/")
