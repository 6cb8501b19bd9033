"""The whole pipeline against the plain-Python model: any arrival gives the model's answer."""

from __future__ import annotations

import random
from datetime import date, datetime, timezone
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.ops.books import books_of
from tests.model import UNSPECIFIED_COLUMNS
from tests.model import run as run_model
from tests.model.strategies import FUNNELS, SITES, random_events, small_settings
from tests.runs import Row, as_records, bring_up_to_date, content, differences, in_key_order, land, new_run

CONTEXT = RunContext(
    settings=small_settings(),
    sites=SITES,
    funnels=FUNNELS,
    started_at=datetime(2026, 5, 1, tzinfo=timezone.utc),
    as_of=date(2026, 4, 30),
)
TABLES = [
    "silver.events",
    "silver.sessions",
    "silver.user_days",
    "gold.journey_stats_daily",
    "gold.funnel_daily",
    "gold.active_users_daily",
    "gold.engagement_tiers_daily",
    "gold.page_metrics_daily",
    "gold.session_anomalies",
]


def arrive(spark: SparkSession, root: Path, batches: list[list[Row]]) -> None:
    """Each batch lands as a file and is taken by a run of its own."""
    for number, batch in enumerate(batches):
        land(root / "landing", f"{number}.jsonl", [record["_line"] for record in batch])
        bring_up_to_date(spark, root / "lake", CONTEXT, root / "landing")


def assert_equals_model(root: Path, records: list[Row]) -> None:
    expected = run_model(records, SITES, FUNNELS, small_settings())
    for table in TABLES:
        left_out = UNSPECIFIED_COLUMNS.get(table, ())
        names = [name for name in contract(table).comparable_columns if name not in left_out]
        rows = in_key_order(table, [{name: row[name] for name in names} for row in expected[table]])
        told = differences(content(root / "lake", table, left_out), rows)
        assert not told, f"{table}: " + "\n".join(told[:5])


def test_shuffled_repeated_arrivals_give_the_models_answer(spark: SparkSession, tmp_path: Path) -> None:
    rng = random.Random(1)
    records = as_records(random_events(rng, 100))
    arrived = rng.sample(records, len(records)) + rng.sample(records, 30)  # some once more, later
    arrive(spark, tmp_path, [arrived[:80], arrived[80:]])
    assert_equals_model(tmp_path, records)


def test_a_batch_of_repeats_alone_changes_no_row_and_is_done_with(spark: SparkSession, tmp_path: Path) -> None:
    records = as_records(random_events(random.Random(5), 40))
    arrive(spark, tmp_path, [records])
    assert_equals_model(tmp_path, records)
    land(tmp_path / "landing", "again.jsonl", [record["_line"] for record in records])
    bring_up_to_date(spark, tmp_path / "lake", CONTEXT, tmp_path / "landing")
    assert_equals_model(tmp_path, records)
    lake = new_run(spark, tmp_path / "lake", CONTEXT).lake
    assert lake.batch("silver.events") == lake.batch("bronze.events") == 2
    books = books_of(lake)
    assert books["received"] == 2 * len(records) == books["accepted"] + books["duplicates"]
