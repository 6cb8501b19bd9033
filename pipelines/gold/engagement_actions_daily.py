"""What visitors do besides looking: likes, comments, clicks and every other action, by day."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext

ACTIONS = (
    *("click", "scroll", "form_start", "form_submit", "video_play", "purchase", "conversion"),
    *("error", "like", "comment", "view", "custom_event"),
)
"""Types of events that are actions: all but page_view and session_*."""


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, session date and action that countable sessions hold.

    Where a session holds an event of a source whose mapping says `session_end: required`, it counts only with a
    session_end.
    """
    needs_end = F.col("source").isin(*context.closing_sources)
    sessions = (
        events.where("is_countable")
        .groupBy("site_id", F.col("session_date").alias("date"), "session_id")
        .agg(
            F.max(needs_end).alias("needs_end"),
            F.max(F.col("event_type") == "session_end").alias("has_end"),
            *[F.count_if(F.col("event_type") == action).alias(action) for action in ACTIONS],
        )
    )
    days = (
        sessions.where("has_end or not needs_end")
        .groupBy("site_id", "date")
        .agg(
            *[
                F.struct(
                    F.lit(action).alias("action"),
                    F.sum(action).alias("count"),
                    F.count_if(F.col(action) > 0).alias("sessions"),
                ).alias(action)
                for action in ACTIONS
            ]
        )
    )
    rows = days.select("site_id", "date", F.inline(F.array(*ACTIONS))).where("count > 0")
    return rows.select("site_id", "date", "action", "count", "sessions")
