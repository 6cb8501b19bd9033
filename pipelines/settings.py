"""Typed models of conf/settings and conf/sites.yaml."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from pipelines.config import CONF, Model, display_path, parse, read_yaml, regex, time_zone
from pipelines.errors import ConfigurationError
from pipelines.thresholds import (
    DeadLoopSettings,
    ErrorPageSettings,
    KpiSettings,
    MetricAnomalySettings,
    RageClickSettings,
    UnusualPathSettings,
)

# --- conf/settings ------------------------------------------------------------------------------------------------


class SparkSettings(Model):
    """How a session is sized; `conf` is handed to Spark as it is."""

    master: str | None = None
    shuffle_partitions: int = Field(gt=0)
    conf: dict[str, str] = Field(default_factory=dict)


class PrivacySettings(Model):
    """Key of the keyed hashes of identifiers: given here (local only) or by an environment variable."""

    hash_key: str | None = None
    hash_key_variable: str = "PIPELINE_HASH_KEY"

    def key(self) -> str:
        """The key; raises ConfigurationError where neither place gives one."""
        found = os.environ.get(self.hash_key_variable) or self.hash_key
        if not found:
            raise ConfigurationError(
                f"conf/settings: privacy.hash_key: set the environment variable {self.hash_key_variable}"
            )
        return found


class BatchRule(Model):
    """Limits of one number about a batch, inclusive; `error` holds a batch that breaks them, `warn` tells."""

    least: float | None = None
    most: float | None = None
    severity: Literal["error", "warn"] = "warn"


class LandingSettings(Model):
    """What is taken from a landing place as it is, and what is set aside."""

    max_record_bytes: int = Field(gt=0, le=1 << 30)
    max_expanded_bytes: int = Field(gt=0)
    max_expansion_ratio: int = Field(gt=0)
    small_batch_bytes: int = Field(ge=0)
    max_offsets_per_batch: int = Field(gt=0)
    on_offset_gap: Literal["stop", "report"]
    kafka: dict[str, str] = Field(default_factory=dict)
    """Options of librdkafka; a value `$NAME` stands for the environment variable NAME."""

    def kafka_options(self) -> dict[str, str]:
        """The options with their values; raises ConfigurationError where a variable is not set."""
        values = {key: os.environ.get(text[1:]) if text.startswith("$") else text for key, text in self.kafka.items()}
        missing = [self.kafka[key][1:] for key, value in values.items() if value is None]
        if missing:
            raise ConfigurationError(f"conf/settings: landing.kafka: set the environment variable {missing[0]}")
        return {key: value for key, value in values.items() if value is not None}


class GateSettings(Model):
    """The batch rules, each for one source's batch; a limit of null is not judged."""

    dead_letter_share: BatchRule
    volume_of_median: BatchRule
    hours_behind: BatchRule
    null_drift: BatchRule


class AnomalySettings(Model):
    """Thresholds of session anomalies."""

    long_gap_seconds: int = Field(gt=0)
    outlier_score: float = Field(gt=0)
    min_sessions: int = Field(ge=1)
    max_events_per_minute: int = Field(gt=0)
    error_words: tuple[str, ...] = Field(min_length=1)
    error_page: ErrorPageSettings
    unusual_path: UnusualPathSettings
    rage_click: RageClickSettings
    dead_loop: DeadLoopSettings


class BotSettings(Model):
    """What makes a session a bot's besides anomalies.max_events_per_minute: pauses as regular as a clock's."""

    min_regular_gaps: int = Field(gt=0)
    max_gap_spread_pct: int = Field(ge=0, lt=100)


class TierSettings(Model):
    """Least active days in the 30-day window for each engagement tier."""

    power: int
    core: int
    regular: int
    casual: int

    @model_validator(mode="after")
    def _descending(self) -> TierSettings:
        if not 30 >= self.power > self.core > self.regular > self.casual >= 1:
            raise ValueError("expected 30 >= power > core > regular > casual >= 1")
        return self


Risk = Annotated[Decimal, Field(ge=-1, le=1, decimal_places=3)]


class Above(Model):
    """Adds `risk` where the number is greater."""

    above: Decimal = Field(ge=0)
    risk: Risk


class Below(Model):
    """Adds `risk` where the number is less."""

    below: Decimal = Field(gt=0)
    risk: Risk


class ChurnRiskSettings(Model):
    """What adds to the risk that a person does not come back; of each list the first limit that holds."""

    days_since_active: tuple[Above, ...]
    active_days: tuple[Below, ...]
    daily_sessions: tuple[Below, ...]
    declining: Risk
    increasing: Risk

    @model_validator(mode="after")
    def _strictest_first(self) -> ChurnRiskSettings:
        above = [limit.above for limit in self.days_since_active]
        if above != sorted(set(above), reverse=True):
            raise ValueError("days_since_active: expected falling limits, the first that holds counts")
        for name, limits in (("active_days", self.active_days), ("daily_sessions", self.daily_sessions)):
            below = [limit.below for limit in limits]
            if below != sorted(set(below)):
                raise ValueError(f"{name}: expected rising limits, the first that holds counts")
        return self


class EngagementSettings(Model):
    """How a person's recent activity is judged."""

    increasing_above: Decimal = Field(ge=1)
    """Active days of the current week over those of the week before."""
    declining_below: Decimal = Field(gt=0, le=1)
    inactive_days: int = Field(ge=0)
    """Longer since the last active day: tier at_risk."""
    at_risk_from: Risk
    churn_risk: ChurnRiskSettings


class GeoSettings(Model):
    """Where places come from: the country from bundled data, or all that a database of one's own (MMDB) says."""

    mmdb: str | None = None


