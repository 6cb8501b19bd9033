"""Where the day's sessions came from, and what came of them."""

from __future__ import annotations

from pyspark.sql import DataFrame

from pipelines.context import RunContext
from pipelines.gold.session_counts import NOT_SET, count_sessions, or_else

DIMENSIONS = ("channel", "traffic_source", "traffic_medium", "campaign")


def build(sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, session date and first touch (channel, source, medium, campaign) of a countable session."""
    return count_sessions(sessions, *[or_else(name, NOT_SET) for name in DIMENSIONS]).select(
        "site_id", "date", *DIMENSIONS, "sessions", "visitors", "bounces", "conversions", "revenue"
    )
