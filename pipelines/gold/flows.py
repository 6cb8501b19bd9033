"""The pages that sessions went through, one after the other."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.gold.session_counts import NOT_SET

ENTRY, EXIT = "(entry)", "(exit)"


def flows(sessions: DataFrame) -> DataFrame:
    """Countable sessions with a page view: (site_id, date of their start, session_id, converted, path).

    `path` holds the pages of the page views in order, repeats kept. Page views without a page are passed over; it is
    `(not set)` alone where a session has no others, so that a path is never empty.
    """
    path = F.when(F.size("journey_path") > 0, F.col("journey_path")).otherwise(F.array(F.lit(NOT_SET)))
    return sessions.where(F.col("is_countable") & (F.col("page_view_count") > 0)).select(
        "site_id", F.col("session_date").alias("date"), "session_id", "converted", path.alias("path")
    )


def steps() -> Column:
    """The steps of `path` as an array of (from_page, to_page): n pages have n + 1, from (entry) to (exit)."""
    return F.arrays_zip(
        F.concat(F.array(F.lit(ENTRY)), "path").alias("from_page"),
        F.concat("path", F.array(F.lit(EXIT))).alias("to_page"),
    )
