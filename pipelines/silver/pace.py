"""Sessions that no person keeps up: too many events in a minute, or pauses like a clock's.

Two steps of silver/sessionize.py, so that no sort and no pass is added to its own: `spans` of the order of a visitor's
events, `reason_of_session` of a session's.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.window import WindowSpec

from pipelines.context import RunContext

_MINUTE_US = 60_000_000


def spans(visitor: WindowSpec, context: RunContext) -> dict[str, Column]:
    """µs since the visitor's event before (`_pause_us`), from the one before that to it (`_pause_before_us`), and since
    the event `max_events_per_minute` places ago (`_span_us`)."""
    limit = context.settings.anomalies.max_events_per_minute
    now, one, two, many = (
        F.unix_micros(F.lag("event_time", places).over(visitor) if places else "event_time")
        for places in (0, 1, 2, limit)
    )
    return {"_pause_us": now - one, "_pause_before_us": one - two, "_span_us": now - many}


def reason_of_session(whole: WindowSpec, context: RunContext) -> Column:
    """event_rate, regular_gaps, or null for the pace of people; all events of the session are looked at.

    event_rate: more than `max_events_per_minute` events in [t, t + 60 s) from any of them. regular_gaps: at least
    `min_regular_gaps` pauses, all longer than nothing, the longest and the shortest no further apart than
    `max_gap_spread_pct` of their median. Needs `spans`, `_place` and `_first` (the place of the session's first event).
    """
    limit, rule = context.settings.anomalies.max_events_per_minute, context.settings.bots
    number = F.col("_place") - F.col("_first")
    is_burst = (number >= limit) & (F.col("_span_us") < _MINUTE_US)
    pause, before = F.col("_pause_us"), F.col("_pause_before_us")
    # Where all pauses are regular, so are any two that follow each other, up to what the longest may be longer than
    # this one. Only then is there a median to keep values for.
    is_like_before = F.abs(pause - before) * (100 - rule.max_gap_spread_pct) <= pause * rule.max_gap_spread_pct
    is_steady = (number >= 1) & (pause > 0) & ((number == 1) | is_like_before)
    steady = F.when(is_steady, pause)
    pauses = F.count("*").over(whole) - 1
    spread = F.max(steady).over(whole) - F.min(steady).over(whole)
    median_twice = (F.percentile(steady, 0.5).over(whole) * 2).cast("bigint")
    is_regular = (
        (pauses >= rule.min_regular_gaps)
        & (F.count(steady).over(whole) == pauses)
        & (spread * 200 <= median_twice * rule.max_gap_spread_pct)
    )
    return F.when(F.max(is_burst).over(whole), F.lit("event_rate")).when(is_regular, F.lit("regular_gaps"))
