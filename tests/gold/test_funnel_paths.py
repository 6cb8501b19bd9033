"""funnel_paths: how far one journey's events get, by example and against every attempt that can be tried."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.funnels import Funnel
from pipelines.gold.funnel_paths import best_attempts
from tests.model.funnels import best_attempt, matches

START = datetime(2026, 1, 5, tzinfo=UTC)
Journey = list[tuple[int, str]]
"""(seconds, page) of each event, in order."""


def steps(*pages: str) -> list[dict[str, Any]]:
    return [{"name": page, "page": page} for page in pages]


def as_events(journey: Journey) -> list[dict[str, Any]]:
    return [
        {"event_time": START + timedelta(seconds=at), "page_path": page, "properties": {}, "number": number}
        for number, (at, page) in enumerate(journey)
    ]


def reached(spark: SparkSession, funnels: Sequence[Funnel], journeys: Sequence[Journey]) -> list[list[list[int]]]:
    """For each journey and funnel the seconds from the first step to each."""
    rows = []
    for number, journey in enumerate(journeys):
        bits = []
        for event in as_events(journey):
            found = [
                sum(matches(event, pattern) << i for i, pattern in enumerate([*funnel.steps, *funnel.exclude]))
                for funnel in funnels
            ]
            bits.append((int((event["event_time"] - START).total_seconds() * 1_000_000), *found))
        rows.append((number, [bits[::-1]]))
    fields = ", ".join(f"bits_{n}: int" for n in range(len(funnels)))
    frame = spark.createDataFrame(rows, f"number int, days array<array<struct<at: bigint, {fields}>>>")
    paths = [F.get(best_attempts("days", funnel, f"bits_{n}"), 0) for n, funnel in enumerate(funnels)]
    answers = frame.select("number", F.array(*paths)).sort("number").collect()
    return [[[us // 1_000_000 for us in times] for times in answer[1]] for answer in answers]


# --- by example -----------------------------------------------------------------------------------------------------

ABC = steps("a", "b", "c")
EXAMPLES: list[tuple[str, dict[str, Any], Journey, list[int]]] = [
    ("others may come between", {"steps": ABC}, [(0, "a"), (1, "x"), (2, "b"), (3, "x"), (5, "c")], [0, 2, 5]),
    ("steps come in order", {"steps": ABC}, [(0, "c"), (1, "b"), (2, "a"), (3, "c")], [0]),
    ("no first step, no attempt", {"steps": ABC}, [(0, "b"), (1, "c")], []),
    ("the window is inclusive", {"steps": ABC, "window_seconds": 5}, [(0, "a"), (5, "b"), (6, "c")], [0, 5]),
    ("it runs from the first step", {"steps": ABC, "window_seconds": 5}, [(0, "a"), (4, "b"), (8, "c")], [0, 4]),
    (
        "a later start succeeds",
        {"steps": ABC, "window_seconds": 3},
        [(0, "a"), (1, "b"), (5, "a"), (6, "b"), (8, "c")],
        [0, 1, 3],
    ),
    ("the first of equal attempts", {"steps": ABC[:2]}, [(0, "a"), (3, "a"), (5, "b")], [0, 5]),
    ("one event fills one step", {"steps": steps("a", "a", "a")}, [(0, "a"), (1, "a")], [0, 1]),
    ("events of an instant in either order", {"steps": ABC}, [(1, "c"), (1, "b"), (1, "a")], [0, 0, 0]),
    (
        "unless time must go on",
        {"steps": ABC, "strict_increase": True},
        [(1, "a"), (1, "b"), (2, "b"), (2, "c")],
        [0, 1],
    ),
    ("each of an instant's events once", {"steps": steps("[ab]", "a", "c")}, [(0, "a"), (0, "b"), (1, "c")], [0, 0, 1]),
    ("an instant's only event once", {"steps": steps("[ab]", "a", "c")}, [(0, "a"), (1, "c")], [0]),
    ("strict: nothing in between", {"mode": "strict", "steps": ABC}, [(0, "a"), (1, "b"), (2, "x"), (3, "c")], [0, 1]),
    ("strict: from any start", {"mode": "strict", "steps": ABC}, [(0, "a"), (1, "a"), (2, "b"), (3, "c")], [0, 1, 2]),
    (
        "strict within a window",
        {"mode": "strict", "steps": ABC, "window_seconds": 2},
        [(0, "a"), (1, "b"), (3, "c")],
        [0, 1],
    ),
    ("unordered", {"mode": "unordered", "steps": ABC}, [(0, "c"), (1, "c"), (4, "a"), (9, "b")], [0, 4, 9]),
    (
        "unordered within one window",
        {"mode": "unordered", "steps": ABC, "window_seconds": 5},
        [(0, "c"), (4, "a"), (9, "b"), (10, "b")],
        [0, 4],
    ),
    (
        "unordered: one event one step",
        {"mode": "unordered", "steps": steps("[ab]", "a", "a")},
        [(0, "a"), (1, "b"), (2, "a")],
        [0, 1, 2],
    ),
]
OUT_AT_X = {"steps": ABC, "window_seconds": 10, "exclude": [{"page": "x", "between": [1, 2]}]}
EXAMPLES += [
    ("an exclusion ends the attempt", OUT_AT_X, [(0, "a"), (1, "x"), (2, "b"), (3, "c")], []),
    ("an exclusion elsewhere does not", OUT_AT_X, [(0, "x"), (1, "a"), (2, "b"), (3, "x"), (4, "c")], [0, 1, 3]),
    ("a clean start after it counts", OUT_AT_X, [(0, "a"), (1, "x"), (2, "a"), (3, "b")], [0, 1]),
    ("a clean try before it counts", OUT_AT_X, [(0, "a"), (31, "a"), (32, "x")], [0]),
    (
        "a try that got further is out",
        OUT_AT_X,
        [(0, "a"), (1, "b"), (20, "a"), (21, "x"), (22, "b"), (23, "c")],
        [0, 1],
    ),
    ("at a step's instant is not between", OUT_AT_X, [(0, "a"), (0, "x"), (1, "x"), (1, "b"), (2, "c")], [0, 1, 2]),
    ("the window's last instant is in it", OUT_AT_X, [(0, "a"), (10, "x")], []),
    ("after the window nothing matters", OUT_AT_X, [(0, "a"), (11, "x"), (12, "b")], [0]),
    (
        "by default anywhere in the funnel",
        {"steps": ABC, "exclude": [{"page": "x"}]},
        [(0, "a"), (1, "b"), (2, "x"), (3, "c")],
        [],
    ),
    (
        "unordered: before the last step",
        {"mode": "unordered", "steps": ABC[:2], "exclude": [{"page": "x"}], "window_seconds": 10},
        [(0, "b"), (1, "x"), (2, "a"), (3, "b"), (4, "x")],
        [0, 1],
    ),
]


def test_examples(spark: SparkSession) -> None:
    funnels = [Funnel.model_validate({"mode": "ordered", **funnel}) for _, funnel, _, _ in EXAMPLES]
    answers = reached(spark, funnels, [journey for _, _, journey, _ in EXAMPLES])
    found = {EXAMPLES[n][0]: answers[n][n] for n in range(len(EXAMPLES))}
    assert found == {name: expected for name, _, _, expected in EXAMPLES}


# --- at random ------------------------------------------------------------------------------------------------------

PAGES = ("a", "b", "c", "x", "ab", "bc", "abc", "-")
"""A page of two letters is of two steps."""


def random_funnel(rng: random.Random) -> Funnel:
    mode = rng.choice(["ordered", "ordered", "strict", "unordered"])
    number = rng.randint(1, 4)
    exclude: list[dict[str, Any]] = []
    for page in rng.choice(["", "", "x", "x", "cx"]) if number > 1 else "":
        first = rng.randint(1, number - 1)
        between = None if mode == "unordered" or rng.random() < 0.4 else [first, rng.randint(first + 1, number)]
        exclude.append({"page": page, "between": between})
    return Funnel.model_validate(
        {
            "mode": mode,
            "window_seconds": rng.choice([None, 0, 1, 2, 4]),
            "strict_increase": mode != "unordered" and rng.random() < 0.3,
            "exclude": exclude,
            "steps": steps(*[rng.choice("aabbc") for _ in range(number)]),
        }
    )


def random_journey(rng: random.Random) -> Journey:
    times = sorted(rng.randint(0, 6) for _ in range(rng.randint(0, 7)))
    return [(at, rng.choice(PAGES)) for at in times]


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_attempt_tried_by_brute_force_comes_to_the_same(spark: SparkSession, seed: int) -> None:
    rng = random.Random(seed)
    funnels = [random_funnel(rng) for _ in range(8)]
    journeys = sorted([random_journey(rng) for _ in range(150)], key=len)
    answers = reached(spark, funnels, journeys)
    for journey, answer in zip(journeys, answers, strict=True):
        events = as_events(journey)
        for funnel, found in zip(funnels, answer, strict=True):
            times = best_attempt(events, events, funnel)
            expected = [int((time - times[0]).total_seconds()) for time in times]
            assert found == expected, (journey, funnel.model_dump(exclude_defaults=True))
