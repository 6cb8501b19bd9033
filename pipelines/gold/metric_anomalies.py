"""Complete days on which a number of a site or of one of its segments was far from what it usually is."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.segment_metrics_daily import ALL
from pipelines.thresholds import ExplainSettings, MetricAnomalySettings

NORMAL = 1.4826
"""Makes the MAD of normally distributed values their standard deviation."""
DIMENSIONS = (ALL, "device_type", "browser", "country", "channel", "page")
_SERIES = ("site_id", "dimension", "value", "metric")
_MEASURES = (
    *("sessions", "viewing_sessions", "bounces", "conversions", "error_sessions", "events", "bot_events"),
    *("page_views", "error_views", "load_samples"),
)


def build(segment_metrics_daily: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site, date, metric and segment of an anomaly, up to the site's last complete date.

    A number is compared with the median of the same weekday of the weeks before (or of all days shortly before, where
    too few can be judged), in units of their spread; a day beyond k_open makes an anomaly, which the days beside it
    beyond k_close belong to. Each segment is laid out once and all of its numbers are judged where it lies; then the
    numbers of a date are brought together to say which segments explain the site's.
    """
    rules = context.settings.metric_anomalies
    segments = _every_day(segment_metrics_daily, rules, context)
    judged = _runs(_scores(_metrics(segments, rules), rules), rules)
    return _explained(judged, rules.explain).select(
        "site_id",
        "date",
        "metric",
        "segment",
        F.col("level").alias("value"),
        "expected",
        F.greatest(F.col("expected") - rules.k_open * F.col("spread"), F.lit(0.0)).alias("low"),
        (F.col("expected") + rules.k_open * F.col("spread")).alias("high"),
        "score",
        F.when(F.col("peak") > rules.k_critical, "critical").otherwise("warning").alias("severity"),
        "since",
        "compared_with",
        "compared_days",
        "explained_by",
    )


def _every_day(days: DataFrame, rules: MetricAnomalySettings, context: RunContext) -> DataFrame:
    """Each segment on every date from its first to the last complete one: a date without a row is one of zeros.

    A segment that never had enough of anything to be judged is left out.
    """
    last = context.by_site(context.last_date)
    segment = Window.partitionBy("site_id", "dimension", "value")
    always = segment.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    enough = {
        "sessions": rules.min_sessions,
        "page_views": rules.min_page_views,
        "load_samples": rules.min_load_samples,
    }
    known = days.where(F.col("dimension").isin(*DIMENSIONS) & (F.col("date") <= last)).withColumns(
        {
            "until": F.coalesce(F.date_sub(F.lead("date").over(segment.orderBy("date")), 1), last),
            **{f"most_{name}": F.max(name).over(always) for name in enough},
        }
    )
    is_judged = F.lit(False)
    for name, least in enough.items():
        is_judged = is_judged | (F.col(f"most_{name}") >= least)
    dense = known.where(is_judged).withColumn("day", F.explode(F.sequence("date", "until")))
    is_known = F.col("day") == F.col("date")
    return dense.select(
        "site_id",
        "dimension",
        "value",
        F.col("day").alias("date"),
        *[F.when(is_known, F.col(name)).otherwise(0).alias(name) for name in _MEASURES],
        F.when(is_known, F.col("load_p90_ms")).alias("load_p90_ms"),
    )


