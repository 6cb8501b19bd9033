"""Runs that build only some gold tables: what they make and serve, and that a later run catches up."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines import runner
from pipelines.errors import ConfigurationError
from pipelines.ops import summary
from pipelines.ops.books import Books
from pipelines.plan import GOLD, gold_for, served
from tests.arrivals import CONTEXT, differing_from_model, random_records
from tests.runs import CANONICAL, Row, land, new_run

FUNNELS = gold_for(["gold.funnel_daily"])


def test_a_table_brings_the_tables_that_it_reads() -> None:
    found = [step.table for step in gold_for(["gold.kpi_daily"])]
    assert found == [
        "gold.journey_stats_daily",
        "gold.funnel_daily",
        "gold.page_metrics_daily",
        "gold.segment_metrics_daily",
        "gold.metric_anomalies",
        "gold.kpi_daily",
    ]


def test_all_tables_are_the_plan_itself() -> None:
    assert gold_for([step.table for step in reversed(GOLD)]) == GOLD


@pytest.mark.parametrize("table", ["gold.nothing", "silver.sessions"])
def test_a_table_that_is_not_gold_is_refused_by_name(table: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--tables: expected some of gold.journey_stats_daily, .*'{table}'"):
        gold_for(["gold.funnel_daily", table])


def test_only_chosen_tables_are_built_and_served_and_a_later_run_catches_up(
    spark: SparkSession, tmp_path: Path
) -> None:
    records = random_records(random.Random(5), 60)
    more = ("gold.funnel_daily", "gold.active_users_daily", "gold.page_metrics_daily")

    def take(arriving: list[Row], *gold: str) -> tuple[set[str], set[str]]:
        """Gold tables that the run changed, and all that it serves."""
        land(tmp_path / "landing", f"{len(arriving)}.jsonl", [record["_line"] for record in arriving])
        run = new_run(spark, tmp_path / "lake", CONTEXT, *gold)
        before = {table: run.lake.version(table) for table in more}
        runner.bring_up_to_date(run, [(CANONICAL, str(tmp_path / "landing"))])
        assert not run.failures
        changed = {table for table in more if run.lake.version(table) != before[table]}
        return changed, {row["table_name"] for row in run.lake.rows("ops.published")}

    everything = set(served(gold_for(more)))
    assert take(records[:25], *more) == (set(more), everything)
    # Tables that are left out stay behind, so nobody is served them beside newer ones.
    assert take(records[25:], "gold.funnel_daily") == ({"gold.funnel_daily"}, set(served(FUNNELS)))
    assert take([], *more) == (set(more) - {"gold.funnel_daily"}, everything)
    assert differing_from_model(tmp_path, records, sorted(everything)) == []

    run = new_run(spark, tmp_path / "lake", CONTEXT, "gold.page_metrics_daily")
    told = summary.collect(
        run, Books.of(run.lake), job="run_pipeline", status="succeeded", seconds=1, changed=[], error=None
    )
    assert 'SQL="select * from gold.page_metrics_daily ' in summary.sentences(told)
