"""With which devices, browsers and operating systems the day's sessions came."""

from __future__ import annotations

from pyspark.sql import DataFrame

from pipelines.context import RunContext
from pipelines.gold.session_counts import UNKNOWN, count_sessions, or_else

DIMENSIONS = ("device_type", "browser", "os")


def build(sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, session date, device type, browser and operating system with a countable session."""
    return count_sessions(sessions, *[or_else(name, UNKNOWN) for name in DIMENSIONS]).select(
        "site_id", "date", *DIMENSIONS, "visitors", "sessions", "page_views", "conversions"
    )
