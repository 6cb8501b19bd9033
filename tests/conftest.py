"""One Spark session for all tests, and run contexts with the configuration a test chooses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib.util import find_spec
from typing import Any, Protocol

import pytest
from pyspark.sql import SparkSession

from pipelines.config import parse
from pipelines.context import RunContext
from pipelines.funnels import Funnels
from pipelines.settings import Settings, Sites, SparkSettings, load_settings
from pipelines.spark import build_session

# pytest-xdist starts its workers without a main module. PySpark takes such a process for a doctest and ends it, and
# multiprocessing would run the worker's own start again in a child.
if "PYTEST_XDIST_WORKER" in os.environ:
    sys.modules["__main__"].__spec__ = find_spec("pytest.__main__")

SPARK = SparkSettings(
    master="local[2]",
    shuffle_partitions=2,
    conf={
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.default.parallelism": "2",
        "spark.driver.host": "127.0.0.1",
        "spark.databricks.delta.snapshotPartitions": "1",
    },
)


class MakeContext(Protocol):
    """Builds a run context: `sites` and `funnels` as in conf (none by default), other keys override the settings."""

    def __call__(
        self,
        *,
        sites: dict[str, Any] | None = None,
        defaults: dict[str, Any] | None = None,
        funnels: dict[str, Any] | None = None,
        as_of: date = date(2026, 2, 28),
        **settings: Any,
    ) -> RunContext: ...


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = build_session(SPARK, "tests")
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def context() -> MakeContext:
    """`context(sites={"shop": {"count_bots": True}}, anomalies={"min_sessions": 3})`; every site has the model's
    defaults unless the test says otherwise, the settings are those of the `local` environment."""
    local = load_settings("local").model_dump()

    def make(
        *,
        sites: dict[str, Any] | None = None,
        defaults: dict[str, Any] | None = None,
        funnels: dict[str, Any] | None = None,
        as_of: date = date(2026, 2, 28),
        **settings: Any,
    ) -> RunContext:
        for key, value in settings.items():
            settings[key] = {**local[key], **value} if isinstance(value, dict) else value
        return RunContext(
            settings=parse(Settings, {**local, **settings}, "the test's settings"),
            sites=parse(Sites, {"defaults": defaults or {}, "sites": sites or {}}, "the test's sites"),
            funnels=parse(Funnels, {"funnels": funnels or {}}, "the test's funnels"),
            started_at=datetime(2026, 3, 1, tzinfo=UTC),
            as_of=as_of,
        )

    return make
