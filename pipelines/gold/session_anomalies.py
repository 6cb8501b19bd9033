"""Sessions that behaved unusually, with what made them so."""

from __future__ import annotations

import re

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.outliers import modified_z_scores
from pipelines.gold.path_scores import longest_loop, path_scores
from pipelines.settings import AnomalySettings

MICROS = 1_000_000
MINUTE = 60 * MICROS
SEARCHED = ("element_selector", "element_text", "page_path", "page_title")
"""Where an error word is looked for."""


def build(
    sessions: DataFrame,
    events: DataFrame,
    flow_transitions_daily: DataFrame,
    page_metrics_daily: DataFrame,
    *,
    context: RunContext,
) -> DataFrame:
    """One row per session and kind of anomaly.

    Judged are countable sessions, by high_activity also the others: a burst above the bot limit is what most often
    makes a session not countable. Scores compare a session with the site's countable sessions of the same date, pages
    and paths with those of the date.
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
        longest_loop("journey_path").alias("loop"),
    ).join(path_scores(sessions, flow_transitions_daily), on=["site_id", "session_id"], how="left")
    scored = modified_z_scores(
        candidates,
        {"duration_score": "log_duration", "activity_score": "activity"},
        by=["site_id", "session_date"],
        min_values=limits.min_sessions,
    )
    day = Window.partitionBy("site_id", "session_date").rowsBetween(
        Window.unboundedPreceding, Window.unboundedFollowing
    )
    compared = scored.withColumns(
        {
            "has_statistics": F.count_if("is_countable").over(day) >= limits.min_sessions,
            "path_limit": F.percentile("path_score", limits.unusual_path.quantile).over(day),
        }
    )
    judged = compared.join(in_session, on=["site_id", "session_id"], how="left").join(
        _broken_pages(page_metrics_daily, limits), on=["site_id", "session_date"], how="left"
    )
    kinds = F.array(
        _long_gap(limits),
        _duration_outlier(limits),
        _error_keyword(limits),
        _error_page(),
        _high_activity(limits),
        _unusual_path(limits),
        _rage_click(limits),
        _dead_loop(limits),
    )
    return judged.select("site_id", "session_id", "session_date", F.inline(F.array_compact(kinds))).select(
        "site_id", "session_id", "session_date", "kind", "category", "observed", "score", "detail"
    )


def _measure_events(events: DataFrame, context: RunContext) -> DataFrame:
    """One row per session over its counting events.

    longest_pause (struct: pause_us; page before it; null for one event), error_events, error_page (the first),
    failed_on (for each event of type error the page that owns it), is_burst: more than max_events_per_minute events in
    [t, t + 60 s) from any event, and rage (struct: most clicks on one element within the limit's time; element; page;
    null where they are too few).
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
        "event_type",
        F.when(F.col("event_type") == "click", F.coalesce("element_selector", "element_text")).alias("element"),
    )
    # The columns above are all that is shuffled; lead brings its own frame. A burst needs no count of a sliding
    # window: it is there exactly where the event `limit` places further on is less than a minute away.
    in_order = Window.partitionBy("site_id", "session_id").orderBy("time_us", F.asc_nulls_first("sequence"), "event_id")
    pause_us = F.lead("time_us").over(in_order) - F.col("time_us")
    span_us = F.lead("time_us", limits.max_events_per_minute).over(in_order) - F.col("time_us")
    until_now = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    viewed = F.last(F.when(F.col("event_type") == "page_view", F.col("page")), ignorenulls=True).over(until_now)
    rage = limits.rage_click
    # Whole microseconds: up to the one before the limit is less than it.
    on_element = Window.partitionBy("site_id", "session_id", "element").orderBy("time_us")
    presses = F.count("element").over(on_element.rangeBetween(0, rage.within_ms * 1_000 - 1))
    neighbours = counting.withColumns({"pause_us": pause_us, "span_us": span_us, "viewed": viewed, "presses": presses})
    place = F.struct("time_us", "sequence", "event_id", "page")  # as in order: structs compare nulls first
    # Of equal pauses the first: the greatest negative time.
    pause = F.struct("pause_us", (-F.col("time_us")).alias("earliness"), "page")
    return neighbours.groupBy("site_id", "session_id").agg(
        F.max(F.when(F.col("pause_us").isNotNull(), pause)).alias("longest_pause"),
        F.count_if("is_error").alias("error_events"),
        F.min(F.when(F.col("is_error"), place))["page"].alias("error_page"),
        F.collect_list(F.when(F.col("event_type") == "error", F.col("viewed"))).alias("failed_on"),
        F.coalesce(F.bool_or(F.col("span_us") < MINUTE), F.lit(False)).alias("is_burst"),
        F.max(
            F.when(
                F.col("presses") >= rage.clicks,
                F.struct("presses", (-F.col("time_us")).alias("earliness"), "element", "page"),
            )
        ).alias("rage"),
    )


