"""traffic_sources_daily: where sessions came from."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import traffic_sources_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, sessions_frame

FIFTH, SIXTH = day("2026-01-05"), day("2026-01-06")
SEARCH: Row = {"channel": "Organic Search", "traffic_source": "google", "traffic_medium": "organic"}


def check(built: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Rows: site, date, channel, source, medium, campaign, sessions, visitors, bounces, conversions, revenue."""
    frame = built.sparkSession.createDataFrame(expected, contract("gold.traffic_sources_daily").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)


def test_sessions_and_what_came_of_them_by_first_touch(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(
        spark,
        [
            {**SEARCH, "bounced": True},
            {**SEARCH, "converted": True, "revenue": Decimal("19.9900")},
            {**SEARCH, "visitor_id": "bob", "converted": True, "revenue": Decimal("0.0100")},
            {**SEARCH, "campaign": "spring"},
            {**SEARCH, "session_date": SIXTH},
            {**SEARCH, "is_countable": False, "revenue": Decimal(100)},
        ],
    )
    search = ("Organic Search", "google", "organic")
    check(
        traffic_sources_daily.build(sessions, context=context()),
        [
            ("shop", FIFTH, *search, "(not set)", 3, 2, 1, 2, Decimal("20.0000")),
            ("shop", FIFTH, *search, "spring", 1, 1, 0, 0, Decimal(0)),
            ("shop", SIXTH, *search, "(not set)", 1, 1, 0, 0, Decimal(0)),
        ],
    )


def test_a_session_that_says_nothing_is_not_set(spark: SparkSession, context: MakeContext) -> None:
    built = traffic_sources_daily.build(sessions_frame(spark, [{}, {"site_id": "blog"}]), context=context())
    nothing = ["(not set)"] * 4
    check(built, [(site, FIFTH, *nothing, 1, 1, 0, 0, Decimal(0)) for site in ("shop", "blog")])
