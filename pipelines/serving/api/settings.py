"""Typed model of conf/api.yaml."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from pipelines.config import CONF, Model, load


class BuildSettings(Model):
    """What making a copy of a published version may use."""

    threads: int = Field(gt=0)
    memory: str


class PagingSettings(Model):
    """How many rows an answer holds."""

    default_limit: int = Field(gt=0)
    max_limit: int = Field(gt=0)
    max_offset: int = Field(ge=0)


class CacheSettings(Model):
    """Where answers are kept, and how long."""

    redis_url: str | None
    redis_timeout_seconds: float = Field(gt=0)
    redis_pause_seconds: float = Field(ge=0)
    memory_bytes: int = Field(ge=0)
    warm_sites: int = Field(ge=0)
    ttl_seconds: dict[str, int]

    def ttl(self, endpoint: str) -> int:
        """Seconds that an endpoint's answers are kept; 0: not at all."""
        return self.ttl_seconds.get(endpoint, self.ttl_seconds.get("default", 0))


class QuerySettings(Model):
    """Limits of one query in SQL."""

    max_characters: int = Field(gt=0)
    max_tokens: int = Field(gt=0)
    max_depth: int = Field(gt=0)
    max_seconds: float = Field(gt=0)
    max_rows: int = Field(gt=0)
    max_bytes: int = Field(gt=0)
    memory: str
    process_memory_bytes: int = Field(gt=0)
    workers: int = Field(gt=0)
    wait_seconds: float = Field(ge=0)


class ApiSettings(Model):
    """How the published tables are served."""

    host: str
    port: int = Field(ge=0, le=65535)
    keys_file: Path
    data_folder: Path
    leave_out: tuple[str, ...]
    poll_seconds: float = Field(gt=0)
    keep_versions: int = Field(ge=2)
    threads: int = Field(gt=0)
    memory: str
    build: BuildSettings
    paging: PagingSettings
    cache: CacheSettings
    query: QuerySettings


def load_api_settings(path: Path = CONF / "api.yaml") -> ApiSettings:
    """The settings, with what the environment overrides; raises ConfigurationError for a mistake in the file."""
    settings = load(ApiSettings, path)
    if keys := os.environ.get("PIPELINE_API_KEYS"):
        settings = settings.model_copy(update={"keys_file": Path(keys)})
    if redis := os.environ.get("PIPELINE_REDIS_URL"):
        settings = settings.model_copy(update={"cache": settings.cache.model_copy(update={"redis_url": redis})})
    return settings
