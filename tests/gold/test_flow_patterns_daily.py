"""flow_patterns_daily: the whole ways that sessions took."""

from __future__ import annotations

from chispa import assert_df_equality
from pyspark.sql import SparkSession

from pipelines.contracts import contract
from pipelines.gold import flow_patterns_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, sessions_frame

FIFTH, SIXTH = day("2026-01-05"), day("2026-01-06")


def test_paths_with_their_conversions_and_their_share_of_the_day(spark: SparkSession, context: MakeContext) -> None:
    def went(*pages: str, **more: object) -> Row:
        return {"journey_path": list(pages), "page_view_count": len(pages), **more}

    sessions = sessions_frame(
        spark,
        [
            went("/a", "/b"),
            went("/a", "/b", converted=True),
            went("/b", "/a"),
            went("/a", "/a", "/b"),
            {"page_view_count": 1},  # a page view without a page
            went("/a", "/b", session_date=SIXTH),
            went("/a", site_id="blog"),
            went(),  # no page view
            went("/a", "/b", is_countable=False),
        ],
    )
    # site, date, path, sessions, conversions, conversion rate, share
    expected = [
        ("shop", FIFTH, "/a > /b", 2, 1, 0.5, 0.4),
        ("shop", FIFTH, "/b > /a", 1, 0, 0.0, 0.2),
        ("shop", FIFTH, "/a > /a > /b", 1, 0, 0.0, 0.2),
        ("shop", FIFTH, "(not set)", 1, 0, 0.0, 0.2),
        ("shop", SIXTH, "/a > /b", 1, 0, 0.0, 1.0),
        ("blog", FIFTH, "/a", 1, 0, 0.0, 1.0),
    ]
    built = flow_patterns_daily.build(sessions, context=context())
    frame = spark.createDataFrame(expected, contract("gold.flow_patterns_daily").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)
