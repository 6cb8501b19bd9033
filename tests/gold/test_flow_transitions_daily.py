"""flow_transitions_daily: from which page to which."""

from __future__ import annotations

from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import flow_transitions_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, sessions_frame

FIFTH, SIXTH = day("2026-01-05"), day("2026-01-06")


def check(built: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Rows: site, date, from, to, transitions, sessions."""
    frame = built.sparkSession.createDataFrame(expected, contract("gold.flow_transitions_daily").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)


def went(*pages: str, **more: Any) -> Row:
    return {"journey_path": list(pages), "page_view_count": len(pages), **more}


def test_a_session_comes_from_entry_and_leaves_to_exit(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [went("/a", "/b", "/a", "/b"), went("/a"), went("/a", session_date=SIXTH)])
    check(
        flow_transitions_daily.build(sessions, context=context()),
        [
            ("shop", FIFTH, "(entry)", "/a", 2, 2),
            ("shop", FIFTH, "/a", "/b", 2, 1),
            ("shop", FIFTH, "/b", "/a", 1, 1),
            ("shop", FIFTH, "/b", "(exit)", 1, 1),
            ("shop", FIFTH, "/a", "(exit)", 1, 1),
            ("shop", SIXTH, "(entry)", "/a", 1, 1),
            ("shop", SIXTH, "/a", "(exit)", 1, 1),
        ],
    )


def test_a_page_seen_again_at_once_is_a_transition_to_itself(spark: SparkSession, context: MakeContext) -> None:
    check(
        flow_transitions_daily.build(sessions_frame(spark, [went("/a", "/a", "/a")]), context=context()),
        [
            ("shop", FIFTH, "(entry)", "/a", 1, 1),
            ("shop", FIFTH, "/a", "/a", 2, 1),
            ("shop", FIFTH, "/a", "(exit)", 1, 1),
        ],
    )


def test_only_countable_sessions_with_a_page_view_and_page_views_without_a_page(
    spark: SparkSession, context: MakeContext
) -> None:
    sessions = sessions_frame(spark, [went("/bot", is_countable=False), went(), {"page_view_count": 2}])
    check(
        flow_transitions_daily.build(sessions, context=context()),
        [("shop", FIFTH, "(entry)", "(not set)", 1, 1), ("shop", FIFTH, "(not set)", "(exit)", 1, 1)],
    )