def _broken_pages(pages: DataFrame, limits: AnomalySettings) -> DataFrame:
    """One row per site and date that has any: `broken`, its pages that fail far more often than the site's others."""
    rule = limits.error_page
    site = Window.partitionBy("site_id", "date").rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    views, failed = F.col("views"), F.col("error_views")
    of_site = pages.withColumns(
        {"site_views": F.sum("views").over(site), "site_failed": F.sum("error_views").over(site)}
    )
    # Rates are compared multiplied out, in whole numbers and decimals.
    is_frequent = failed >= F.lit(rule.least_rate) * views
    stands_out = failed * F.col("site_views") >= F.lit(rule.times_site) * (F.col("site_failed") * views)
    broken = of_site.where((failed > 0) & (views >= rule.min_views) & is_frequent & stands_out)
    page = F.struct("error_rate", "page", "views", (F.col("site_failed") / F.col("site_views")).alias("site_rate"))
    return broken.groupBy("site_id", F.col("date").alias("session_date")).agg(
        F.sort_array(F.collect_list(page), asc=False).alias("broken")
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


def _error_page() -> Column:
    met = F.filter("broken", lambda page: F.array_contains("failed_on", page["page"]))
    found = F.size(F.filter("failed_on", lambda page: F.exists("broken", lambda broken: broken["page"] == page)))
    worst = F.get(met, F.lit(0))
    detail = F.format_string(
        "%s failed in %.1f %% of its %d views that day, the site's pages in %.1f %%.",
        worst["page"],
        worst["error_rate"] * 100,
        worst["views"],
        worst["site_rate"] * 100,
    )
    is_met = F.col("is_countable") & F.col("has_statistics") & (F.coalesce(F.size(met), F.lit(0)) > 0)
    return _anomaly(is_met, "error_page", "technical", found, _no_score(), detail)


def _unusual_path(limits: AnomalySettings) -> Column:
    score, steps, rule = F.col("path_score"), F.col("path_steps"), limits.unusual_path
    is_unusual = F.col("has_statistics") & (score > F.col("path_limit")) & (score > rule.least_score)
    text = f"%d steps, on average of score %.2f; the day's limit is %.2f, the least {rule.least_score:g}."
    return _anomaly(
        is_unusual, "unusual_path", "behavioural", steps, score, F.format_string(text, steps, score, "path_limit")
    )


def _rage_click(limits: AnomalySettings) -> Column:
    found = F.col("rage.presses")
    text = f"%d clicks on %s within {limits.rage_click.within_ms / 1000:g} s, on %s."
    detail = F.format_string(text, found, "rage.element", "rage.page")
    return _anomaly(F.col("is_countable") & found.isNotNull(), "rage_click", "behavioural", found, _no_score(), detail)


def _dead_loop(limits: AnomalySettings) -> Column:
    found = F.col("loop.repeats")
    detail = F.format_string("%d times from %s to %s.", found, "loop.pair.from_page", "loop.pair.to_page")
    is_loop = F.col("is_countable") & (found >= limits.dead_loop.repeats)
    return _anomaly(is_loop, "dead_loop", "behavioural", found, _no_score(), detail)


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
