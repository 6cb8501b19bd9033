"""One site's sessions of one day, as columns of numbers: who comes, which pages they walk through, what they do there.

All times are milliseconds since the start of the first generated day (UTC). Only `Generator.random` is drawn from,
whose stream numpy keeps; everything else is arithmetic and lookups.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from data.agents import AGENTS, CRAWLERS
from data.catalogue import (
    MAX_LOAD_MS,
    QUANTITIES,
    TYPE,
    Bools,
    Catalogue,
    Ints,
    SiteTable,
    lognormal,
    not_found_extra,
    scroll_extra,
)
from data.population import Population
from data.sites import COMMENTS

DAY_MS = 86_400_000
NEVER = np.iinfo(np.int64).max
MAX_PAGES = 60
SCRIPT_PAGES = 140
_DWELL, _LOAD, _LAG = lognormal(0.95), lognormal(0.55), lognormal(0.8)


@dataclass
class Sessions:
    """One row a session; `person` numbers people of all sites, -1 for a bot."""

    person: Ints
    visitor: Ints  # device of a person, or a bot
    agent: Ints
    place: Ints
    address: Ints
    channel: Ints  # among the channels of all sites
    start: Ints
    login: Ints  # from when on the user id is known; NEVER where it is not
    is_test: Bools
    is_bot: Bools


@dataclass
class Events:
    """One row an event; `extra`, `page` and `referrer` are lookups into the catalogue's pieces."""

    session: Ints
    time: Ints
    type: Ints
    page: Ints
    referrer: Ints
    extra: Ints

    def take(self, rows: Ints | Bools) -> Events:
        """The chosen rows."""
        return Events(*(column[rows] for column in vars(self).values()))


def generate_day(
    table: SiteTable, catalogue: Catalogue, people: Population, *, start: date, day: int, seed: int
) -> tuple[Sessions, Events]:
    """Everything that starts on one UTC day; a session may run past its end."""
    rng = np.random.default_rng([seed, table.index, day])
    sessions = _visits(table, people, start + timedelta(days=day), day, rng)
    bots, bot_pages = _bots(table, len(sessions.start), day, rng)
    humans = len(sessions.start)
    sessions = Sessions(
        *(np.concatenate(pair) for pair in zip(vars(sessions).values(), vars(bots).values(), strict=True))
    )
    views = _walk(table, sessions, humans, rng)
    bot_views = _crawl(table, bot_pages, humans, rng)
    views = _Views(*(np.concatenate(pair) for pair in zip(vars(views).values(), vars(bot_views).values(), strict=True)))
    return sessions, _act(table, catalogue, sessions, views, humans, rng)


# --- who comes ----------------------------------------------------------------------------------------------------


def _visits(table: SiteTable, people: Population, today: date, day: int, rng: np.random.Generator) -> Sessions:
    size = len(people)
    site = table.site
    here = (people.first_day <= day) & (people.last_day >= day)
    comes = here & (rng.random(size) < np.minimum(people.return_chance * site.weekdays[today.weekday()], 1.0))
    comes |= people.first_day == day
    who = np.flatnonzero(comes)
    luck = rng.random(len(who))
    who = np.repeat(who, 1 + (luck < 0.38) + (luck < 0.12) + (luck < 0.03))  # some come more than once a day
    count = len(who)
    hour = np.searchsorted(table.hours, rng.random(count), side="right")
    offset = datetime(today.year, today.month, today.day, 12, tzinfo=ZoneInfo(site.timezone)).utcoffset()
    shift = int(offset.total_seconds() * 1000) if offset else 0
    local = hour * 3_600_000 + (rng.random(count) * 3_600_000).astype(np.int64)
    start = day * DAY_MS + (local - shift) % DAY_MS
    device = (rng.random(count) < people.second_device_share[who]).astype(np.int64)
    account = people.has_account[who] & ((rng.random(count) < 0.7) | people.is_test[who])
    luck = rng.random(count)
    later = start + 5_000 + (luck * 180_000).astype(np.int64)
    at_once = (luck < 0.5) | people.is_test[who]  # the browser remembered them
    person = people.first_id + who
    return Sessions(
        person=person,
        visitor=person * 2 + device,
        agent=people.agent[who, device],
        place=people.place[who],
        address=people.address[who],
        channel=table.first_channel + np.searchsorted(table.channels, rng.random(count), side="right"),
        start=start,
        login=np.where(account, np.where(at_once, start, later), NEVER),
        is_test=people.is_test[who],
        is_bot=np.zeros(count, dtype=np.bool_),
    )