def _metrics(days: DataFrame, rules: MetricAnomalySettings) -> DataFrame:
    """A row for each number of a segment and date.

    level: the number, null where its volume is too small; least_expected: below which a count is not judged;
    noise: variance that counting alone gives it, times its volume, null for a count and for load times; weight: how
    much of the whole it stands for; page_weight: on (all), what the weights of pages add up to.
    """
    is_page, is_all = F.col("dimension") == "page", F.col("dimension") == ALL
    sessions, views, samples = F.col("sessions"), F.col("page_views"), F.col("load_samples")

    def number(
        metric: str, where: Column, level: Column, weight: Column, least: int, *, is_count: bool = False
    ) -> Column:
        judged = level if is_count else F.when(weight >= least, level)
        return F.when(
            where,
            F.struct(
                F.lit(metric).alias("metric"),
                judged.cast("double").alias("level"),
                F.lit(is_count).alias("is_count"),
                F.lit(least).alias("least"),
                weight.cast("double").alias("weight"),
                (F.when(F.lit(metric == "error_rate"), views).otherwise(weight)).cast("double").alias("page_weight"),
            ),
        )

    def share(part: str, whole: Column) -> Column:
        return F.when(whole > 0, F.col(part) / whole)

    one = F.lit(1)
    found = F.array(
        number("sessions", ~is_page, sessions, one, rules.min_sessions, is_count=True),
        number("page_views", is_all | is_page, views, one, rules.min_page_views, is_count=True),
        number("conversion_rate", ~is_page, share("conversions", sessions), sessions, rules.min_sessions),
        number(
            "bounce_rate",
            ~is_page,
            share("bounces", F.col("viewing_sessions")),
            F.col("viewing_sessions"),
            rules.min_sessions,
        ),
        number("error_rate", ~is_page, share("error_sessions", sessions), sessions, rules.min_sessions),
        number("error_rate", is_page, share("error_views", views), views, rules.min_page_views),
        number("bot_share", is_all, share("bot_events", F.col("events")), F.col("events"), rules.min_page_views),
        number("page_load_p90", F.lit(True), F.col("load_p90_ms"), samples, rules.min_load_samples),
    )
    return days.select("site_id", "dimension", "value", "date", F.inline(F.array_compact(found)))


def _scores(numbers: DataFrame, rules: MetricAnomalySettings) -> DataFrame:
    """Add expected, spread, score (null where it is not judged), compared_with and compared_days."""
    ordered = numbers.withColumn("day", F.unix_date("date"))
    series = Window.partitionBy(*_SERIES).orderBy("day")
    weekday = Window.partitionBy(*_SERIES, F.weekday("date")).orderBy("day")
    compared = ordered.withColumns(
        {
            "weekdays": F.sort_array(F.collect_list("level").over(weekday.rangeBetween(-7 * rules.weeks, -1))),
            "trailing": F.sort_array(F.collect_list("level").over(series.rangeBetween(-rules.trailing_days, -1))),
        }
    )
    by_weekday = F.size("weekdays") >= rules.min_weekdays
    by_trailing = F.size("trailing") >= rules.min_trailing_days
    based = compared.withColumns(
        {
            "base": F.when(by_weekday, F.col("weekdays")).when(by_trailing, F.col("trailing")),
            "compared_with": F.when(by_weekday, "same_weekday").when(by_trailing, "trailing_days"),
        }
    ).withColumn("expected", _median(F.col("base")))
    expected, weight = F.col("expected"), F.col("weight")
    deviations = F.transform("base", lambda level: F.abs(level - F.col("expected")))
    # What chance alone does: a count varies by its root, a rate by that of p (1 - p) / n, in which p is not nothing.
    p = F.greatest(expected, 1 / F.nullif(weight, F.lit(0.0)))
    chance = (
        F.when(F.col("is_count"), F.sqrt(expected))
        .when(F.col("metric") == "page_load_p90", F.lit(0.0))
        .when(F.col("metric") == "bot_share", F.lit(rules.least_bot_share_spread))
        .otherwise(F.sqrt(F.greatest(p * (1 - p), F.lit(0.0)) / F.nullif(weight, F.lit(0.0))))
    )
    spread = F.greatest(_median(F.sort_array(deviations)) * NORMAL, expected * rules.least_spread, chance)
    is_large = F.when(F.col("is_count"), expected >= F.col("least")).otherwise(F.col("level").isNotNull())
    return based.withColumn("spread", spread).withColumn(
        "score", F.when(is_large & (F.col("spread") > 0), (F.col("level") - expected) / F.col("spread"))
    )


