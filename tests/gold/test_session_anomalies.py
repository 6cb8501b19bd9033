"""session_anomalies: which sessions are unusual, by how much, and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from chispa import assert_approx_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.gold import flow_transitions_daily, session_anomalies
from tests.conftest import MakeContext
from tests.rows import Row, day, events_frame, sessions_frame, table_frame, utc

FIFTH = day("2026-01-05")
START = utc("2026-01-05 12:00:00")


def check(built: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Expected rows: session, kind, category, observed, score, detail; scores to 9 digits, logarithms differ beyond."""
    rows = [("shop", session_id, FIFTH, *rest) for session_id, *rest in expected]
    frame = built.sparkSession.createDataFrame(rows, contract("gold.session_anomalies").ddl)
    assert_approx_df_equality(built, frame, 1e-9, ignore_row_order=True, ignore_nullable=True)


def build(sessions: DataFrame, events: DataFrame, *, context: RunContext, pages: Sequence[Row] = ()) -> DataFrame:
    """The table, with the transitions that these sessions have; `pages` are rows of gold.page_metrics_daily."""
    filled = [{"site_id": "shop", "date": FIFTH, "error_rate": p["error_views"] / p["views"], **p} for p in pages]
    return session_anomalies.build(
        sessions,
        events,
        flow_transitions_daily.build(sessions, context=context),
        table_frame(sessions.sparkSession, "gold.page_metrics_daily", filled),
        context=context,
    )


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
        build(sessions, events, context=context()),
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
        build(sessions, events, context=context()),
        [("s1", "long_gap", "temporal", 400.0, None, "400.0 s without an event after /b; the limit is 300 s.")],
    )


def test_an_excluded_event_does_not_interrupt_a_pause(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{}])
    events = events_frame(
        spark, events_at(0, 400, page_path="/") + events_at(200, is_test_user=True, is_countable=False)
    )
    excluding = context(sites={"shop": {"test_users": {"rule": "exclude_events"}}})
    check(
        build(sessions, events, context=excluding),
        [("s1", "long_gap", "temporal", 400.0, None, "400.0 s without an event after /; the limit is 300 s.")],
    )
    check(build(sessions, events, context=context()), [])


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
        build(sessions, events_frame(spark, rows), context=context()),
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
    built = build(sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 5}))
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
    built = build(sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 5}))
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
    built = build(sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 5}))
    check(built, [])


def test_many_events_against_the_days_median_are_high_activity(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{"event_count": count} for count in (8, 10, 12, 14, 40)])
    built = build(sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 5}))
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
    built = build(sessions, events, context=context(anomalies={"max_events_per_minute": 3}))
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
        build(sessions, events, context=chosen),
        [("s5", "high_activity", "behavioural", 40.0, 9.443, detail)],
    )


def test_a_session_that_does_not_count_is_judged_by_bursts_only(spark: SparkSession, context: MakeContext) -> None:
    usual = [{"event_count": count, "duration_seconds": 10.0 * count} for count in (8, 10, 12, 14, 16)]
    bot = {"event_count": 900, "duration_seconds": 90_000.0, "is_countable": False}
    events = events_frame(spark, events_at(0, 90_000, session_id="s6", element_text="error", is_countable=False))
    built = build(sessions_frame(spark, [*usual, bot]), events, context=context(anomalies={"min_sessions": 5}))
    check(built, [])


def test_a_session_may_be_unusual_in_several_ways(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{}])
    events = events_frame(spark, events_at(0, page_path="/404") + events_at(301))
    check(
        build(sessions, events, context=context()),
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


PAGES = [
    {"page": "/checkout", "views": 20, "error_views": 3},
    {"page": "/cart", "views": 20, "error_views": 2},  # often, but not three times as often as the site
    {"page": "/help", "views": 19, "error_views": 19 - 9},  # too few views
    {"page": "/", "views": 441, "error_views": 10},
]
"""25 of 500 page views have an error: 5 %."""


def test_a_session_that_met_errors_on_a_broken_page_is_told(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{}, {}, {}])
    rows = [
        *events_at(0, event_type="page_view", page_path="/checkout"),
        *events_at(1, 2, event_type="error", page_path="/elsewhere"),
        *events_at(3, event_type="page_view", page_path="/cart"),
        *events_at(4, event_type="error", page_path="/checkout"),  # of the view of the cart
        *events_at(0, session_id="s2", event_type="page_view", page_path="/checkout"),
        *events_at(0, session_id="s3", event_type="error", page_path="/checkout"),  # of no page view
        *events_at(1, session_id="s3", event_type="page_view", page_path="/help"),
        *events_at(2, session_id="s3", event_type="error"),
    ]
    chosen = context(anomalies={"min_sessions": 3})
    words = "/checkout failed in 15.0 % of its 20 views that day, the site's pages in 5.0 %."
    built = build(sessions, events_frame(spark, rows), context=chosen, pages=PAGES)
    check(built, [("s1", "error_page", "technical", 2.0, None, words)])
    check(build(sessions, events_frame(spark, rows), context=context(), pages=PAGES), [])


