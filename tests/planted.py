"""Generated visits of a made-up shop with incidents planted into them, counted by segment.

Visits are made by data/behaviour.py, day by day; incidents change the sessions and events of their days, before
anything is counted. What is counted are the columns of gold.segment_metrics_daily that metric_anomalies reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from data import behaviour, catalogue, population
from data.agents import AGENTS, CRAWLERS, SCRIPT_AGENT
from data.catalogue import MAX_LOAD_MS, TYPE, Bools, Ints
from data.sites import sites
from pipelines.enrichment import agents, channels

Row = dict[str, Any]

START = date(2026, 1, 5)
SETTLING, BEFORE, JUDGED = 28, 56, 42
"""Days: until as many people leave the made-up site as come, not used; without incidents; with them."""
FIRST = START + timedelta(SETTLING + BEFORE)
LAST = FIRST + timedelta(JUDGED - 1)
PEOPLE = 6_000


@dataclass
class Visits:
    """A day's sessions, and its events by the number of their session. Dimensions are numbers of names."""

    names: dict[str, list[str]]
    dimensions: dict[str, Ints]  # by session
    is_bot: Bools
    is_test: Bools
    session: Ints  # by event
    type: Ints
    page: Ints
    load_ms: Ints  # -1 where it is not said
    hour: Ints

    def keep(self, events: Bools) -> None:
        """Lose all other events."""
        for name in ("session", "type", "page", "load_ms", "hour"):
            setattr(self, name, getattr(self, name)[events])

    def repeat(self, sessions: Ints, **changed: str) -> None:
        """Add copies of sessions with their events; `changed` gives all of them another value of a dimension."""
        size = len(self.is_bot)
        for name, values in self.dimensions.items():
            copied = values[sessions]
            if name in changed:
                copied = np.full(len(sessions), self.code(name, changed[name]))
            self.dimensions[name] = np.concatenate([values, copied])
        self.is_bot = np.concatenate([self.is_bot, self.is_bot[sessions]])
        self.is_test = np.concatenate([self.is_test, self.is_test[sessions]])
        order = np.argsort(self.session, kind="stable")
        first, last = (np.searchsorted(self.session[order], sessions, side=side) for side in ("left", "right"))
        events = np.concatenate([order[a:b] for a, b in zip(first, last, strict=True)])
        owner = np.repeat(size + np.arange(len(sessions)), last - first)
        for name in ("type", "page", "load_ms", "hour"):
            values = getattr(self, name)
            setattr(self, name, np.concatenate([values, values[events]]))
        self.session = np.concatenate([self.session, owner])

    def code(self, dimension: str, name: str) -> int:
        """The number of a value, which may be new."""
        if name not in self.names[dimension]:
            self.names[dimension].append(name)
        return self.names[dimension].index(name)

    def having(self, dimension: str, name: str) -> Bools:
        return self.dimensions[dimension] == self.code(dimension, name)

    @property
    def people(self) -> Bools:
        return ~self.is_bot & ~self.is_test


@dataclass(frozen=True)
class Incident:
    """What happens from a day of the judged period on, for some days, and where it should show."""

    name: str
    day: int
    days: int
    plant: Callable[[Visits, np.random.Generator], None]
    expected: tuple[tuple[str, str], ...]
    """(metric, segment) of which any one tells."""

    @property
    def dates(self) -> list[date]:
        return [FIRST + timedelta(self.day + number) for number in range(self.days)]


def _checkout_breaks_on_mobile(visits: Visits, rng: np.random.Generator, *, share: float) -> None:
    """Purchases end in an error on the page of the checkout."""
    on_mobile = visits.having("device_type", "mobile")[visits.session]
    fails = on_mobile & (visits.type == TYPE["purchase"]) & (rng.random(len(visits.type)) < share)
    visits.type = np.where(fails, TYPE["error"], visits.type)
    visits.page = np.where(fails, visits.code("page", "/checkout"), visits.page)


def _declared_bots(visits: Visits, rng: np.random.Generator) -> None:
    visits.repeat(np.repeat(np.flatnonzero(visits.is_bot), 12))


def _bots_like_people(visits: Visits, rng: np.random.Generator) -> None:
    """Four visits for every ten of people, each of one page view, from one country and by one browser."""
    count = int(visits.people.sum() * 0.4)
    one = np.flatnonzero(visits.people)[:count]
    size = len(visits.is_bot)
    visits.repeat(one, country="SG", browser="Chrome", device_type="desktop", channel="Direct")
    is_copy = visits.session >= size
    first = np.zeros(len(visits.session), dtype=np.bool_)
    views = np.flatnonzero(is_copy & (visits.type == TYPE["page_view"]))
    first[views[np.unique(visits.session[views], return_index=True)[1]]] = True
    visits.keep(~is_copy | first)