def _median(ordered: Column) -> Column:
    """Of an array in order; null where it is empty or null."""
    size = F.size(ordered)
    below, above = F.floor((size - 1) / 2).cast("int"), F.floor(size / 2).cast("int")
    return F.when(size > 0, (F.get(ordered, below) + F.get(ordered, above)) / 2)


def _runs(scored: DataFrame, rules: MetricAnomalySettings) -> DataFrame:
    """Add is_anomaly, and of the run of days side by side off to the same side: since, and the greatest |score|."""
    score = F.col("score")
    side = F.when(score > rules.k_close, 1).when(score < -rules.k_close, -1).otherwise(0)
    series = Window.partitionBy(*_SERIES).orderBy("day")
    is_new = F.coalesce(F.col("side") != F.lag("side").over(series), F.lit(True))
    until_now = series.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    run = Window.partitionBy(*_SERIES, "run").rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    return (
        scored.withColumn("side", side)
        .withColumn("is_new", is_new.cast("int"))
        .withColumn("run", F.sum("is_new").over(until_now))
        .withColumns({"peak": F.max(F.abs(score)).over(run), "since": F.min("date").over(run)})
        .withColumn("is_anomaly", (F.col("side") != 0) & (F.col("peak") > rules.k_open))
    )


def _explained(judged: DataFrame, rules: ExplainSettings) -> DataFrame:
    """The anomalies, those of the whole site with the segments that hold more of the difference than is usual.

    A segment's part of the difference: of a count its own difference / the site's; of a rate or load time the same,
    weighted by its share of the volume. Its usual part: its share of what was expected, or of the volume.
    """
    number = Window.partitionBy("site_id", "metric", "date").rowsBetween(
        Window.unboundedPreceding, Window.unboundedFollowing
    )
    is_all, is_count = F.col("dimension") == ALL, F.col("is_count")
    site = F.struct("level", "expected", "weight", "page_weight")
    beside = judged.withColumn("site", F.max(F.when(is_all & F.col("is_anomaly"), site)).over(number))
    whole = F.when(F.col("dimension") == "page", F.col("site.page_weight")).otherwise(F.col("site.weight"))
    volume = F.col("weight") / F.nullif(whole, F.lit(0.0))
    # A segment that is new was expected to be nothing, or like the others.
    expected = F.coalesce("expected", F.when(is_count, F.lit(0.0)).otherwise(F.col("site.expected")))
    difference = volume * (F.col("level") - expected)
    named = F.concat("dimension", F.lit(": "), "value")
    parts = beside.withColumns(
        {
            "segment": F.when(is_all, F.lit(ALL)).otherwise(named),
            "part": difference / (F.col("site.level") - F.col("site.expected")),
            "usual": F.when(is_count, expected / F.nullif(F.col("site.expected"), F.lit(0.0))).otherwise(volume),
        }
    )
    explains = ~is_all & (F.col("part") >= rules.least_share) & (F.col("part") - F.col("usual") >= rules.least_lift)
    per_cent = F.floor(F.col("part") * 100 + F.lit(0.5)).cast("bigint")
    reason = F.struct(
        (F.col("usual") - F.col("part")).alias("order"),
        F.format_string("%s (%d %%)", F.col("segment"), per_cent).alias("words"),
    )
    anomaly = F.struct(
        *("segment", "level", "expected", "spread", "score", "peak", "since", "compared_with"),
        F.size("base").alias("compared_days"),
    )
    days = (
        parts.where(F.col("is_anomaly") | explains)
        .groupBy("site_id", "metric", "date")
        .agg(
            F.array_sort(F.collect_list(F.when(explains, reason))).alias("reasons"),
            F.collect_list(F.when(F.col("is_anomaly"), anomaly)).alias("anomalies"),
        )
    )
    most = F.transform(F.slice("reasons", 1, rules.segments), lambda found: found["words"])
    return days.select("site_id", "metric", "date", most.alias("most"), F.inline("anomalies")).withColumn(
        "explained_by", F.when(F.col("segment") == ALL, F.col("most")).otherwise(F.array().cast("array<string>"))
    )
