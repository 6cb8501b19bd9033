"""The touches that led a person to a moment: the sessions before it, each by where it came from."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.gold.session_counts import NOT_SET

DAY_US = 24 * 60 * 60 * 1_000_000
WINDOW_US = 30 * DAY_US
"""How long before a moment a touch still counts, in absolute time."""
MOST = 100
"""Sessions looked at on each side of a person's session. A user id that everybody shares ("guest") would otherwise
cost the square of its sessions."""
DIRECT = "Direct"
"""The channel of sessions that say they came from nowhere."""


def with_touches(sessions: DataFrame, *, until_us: Column, ahead: int) -> DataFrame:
    """Countable sessions with `touches`, those of their person in the 30 × 24 h up to `until_us`, both ends included.

    `until_us` is an instant of each session's row in µs, from its start to 30 × 24 h after it, so that its own touch is
    always among them. `touches`: array of (at_us, touch: (channel, source)) in the order of the sessions' starts,
    adjacent repeats collapsed into the latest of them. At most MOST sessions before the own one and `ahead` after it
    are looked at.
    """
    in_order = Window.partitionBy("site_id", "person_id").orderBy("start_time", "session_id")
    touch = F.struct(
        F.unix_micros("start_time").alias("at_us"),
        F.struct(
            F.coalesce("channel", F.lit(NOT_SET)).alias("channel"),
            F.coalesce("traffic_source", F.lit(NOT_SET)).alias("source"),
        ).alias("touch"),
    )
    near = (
        sessions.where("is_countable")
        .withColumn("until_us", until_us)
        .withColumn("near", F.collect_list(touch).over(in_order.rowsBetween(-MOST, ahead)))
    )
    in_time = F.filter(
        "near", lambda t: (t["at_us"] >= F.col("until_us") - WINDOW_US) & (t["at_us"] <= F.col("until_us"))
    )
    collapsed = F.filter("in_time", lambda t, place: ~t["touch"].eqNullSafe(F.get("in_time", place + 1)["touch"]))
    return near.withColumn("in_time", in_time).withColumn("touches", collapsed).drop("near", "in_time")


def is_direct(touch: Column) -> Column:
    """Whether a touch came from nowhere: the channel says so, or it says neither channel nor source."""
    nothing = (touch["channel"] == NOT_SET) & (touch["source"] == NOT_SET)
    return (touch["channel"] == DIRECT) | nothing
