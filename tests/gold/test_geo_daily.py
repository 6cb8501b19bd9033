"""geo_daily: sessions by countries and regions."""

from __future__ import annotations

from chispa import assert_df_equality
from pyspark.sql import SparkSession

from pipelines.contracts import contract
from pipelines.gold import geo_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, sessions_frame

FIFTH, SIXTH = day("2026-01-05"), day("2026-01-06")
KNOWN: Row = {"country": "DE", "region": "BY"}


def test_sessions_by_place_and_what_is_not_known_by_itself(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(
        spark,
        [
            {**KNOWN, "page_view_count": 3},
            {**KNOWN, "page_view_count": 1, "converted": True},
            {**KNOWN, "page_view_count": 2, "visitor_id": "bob"},
            {**KNOWN, "session_date": SIXTH},
            {**KNOWN, "site_id": "blog"},
            {"country": "DE", "page_view_count": 1},
            {"page_view_count": 5},
            {**KNOWN, "page_view_count": 100, "is_countable": False},
        ],
    )
    known = ("DE", "BY")
    # site, date, country, region, visitors, sessions, page views, conversions
    expected = [
        ("shop", FIFTH, *known, 2, 3, 6, 1),
        ("shop", SIXTH, *known, 1, 1, 0, 0),
        ("blog", FIFTH, *known, 1, 1, 0, 0),
        ("shop", FIFTH, "DE", "(unknown)", 1, 1, 1, 0),
        ("shop", FIFTH, "(unknown)", "(unknown)", 1, 1, 5, 0),
    ]
    built = geo_daily.build(sessions, context=context())
    frame = spark.createDataFrame(expected, contract("gold.geo_daily").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)
