"""Sessions that behaved unusually, with what made them so."""

from __future__ import annotations

import re

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.outliers import modified_z_scores
from pipelines.settings import AnomalySettings

MICROS = 1_000_000
MINUTE = 60 * MICROS
SEARCHED = ("element_selector", "element_text", "page_path", "page_title")
"""Where an error word is looked for."""


def build(sessions: DataFrame, events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per session and kind of anomaly.

    Judged are countable sessions, by high_activity also the others: a burst above the bot limit is what most often
    makes a session not countable. Scores compare a session with the site's countable sessions of the same date.
    """
    limits = context.settings.anomalies
    in_session = _measure_events(events, context)
    countable = F.col("is_countable")
    candidates = sessions.select(
        "site_id",
        "session_id",
        "session_date",
        "is_countable",
        "event_count",
        "duration_seconds",
        F.when(countable, F.col("event_count").cast("double")).alias("activity"),
        # The logarithm, because durations are skewed: on seconds themselves every long visit would be an outlier.
        F.when(countable, F.log1p("duration_seconds")).alias("log_duration"),
    )
    scored = modified_z_scores(
        candidates,
        {"duration_score": "log_duration", "activity_score": "activity"},
        by=["site_id", "session_date"],
        min_values=limits.min_sessions,
    )
    judged = scored.join(in_session, on=["site_id", "session_id"], how="left")
    kinds = F.array(_long_gap(limits), _duration_outlier(limits), _error_keyword(limits), _high_activity(limits))
    return judged.select("site_id", "session_id", "session_date", F.inline(F.array_compact(kinds))).select(
        "site_id", "session_id", "session_date", "kind", "category", "observed", "score", "detail"
    )


def _measure_events(events: DataFrame, context: RunContext) -> DataFrame:
    """One row per session over its counting events.

    longest_pause (struct: pause_us; page before it; null for one event), error_events, error_page (the first), and
    is_burst: more than max_events_per_minute events in [t, t + 60 s) from any event.
    """
    limits = context.settings.anomalies
    excludes_events = context.by_site(lambda site: site.test_users.rule == "exclude_events")
    counting = events.where(~(excludes_events & F.col("is_test_user"))).select(
        "site_id",
        "session_id",
        F.unix_micros("event_time").alias("time_us"),
        "sequence",
        "event_id",
        F.coalesce("page_path", F.lit("(not set)")).alias("page"),
        _holds_error_word(limits).alias("is_error"),
    )
    # The columns above are all that is shuffled; lead brings its own frame. A burst needs no count of a sliding
    # window: it is there exactly where the event `limit` places further on is less than a minute away.
    in_order = Window.partitionBy("site_id", "session_id").orderBy("time_us", F.asc_nulls_first("sequence"), "event_id")
    pause_us = F.lead("time_us").over(in_order) - F.col("time_us")
    span_us = F.lead("time_us", limits.max_events_per_minute).over(in_order) - F.col("time_us")
    neighbours = counting.withColumns({"pause_us": pause_us, "span_us": span_us})
    place = F.struct("time_us", "sequence", "event_id", "page")  # as in order: structs compare nulls first
    # Of equal pauses the first: the greatest negative time.
    pause = F.struct("pause_us", (-F.col("time_us")).alias("earliness"), "page")
    return neighbours.groupBy("site_id", "session_id").agg(
        F.max(F.when(F.col("pause_us").isNotNull(), pause)).alias("longest_pause"),
        F.count_if("is_error").alias("error_events"),
        F.min(F.when(F.col("is_error"), place))["page"].alias("error_page"),
        F.coalesce(F.bool_or(F.col("span_us") < MINUTE), F.lit(False)).alias("is_burst"),
    )


def _holds_error_word(limits: AnomalySettings) -> Column:
    """Whether an error word stands in the event as a whole word, in any case."""
    # U: word boundaries of all scripts, which Java has by default only before version 19.
    pattern = rf"(?iU)\b(?:{'|'.join(re.escape(word) for word in limits.error_words)})\b"
    return F.concat_ws("\n", *SEARCHED).rlike(pattern)  # a line break keeps the fields' words apart


def _anomaly(condition: Column, kind: str, category: str, observed: Column, score: Column, detail: Column) -> Column:
    """A row of the table without its session, or null where `condition` does not hold."""
    row = F.struct(
        F.lit(kind).alias("kind"),
        F.lit(category).alias("category"),
        observed.cast("double").alias("observed"),
        score.alias("score"),
        detail.alias("detail"),
    )
    return F.when(condition, row)


def _no_score() -> Column:
    return F.lit(None).cast("double")


def _long_gap(limits: AnomalySettings) -> Column:
    pause_us = F.col("longest_pause.pause_us")
    seconds = pause_us / MICROS
    is_long = F.col("is_countable") & (pause_us > limits.long_gap_seconds * MICROS)
    text = f"%.1f s without an event after %s; the limit is {limits.long_gap_seconds} s."
    return _anomaly(
        is_long, "long_gap", "temporal", seconds, _no_score(), F.format_string(text, seconds, "longest_pause.page")
    )


def _duration_outlier(limits: AnomalySettings) -> Column:
    score, duration = F.col("duration_score"), F.col("duration_seconds")
    is_outlier = F.abs(score) > limits.outlier_score
    median = F.expm1("duration_score_median")
    text = f"Lasted %.1f s where the site's median that day is %.1f s (score %.1f, limit {limits.outlier_score:g})."
    return _anomaly(
        is_outlier, "duration_outlier", "temporal", duration, score, F.format_string(text, duration, median, score)
    )


def _error_keyword(limits: AnomalySettings) -> Column:
    found = F.col("error_events")
    words = ", ".join(limits.error_words).replace("%", "%%")
    text = f"Events that hold one of the words {words}: %d; the first on %s."
    return _anomaly(
        F.col("is_countable") & (found > 0),
        "error_keyword",
        "technical",
        found,
        _no_score(),
        F.format_string(text, found, "error_page"),
    )


def _high_activity(limits: AnomalySettings) -> Column:
    count, score, is_burst = F.col("event_count"), F.col("activity_score"), F.col("is_burst")
    is_outlier = score > limits.outlier_score
    compared = F.format_string(
        f"%d events where the site's median that day is %.1f (score %.1f, limit {limits.outlier_score:g})",
        count,
        "activity_score_median",
        score,
    )
    crowded = F.format_string(f"%d events, more than {limits.max_events_per_minute} of them within a minute", count)
    reasons = F.concat_ws("; ", F.when(is_outlier, compared), F.when(is_burst, crowded))
    return _anomaly(
        is_burst | is_outlier,
        "high_activity",
        "behavioural",
        count,
        F.when(is_outlier, score),
        F.concat(reasons, F.lit(".")),
    )