def _bots(table: SiteTable, visits: int, day: int, rng: np.random.Generator) -> tuple[Sessions, Ints]:
    """Crawlers all through the day and, every third day, a script that is faster than any person; and their pages."""
    crawls = max(1, visits * 15 // 1000)
    scripts = max(1, visits // 4000) if day % 3 == 1 else 0
    count = crawls + scripts
    is_script = np.arange(count) >= crawls
    which = (rng.random(count) * len(CRAWLERS)).astype(np.int64)
    pages = np.where(is_script, SCRIPT_PAGES, 4 + (rng.random(count) * 16).astype(np.int64))
    number = (1 << 30) + table.index * 1024 + np.where(is_script, 512 + np.arange(count) % 512, which)
    bots = Sessions(
        person=np.full(count, -1),
        visitor=number,
        agent=np.where(is_script, len(AGENTS) + len(CRAWLERS), len(AGENTS) + which),
        place=np.full(count, table.first_place),
        address=number % 65536,
        channel=np.full(count, table.first_channel),
        start=day * DAY_MS + (rng.random(count) * (DAY_MS - 600_000)).astype(np.int64),
        login=np.full(count, NEVER),
        is_test=np.zeros(count, dtype=np.bool_),
        is_bot=np.ones(count, dtype=np.bool_),
    )
    return bots, pages


# --- where they go ------------------------------------------------------------------------------------------------


@dataclass
class _Views:
    """One row a page view, in the order of sessions and of steps in them."""

    session: Ints
    kind: Ints
    item: Ints
    product: Ints  # last product seen so far
    dwell: Ints


def _walk(table: SiteTable, sessions: Sessions, count: int, rng: np.random.Generator) -> _Views:
    """Walk every session through the site's Markov chain, all of them one step at a time."""
    alive = np.arange(count)
    channel = sessions.channel[:count] - table.first_channel
    kind = _pick(table.entries[channel], rng.random(count))
    product = np.zeros(count, dtype=np.int64)
    product_kind, exit_ = table.kind("product"), len(table.site.kinds)
    steps: list[tuple[Ints, ...]] = []
    for _ in range(MAX_PAGES):
        luck = rng.random(len(alive))
        item = (table.kind_sizes[kind] * luck * luck * luck).astype(np.int64)  # a few are popular, most are not
        seen = kind == product_kind
        product[alive[seen]] = item[seen]
        dwell = np.maximum(table.dwell_ms[kind] * _draw(_DWELL, rng, len(alive)), 900).astype(np.int64)
        luck = rng.random(len(alive))
        dwell += np.where(luck < 0.01, 480_000 + (luck * 100 * 2_400_000).astype(np.int64), 0)  # away for a while
        steps.append((alive, kind, item, product[alive], dwell))
        following = _pick(table.moves[kind], rng.random(len(alive)))
        stays = following != exit_
        alive, kind = alive[stays], following[stays]
        if not len(alive):
            break
    columns = [np.concatenate(column) for column in zip(*steps, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return _Views(*(column[order] for column in columns))


def _crawl(table: SiteTable, pages: Ints, first_session: int, rng: np.random.Generator) -> _Views:
    """Bots take pages evenly: crawlers every few seconds, the script at the pace of a clock."""
    session = np.repeat(np.arange(len(pages)), pages)
    is_script = np.repeat(pages == SCRIPT_PAGES, pages)
    kinds = np.array([i for i, kind in enumerate(table.site.kinds) if "purchase" not in kind.actions])
    kind = kinds[(rng.random(len(session)) * len(kinds)).astype(np.int64)]
    item = (table.kind_sizes[kind] * rng.random(len(session))).astype(np.int64)
    luck = rng.random(len(session))
    dwell = np.where(is_script, 250 + (luck * 10).astype(np.int64), 2_000 + (luck * 9_000).astype(np.int64))
    return _Views(first_session + session, kind, item, np.zeros(len(session), dtype=np.int64), dwell)


def _pick(shares: np.ndarray, luck: np.ndarray) -> Ints:
    """Column of each row's cumulative shares that the draw falls into."""
    found: Ints = (luck[:, None] >= shares).sum(axis=1)
    return found


def _draw(quantiles: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    drawn: np.ndarray = quantiles[(rng.random(count) * len(quantiles)).astype(np.int64)]
    return drawn


# --- what they do there -------------------------------------------------------------------------------------------


def _act(
    table: SiteTable, catalogue: Catalogue, sessions: Sessions, views: _Views, humans: int, rng: np.random.Generator
) -> Events:
    """Page views and everything that happens on them."""
    count = len(views.session)
    kinds = table.site.kinds
    first = np.ones(count, dtype=np.bool_)
    first[1:] = views.session[1:] != views.session[:-1]
    last = np.ones(count, dtype=np.bool_)
    last[:-1] = first[1:]
    elapsed = np.cumsum(views.dwell) - views.dwell
    time = (
        sessions.start[views.session]
        + elapsed
        - np.repeat(elapsed[first], np.diff(np.flatnonzero(np.append(first, True))))
    )
    address = table.first_page + table.kind_pages[views.kind] + views.item
    all_pages = len(catalogue.pages) // catalogue.campaigns
    campaign = np.where(first, catalogue.channel_campaigns[sessions.channel[views.session]], 0)
    page = address + campaign * all_pages
    previous = np.roll(address, 1)
    referrer = np.where(first, 1 + sessions.channel[views.session], catalogue.first_page_referrer + previous)
    next_kind = np.where(last, -1, np.roll(views.kind, -1))
    human = views.session < humans

    load = table.load_ms[views.kind] * catalogue.load_factors[sessions.agent[views.session]]
    load_ms = np.minimum(load * _draw(_LOAD, rng, count), MAX_LOAD_MS).astype(np.int64)

    made: list[tuple[Ints, Ints, int, Ints | int]] = []  # view, time, type, extra

    def some(chance: float | np.ndarray, where: Bools) -> Ints:
        return np.flatnonzero(where & (rng.random(count) < chance))

    def within(rows: Ints, share: float, spread: float) -> Ints:
        """A time while the page is open: about that share of the dwell in."""
        return time[rows] + (views.dwell[rows] * (share + spread * rng.random(len(rows)))).astype(np.int64)

    everyone = np.arange(count)
    made.append((everyone, time, TYPE["page_view"], np.where(human, 1 + load_ms, 0)))
    reach = rng.random(count)
    for step in range(4):
        chance = np.array([kind.scroll[step] for kind in kinds])[views.kind]
        rows = np.flatnonzero(human & (reach < chance))
        made.append((rows, within(rows, 0.1 + 0.2 * step, 0.15), TYPE["scroll"], scroll_extra(catalogue, step)))
    rows = some(0.75, human & ~last)
    made.append((rows, time[rows] + views.dwell[rows] - 120, TYPE["click"], table.link_extras[next_kind[rows]]))
    rows = some(0.12, human)
    made.append((rows, within(rows, 0.05, 0.8), TYPE["click"], catalogue.menu))
    rows = some(0.0012, human)
    begin = within(rows, 0.3, 0.3)
    for press in range(4):  # the same button again and again, because nothing happens
        made.append((rows, begin + 190 * press, TYPE["click"], catalogue.rage))

    own = address - table.first_page
    for name in sorted({action for kind in kinds for action in kind.actions} - {"purchase", "form_start", "error"}):
        rows = some(np.array([kind.actions.get(name, 0.0) for kind in kinds])[views.kind], human)
        extra: Ints = table.first_item + own[rows]
        if name == "comment":
            extra = table.first_comment + (rng.random(len(rows)) * len(COMMENTS)).astype(np.int64)
        made.append((rows, within(rows, 0.2, 0.6), TYPE[name], extra))

    confirmation, newsletter = table.kind("confirmation"), table.kind("newsletter")
    starts = np.array([kind.actions.get("form_start", 0.0) for kind in kinds])[views.kind]
    sure = (next_kind == confirmation) & (confirmation >= 0)
    rows = some(np.where(sure, 1.0, starts), human & (starts > 0))
    made.append((rows, within(rows, 0.1, 0.1), TYPE["form_start"], 0))
    sent = rows[sure[rows] | ((views.kind[rows] == newsletter) & (rng.random(len(rows)) < 0.6))]
    sending = within(sent, 0.85, 0.1)
    made.append((sent, sending, TYPE["form_submit"], 0))
    subscribed = views.kind[sent] == newsletter
    made.append((sent[subscribed], sending[subscribed] + 180, TYPE["conversion"], 0))

    rows = np.flatnonzero(human & (views.kind == confirmation))
    bought = table.first_purchase + views.product[rows] * QUANTITIES
    bought += (QUANTITIES * rng.random(len(rows)) ** 2).astype(np.int64)
    made.append((rows, time[rows] + 240, TYPE["purchase"], bought))

    missing = table.kind("not_found")
    rows = np.flatnonzero(human & (views.kind == missing))
    made.append((rows, time[rows] + 60, TYPE["error"], not_found_extra(catalogue)))
    fails = np.array([kind.actions.get("error", 0.002) for kind in kinds])[views.kind]
    rows = some(fails, human & (views.kind != missing))
    broken = catalogue.errors[(rng.random(len(rows)) * len(catalogue.errors)).astype(np.int64)]
    made.append((rows, within(rows, 0.1, 0.5), TYPE["error"], broken))

    app = human & catalogue.in_app[sessions.agent[views.session]]
    rows = np.flatnonzero(app & first)
    made.append((rows, time[rows] - 1, TYPE["session_start"], 0))
    rows = np.flatnonzero(app & last)
    made.append((rows, time[rows] + views.dwell[rows], TYPE["session_end"], 0))

    # Whoever checks out with an account is logged in from then on.
    checkout = np.flatnonzero(human & (views.kind == table.kind("checkout")))
    known = checkout[sessions.login[views.session[checkout]] != NEVER]
    np.minimum.at(sessions.login, views.session[known], time[known])

    view = np.concatenate([rows for rows, *_ in made])
    sizes = [len(rows) for rows, *_ in made]
    kinds_made = np.repeat(np.array([code for _, _, code, _ in made]), sizes)
    return Events(
        session=views.session[view],
        time=np.concatenate([times for _, times, *_ in made]),
        type=kinds_made,
        page=page[view],
        referrer=np.where(kinds_made == TYPE["page_view"], referrer[view], 0),
        extra=np.concatenate([np.broadcast_to(extra, len(rows)) for rows, _, _, extra in made]),
    )


# --- how they arrive ----------------------------------------------------------------------------------------------


def delays(events: Events, late_share: float, *, day: int, seed: int, stream: int) -> Ints:
    """Milliseconds from each event to the collector: mostly fractions of a second, late ones up to three days.

    Half of the late events are single ones, the others whole sessions of devices that were offline.
    """
    rng = np.random.default_rng([seed, 1 << 21, stream, day])
    count = len(events.time)
    lag = 40 + (180 * _draw(_LAG, rng, count)).astype(np.int64)
    offline = rng.random(int(events.session.max()) + 1 if count else 0)
    luck = np.where(rng.random(count) < late_share / 2, rng.random(count) + 1, 0.0)
    away = offline[events.session] / (late_share / 2) if late_share else np.ones(count)
    luck = np.where((luck == 0) & (away < 1), away + 1, luck) - 1
    late = luck >= 0
    squeezed = np.where(late, luck, 0.0) ** 3  # hours rather than days
    return lag + np.where(late, 600_000 + (squeezed * (3 * DAY_MS - 700_000)).astype(np.int64), 0)
