"""attribution_daily: conversions and revenue credited to touches by six models."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.gold import attribution_daily
from tests.conftest import MakeContext
from tests.rows import Row, sessions_frame

CONVERSION = datetime(2026, 2, 10, 12, tzinfo=UTC)
TENTH = CONVERSION.date()
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
Credits = dict[str, tuple[str, str]]
"""Source → credited conversions and revenue."""


def touch(source: str | None, days_before: float, **more: Any) -> Row:
    """A session of ann that started so long before the conversion."""
    start = CONVERSION - days_before * DAY
    channel = "Direct" if source == "(direct)" else "Referral" if source else None
    return {
        "start_time": start,
        "session_date": start.date(),
        "channel": channel,
        "traffic_source": source,
        **more,
    }


def converting(source: str | None, days_before: float = 0, revenue: str = "0", **more: Any) -> Row:
    sold = {"converted": True, "converted_at": CONVERSION, "revenue": Decimal(revenue)}
    return touch(source, days_before, **{**sold, **more})


def credits(built: DataFrame, model: str) -> Credits:
    rows = built.where(f"model = '{model}'").collect()
    assert {row["date"] for row in rows} <= {TENTH}
    return {row["source"]: (str(row["conversions"]), str(row["revenue"])) for row in rows}


@pytest.fixture(scope="module")
def of_four_touches(spark: SparkSession, context: MakeContext) -> DataFrame:
    """a, b and c two weeks, one week and a day before a direct session that sells for 10.00."""
    sessions = [touch("a", 14), touch("b", 7), touch("c", 1), converting("(direct)", 0, "10.00")]
    return attribution_daily.build(sessions_frame(spark, sessions), context=context()).localCheckpoint()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first", {"a": ("1.000000", "10.0000")}),
        ("last", {"(direct)": ("1.000000", "10.0000")}),
        ("last_non_direct", {"c": ("1.000000", "10.0000")}),
        ("linear", dict.fromkeys(("a", "b", "c", "(direct)"), ("0.250000", "2.5000"))),
        (
            "position",
            {
                "a": ("0.400000", "4.0000"),
                "b": ("0.100000", "1.0000"),
                "c": ("0.100000", "1.0000"),
                "(direct)": ("0.400000", "4.0000"),
            },
        ),
        (
            "time_decay",  # weights 1/4, 1/2, 2^(-1/7) = 0.905724 and 1, of 2.655724
            {
                "a": ("0.094136", "0.9400"),
                "b": ("0.188273", "1.8800"),
                "c": ("0.341046", "3.4100"),
                "(direct)": ("0.376545", "3.7700"),
            },
        ),
    ],
)
def test_how_a_model_divides_a_conversion(of_four_touches: DataFrame, model: str, expected: Credits) -> None:
    assert credits(of_four_touches, model) == expected


def test_the_last_touch_gets_what_rounding_leaves(spark: SparkSession, context: MakeContext) -> None:
    sessions = [touch("a", 2), touch("b", 1), converting("c", 0, "10.0001")]
    built = attribution_daily.build(sessions_frame(spark, sessions), context=context())
    assert credits(built, "linear") == {
        "a": ("0.333333", "3.3300"),
        "b": ("0.333333", "3.3300"),
        "c": ("0.333334", "3.3401"),
    }
    assert credits(built, "first") == {"a": ("1.000000", "10.0001")}


@pytest.mark.parametrize("model", ["first", "last", "last_non_direct", "linear", "position", "time_decay"])
def test_a_single_touch_gets_everything(spark: SparkSession, context: MakeContext, model: str) -> None:
    built = attribution_daily.build(sessions_frame(spark, [converting(None, 0, "0.0001")]), context=context())
    assert credits(built, model) == {"(not set)": ("1.000000", "0.0001")}


def test_of_two_touches_each_end_gets_half(spark: SparkSession, context: MakeContext) -> None:
    built = attribution_daily.build(sessions_frame(spark, [touch("a", 1), converting("b", 0, "5")]), context=context())
    assert credits(built, "position") == dict.fromkeys(("a", "b"), ("0.500000", "2.5000"))


def test_last_non_direct_passes_over_sessions_from_nowhere_unless_all_are(
    spark: SparkSession, context: MakeContext
) -> None:
    sessions = [
        touch("a", 3),
        touch("(direct)", 2),
        converting(None, 1),  # neither channel nor source
        *(row | {"person_id": "bob"} for row in (touch(None, 2), converting("(direct)"))),
        *(row | {"person_id": "cid"} for row in (touch("a", 2), converting("tagged", channel=None))),
    ]
    built = attribution_daily.build(sessions_frame(spark, sessions), context=context())
    assert credits(built, "last_non_direct") == {
        "a": ("1.000000", "0.0000"),
        "(direct)": ("1.000000", "0.0000"),
        "tagged": ("1.000000", "0.0000"),
    }


def test_adjacent_repeats_are_one_touch_at_the_time_of_the_latest(spark: SparkSession, context: MakeContext) -> None:
    sessions = [touch("a", 20), touch("a", 7), converting("b")]
    built = attribution_daily.build(sessions_frame(spark, sessions), context=context())
    assert {source: credit for source, (credit, _) in credits(built, "linear").items()} == {
        "a": "0.500000",
        "b": "0.500000",
    }
    assert {source: credit for source, (credit, _) in credits(built, "time_decay").items()} == {
        "a": "0.333333",  # weights 1/2 and 1
        "b": "0.666667",
    }


def test_touches_are_countable_sessions_of_the_person_from_thirty_days_before_to_the_conversion(
    spark: SparkSession, context: MakeContext
) -> None:
    sessions = [
        touch("too early", 30, start_time=CONVERSION - 30 * DAY - MICROSECOND),
        touch("just in time", 30),
        touch("another device", 5, visitor_id="phone", person_id="ann"),
        touch("bot", 4, is_countable=False),
        touch("someone else", 3, person_id="bob"),
        touch("another site", 3, site_id="blog"),
        converting("own", 1),
        touch("while it lasts", 0),
        touch("too late", 0, start_time=CONVERSION + MICROSECOND),
    ]
    built = attribution_daily.build(sessions_frame(spark, sessions), context=context())
    assert set(credits(built, "linear")) == {"just in time", "another device", "own", "while it lasts"}
    assert set(credits(built, "last")) == {"while it lasts"}


def test_a_conversion_counts_on_its_own_date_by_the_sites_clock(spark: SparkSession, context: MakeContext) -> None:
    night = datetime(2026, 2, 10, 22, 30, tzinfo=UTC)
    start = {"start_time": night, "session_date": TENTH, "converted_at": night + timedelta(hours=1), "converted": True}
    rows = [{**start, "site_id": "shop"}, {**start, "site_id": "berlin"}]
    berlin = {"berlin": {"timezone": "Europe/Berlin"}}
    built = attribution_daily.build(sessions_frame(spark, rows), context=context(sites=berlin))
    days = {(row["site_id"], row["date"]) for row in built.collect()}
    assert days == {("shop", TENTH), ("berlin", date(2026, 2, 11))}


def test_a_conversion_later_than_thirty_days_after_the_start_counts_at_that_limit(
    spark: SparkSession, context: MakeContext
) -> None:
    late = converting("own", 30, "7.00", converted_at=CONVERSION + 20 * DAY)
    after = touch("after the limit", 0, start_time=CONVERSION + MICROSECOND)
    built = attribution_daily.build(sessions_frame(spark, [late, after]), context=context())
    assert credits(built, "linear") == {"own": ("1.000000", "7.0000")}


def test_sessions_that_did_not_convert_or_do_not_count_give_no_rows(spark: SparkSession, context: MakeContext) -> None:
    sessions = [touch("a", 1), converting("b", is_countable=False)]
    assert attribution_daily.build(sessions_frame(spark, sessions), context=context()).isEmpty()
