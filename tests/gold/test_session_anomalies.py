"""session_anomalies: which sessions are unusual, by how much, and in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from chispa import assert_approx_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import session_anomalies
from tests.conftest import MakeContext
from tests.rows import Row, day, events_frame, sessions_frame, utc

FIFTH = day("2026-01-05")
START = utc("2026-01-05 12:00:00")


def check(built: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Expected rows: session, kind, category, observed, score, detail; scores to 9 digits, logarithms differ beyond."""
    rows = [("shop", session_id, FIFTH, *rest) for session_id, *rest in expected]
    frame = built.sparkSession.createDataFrame(rows, contract("gold.session_anomalies").ddl)
    assert_approx_df_equality(built, frame, 1e-9, ignore_row_order=True, ignore_nullable=True)


def events_at(*seconds: float, session_id: str = "s1", **more: Any) -> list[Row]:
    """Events of one session at these seconds after noon."""
    return [
        {"session_id": session_id, "event_time": START + timedelta(seconds=offset), "session_date": FIFTH, **more}
        for offset in seconds
    ]


def test_a_pause_of_exactly_the_limit_is_not_long_a_microsecond_more_is(
    spark: SparkSession, context: MakeContext
) -> None:
    sessions = sessions_frame(spark, [{"session_id": "s1"}, {"session_id": "s2"}])
    events = events_frame(
        spark, events_at(0, 300, session_id="s1") + events_at(0, 300.000001, session_id="s2", page_path="/cart")
    )
    check(
        session_anomalies.build(sessions, events, context=context()),
        [
            (
                "s2",
                "long_gap",
                "temporal",
                300.000001,
                None,
                "300.0 s without an event after /cart; the limit is 300 s.",
            )
        ],
    )


def test_the_first_of_equal_longest_pauses_tells_the_page(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{}])
    events = events_frame(
        spark,
        events_at(0, page_path="/b") + events_at(400, page_path="/a") + events_at(800) + events_at(900, page_path="/c"),
    )
    check(
        session_anomalies.build(sessions, events, context=context()),
        [("s1", "long_gap", "temporal", 400.0, None, "400.0 s without an event after /b; the limit is 300 s.")],
    )


def test_an_excluded_event_does_not_interrupt_a_pause(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{}])
    events = events_frame(
        spark, events_at(0, 400, page_path="/") + events_at(200, is_test_user=True, is_countable=False)
    )
    excluding = context(sites={"shop": {"test_users": {"rule": "exclude_events"}}})
    check(
        session_anomalies.build(sessions, events, context=excluding),
        [("s1", "long_gap", "temporal", 400.0, None, "400.0 s without an event after /; the limit is 300 s.")],
    )
    check(session_anomalies.build(sessions, events, context=context()), [])


def test_error_words_are_whole_words_in_any_case(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{}])
    held = [
        {"page_path": "/pages/404"},
        {"page_title": "Upload FAILED!"},
        {"element_text": "Try again: Timeout"},
        {"element_selector": "div.form-error > p", "page_path": "/form"},
    ]
    not_held = [
        {"page_path": "/errors"},
        {"page_path": "/item/14041"},
        {"element_selector": ".error_box"},
        {"element_text": "größerror"},
        {"event_type": "error"},  # its type says so, but no text of it
        {"element_text": "time", "page_path": "out"},
    ]
    rows = [{**events_at(offset)[0], **row} for offset, row in enumerate(not_held + held)]
    check(
        session_anomalies.build(sessions, events_frame(spark, rows), context=context()),
        [
            (
                "s1",
                "error_keyword",
                "technical",
                4.0,
                None,
                "Events that hold one of the words error, 404, timeout, failed: 4; the first on /pages/404.",
            )
        ],
    )


def test_a_duration_far_from_the_days_median_is_an_outlier(spark: SparkSession, context: MakeContext) -> None:
    # ln(1 + s) in units of ln 2: 3, 4, 5, 6 and 15; the median is 5, the deviations 2, 1, 0, 1, 10: MAD 1.
    seconds = [2.0**power - 1 for power in (3, 4, 5, 6, 15)]
    sessions = sessions_frame(spark, [{"duration_seconds": s, "event_count": 2} for s in seconds])
    built = session_anomalies.build(sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 5}))
    check(
        built,
        [
            (
                "s5",
                "duration_outlier",
                "temporal",
                32767.0,
                6.745,
                "Lasted 32767.0 s where the site's median that day is 31.0 s (score 6.7, limit 3.5).",
            )
        ],
    )


