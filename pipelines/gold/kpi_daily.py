"""The 20 KPIs of each site and date against their targets."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.segment_metrics_daily import ALL, MICROS
from pipelines.thresholds import EngagementScoreSettings, HealthSettings, Penalty, Target

UNITS = {
    "unique_visitors": "persons",
    "page_views": "page views",
    "bounce_rate": "ratio",
    "avg_session_duration": "s",
    "sessions_per_user": "sessions",
    "page_load_p50": "ms",
    "page_load_p90": "ms",
    "page_load_p99": "ms",
    "conversion_rate": "ratio",
    "traffic_by_source": "ratio",
    "mobile_share": "ratio",
    "desktop_share": "ratio",
    "top_browsers": "ratio",
    "top_countries": "ratio",
    "top_regions": "ratio",
    "scroll_depth": "%",
    "click_through_rate": "ratio",
    "form_completion_rate": "ratio",
    "funnel_conversion": "ratio",
    "funnel_drop_off": "ratio",
    "data_freshness": "unix seconds",
    "bot_share": "ratio",
    "engagement_score": "score",
    "traffic_health": "score",
}
SHARES = {
    "traffic_source": "traffic_by_source",
    "browser": "top_browsers",
    "country": "top_countries",
    "region": "top_regions",
}
"""Dimension whose values are ranked → KPI that shows the first of them."""
DEVICES = {"mobile": "mobile_share", "desktop": "desktop_share"}


def build(
    segment_metrics_daily: DataFrame,
    journey_stats_daily: DataFrame,
    funnel_daily: DataFrame,
    metric_anomalies: DataFrame,
    *,
    context: RunContext,
) -> DataFrame:
    """One row per site, date, KPI and dimension that something was measured for.

    What would be divided by nothing has no row. traffic_health stands up to the site's last complete date: later, the
    anomalies are not known.
    """
    days = _days(segment_metrics_daily, journey_stats_daily, metric_anomalies, context)
    found = days.unionByName(_funnels(funnel_daily, context))
    targets = context.settings.kpis.targets
    unit = _by_kpi(UNITS)
    target = _by_kpi({name: _limit(target) for name, target in targets.items()}).cast("double")
    kind = _by_kpi({name: "at_least" if one.at_least is not None else "at_most" for name, one in targets.items()})
    value = F.col("value")
    is_met = F.when(kind == "at_least", value >= target).otherwise(value <= target)
    return found.where(value.isNotNull()).select(
        "site_id",
        "date",
        "kpi",
        "dimension",
        "value",
        unit.alias("unit"),
        target.alias("target"),
        kind.alias("target_kind"),
        F.when(target.isNull(), "no_target").when(is_met, "met").otherwise("missed").alias("status"),
    )


def _limit(target: Target) -> float | None:
    return target.at_least if target.at_least is not None else target.at_most


def _by_kpi(values: Mapping[str, str | float | None]) -> Column:
    """The value that belongs to the row's KPI, null where it has none."""
    branches: dict[str | float | None, list[str]] = {}
    for kpi, value in values.items():
        branches.setdefault(value, []).append(kpi)
    chosen = [F.when(F.col("kpi").isin(*kpis), F.lit(value)) for value, kpis in branches.items()]
    return F.coalesce(*chosen) if chosen else F.lit(None).cast("string")


def _kpi(kpi: str, value: Column, dimension: Column | None = None) -> Column:
    """A row without its site and date."""
    return F.struct(
        F.lit(kpi).alias("kpi"),
        (F.lit(ALL) if dimension is None else dimension).alias("dimension"),
        value.cast("double").alias("value"),
    )


def _share(part: Column, whole: Column) -> Column:
    return F.when(whole > 0, part / whole)


# --- sites and their segments -----------------------------------------------------------------------------------------


def _days(segments: DataFrame, journeys: DataFrame, anomalies: DataFrame, context: RunContext) -> DataFrame:
    """All KPIs but the funnels'.

    What the three tables know of a site's date stands in one row each, beside the other's nulls, and is brought
    together by the window that the shares need anyway.
    """
    of_site = Window.partitionBy("site_id", "date").rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    ranked = Window.partitionBy("site_id", "date", "dimension").orderBy(F.desc("sessions"), "value")
    known = segments.where(F.col("dimension") != "page")
    stats = journeys.select(
        "site_id",
        "date",
        F.lit("journeys").alias("dimension"),
        *("total_journeys", "unique_users", "avg_duration_seconds"),
    )
    raised = anomalies.where(F.col("segment") == ALL).select(
        "site_id", "date", F.lit("anomalies").alias("dimension"), F.lit(1).alias("anomaly")
    )
    together = known.unionByName(stats, allowMissingColumns=True).unionByName(raised, allowMissingColumns=True)
    days = together.withColumns(
        {
            "place": F.row_number().over(ranked),
            "all_sessions": F.max(F.when(F.col("dimension") == ALL, F.col("sessions"))).over(of_site),
            "anomalies": F.count("anomaly").over(of_site),
        }
    )
    share = _share(F.col("sessions"), F.col("all_sessions"))
    is_shown = F.col("place") <= context.settings.kpis.top
    kpis = (
        F.when(F.col("dimension") == ALL, F.array(*_of_site(context)))
        .when(F.col("dimension") == "journeys", F.array(*_of_journeys()))
        .when((F.col("dimension") == "device_type") & F.col("value").isin(*DEVICES), F.array(_of_device(share)))
        .when(F.col("dimension").isin(*SHARES) & is_shown, F.array(_of_share(share)))
    )
    return days.select("site_id", "date", F.inline(kpis))