def _outage(visits: Visits, rng: np.random.Generator, *, until: int) -> None:
    visits.keep((visits.hour < 9) | (visits.hour >= until))


def _lost_browser(visits: Visits, rng: np.random.Generator) -> None:
    visits.keep(~visits.having("browser", "Mobile Safari")[visits.session])


def _slow_release(visits: Visits, rng: np.random.Generator, *, per_cent: int) -> None:
    visits.load_ms = np.where(visits.load_ms >= 0, np.minimum(visits.load_ms * per_cent // 100, MAX_LOAD_MS), -1)


def _campaign(visits: Visits, rng: np.random.Generator, *, share: float) -> None:
    people = np.flatnonzero(visits.people)
    visits.repeat(people[rng.random(len(people)) < share], channel="Paid Social")


_CHECKOUT = (
    *(("conversion_rate", segment) for segment in ("(all)", "device_type: mobile")),
    *(("error_rate", segment) for segment in ("(all)", "device_type: mobile", "page: /checkout")),
)
_FEWER_OR_MORE = (("sessions", "(all)"), ("page_views", "(all)"))
_LOAD = (("page_load_p90", "(all)"),)
INCIDENTS = (
    Incident(
        "The checkout breaks on mobile: 9 of 10 purchases end in an error",
        *(3, 3, partial(_checkout_breaks_on_mobile, share=0.9), _CHECKOUT),
    ),
    Incident("The same for 1 of 4 purchases", 12, 2, partial(_checkout_breaks_on_mobile, share=0.25), _CHECKOUT),
    Incident("Twelve times as many crawlers", 9, 2, _declared_bots, (("bot_share", "(all)"),)),
    Incident(
        "Bots that look like people: 40 % more visits, of one page view, from one country",
        *(32, 2, _bots_like_people, (("sessions", "(all)"), ("bounce_rate", "(all)"))),
    ),
    Incident("The tracker is silent from 9 to 17 h", 15, 1, partial(_outage, until=17), _FEWER_OR_MORE),
    Incident("The tracker is silent from 9 to 11 h", 7, 1, partial(_outage, until=11), _FEWER_OR_MORE),
    Incident(
        "One browser sends nothing any more",
        *(37, 3, _lost_browser, (("sessions", "browser: Mobile Safari"), ("sessions", "(all)"))),
    ),
    Incident("A release makes pages 60 % slower", 19, 4, partial(_slow_release, per_cent=160), _LOAD),
    Incident("A release makes pages 15 % slower", 24, 2, partial(_slow_release, per_cent=115), _LOAD),
    Incident(
        "A campaign brings 50 % more visits",
        *(27, 2, partial(_campaign, share=0.5), (*_FEWER_OR_MORE, ("sessions", "channel: Paid Social"))),
    ),
    Incident(
        "A campaign brings 10 % more visits",
        *(35, 1, partial(_campaign, share=0.1), (*_FEWER_OR_MORE, ("sessions", "channel: Paid Social"))),
    ),
)
"""The last of each kind is small: it shows what is no longer found."""


# --- visits and their counts ------------------------------------------------------------------------------------------


class World:
    """A made-up shop: its people, and the names of what they come with."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.pieces = catalogue.build(sites(1))
        self.days = SETTLING + BEFORE + JUDGED
        table = self.pieces.sites[0]
        self.people = population.build(table, self.pieces, size=PEOPLE, days=self.days, first_id=0, seed=seed)
        told = [agents.describe(text) for text in (*[agent.text for agent in AGENTS], *CRAWLERS, SCRIPT_AGENT)]
        self.by_agent = {
            name: [getattr(agent, name) or "(unknown)" for agent in told] for name in ("device_type", "browser")
        }
        self.countries = [place.country for place in table.site.places]
        self.channels = [_channel(table.site.name, one.referrer, one.query) for one in table.site.channels]
        self.paths = [urlsplit(re.findall(r'"page_url":"([^"]*)"', p.decode())[0]).path for p in self.pieces.pages]

    def visits(self, number: int) -> Visits:
        sessions, events = behaviour.generate_day(
            self.pieces.sites[0], self.pieces, self.people, start=START, day=number, seed=self.seed
        )
        names: dict[str, list[str]] = {}
        dimensions = {}
        for name, values, codes in (
            ("device_type", self.by_agent["device_type"], sessions.agent),
            ("browser", self.by_agent["browser"], sessions.agent),
            ("country", self.countries, sessions.place),
            ("channel", self.channels, sessions.channel),
            ("page", self.paths, events.page),
        ):
            names[name] = sorted(set(values))
            dimensions[name] = np.array([names[name].index(value) for value in values])[codes]
        page = dimensions.pop("page")
        is_view = events.type == TYPE["page_view"]
        return Visits(
            names=names,
            dimensions=dimensions,
            is_bot=sessions.is_bot,
            is_test=sessions.is_test,
            session=events.session,
            type=events.type,
            page=page,
            load_ms=np.where(is_view & (events.extra > 0), events.extra - 1, -1),
            hour=events.time // 3_600_000 % 24,
        )


def _channel(host: str, referrer: str, query: str) -> str:
    campaign = {name: values[0] for name, values in parse_qs(query).items()}
    source, medium, name = (campaign.get(f"utm_{part}") for part in ("source", "medium", "campaign"))
    return channels.describe(referrer or None, f"{host}.example", source, medium, name, None).channel or "Direct"


def count(visits: Visits) -> list[Row]:
    """Rows of gold.segment_metrics_daily without site and date: the whole, and the segments of five dimensions."""
    size = len(visits.is_bot)

    def per_session(where: Bools) -> Ints:
        return np.bincount(visits.session[where], minlength=size)

    views, events = per_session(visits.type == TYPE["page_view"]), per_session(visits.type >= 0)
    converts = (visits.type == TYPE["purchase"]) | (visits.type == TYPE["conversion"])
    counts = visits.people & (events > 0)
    by_session = {
        "sessions": counts,
        "viewing_sessions": counts & (views > 0),
        "bounces": counts & (views == 1),
        "conversions": counts & (per_session(converts) > 0),
        "error_sessions": counts & (per_session(visits.type == TYPE["error"]) > 0),
    }
    is_view = (visits.type == TYPE["page_view"]) & counts[visits.session]
    is_error = (visits.type == TYPE["error"]) & counts[visits.session]
    failed = np.unique(visits.session[is_error] * 10_000 + visits.page[is_error]) % 10_000
    views_by_page = np.bincount(visits.page[is_view], minlength=len(visits.names["page"]))
    failed_by_page = np.bincount(failed, minlength=len(views_by_page))
    timed = is_view & (visits.load_ms >= 0)

    def loads(where: Bools) -> Row:
        times = visits.load_ms[timed & where]
        p90 = round(float(np.percentile(times, 90)), 2) if len(times) else None
        return {"load_samples": len(times), "load_p90_ms": p90}

    rows = [
        {
            "dimension": "(all)",
            "value": "(all)",
            **{name: int(flags.sum()) for name, flags in by_session.items()},
            "events": int(events[counts | visits.is_bot].sum()),
            "bot_events": int(events[visits.is_bot].sum()),
            "page_views": int(views_by_page.sum()),
            "error_views": int(failed_by_page.sum()),
            **loads(visits.type >= 0),
        }
    ]
    for dimension, codes in visits.dimensions.items():
        for code in np.unique(codes[counts]).tolist():
            here = codes == code
            sums = {name: int((flags & here).sum()) for name, flags in by_session.items()}
            timing = loads(here[visits.session]) if dimension != "channel" else {}
            rows.append({"dimension": dimension, "value": visits.names[dimension][code], **sums, **timing})
    for code in np.flatnonzero(views_by_page).tolist():
        sums = {"page_views": int(views_by_page[code]), "error_views": int(failed_by_page[code])}
        found = loads(visits.page == code) if views_by_page[code] > 100 else {}
        rows.append({"dimension": "page", "value": visits.names["page"][code], **sums, **found})
    return rows


def segment_rows(seed: int, site_id: str, incidents: tuple[Incident, ...]) -> list[Row]:
    """All days of one site."""
    world = World(seed)
    rows = []
    for number in range(SETTLING, world.days):
        day = START + timedelta(number)
        visits = world.visits(number)
        for incident in incidents:
            if day in incident.dates:
                incident.plant(visits, np.random.default_rng([seed, number]))
        rows += [{"site_id": site_id, "date": day, **row} for row in count(visits)]
    return rows
