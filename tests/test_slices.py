"""Slices: sets of (site, date)."""

from __future__ import annotations

import json

import pytest
from pyspark.sql import SparkSession

from pipelines.slices import EVERYTHING, NOTHING, Slices
from tests.rows import day


def january(**days: list[int]) -> Slices:
    """Days of January 2026 by site."""
    return Slices.of((site, day(f"2026-01-{number:02}")) for site, numbers in days.items() for number in numbers)


def test_slices_join_site_by_site() -> None:
    assert january(shop=[5, 6], blog=[5]) | january(shop=[6, 9], docs=[1]) == january(
        shop=[5, 6, 9], blog=[5], docs=[1]
    )


def test_everything_swallows_and_nothing_adds_nothing() -> None:
    assert january(shop=[5]) | EVERYTHING == EVERYTHING
    assert EVERYTHING | january(shop=[5]) == EVERYTHING
    assert january(shop=[5]) | NOTHING == january(shop=[5])


def test_only_nothing_is_false() -> None:
    assert (bool(EVERYTHING), bool(january(shop=[5])), bool(NOTHING)) == (True, True, False)


def test_widening_takes_the_days_before_and_after() -> None:
    assert january(shop=[5], blog=[9]).widened(back=1, forward=2) == january(shop=[4, 5, 6, 7], blog=[8, 9, 10, 11])
    assert EVERYTHING.widened(back=1) == EVERYTHING
    assert NOTHING.widened(back=1) == NOTHING


def test_slices_are_counted_over_all_sites() -> None:
    assert january(shop=[5, 6], blog=[5]).count() == 3


def test_runs_of_dates_become_ranges_in_the_predicate() -> None:
    assert january(shop=[5, 6, 7, 9]).predicate("event_date") == (
        "(site_id = 'shop' and ((event_date >= date'2026-01-05' and event_date <= date'2026-01-07')"
        " or event_date = date'2026-01-09'))"
    )
    assert EVERYTHING.predicate("event_date") == "true"
    assert NOTHING.predicate("event_date") == "false"


def test_the_predicate_holds_for_exactly_the_slices(spark: SparkSession) -> None:
    sites = ["shop", "it's", "back\\slash"]
    dates = [day(f"2026-01-{number:02}") for number in range(1, 12)]
    frame = spark.createDataFrame([(site, date) for site in sites for date in dates], "site_id string, d date")
    wanted = january(shop=[2, 3, 5]) | Slices.of([("it's", dates[0]), ("back\\slash", dates[10])])
    found = Slices.of((row["site_id"], row["d"]) for row in frame.where(wanted.predicate("d")).collect())
    assert found == wanted


@pytest.mark.parametrize("slices", [january(shop=[1, 2, 3, 9], blog=[31]), EVERYTHING, NOTHING])
def test_slices_survive_a_commit_note(slices: Slices) -> None:
    assert Slices.from_json(json.loads(json.dumps(slices.to_json()))) == slices


def test_a_note_holds_ranges_and_not_single_days() -> None:
    assert january(shop=list(range(1, 32))).to_json() == {"shop": [["2026-01-01", "2026-01-31"]]}
