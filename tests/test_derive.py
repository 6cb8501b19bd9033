"""What is made anew of derived tables, and what is not, when their inputs change."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines import lake_frames
from pipelines.lake import Lake
from pipelines.lake_frames import Staged
from pipelines.slices import Slices, besides_persons
from tests.arrivals import CONTEXT
from tests.runs import Row, bring_up_to_date, content, land

SITE = "shop"
TABLES = ("gold.page_metrics_daily", "gold.active_users_daily", "gold.segment_metrics_daily")


def line(day: int, anonymous_id: str, minute: int = 0, **more: str) -> str:
    """A page view, or what `more` says, at noon so many days before the run."""
    at = CONTEXT.started_at.replace(hour=12, minute=minute, second=0, microsecond=0) - timedelta(days=day)
    event = {"event_id": f"{anonymous_id}-{day}-{minute}", "event_type": "page_view", "page_path": "/a", **more}
    return json.dumps({"site_id": SITE, "anonymous_id": anonymous_id, "event_time": at.isoformat(), **event})


def slices_of(day: int) -> Slices:
    return Slices.of([(SITE, (CONTEXT.started_at - timedelta(days=day)).date())])


def all_rows(root: Path, tables: tuple[str, ...]) -> dict[str, list[Row]]:
    return {table: content(root, table) for table in tables}


def rows_put_in(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """By table, how many rows the last upsert brought."""
    rows: dict[str, int] = {}
    upsert = Lake.upsert

    def counted(lake: Lake, table: str, staged: Staged, *arguments: Any, **named: Any) -> None:
        rows[table] = staged.rows
        upsert(lake, table, staged, *arguments, **named)

    monkeypatch.setattr(Lake, "upsert", counted)
    return rows


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.fault(
    of="arrival",
    injected="a device that names its user for the first time, after days on which it did not",
    holds="its old events and sessions change hands; tables that read no persons are left alone on those days",
)
def test_a_device_that_names_its_user_hands_over_old_days_and_nothing_else_of_them(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    if is_large:
        for most in ("_PAGE", "_FEW_ROWS", "_SENT_ROWS"):
            monkeypatch.setattr(lake_frames, most, -1)
    put_in = rows_put_in(monkeypatch)
    old = [line(day, device, minute) for day in (9, 8) for device in ("d1", "d2") for minute in (0, 1)]
    old += [line(5, device) for device in ("d2", "d3")]
    new = [line(5, "d1", 0, user_id="ann", event_type="login"), line(5, "d1", 1), line(5, "d2", 1)]
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    land(tmp_path / "landing", "old.jsonl", old)
    bring_up_to_date(spark, parts, CONTEXT, tmp_path / "landing", *TABLES)
    before = content(parts, "silver.sessions")
    land(tmp_path / "landing", "new.jsonl", new)
    run = bring_up_to_date(spark, parts, CONTEXT, tmp_path / "landing", *TABLES)
    if is_large:
        assert put_in["silver.sessions"] == 2, "the day is made anew, and the session of d3 on it stays as it is"
    bring_up_to_date(spark, whole, CONTEXT, tmp_path / "landing", *TABLES)
    assert all_rows(parts, run.served) == all_rows(whole, run.served)
    moved = [row["session_id"] for row in content(parts, "silver.sessions") if row["person_id"] == "ann"]
    assert len(moved) == 3
    assert not any(row["person_id"] == "ann" for row in before)
    since = run.lake.touched_since
    assert since("silver.sessions", 1, "session_date") == slices_of(9) | slices_of(8) | slices_of(5)
    assert since("silver.sessions", 1, besides_persons("session_date")) == slices_of(5)
    assert since("gold.page_metrics_daily", 1, "date") == slices_of(5)
    assert since("gold.segment_metrics_daily", 1, "date") == slices_of(5)


@pytest.mark.fault(
    of="arrival",
    injected="a batch that changes some inputs of a table and leaves another as it is",
    holds="the table is brought up to date",
)
def test_an_input_that_a_batch_leaves_alone_holds_nothing_up(spark: SparkSession, tmp_path: Path) -> None:
    land(tmp_path / "landing", "1.jsonl", [line(6, "d1")])
    bring_up_to_date(spark, tmp_path / "lake", CONTEXT, tmp_path / "landing", *TABLES)
    land(tmp_path / "landing", "2.jsonl", [line(5, "d1", event_type="click")])  # of no page's view
    run = bring_up_to_date(spark, tmp_path / "lake", CONTEXT, tmp_path / "landing", *TABLES)
    assert run.lake.batch("gold.page_metrics_daily") == 1
    days = {row["date"] for row in content(tmp_path / "lake", "gold.segment_metrics_daily")}
    assert days == {*slices_of(6).all_dates(), *slices_of(5).all_dates()}
