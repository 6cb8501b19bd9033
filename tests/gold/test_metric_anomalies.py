"""metric_anomalies: which numbers of which days stand out, since when, and which segments explain it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.context import RunContext
from pipelines.gold import metric_anomalies
from tests.conftest import MakeContext
from tests.model.metric_anomalies import metric_anomalies as model
from tests.rows import Row, day, table_frame
from tests.runs import differences, in_key_order

LAST = day("2026-02-28")
LIMITS = {"min_sessions": 10, "min_page_views": 10, "min_load_samples": 10}


def days(*sessions: int | None, value: str = "(all)", dimension: str = "(all)", **more: Any) -> list[Row]:
    """Rows of consecutive days that end on LAST, one for each number of sessions; none where it is null."""
    first = LAST - timedelta(len(sessions) - 1)
    return [
        {"site_id": "shop", "date": first + timedelta(n), "dimension": dimension, "value": value, "sessions": s, **more}
        for n, s in enumerate(sessions)
        if s is not None
    ]


def built(spark: SparkSession, rows: Sequence[Row], context: RunContext) -> DataFrame:
    return metric_anomalies.build(table_frame(spark, "gold.segment_metrics_daily", rows), context=context)


def picked(frame: DataFrame, *names: str) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in frame.select(*names).collect())


def test_a_day_is_compared_with_the_median_of_the_days_before(spark: SparkSession, context: MakeContext) -> None:
    """Before it 90, 110, 90, … : median 100, MAD 10, spread 14.826; limits are 5 of them away."""
    found = built(spark, days(*[90, 110] * 4, 200), context(metric_anomalies=LIMITS))
    names = ("date", "metric", "segment", "value", "expected", "severity", "since", "compared_with", "compared_days")
    assert picked(found, *names) == [(LAST, "sessions", "(all)", 200.0, 100.0, "warning", LAST, "trailing_days", 8)]
    (row,) = found.collect()
    assert (row.low, row.high) == pytest.approx((100 - 5 * 14.826, 100 + 5 * 14.826))
    assert row.score == pytest.approx(100 / 14.826)


def test_the_same_weekday_is_the_measure_as_soon_as_four_of_them_are_known(
    spark: SparkSession, context: MakeContext
) -> None:
    """LAST is a Saturday, on which 500 are usual and 100 on other days."""
    week = [100, 100, 100, 100, 100, 100, 500]
    rows = days(*week * 5) + days(*(week * 5)[:-1], 100, site_id="blog")
    found = built(spark, rows, context(metric_anomalies=LIMITS)).where(f"date = '{LAST}'")
    names = ("site_id", "value", "expected", "compared_with", "compared_days")
    assert picked(found, *names) == [("blog", 100.0, 500.0, "same_weekday", 4)]


def test_a_date_without_a_row_is_a_date_of_nothing(spark: SparkSession, context: MakeContext) -> None:
    found = built(spark, days(*[100] * 10, None, 100, None), context(metric_anomalies=LIMITS))
    assert picked(found, "date", "value") == [(LAST - timedelta(2), 0.0), (LAST, 0.0)]


def test_days_beside_it_that_are_off_to_the_same_side_belong_to_an_anomaly(
    spark: SparkSession, context: MakeContext
) -> None:
    """Median 100 and spread 10, what chance does: 130 is 3 of them above, 160 is 6, 70 is 3 below and no anomaly."""
    usual = [90, 95, 100, 105, 110] * 4
    found = built(spark, days(*usual, 130, 160, 130, 100, 70, 100), context(metric_anomalies=LIMITS))
    since = LAST - timedelta(5)
    assert picked(found, "date", "value", "since") == [
        (since, 130.0, since),
        (since + timedelta(1), 160.0, since),
        (since + timedelta(2), 130.0, since),
    ]


def test_too_small_numbers_are_not_judged(spark: SparkSession, context: MakeContext) -> None:
    """Expected sessions below the least; a rate of few sessions."""
    rare = days(*[9] * 20, 90, site_id="rare")
    converting = [{**row, "conversions": n % 2} for n, row in enumerate(days(*[20] * 19, 10))]
    enough = [{**row, "conversions": 10} if row["date"] == LAST else row for row in converting]
    few = [{**row, "conversions": 9, "sessions": 9} if row["date"] == LAST else row for row in converting]
    few = [{**row, "site_id": "few"} for row in few]
    found = built(spark, rare + enough + few, context(metric_anomalies=LIMITS))
    chosen = found.where("metric = 'conversion_rate' or site_id = 'rare'")
    assert picked(chosen, "site_id", "date", "value") == [("shop", LAST, 1.0)]


def test_a_constant_number_may_move_by_five_times_what_chance_does(spark: SparkSession, context: MakeContext) -> None:
    """MAD 0: of 100 the root is 10, of 10,000 it is less than 5 %, which is 500."""
    cases = ((100, 150), (100, 151), (10_000, 12_500), (10_000, 12_501))
    rows = [row for usual, last in cases for row in days(*[usual] * 10, last, site_id=f"{last}")]
    found = built(spark, rows, context(metric_anomalies=LIMITS))
    assert picked(found, "site_id", "date") == [("12501", LAST), ("151", LAST)]


def test_incomplete_days_and_what_comes_after_are_not_judged(spark: SparkSession, context: MakeContext) -> None:
    rows = days(*[100] * 20, 900)
    chosen = context(metric_anomalies=LIMITS, as_of=LAST - timedelta(1))
    assert picked(built(spark, rows, chosen), "date") == []


def test_the_segments_that_hold_more_than_their_part_explain_it(spark: SparkSession, context: MakeContext) -> None:
    """200 more: 190 by mobile, usually 60 %; 10 by desktop. Everybody is in DE, which therefore says nothing."""
    rows = (
        days(*[100] * 20, 300)
        + days(*[60] * 20, 250, dimension="device_type", value="mobile")
        + days(*[40] * 20, 50, dimension="device_type", value="desktop")
        + days(*[100] * 20, 300, dimension="country", value="DE")
        + days(150, dimension="channel", value="Display")  # new on the day
    )
    found = built(spark, rows, context(metric_anomalies=LIMITS)).where("metric = 'sessions'")
    assert picked(found, "segment", "explained_by") == [
        ("(all)", ["channel: Display (75 %)", "device_type: mobile (95 %)"]),
        ("country: DE", []),
        ("device_type: mobile", []),
    ]


def test_a_rate_is_explained_by_volume_and_an_error_by_its_page(spark: SparkSession, context: MakeContext) -> None:
    def with_errors(rows: list[Row], usual: int, last: int, name: str) -> list[Row]:
        return [{**row, name: last if row["date"] == LAST else usual} for row in rows]

    views = {"page_views": 2000}
    rows = (
        with_errors(days(*[1000] * 21, **views), 10, 210, "error_sessions")
        + with_errors(days(*[500] * 21, dimension="device_type", value="mobile"), 5, 205, "error_sessions")
        + with_errors(days(*[500] * 21, dimension="device_type", value="desktop"), 5, 5, "error_sessions")
        + with_errors(days(*[0] * 21, dimension="page", value="/checkout", page_views=400), 4, 404 - 4, "error_views")
        + with_errors(days(*[0] * 21, dimension="page", value="/", page_views=1600), 16, 16, "error_views")
    )
    found = built(spark, rows, context(metric_anomalies=LIMITS)).where("metric = 'error_rate'")
    assert picked(found, "segment", "value", "expected", "explained_by") == [
        ("(all)", 0.21, 0.01, ["page: /checkout (99 %)", "device_type: mobile (100 %)"]),
        ("device_type: mobile", 0.41, 0.01, []),
        ("page: /checkout", 1.0, 0.01, []),
    ]


# --- against the model ------------------------------------------------------------------------------------------------


def random_rows(rng: random.Random, last: date) -> list[Row]:
    """Segments of two sites over 100 days with weekly seasons, holes, outliers and days of a few."""
    rows = []
    segments = [("(all)", "(all)"), ("device_type", "mobile"), ("country", "DE"), ("channel", "Email")]
    for site_id in ("shop", "blog"):
        for dimension, value in [*segments, ("page", "/"), ("page", "/a"), ("region", "DE: BY")]:
            level = rng.choice((5, 40, 300))
            for number in range(rng.choice((20, 100))):
                when = last - timedelta(number - 2)  # two dates after the last complete one
                factor = rng.choice((0, 0.1, 3)) if rng.random() < 0.08 else rng.uniform(0.9, 1.1)
                sessions = round(level * factor * (1.5 if when.weekday() > 4 else 1))
                if rng.random() < 0.05:
                    continue
                samples = rng.choice((0, sessions))
                rows.append(
                    {
                        "site_id": site_id,
                        "date": when,
                        "dimension": dimension,
                        "value": value,
                        "sessions": 0 if dimension == "page" else sessions,
                        "viewing_sessions": sessions // 2,
                        "bounces": sessions // 4 + rng.randint(0, sessions // 4),
                        "conversions": rng.randint(0, sessions // 10),
                        "error_sessions": rng.randint(0, sessions // 20),
                        "events": sessions * 3,
                        "bot_events": rng.randint(0, sessions // 2),
                        "page_views": sessions * 2,
                        "error_views": rng.randint(0, sessions // 10),
                        "load_samples": samples,
                        "load_p90_ms": round(rng.uniform(900, 1100) * rng.choice((1,) * 20 + (3,)), 2)
                        if samples
                        else None,
                    }
                )
    return rows


def test_random_days_give_the_models_rows(spark: SparkSession, context: MakeContext) -> None:
    limits = {**LIMITS, "k_open": 3.0, "k_close": 1.5, "k_critical": 8.0}
    chosen = context(metric_anomalies=limits)
    rows = random_rows(random.Random(4), LAST)
    table = "gold.metric_anomalies"
    found = in_key_order(table, built(spark, rows, chosen).toArrow().to_pylist())
    expected = model(rows, chosen.settings.metric_anomalies, LAST)
    assert len(expected) > 100
    assert {row["compared_with"] for row in expected} == {"same_weekday", "trailing_days"}
    assert any(row["explained_by"] for row in expected)
    assert differences(found, in_key_order(table, expected)) == []
