"""engagement_actions_daily: actions of countable sessions, of closed ones where the mapping says so."""

from __future__ import annotations

from dataclasses import replace

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.gold import engagement_actions_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, events_frame

MONDAY, TUESDAY = day("2026-01-05"), day("2026-01-06")


def build(spark: SparkSession, context: RunContext, *rows: Row) -> DataFrame:
    return engagement_actions_daily.build(events_frame(spark, rows), context=context)


def check(spark: SparkSession, built: DataFrame, expected: list[tuple[object, ...]]) -> None:
    rows = spark.createDataFrame(expected, contract("gold.engagement_actions_daily").ddl)
    assert_df_equality(built, rows, ignore_row_order=True, ignore_nullable=True)


def event(session: str, event_type: str, source: str = "web", **more: object) -> Row:
    return {"session_id": session, "event_type": event_type, "source": source, "session_date": MONDAY, **more}


def test_actions_are_counted_on_the_date_their_session_started(spark: SparkSession, context: MakeContext) -> None:
    built = build(
        spark,
        context(),
        event("a", "like"),
        event("a", "like", event_date=TUESDAY),
        event("b", "like"),
        event("b", "comment"),
        event("c", "view", session_date=TUESDAY),
    )
    check(
        spark,
        built,
        [
            ("shop", MONDAY, "like", 3, 2),
            ("shop", MONDAY, "comment", 1, 1),
            ("shop", TUESDAY, "view", 1, 1),
        ],
    )


def test_page_views_and_marks_of_sessions_are_no_actions_and_uncountable_events_do_not_count(
    spark: SparkSession, context: MakeContext
) -> None:
    marks = [event("a", name) for name in ("page_view", "session_start", "session_end")]
    check(spark, build(spark, context(), *marks, event("b", "like", is_countable=False)), [])


def test_a_session_of_a_closing_source_counts_only_with_its_end(spark: SparkSession, context: MakeContext) -> None:
    chosen = replace(context(), closing_sources=frozenset({"engagement"}))
    built = build(
        spark,
        chosen,
        *[event("closed", "like", "engagement"), event("closed", "session_end", "engagement")],
        event("open", "like", "engagement"),
        event("other source", "like"),
        *[event("mixed", "comment"), event("mixed", "comment", "engagement")],
    )
    check(spark, built, [("shop", MONDAY, "like", 2, 2)])