def _of_journeys() -> list[Column]:
    journeys, users = F.col("total_journeys"), F.col("unique_users")
    return [
        _kpi("unique_visitors", users),
        _kpi("avg_session_duration", F.col("avg_duration_seconds")),
        _kpi("sessions_per_user", _share(journeys, users)),
    ]


def _of_device(share: Column) -> Column:
    name = F.when(F.col("value") == "mobile", DEVICES["mobile"]).otherwise(DEVICES["desktop"])
    return F.struct(name.alias("kpi"), F.lit(ALL).alias("dimension"), share.alias("value"))


def _of_share(share: Column) -> Column:
    name = F.coalesce(*[F.when(F.col("dimension") == dimension, kpi) for dimension, kpi in SHARES.items()])
    return F.struct(name.alias("kpi"), F.col("value").alias("dimension"), share.alias("value"))


def _of_site(context: RunContext) -> list[Column]:
    settings = context.settings.kpis
    views = F.col("page_views")
    is_complete = context.days_ago("date") >= 0
    return [
        _kpi("page_views", views),
        _kpi("bounce_rate", _share(F.col("bounces"), F.col("viewing_sessions"))),
        _kpi("conversion_rate", _share(F.col("conversions"), F.col("sessions"))),
        *[_kpi(f"page_load_{name}", F.col(f"load_{name}_ms")) for name in ("p50", "p90", "p99")],
        _kpi("scroll_depth", _share(F.col("sum_scroll_depth_pct"), views)),
        _kpi("click_through_rate", _share(F.col("click_views"), views)),
        _kpi("form_completion_rate", _share(F.col("form_submit_sessions"), F.col("form_start_sessions"))),
        _kpi("data_freshness", F.unix_micros("newest_event_at") / MICROS),
        _kpi("bot_share", _share(F.col("bot_events"), F.col("events"))),
        _kpi("engagement_score", _engagement(settings.engagement)),
        _kpi("traffic_health", F.when(is_complete, _health(settings.health))),
    ]


def _engagement(rules: EngagementScoreSettings) -> Column:
    """100 × the weighted mean over sessions of each part's share of full, and of not having bounced."""
    sessions = F.col("sessions")
    parts = [
        (F.col("capped_page_views") / rules.page_views.full, rules.page_views.weight),
        (F.col("capped_duration_us") / (rules.duration_seconds.full * MICROS), rules.duration_seconds.weight),
        (F.col("capped_actions") / rules.actions.full, rules.actions.weight),
        (sessions - F.col("bounces"), rules.not_bounced_weight),
    ]
    total = F.lit(0.0)
    for part, weight in parts:
        total = total + part * weight
    return F.when(sessions > 0, total * 100 / (sessions * rules.total_weight))


def _health(rules: HealthSettings) -> Column:
    """100 less what each trouble takes; what is not known takes nothing."""
    troubles = (
        (_share(F.col("error_sessions"), F.col("sessions")), rules.error_rate),
        (F.col("anomalies"), rules.anomalies),
        (_share(F.col("bot_events"), F.col("events")), rules.bot_share),
        (F.col("load_p90_ms"), rules.page_load_p90),
    )
    health = F.lit(100.0)
    for value, rule in troubles:
        health = health - F.coalesce(_penalty(value, rule), F.lit(0.0))
    return F.greatest(health, F.lit(0.0))


def _penalty(value: Column, rule: Penalty) -> Column:
    reached = (value - F.lit(rule.from_)) / (rule.to - rule.from_)
    # greatest and least pass over nulls.
    return F.when(value.isNotNull(), F.greatest(F.lit(0.0), F.least(F.lit(1.0), reached)) * rule.weight)


# --- funnels ----------------------------------------------------------------------------------------------------------


def _funnels(funnel_daily: DataFrame, context: RunContext) -> DataFrame:
    """Conversion to the last step, and of each step before it the share that is lost after it; breakdowns together."""
    presence = [name for name, funnel in context.funnels.funnels.items() if funnel.mode == "presence"]
    steps = funnel_daily.groupBy("site_id", "date", "funnel", "step_number", "step").agg(
        F.sum("journeys").alias("journeys"), F.sum("count").alias("count")
    )
    funnel = Window.partitionBy("site_id", "date", "funnel").orderBy("step_number")
    until_now = funnel.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    following = steps.withColumns({"next": F.lead("count").over(funnel), "first": F.first("count").over(until_now)})
    count = F.col("count")
    whole = F.when(F.col("funnel").isin(*presence), F.col("journeys")).otherwise(F.col("first"))
    lost = F.greatest(F.lit(0), count - F.col("next"))
    step = F.concat("funnel", F.lit(": "), "step")
    kpi = F.when(F.col("next").isNull(), _kpi("funnel_conversion", _share(count, whole), F.col("funnel"))).otherwise(
        _kpi("funnel_drop_off", _share(lost, count), step)
    )
    return following.select("site_id", "date", kpi.alias("kpi")).select("site_id", "date", "kpi.*")
