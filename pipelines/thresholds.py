"""Typed models of what gold judges by: limits of anomalies, targets and parameters of the KPIs (conf/settings)."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field, model_validator

from pipelines.config import Model

# --- sessions -------------------------------------------------------------------------------------------------------


class ErrorPageSettings(Model):
    """A page with `min_views` whose error rate is both so many times the site's and at least `least_rate`."""

    times_site: Decimal = Field(ge=1, le=1000, decimal_places=3)
    least_rate: Decimal = Field(ge=0, le=1, decimal_places=6)
    min_views: int = Field(ge=1)


class UnusualPathSettings(Model):
    """A path whose score is above the day's quantile and at least `least_score`."""

    quantile: float = Field(gt=0, lt=1)
    least_score: float = Field(ge=0)


class RageClickSettings(Model):
    """So many clicks on one element, the last less than `within_ms` after the first."""

    clicks: int = Field(ge=2)
    within_ms: int = Field(gt=0)


class DeadLoopSettings(Model):
    """So many times from one page to the same other."""

    repeats: int = Field(ge=2)


# --- numbers of a day -----------------------------------------------------------------------------------------------


class ExplainSettings(Model):
    """Which segments are named: those that hold at least `least_share` of what is too much or too little, and
    `least_lift` more than their usual share of the whole."""

    segments: int = Field(ge=0)
    least_share: float = Field(gt=0, le=1)
    least_lift: float = Field(ge=0, le=1)


class MetricAnomalySettings(Model):
    """What a day is compared with, how far off is an anomaly, and what is too small to judge."""

    weeks: int = Field(ge=1)
    min_weekdays: int = Field(ge=2)
    trailing_days: int = Field(ge=2)
    min_trailing_days: int = Field(ge=2)
    k_open: float
    k_close: float = Field(gt=0)
    k_critical: float
    least_spread: float = Field(gt=0, lt=1)
    least_bot_share_spread: float = Field(ge=0, lt=1)
    min_sessions: int = Field(ge=1)
    min_page_views: int = Field(ge=1)
    min_load_samples: int = Field(ge=1)
    explain: ExplainSettings

    @model_validator(mode="after")
    def _consistent(self) -> MetricAnomalySettings:
        if not self.k_close <= self.k_open <= self.k_critical:
            raise ValueError("expected k_close <= k_open <= k_critical")
        if self.min_weekdays > self.weeks:
            raise ValueError("min_weekdays: expected at most weeks")
        if self.min_trailing_days > self.trailing_days:
            raise ValueError("min_trailing_days: expected at most trailing_days")
        return self


# --- KPIs -----------------------------------------------------------------------------------------------------------


class Target(Model):
    """What a KPI should be: one of the two."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Target:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("expected either at_least or at_most")
        return self


KpiName = Literal[
    "unique_visitors",
    "page_views",
    "bounce_rate",
    "avg_session_duration",
    "sessions_per_user",
    "page_load_p50",
    "page_load_p90",
    "page_load_p99",
    "conversion_rate",
    "traffic_by_source",
    "mobile_share",
    "desktop_share",
    "top_browsers",
    "top_countries",
    "top_regions",
    "scroll_depth",
    "click_through_rate",
    "form_completion_rate",
    "funnel_conversion",
    "funnel_drop_off",
    "data_freshness",
    "bot_share",
    "engagement_score",
    "traffic_health",
]


class EngagementPart(Model):
    """From `full` on, a session has all of this part."""

    full: int = Field(gt=0)
    weight: int = Field(ge=0)


class EngagementScoreSettings(Model):
    """What KPI 19 is made of."""

    page_views: EngagementPart
    duration_seconds: EngagementPart
    actions: EngagementPart
    not_bounced_weight: int = Field(ge=0)

    @property
    def total_weight(self) -> int:
        return self.page_views.weight + self.duration_seconds.weight + self.actions.weight + self.not_bounced_weight

    @model_validator(mode="after")
    def _weighs(self) -> EngagementScoreSettings:
        if self.total_weight == 0:
            raise ValueError("expected at least one weight above 0")
        return self


class Penalty(Model):
    """Nothing up to `from`, `weight` at `to`, in proportion between them."""

    from_: float = Field(alias="from", ge=0)
    to: float
    weight: int = Field(ge=0, le=100)

    @model_validator(mode="after")
    def _rising(self) -> Penalty:
        if self.from_ >= self.to:
            raise ValueError("expected from < to")
        return self


class HealthSettings(Model):
    """What KPI 20 loses points for."""

    error_rate: Penalty
    anomalies: Penalty
    bot_share: Penalty
    page_load_p90: Penalty

    @model_validator(mode="after")
    def _whole(self) -> HealthSettings:
        total = self.error_rate.weight + self.anomalies.weight + self.bot_share.weight + self.page_load_p90.weight
        if total != 100:
            raise ValueError(f"expected weights that add up to 100, got {total}")
        return self


class KpiSettings(Model):
    """Targets and parameters of gold.kpi_daily."""

    top: int = Field(ge=1)
    targets: dict[KpiName, Target]
    engagement: EngagementScoreSettings
    health: HealthSettings
