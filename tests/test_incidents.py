"""The page of planted incidents: what counts as found, and that incidents change what they say they do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from tests.incidents import SEEDS, outcome, raised_wrongly
from tests.planted import FIRST, INCIDENTS, Incident, Row, Visits, count

PAGE_VIEW, PURCHASE = 0, 6


def visits() -> Visits:
    """A person's session of two page views and a purchase, one of one page view, and a bot's."""
    return Visits(
        names={"browser": ["Chrome", "Safari"], "page": ["/", "/a"]},
        dimensions={"browser": np.array([0, 1, 1])},
        is_bot=np.array([False, False, True]),
        is_test=np.zeros(3, dtype=np.bool_),
        session=np.array([0, 0, 0, 1, 2, 2]),
        type=np.array([PAGE_VIEW, PAGE_VIEW, PURCHASE, PAGE_VIEW, PAGE_VIEW, PAGE_VIEW]),
        page=np.array([0, 1, 1, 0, 0, 1]),
        load_ms=np.array([100, 200, -1, 300, -1, -1]),
        hour=np.array([8, 9, 9, 12, 1, 2]),
    )


def picked(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row.get(name) for name in names) for row in rows]


def test_visits_are_counted_as_a_whole_and_by_segment() -> None:
    names = ("value", "sessions", "bounces", "conversions", "events", "bot_events", "page_views", "load_p90_ms")
    assert picked(count(visits()), *names) == [
        ("(all)", 2, 1, 1, 6, 2, 3, 280.0),
        ("Chrome", 1, 0, 1, None, None, None, 190.0),
        ("Safari", 1, 1, 0, None, None, None, 300.0),
        ("/", None, None, None, None, None, 2, None),
        ("/a", None, None, None, None, None, 1, None),
    ]


def test_lost_events_take_their_sessions_along_and_copies_are_new_ones() -> None:
    changed = visits()
    changed.keep(changed.hour < 12)
    assert picked(count(changed)[:1], "sessions", "page_views") == [(1, 2)]
    changed.repeat(np.array([0, 0]), browser="Firefox")
    names = ("value", "sessions", "conversions")
    assert picked(count(changed)[:3], *names) == [("(all)", 3, 3), ("Chrome", 1, 1), ("Firefox", 2, 2)]


def test_an_incident_is_found_on_its_days_by_what_is_meant_to_tell_it_and_clearly_enough() -> None:
    incident = Incident("x", 3, 2, lambda visits, rng: None, (("sessions", "(all)"),))
    first = FIRST + timedelta(3)
    common: Row = {"metric": "sessions", "segment": "(all)", "score": -6.0, "explained_by": ["page: / (50 %)"]}
    rows = [
        {**common, "site_id": f"incidents-{SEEDS[0]}", "date": first},
        {**common, "site_id": f"incidents-{SEEDS[1]}", "date": first, "score": 4.0},  # belongs to it, but tells nobody
        {**common, "site_id": f"incidents-{SEEDS[1]}", "date": first + timedelta(1)},
        {**common, "site_id": f"incidents-{SEEDS[2]}", "date": first + timedelta(2)},
        {**common, "site_id": f"incidents-{SEEDS[2]}", "date": first, "metric": "page_views"},
    ]
    found = outcome(incident, rows)
    assert (found.found, found.days_until, found.days) == (2, [0, 1], 2)
    assert (found.told_by, found.explained_by) == (["sessions of (all) (2 of 3)"], [])


def test_wrong_alarms_are_those_of_worlds_without_incidents() -> None:
    rows = [
        {"site_id": site, "date": day, "metric": "sessions", "segment": segment}
        for site in ("quiet-1", "incidents-1")
        for day in (FIRST, FIRST - timedelta(1))
        for segment in ("(all)", "page: /")
    ]
    assert raised_wrongly(rows) == {("sessions", True): 1, ("sessions", False): 1}


def test_no_two_incidents_share_a_day() -> None:
    days = [day for incident in INCIDENTS for day in incident.dates]
    assert len(days) == len(set(days))
