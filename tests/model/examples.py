"""Small events and runs for cases that are worked out by hand."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.funnels import Funnels
from pipelines.settings import Site, Sites

from . import CANDIDATE_COLUMNS, Row
from . import run as run_model
from .strategies import small_settings

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def event(
    event_id: str, at: float | datetime, event_type: str = "page_view", page: str | None = "/", **more: Any
) -> Row:
    """An event of visitor v on site s, `at` an instant or seconds after noon of 2026-01-05."""
    time = at if isinstance(at, datetime) else NOON + timedelta(seconds=at)
    return {
        **dict.fromkeys(CANDIDATE_COLUMNS),
        "site_id": "s",
        "event_id": event_id,
        "event_time": time,
        "event_type": event_type,
        "page_path": page,
        "anonymous_id": "v",
        "is_bot": False,
        "is_test_user": False,
        "properties": {},
        "source": "web",
        "record_hash": hashlib.md5(f"{event_id} {time}".encode()).hexdigest(),
        **more,
    }


def run(*events: Row, site: Site | None = None, funnels: Funnels | None = None) -> dict[str, Any]:
    """The model on these events, every site following `site`."""
    return run_model(list(events), Sites(defaults=site or Site()), funnels or Funnels(), small_settings())


def picked(rows: list[Row], *columns: str) -> list[tuple[Any, ...]]:
    """The columns of each row, sorted (null first) so that rows can be compared whole."""
    found = [tuple(row[column] for column in columns) for row in rows]
    return sorted(
        found, key=lambda values: [(value is not None, value if value is not None else 0) for value in values]
    )