class PostgresSettings(Model):
    """The database that gold is published to."""

    url: str | None = None
    """Without a password: that belongs to `url_variable`, to PGPASSWORD or to ~/.pgpass."""
    url_variable: str = "PIPELINE_POSTGRES_URL"
    schema_name: str = Field(default="analytics", pattern=r"^[a-z_][a-z0-9_]{0,62}$")

    def target(self) -> str:
        """The URL; raises ConfigurationError where neither place gives one."""
        found = os.environ.get(self.url_variable) or self.url
        if not found:
            raise ConfigurationError(
                f"no PostgreSQL to publish to: give --postgres URL or set the environment variable {self.url_variable}"
            )
        return found


class Settings(Model):
    """One environment: base.yaml overridden by its own file."""

    environment: str
    lakehouse: str
    storage_options: dict[str, str] = Field(default_factory=dict)
    earliest_time: datetime
    log_format: Literal["human", "json"]
    spark: SparkSettings
    privacy: PrivacySettings
    landing: LandingSettings
    gates: GateSettings
    anomalies: AnomalySettings
    bots: BotSettings
    tiers: TierSettings
    engagement: EngagementSettings
    metric_anomalies: MetricAnomalySettings
    kpis: KpiSettings
    segments: tuple[Literal["device_type", "country", "channel", "tier"], ...]
    """Dimensions of gold.active_users_by_segment_daily."""
    geo: GeoSettings = GeoSettings()
    postgres: PostgresSettings = PostgresSettings()


def _merged(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in override.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def load_settings(environment: str, folder: Path = CONF / "settings") -> Settings:
    """The settings of an environment; raises ConfigurationError for one that does not exist."""
    known = sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "base")
    if environment not in known:
        raise ConfigurationError(f"--env: expected one of {', '.join(known)}, got {environment!r}")
    path = folder / f"{environment}.yaml"
    content = _merged(read_yaml(folder / "base.yaml"), read_yaml(path))
    return parse(Settings, {**content, "environment": environment}, f"{display_path(folder)}/base.yaml + {path.name}")


# --- conf/sites.yaml ----------------------------------------------------------------------------------------------


class SessionRule(Model):
    """How events become sessions; the last three cut what no gap divides."""

    key: Literal["inactivity", "client"] = "inactivity"
    gap_seconds: int = Field(default=1800, gt=0)
    max_duration_seconds: int | None = Field(default=None, gt=0)
    break_on_campaign: bool = False
    break_at_midnight: bool = False

    @property
    def cuts_runs(self) -> bool:
        return self.max_duration_seconds is not None or self.break_on_campaign or self.break_at_midnight


class ConversionRule(Model):
    """A session converts by any event of `event_types`, or, where `end_page` is set, by leaving from that page."""

    event_types: tuple[str, ...] = ("purchase", "conversion")
    end_page: str | None = None


class TestUserRule(Model):
    """Who is a test user, and what that excludes."""

    __test__ = False  # not a test class, whatever its name suggests to pytest

    rule: Literal["exclude_session", "exclude_events"] = "exclude_session"
    user_id_pattern: str | None = None

    @field_validator("user_id_pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        return regex(value)


class PrivacyRule(Model):
    """What stands for a person past bronze."""

    hash_identifiers: bool = False
    """Keyed hashes of user_id, anonymous_id and client_session_id in place of what was sent."""


Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Site(Model):
    """One web property."""

    timezone: str = "UTC"
    domains: tuple[str, ...] = ()
    """Hosts besides a page's own that are this site: no referrer, no new visit. Their subdomains are it too."""
    session: SessionRule = SessionRule()
    conversion: ConversionRule = ConversionRule()
    test_users: TestUserRule = TestUserRule()
    privacy: PrivacyRule = PrivacyRule()
    dedupe: Literal["same_date", "any_time"] = "same_date"
    """Whether records with one event id are one event only on the same UTC date, or whenever they were."""
    link_parameter: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.~-]+$")
    """Parameter of a landing page's address that names whom its visitor was on another domain of the site."""
    count_bots: bool = False
    single_event_duration: Literal["null", "zero"] = "null"
    activity_threshold: int = Field(default=1, ge=1)
    week_start: Weekday = "monday"

    def last_complete_date(self, at: datetime) -> date:
        """The last day that is over at that instant by the site's clock."""
        return at.astimezone(ZoneInfo(self.timezone)).date() - timedelta(days=1)

    @field_validator("timezone")
    @classmethod
    def _exists(cls, value: str) -> str:
        return time_zone(value)

    @field_validator("single_event_duration", mode="before")
    @classmethod
    def _unquoted_null(cls, value: Any) -> Any:
        return "null" if value is None else value  # `null` without quotes is YAML's own null


class Sites(Model):
    """Every site; one that is not listed follows `defaults`."""

    defaults: Site = Site()
    sites: dict[str, Site] = Field(default_factory=dict)

    @property
    def rules(self) -> tuple[Site, ...]:
        """All rules that some site may follow."""
        return (self.defaults, *self.sites.values())

    def of(self, site_id: str) -> Site:
        return self.sites.get(site_id, self.defaults)


def load_sites(path: Path = CONF / "sites.yaml") -> Sites:
    """The sites; each inherits what it does not say from `defaults`."""
    content = read_yaml(path)
    defaults = content.get("defaults") or {}
    given = content.get("sites") or {}
    if isinstance(defaults, dict) and isinstance(given, dict):
        content["defaults"] = defaults
        for name in given:
            if not isinstance(name, str) and (not isinstance(name, int) or isinstance(name, bool)):
                raise ConfigurationError(f"{display_path(path)}: sites: YAML reads a site's name as {name!r}: quote it")
        content["sites"] = {
            str(name): _merged(defaults, site or {}) if isinstance(site or {}, dict) else site
            for name, site in given.items()
        }
    return parse(Sites, content, display_path(path))
