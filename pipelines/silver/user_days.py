"""What each person did on each day: the small table from which everything about a person's history is counted."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext

NOT_ACTIONS = ("page_view", "session_start", "session_end")


def build(events: DataFrame, sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per (site, person, date) with a countable event or the start of a countable session.

    An event counts for its own person on its own date, a session for the person of its first event on the date it
    started: in a session that crosses midnight or holds several users these are different rows. Both sides are
    counted as numbers of one frame, so that a person who has only one of the two needs no outer join.
    """
    is_action = ~F.col("event_type").isin(*NOT_ACTIONS)
    from_events = events.where("is_countable").select(
        "site_id",
        "person_id",
        F.col("event_date").alias("date"),
        F.lit(1).alias("events"),
        is_action.cast("int").alias("actions"),
        F.lit(0).alias("sessions"),
    )
    from_sessions = sessions.where("is_countable").select(
        "site_id",
        "person_id",
        F.col("session_date").alias("date"),
        F.lit(0).alias("events"),
        F.lit(0).alias("actions"),
        F.lit(1).alias("sessions"),
    )
    return (
        from_events.unionByName(from_sessions)
        .groupBy("site_id", "person_id", "date")
        .agg(F.sum("events").alias("events"), F.sum("actions").alias("actions"), F.sum("sessions").alias("sessions"))
        .select("site_id", "person_id", "date", "events", "actions", "sessions")
    )
