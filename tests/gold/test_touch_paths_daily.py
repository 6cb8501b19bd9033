"""touch_paths_daily: over which touches persons came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.gold import touch_paths_daily
from tests.conftest import MakeContext
from tests.rows import Row, sessions_frame

FIRST = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEARCH, MAIL, NONE = ("Organic Search", "google"), ("Email", "news"), (None, None)


def session(days: float, touch: tuple[str | None, str | None], **more: Any) -> Row:
    """A session of ann, so many days after the first."""
    start = FIRST + timedelta(days=days)
    touched = {"channel": touch[0], "traffic_source": touch[1]}
    return {"start_time": start, "session_date": start.date(), **touched, **more}


def check(built: DataFrame, expected: list[tuple[float, str, int, int, int]]) -> None:
    """Rows: days after the first, path, touches, sessions, conversions."""
    rows = [("shop", (FIRST + timedelta(days=days)).date(), *row) for days, *row in expected]
    frame = built.sparkSession.createDataFrame(rows, contract("gold.touch_paths_daily").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)


def test_each_session_ends_a_path_converted_or_not(spark: SparkSession, context: MakeContext) -> None:
    sessions = sessions_frame(
        spark,
        [
            session(0, SEARCH),
            session(1, NONE),
            session(2, MAIL, converted=True),
            session(2, MAIL, person_id="bob"),
            session(2, MAIL, person_id="cid", converted=True),
        ],
    )
    check(
        touch_paths_daily.build(sessions, context=context()),
        [
            (0, "Organic Search: google", 1, 1, 0),
            (1, "Organic Search: google > (not set): (not set)", 2, 1, 0),
            (2, "Organic Search: google > (not set): (not set) > Email: news", 3, 1, 1),
            (2, "Email: news", 1, 2, 1),
        ],
    )


def test_adjacent_repeats_are_one_touch_and_later_ones_another(spark: SparkSession, context: MakeContext) -> None:
    touches = [SEARCH, SEARCH, MAIL, MAIL, SEARCH, ("Organic Search", "bing")]
    sessions = sessions_frame(spark, [session(day, touch) for day, touch in enumerate(touches)])
    last = touch_paths_daily.build(sessions, context=context()).where("date = date'2026-01-06'")
    check(last, [(5, "Organic Search: google > Email: news > Organic Search: google > Organic Search: bing", 4, 1, 0)])


def test_a_path_reaches_back_thirty_days_and_holds_countable_sessions_of_the_person(
    spark: SparkSession, context: MakeContext
) -> None:
    microsecond = 1 / 86_400_000_000
    sessions = sessions_frame(
        spark,
        [
            session(-microsecond, ("Referral", "too early")),
            session(0, SEARCH),
            session(15, MAIL, visitor_id="phone", person_id="ann"),
            session(20, ("Referral", "bot"), is_countable=False),
            session(20, ("Referral", "other site"), site_id="blog"),
            session(30, NONE),
        ],
    )
    last = touch_paths_daily.build(sessions, context=context()).where("site_id = 'shop' and date = date'2026-01-31'")
    check(last, [(30, "Organic Search: google > Email: news > (not set): (not set)", 3, 1, 0)])
