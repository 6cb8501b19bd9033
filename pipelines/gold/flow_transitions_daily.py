"""From which page to which the day's sessions went."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.flows import flows, steps


def build(sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, session date and pair of pages that follow each other in a countable session's page views.

    A session of n page views has n + 1 transitions: it comes from (entry) and leaves to (exit). So every page has as
    many transitions in as out.
    """
    transitions = (
        flows(sessions)
        .select("site_id", "date", "session_id", F.inline(steps()))
        .groupBy("site_id", "date", "from_page", "to_page")
        .agg(F.count(F.lit(1)).alias("transitions"), F.count_distinct("session_id").alias("sessions"))
    )
    return transitions.select("site_id", "date", "from_page", "to_page", "transitions", "sessions")
