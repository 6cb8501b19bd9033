"""From which countries and regions the day's sessions came."""

from __future__ import annotations

from pyspark.sql import DataFrame

from pipelines.context import RunContext
from pipelines.gold.session_counts import UNKNOWN, count_sessions, or_else

DIMENSIONS = ("country", "region")


def build(sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, session date, country and region with a countable session."""
    return count_sessions(sessions, *[or_else(name, UNKNOWN) for name in DIMENSIONS]).select(
        "site_id", "date", *DIMENSIONS, "visitors", "sessions", "page_views", "conversions"
    )
