"""Typed model of conf/sources: a reader and a mapping from the raw record to the canonical event."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipelines.config import CONF, Model, display_path, load, time_zone
from pipelines.errors import ConfigurationError

# Canonical columns that a mapping may give → type they are cast to. `user_agent` and `ip` feed rules and enrichment
# and are not stored past bronze.
CANONICAL_TYPES: dict[str, str] = {
    "site_id": "string",
    "event_id": "string",
    "event_type": "string",
    "event_name": "string",
    "event_time": "string",  # read by silver/instants.py, not by a cast
    "sequence": "bigint",
    "received_at": "string",  # the same
    "user_id": "string",
    "anonymous_id": "string",
    "client_session_id": "string",
    "page_url": "string",
    "page_path": "string",
    "page_title": "string",
    "referrer_url": "string",
    "element_selector": "string",
    "element_text": "string",
    "user_agent": "string",
    "ip": "string",
    "utm_source": "string",
    "utm_medium": "string",
    "utm_campaign": "string",
    "utm_term": "string",
    "utm_content": "string",
    "load_time_ms": "bigint",
    "scroll_depth_pct": "int",
    "value": "decimal(18,4)",
    "currency": "string",
    "device_type": "string",
    "browser": "string",
    "os": "string",
    "country": "string",
    "region": "string",
    "city": "string",
    "is_test_user": "boolean",
    "properties": "map<string,string>",
}


class KeyedHash(Model):
    """HMAC-SHA256 over the given expressions, with the key of settings: an identifier that cannot be undone."""

    keyed_hash: tuple[str, ...] = Field(min_length=1)


class Source(Model):
    """One format: how its records are read and what each canonical column is made of."""

    source: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = Field(min_length=1)
    format: Literal["json_lines", "text_lines"]
    pattern: str | None = None
    fields: tuple[str, ...]
    ignored_fields: tuple[str, ...] = ()
    event_id: Literal["source", "content", "position"] = "source"
    event_time: Literal["mapped", "ingested"] = "mapped"
    time_format: str | None = None
    time_zone: str = "UTC"
    future_tolerance_seconds: int | None = Field(default=None, ge=0)
    session_end: Literal["optional", "required"] = "optional"
    columns: dict[str, str | KeyedHash]

    @field_validator("time_zone")
    @classmethod
    def _exists(cls, value: str) -> str:
        return time_zone(value)

    @model_validator(mode="after")
    def _consistent(self) -> Source:
        unknown = sorted(set(self.columns) - set(CANONICAL_TYPES))
        if unknown:
            raise ValueError(f"columns: not canonical: {', '.join(unknown)}")
        needed = {"site_id", "event_type"} | ({"event_time"} if self.event_time == "mapped" else set())
        missing = sorted(needed - set(self.columns))
        if missing:
            raise ValueError(f"columns: missing: {', '.join(missing)}")
        spelled: dict[str, str] = {}
        for name in self.fields:
            if (other := spelled.setdefault(name.lower(), name)) != name:
                raise ValueError(f"fields: {other!r} and {name!r} differ only in case, which SQL cannot tell apart")
        if self.event_time == "ingested" and self.event_id != "position":
            raise ValueError("event_time: ingested goes only with event_id: position")
        if (self.format == "text_lines") != (self.pattern is not None):
            raise ValueError("`pattern` goes with `format: text_lines`, and only with it")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                raise ValueError(f"pattern: not a regular expression ({error})") from error
            if not (self.pattern.startswith("^") and self.pattern.endswith("$")):
                raise ValueError("pattern: must describe the whole line, from ^ to $")
            if set(groups) != set(self.fields):
                raise ValueError("fields: must be the named groups of `pattern`")
        return self


def shipped_sources(folder: Path = CONF / "sources") -> tuple[Source, ...]:
    """Every source of conf/sources."""
    return tuple(load_source(path.stem, folder) for path in sorted(folder.glob("*.yaml")))


def load_source(name: str, folder: Path = CONF / "sources") -> Source:
    """A source by name, or by the path of a mapping of the user's own; raises ConfigurationError otherwise."""
    if name.endswith((".yaml", ".yml")):
        return load(Source, Path(name))
    path = folder / f"{name}.yaml"
    known = sorted(found.stem for found in folder.glob("*.yaml"))
    if name not in known:
        raise ConfigurationError(f"--source: expected one of {', '.join(known)}, or a .yaml file, got {name!r}")
    source = load(Source, path)
    if source.source != name:
        raise ConfigurationError(f"{display_path(path)}: source: expected {name!r}, got {source.source!r}")
    return source
