"""Typed model of conf/funnels.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipelines.config import CONF, Model, display_path, parse, read_yaml, regex

Touch = Literal[
    "channel", "traffic_source", "traffic_medium", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"
]
"""What says where a visit came from."""
Breakdown = Literal[Touch, "device_type", "browser", "os", "country", "region"]


class EventPattern(Model):
    """A predicate on an event: all that is given must hold."""

    event_type: str | None = None
    event_name: str | None = None
    page: str | None = None
    """Regular expression (Java's and Python's common ground) searched in page_path."""
    properties: dict[str, str] = Field(default_factory=dict)

    @field_validator("page")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        return regex(value)


class FunnelStep(EventPattern):
    """What an event must be to reach the step."""

    name: str = Field(min_length=1)


class Exclusion(EventPattern):
    """An event that ends an attempt when it comes after one step and before another."""

    between: tuple[int, int] | None = None
    """Positions of the two steps, from 1; the whole funnel where it is not given."""


class Funnel(Model):
    """Steps of a journey, and what counts as having gone through them (docs/metrics.md)."""

    mode: Literal["presence", "ordered", "strict", "unordered"] = "presence"
    scope: Literal["session", "person"] = "session"
    window_seconds: int | None = Field(default=None, ge=0, le=90 * 86_400)
    """Longest time from an attempt's first event to its last, inclusive."""
    strict_increase: bool = False
    """Whether a step must be later than the one before, where events of one instant may else follow each other."""
    exclude: tuple[Exclusion, ...] = Field(default=(), max_length=8)
    breakdown: Breakdown | None = None
    steps: tuple[FunnelStep, ...] = ()
    sites: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Funnel:
        if self.mode == "presence":
            given = [
                key for key in ("window_seconds", "strict_increase", "exclude") if getattr(self, key) not in _UNSET
            ]
            if given:
                raise ValueError(f"{given[0]}: expected a mode with an order or a window; presence has neither")
            if self.scope == "person":
                raise ValueError("scope: expected session; presence asks what a session holds")
        elif len(self.steps) > _MOST_STEPS:
            raise ValueError(f"steps: expected at most {_MOST_STEPS} where steps are matched to events")
        if self.scope == "person" and self.window_seconds is None:
            raise ValueError("window_seconds: expected for scope person, whose events have no other end")
        if self.mode == "unordered" and self.strict_increase:
            raise ValueError("strict_increase: expected mode ordered or strict; unordered steps follow no order")
        for number, exclusion in enumerate(self.exclude):
            self._check_position(f"exclude.{number}.between", exclusion.between)
        return self

    def _check_position(self, key: str, between: tuple[int, int] | None) -> None:
        if len(self.steps) < 2:
            raise ValueError("exclude: expected two steps at least")
        if between is None:
            return
        if self.mode == "unordered":
            raise ValueError(f"{key}: expected none; unordered steps have no positions")
        if not 1 <= between[0] < between[1] <= len(self.steps):
            raise ValueError(f"{key}: expected two positions in order, from 1 to {len(self.steps)}, got {[*between]}")

    @property
    def exclusions(self) -> list[tuple[int, int]]:
        """Positions of the steps between which each of `exclude` must not happen."""
        return [exclusion.between or (1, len(self.steps)) for exclusion in self.exclude]


_UNSET = (None, False, ())
_MOST_STEPS = 16
"""Which steps the events of one instant can fill is kept as sets of steps; more would be too many."""


class Funnels(Model):
    """Every funnel by its name."""

    funnels: dict[str, Funnel] = Field(default_factory=dict)

    @property
    def days_ahead(self) -> int | None:
        """How many dates after the one it started on a person's attempt may reach; None without such a funnel.

        One more than the window's own days, as an attempt starts at any time of the day, and another because a day
        of the site's clock may be shorter than 24 hours.
        """
        windows = [f.window_seconds for f in self.funnels.values() if f.scope == "person" and f.steps]
        return max((seconds // 86_400 + 2 for seconds in windows if seconds is not None), default=None)


def load_funnels(path: Path = CONF / "funnels.yaml") -> Funnels:
    return parse(Funnels, read_yaml(path), display_path(path))