def test_too_short_is_an_outlier_too(spark: SparkSession, context: MakeContext) -> None:
    seconds = [2.0**power - 1 for power in (9, 10, 11, 12, 0)]
    sessions = sessions_frame(spark, [{"duration_seconds": s, "event_count": 2} for s in seconds])
    built = session_anomalies.build(sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 5}))
    check(
        built,
        [
            (
                "s5",
                "duration_outlier",
                "temporal",
                0.0,
                -6.745,
                "Lasted 0.0 s where the site's median that day is 1023.0 s (score -6.7, limit 3.5).",
            )
        ],
    )


def test_too_few_values_or_no_spread_give_no_score(spark: SparkSession, context: MakeContext) -> None:
    few: list[Row] = [{"duration_seconds": s, "event_count": 2} for s in (1.0, 2.0, 3.0, 90_000.0)]
    alike: list[Row] = [
        {"duration_seconds": s, "event_count": 2, "site_id": "blog"} for s in (60.0, 60.0, 60.0, 60.0, 90_000.0)
    ]
    without: list[Row] = [  # sessions that do not count and one-event sessions bring no value
        {"duration_seconds": 2.0, "event_count": 2, "is_countable": False},
        {"duration_seconds": None, "event_count": 2},
    ]
    sessions = sessions_frame(spark, few + alike + without)
    built = session_anomalies.build(sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 5}))
    check(built, [])


def test_many_events_against_the_days_median_are_high_activity(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{"event_count": count} for count in (8, 10, 12, 14, 40)])
    built = session_anomalies.build(sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 5}))
    check(
        built,
        [
            (
                "s5",
                "high_activity",
                "behavioural",
                40.0,
                9.443,
                "40 events where the site's median that day is 12.0 (score 9.4, limit 3.5).",
            )
        ],
    )


@pytest.mark.parametrize(
    ("last", "is_burst"), [(59.999999, True), (60, False)], ids=["within a minute", "a minute later"]
)
def test_a_burst_is_more_events_than_the_limit_in_less_than_a_minute(
    spark: SparkSession, context: MakeContext, last: float, is_burst: bool
) -> None:
    sessions = sessions_frame(spark, [{"event_count": 5, "is_countable": False, "is_bot": True}])
    events = events_frame(spark, events_at(-100, 0, 0, 30, last, is_countable=False))
    burst = ("s1", "high_activity", "behavioural", 5.0, None, "5 events, more than 3 of them within a minute.")
    built = session_anomalies.build(sessions, events, context=context(anomalies={"max_events_per_minute": 3}))
    check(built, [burst] if is_burst else [])


def test_a_burst_that_is_an_outlier_as_well_says_both(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{"event_count": count} for count in (8, 10, 12, 14, 40)])
    events = events_frame(spark, events_at(*range(40), session_id="s5"))
    chosen = context(anomalies={"min_sessions": 5, "max_events_per_minute": 39})
    detail = (
        "40 events where the site's median that day is 12.0 (score 9.4, limit 3.5); "
        "40 events, more than 39 of them within a minute."
    )
    check(
        session_anomalies.build(sessions, events, context=chosen),
        [("s5", "high_activity", "behavioural", 40.0, 9.443, detail)],
    )


def test_a_session_that_does_not_count_is_judged_by_bursts_only(spark: SparkSession, context: MakeContext) -> None:
    usual = [{"event_count": count, "duration_seconds": 10.0 * count} for count in (8, 10, 12, 14, 16)]
    bot = {"event_count": 900, "duration_seconds": 90_000.0, "is_countable": False}
    events = events_frame(spark, events_at(0, 90_000, session_id="s6", element_text="error", is_countable=False))
    built = session_anomalies.build(
        sessions_frame(spark, [*usual, bot]), events, context=context(anomalies={"min_sessions": 5})
    )
    check(built, [])


def test_a_session_may_be_unusual_in_several_ways(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{}])
    events = events_frame(spark, events_at(0, page_path="/404") + events_at(301))
    check(
        session_anomalies.build(sessions, events, context=context()),
        [
            ("s1", "long_gap", "temporal", 301.0, None, "301.0 s without an event after /404; the limit is 300 s."),
            (
                "s1",
                "error_keyword",
                "technical",
                1.0,
                None,
                "Events that hold one of the words error, 404, timeout, failed: 1; the first on /404.",
            ),
        ],
    )


def test_no_sessions_give_no_rows(spark: SparkSession, context: MakeContext) -> None:
    check(session_anomalies.build(sessions_frame(spark, []), events_frame(spark, []), context=context()), [])
