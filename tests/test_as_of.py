"""The last complete date: tables that depend on it are made again when it moves, and only those."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines import runner
from pipelines.plan import SERVED
from tests.arrivals import CONTEXT, random_records
from tests.model import run as run_model
from tests.model.strategies import FUNNELS, SITES, small_settings
from tests.runs import CANONICAL, content, differences, in_key_order, land, new_run

AS_OF_TABLES = {
    *("gold.cohort_retention", "gold.user_engagement", "gold.cohort_progression"),
    *("gold.metric_anomalies", "gold.kpi_daily"),
}


@pytest.mark.slow
def test_tables_follow_the_last_complete_date_without_new_records(spark: SparkSession, tmp_path: Path) -> None:
    records = random_records(random.Random(11), 60)
    land(tmp_path / "landing", "all.jsonl", [record["_line"] for record in records])
    feeds = [(CANONICAL, str(tmp_path / "landing"))]

    def versions(as_of: date) -> dict[str, int | None]:
        run = new_run(spark, tmp_path / "lake", replace(CONTEXT, as_of=as_of))
        runner.bring_up_to_date(run, feeds)
        assert not run.failures
        return {table: run.lake.version(table) for table in SERVED}

    first = versions(date(2026, 3, 20))
    assert versions(date(2026, 3, 20)) == first
    then = versions(date(2026, 5, 2))
    assert {table for table in SERVED if then[table] != first[table]} == AS_OF_TABLES
    expected = run_model(records, SITES, FUNNELS, small_settings(), date(2026, 5, 2))
    for table in AS_OF_TABLES:
        assert differences(content(tmp_path / "lake", table), in_key_order(table, expected[table])) == [], table