def test_a_page_at_exactly_both_limits_is_broken_and_a_little_below_one_of_them_is_not(
    spark: SparkSession, context: MakeContext
) -> None:
    rows = [*events_at(0, event_type="page_view", page_path="/a"), *events_at(1, event_type="error")]
    sessions, events = sessions_frame(spark, [{}]), events_frame(spark, rows)

    def is_found(views: int, failed: int, others: int) -> bool:
        pages = [{"page": "/a", "views": views, "error_views": failed}, {"page": "/b", "views": others}]
        pages = [{"error_views": 0, **page} for page in pages]
        return not build(sessions, events, context=context(anomalies={"min_sessions": 1}), pages=pages).isEmpty()

    assert is_found(140, 7, 280)  # 5 %, three times 7 of 420
    assert not is_found(141, 7, 2820)
    assert not is_found(140, 7, 279)


def paths(*given: str, **more: Any) -> list[Row]:
    """Sessions of page views: 'a b' is the path /a, /b."""
    split = [[f"/{page}" for page in path.split()] for path in given]
    return [{"journey_path": path, "page_view_count": len(path), **more} for path in split]


def test_a_path_that_hardly_anybody_took_is_unusual(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, paths(*["a b"] * 9, "b a"))
    rule = {"quantile": 0.9, "least_score": 1.0}
    built = build(
        sessions, events_frame(spark, []), context=context(anomalies={"min_sessions": 10, "unusual_path": rule})
    )
    # Three states to go on to from each of 10: 2/13 each for (entry) → /b → /a → (exit), 10/13 for the usual steps.
    score, usual = math.log(13 / 2), math.log(13 / 10)
    limit = usual + (score - usual) * 0.1
    words = f"3 steps, on average of score {score:.2f}; the day's limit is {limit:.2f}, the least 1."
    check(built, [("s10", "unusual_path", "behavioural", 3.0, round(score, 6), words)])


@pytest.mark.parametrize(
    "changed",
    [
        {"min_sessions": 11},
        {"unusual_path": {"quantile": 0.9, "least_score": 1.9}},
    ],
    ids=["too few sessions", "not unlikely enough"],
)
def test_a_path_is_usual_on_a_small_day_or_where_it_is_not_unlikely(
    spark: SparkSession, context: MakeContext, changed: dict[str, Any]
) -> None:
    sessions = sessions_frame(spark, paths(*["a b"] * 9, "b a"))
    anomalies = {"min_sessions": 10, "unusual_path": {"quantile": 0.9, "least_score": 1.0}, **changed}
    check(build(sessions, events_frame(spark, []), context=context(anomalies=anomalies)), [])


def test_three_clicks_on_one_element_in_less_than_a_second_are_rage(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(spark, [{}, {}, {}, {}, {"is_countable": False}])

    def clicks(session_id: str, *seconds: float, **more: Any) -> list[Row]:
        return events_at(*seconds, session_id=session_id, event_type="click", page_path="/cart", **more)

    rows = [
        *clicks("s1", 0, 0.5, 0.999999, 1.2, 5, element_selector="#pay", element_text="Pay"),
        *clicks("s2", 0, 0.5, 1, element_selector="#pay"),  # the third a second after the first
        *clicks("s3", 0, 0.1, element_selector="#pay"),
        *clicks("s3", 0.2, element_selector="#back"),
        *clicks("s3", 0.3, 0.4, 0.5),  # on nothing that is known
        *clicks("s4", 0, 0.1, 0.2, element_text="100 % off"),
        *clicks("s5", 0, 0.1, 0.2, element_text="Pay"),
    ]
    check(
        build(sessions, events_frame(spark, rows), context=context()),
        [
            ("s1", "rage_click", "behavioural", 3.0, None, "3 clicks on #pay within 1 s, on /cart."),
            ("s4", "rage_click", "behavioural", 3.0, None, "3 clicks on 100 % off within 1 s, on /cart."),
        ],
    )


def test_four_times_from_one_page_to_the_same_other_is_a_dead_loop(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(
        spark,
        paths("a b a b a b c a b", "a b a b a b", "a a a a a a", "")  # the fifth: one page only, the sixth: none
        + paths("a b a b a b a b", is_countable=False),
    )
    check(
        build(sessions, events_frame(spark, []), context=context()),
        [("s1", "dead_loop", "behavioural", 4.0, None, "4 times from /a to /b.")],
    )


def test_no_sessions_give_no_rows(spark: SparkSession, context: MakeContext) -> None:
    check(build(sessions_frame(spark, []), events_frame(spark, []), context=context()), [])
