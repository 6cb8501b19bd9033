"""Every person ever active as the last complete date finds them: activity, trend, churn risk and tier."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.gold.activity import MONTH, is_active, tier
from pipelines.gold.ratios import ratio
from pipelines.settings import Above, Below, EngagementSettings

RISK = "decimal(4,3)"
WEEK = 7
MICROS = 1_000_000


def build(user_days: DataFrame, sessions: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per site and person with an active day up to the site's last complete date.

    Days and the recent sessions are rows of one frame, each holding numbers only where it has something to say, so
    that one aggregation makes the profile.
    """
    ago = context.days_ago("date")
    recent = ago < MONTH
    counts_single_events = context.by_site(lambda site: site.single_event_duration == "zero")
    # Whole microseconds, not duration_seconds: sums of doubles depend on the order in which rows arrive.
    duration_us = F.when(F.col("duration_seconds").isNotNull(), F.unix_micros("end_time") - F.unix_micros("start_time"))
    duration_us = F.coalesce(duration_us, F.when(counts_single_events, F.lit(0)))
    of_days = user_days.where(ago >= 0).select(
        "site_id",
        "person_id",
        "date",
        is_active(context).alias("is_active"),
        F.when(recent, F.col("sessions")).otherwise(0).alias("sessions"),
        F.lit(None).cast("bigint").alias("duration_us"),
    )
    of_sessions = sessions.where(F.col("is_countable") & context.within("session_date", MONTH)).select(
        "site_id",
        "person_id",
        F.col("session_date").alias("date"),
        F.lit(False).alias("is_active"),
        F.lit(0).alias("sessions"),
        duration_us.cast("bigint").alias("duration_us"),
    )
    is_active_day = F.col("is_active")
    persons = (
        of_days.unionByName(of_sessions)
        .groupBy("site_id", "person_id")
        .agg(
            F.min(F.when(is_active_day, F.col("date"))).alias("first_active_date"),
            F.min(F.when(is_active_day, ago)).alias("days_since_active"),
            F.count_if(is_active_day & recent).alias("active_days_30"),
            F.count_if(is_active_day & (ago < WEEK)).alias("this_week"),
            F.count_if(is_active_day & ago.between(WEEK, 2 * WEEK - 1)).alias("week_before"),
            F.sum("sessions").alias("sessions_30"),
            F.sum("duration_us").alias("duration_us"),
            F.count("duration_us").alias("measured"),
        )
        .where("first_active_date is not null")
    )
    rules = context.settings.engagement
    judged = persons.withColumn("trend", _trend(rules)).withColumn("churn_risk", _churn_risk(rules))
    current_tier = F.coalesce(tier(F.col("active_days_30"), context.settings.tiers), F.lit("(none)"))
    return judged.select(
        "site_id",
        "person_id",
        context.by_site(context.last_date).alias("as_of_date"),
        "first_active_date",
        F.col("active_days_30").cast("int").alias("active_days_30"),
        ratio(F.col("sessions_30"), F.lit(MONTH)).alias("avg_daily_sessions"),
        F.when(F.col("measured") > 0, F.col("duration_us") / (F.col("measured") * MICROS)).alias(
            "avg_session_duration_seconds"
        ),
        "days_since_active",
        F.col("this_week").cast("int").alias("active_days_current_week"),
        F.col("week_before").cast("int").alias("active_days_previous_week"),
        "trend",
        "churn_risk",
        (F.col("churn_risk") >= _risk(rules.at_risk_from)).alias("is_at_risk"),
        F.when(F.col("days_since_active") > rules.inactive_days, "at_risk").otherwise(current_tier).alias("tier"),
    )


def _trend(rules: EngagementSettings) -> Column:
    now, before = F.col("this_week"), F.col("week_before")
    return (
        F.when(now > F.lit(rules.increasing_above) * before, "increasing")
        .when(now < F.lit(rules.declining_below) * before, "declining")
        .otherwise("stable")
    )


def _churn_risk(rules: EngagementSettings) -> Column:
    """The sum of what the rules add, as a decimal: 0.6 is a limit that must be met exactly."""
    risks = rules.churn_risk
    daily_sessions = [Below(below=rule.below * MONTH, risk=rule.risk) for rule in risks.daily_sessions]
    parts = [
        _first_that_holds(F.col("days_since_active"), risks.days_since_active),
        _first_that_holds(F.col("active_days_30"), risks.active_days),
        _first_that_holds(F.col("sessions_30"), daily_sessions),
        F.when(F.col("trend") == "declining", _risk(risks.declining))
        .when(F.col("trend") == "increasing", _risk(risks.increasing))
        .otherwise(_risk(Decimal(0))),
    ]
    total = reduce(lambda left, right: left + right, parts)
    return F.least(F.greatest(total, _risk(Decimal(0))), _risk(Decimal(1))).cast(RISK)


def _first_that_holds(value: Column, rules: Sequence[Above | Below]) -> Column:
    held = [
        F.when(value > F.lit(rule.above) if isinstance(rule, Above) else value < F.lit(rule.below), _risk(rule.risk))
        for rule in rules
    ]
    return F.coalesce(*held, _risk(Decimal(0)))


def _risk(value: Decimal) -> Column:
    return F.lit(value).cast(RISK)
