"""page_performance_daily: exact percentiles of load times."""

from __future__ import annotations

from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import page_performance_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, events_frame

FIFTH, SIXTH = day("2026-01-05"), day("2026-01-06")


def check(built: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Rows: site, date, page, device type, samples, p50, p90, p99."""
    frame = built.sparkSession.createDataFrame(expected, contract("gold.page_performance_daily").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)


def view(load_time_ms: int | None, **more: Any) -> Row:
    return {"event_type": "page_view", "page_path": "/", "load_time_ms": load_time_ms, **more}


@pytest.mark.parametrize(
    ("times", "percentiles"),
    [
        ([7], (7.0, 7.0, 7.0)),
        ([100, 200], (150.0, 190.0, 199.0)),
        ([40, 10, 30, 20, 50], (30.0, 46.0, 49.6)),
        (list(range(101)), (50.0, 90.0, 99.0)),
        ([0, 7, 5999], (7.0, 4800.6, 5879.16)),
    ],
)
def test_percentiles_lie_between_the_nearest_values_in_proportion(
    spark: SparkSession, context: MakeContext, times: list[int], percentiles: tuple[float, ...]
) -> None:
    built = page_performance_daily.build(events_frame(spark, [view(time) for time in times]), context=context())
    [(samples, *found)] = built.select("samples", "p50_ms", "p90_ms", "p99_ms").collect()
    assert samples == len(times)
    assert tuple(found) == percentiles


def test_by_site_date_page_and_device_of_countable_page_views_with_a_time(
    spark: SparkSession, context: MakeContext
) -> None:
    events = events_frame(
        spark,
        [
            view(100, device_type="mobile"),
            view(300, device_type="mobile"),
            view(80, device_type="desktop"),
            view(50, page_path=None),
            view(60, event_date=SIXTH),
            view(70, site_id="blog"),
            view(None),
            view(9000, is_countable=False),
            view(9000, event_type="click"),
        ],
    )
    check(
        page_performance_daily.build(events, context=context()),
        [
            ("shop", FIFTH, "/", "mobile", 2, 200.0, 280.0, 298.0),
            ("shop", FIFTH, "/", "desktop", 1, 80.0, 80.0, 80.0),
            ("shop", FIFTH, "(not set)", "(unknown)", 1, 50.0, 50.0, 50.0),
            ("shop", SIXTH, "/", "(unknown)", 1, 60.0, 60.0, 60.0),
            ("blog", FIFTH, "/", "(unknown)", 1, 70.0, 70.0, 70.0),
        ],
    )
