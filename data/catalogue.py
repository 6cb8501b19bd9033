"""The sites turned into tables of text pieces and of cumulative chances, so that events are rows of small integers.

Piece tables are object arrays of bytes: a line of output is a row of lookups, joined once.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.agents import AGENTS, CRAWLERS, SCRIPT_AGENT
from data.sites import COMMENTS, ERRORS, EXIT, Channel, Site

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Pieces = NDArray[Any]  # object array of bytes

MAX_LOAD_MS = 20_000
QUANTITIES = 3
EVENT_TYPES = (
    "page_view", "click", "scroll", "form_start", "form_submit", "video_play", "purchase", "conversion", "error",
    "session_start", "session_end", "like", "comment", "view", "add_to_wishlist", "coupon_opened", "share",
)  # fmt: skip
TYPE = {name: code for code, name in enumerate(EVENT_TYPES)}


def pieces(texts: list[str]) -> Pieces:
    """Texts as a lookup table of UTF-8 bytes."""
    table = np.empty(len(texts), dtype=object)
    table[:] = [text.encode() for text in texts]
    return table


def text(value: str) -> str:
    """A JSON string literal."""
    return json.dumps(value, ensure_ascii=False)


def cumulative(weights: list[float]) -> Floats:
    """Upper ends of the shares; the last one is above any draw from [0, 1)."""
    total = math.fsum(weights)
    ends = np.array([math.fsum(weights[: i + 1]) / total for i in range(len(weights))])
    ends[-1] = 2.0
    return ends


def lognormal(sigma: float, size: int = 4096) -> Floats:
    """Quantiles of a lognormal with median 1.

    Drawing by lookup, rather than by numpy's own sampler, gives the same numbers on every machine: the last bit of
    exp and log is not the same everywhere.
    """
    normal = NormalDist()
    return np.array([round(math.exp(sigma * normal.inv_cdf((i + 0.5) / size)), 6) for i in range(size)])


@dataclass(frozen=True)
class SiteTable:
    """One site's chances; kinds of pages are numbered as in `site.kinds`, and len(kinds) is the exit."""

    site: Site
    index: int
    first_page: int  # where its pages start in the tables of all sites
    kind_pages: Ints  # first page of each kind, from `first_page`
    kind_sizes: Ints
    moves: Floats  # [kind, next kind or exit], cumulative
    entries: Floats  # [channel, kind], cumulative
    channels: Floats
    places: Floats
    hours: Floats
    dwell_ms: Floats
    load_ms: Floats
    first_channel: int
    first_place: int
    link_extras: Ints  # extra piece for a click that leads to a kind
    first_purchase: int  # extra piece of product 0 in quantity 1
    first_item: int  # extra piece of page 0's item
    first_comment: int  # extra piece of page 0's first comment

    def kind(self, name: str) -> int:
        """Number of a kind of page; -1 where the site has none of that name."""
        return next((i for i, kind in enumerate(self.site.kinds) if kind.name == name), -1)


@dataclass(frozen=True)
class Catalogue:
    """All sites' pieces. Extra 0 is empty; extras 1 … MAX_LOAD_MS + 1 are load times; then come elements and items."""

    sites: tuple[SiteTable, ...]
    prefixes: Pieces  # by site
    pages: Pieces  # by page × campaign
    campaigns: int
    channel_campaigns: Ints
    referrers: Pieces  # 0 none, then channels, then pages
    first_page_referrer: int
    extras: Pieces
    errors: Ints
    rage: int
    menu: int
    agents: Pieces  # AGENTS, CRAWLERS, the script
    agent_shares: Floats
    load_factors: Floats
    in_app: Bools
    places: Pieces


def build(all_sites: tuple[Site, ...]) -> Catalogue:
    """Lay out the tables of all sites one after the other."""
    extras = ["", *[f',"load_time_ms":{ms}' for ms in range(MAX_LOAD_MS + 1)]]
    errors = np.arange(len(ERRORS)) + len(extras)
    extras += [_element(selector, words) for selector, words in ERRORS]
    rage, menu = len(extras), len(extras) + 1
    extras += [_element("button.apply", "Apply"), _element("button.menu", "Menu")]
    for depth in (25, 50, 75, 100):
        extras.append(f',"scroll_depth_pct":{depth}')
    extras.append(_element("h1", "404 Not found"))

    queries = sorted({channel.query for site in all_sites for channel in site.channels} | {""})
    channels: list[Channel] = []
    addresses: list[tuple[str, str]] = []  # address, title
    places: list[str] = []
    tables = []
    for index, site in enumerate(all_sites):
        first_page = len(addresses)
        sizes = [len(kind.slugs) for kind in site.kinds]
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        slugs = [slug for kind in site.kinds for slug in kind.slugs]
        addresses += [
            (f"https://{site.name}.example{kind.path.format(slug=slug)}", _title(kind.title, slug))
            for kind in site.kinds
            for slug in kind.slugs
        ]
        link_extras = np.arange(len(site.kinds)) + len(extras)
        extras += [_element(*kind.link) for kind in site.kinds]
        first_item = len(extras)
        extras += [f',"properties":{{"item_id":{text(slug)}}}' for slug in slugs]
        first_comment = len(extras)
        extras += [_element("form.comment", words) for words in COMMENTS]
        first_purchase = len(extras)
        extras += _purchases(site)
        tables.append(
            SiteTable(
                site=site,
                index=index,
                first_page=first_page,
                kind_pages=np.array(starts),
                kind_sizes=np.array(sizes),
                moves=np.array([_row(site, site.moves[kind.name], with_exit=True) for kind in site.kinds]),
                entries=np.array([_row(site, site.entries[c.entry], with_exit=False) for c in site.channels]),
                channels=cumulative([channel.share for channel in site.channels]),
                places=cumulative([place.share for place in site.places]),
                hours=cumulative([float(hour) for hour in site.hours]),
                dwell_ms=np.array([kind.dwell_s * 1000 for kind in site.kinds]),
                load_ms=np.array([kind.load_ms for kind in site.kinds]),
                first_channel=len(channels),
                first_place=len(places),
                link_extras=link_extras,
                first_purchase=first_purchase,
                first_item=first_item,
                first_comment=first_comment,
            )
        )
        channels += site.channels
        places += [
            f'","country":{text(p.country)},"region":{text(p.region)},"city":{text(p.city)}}}\n' for p in site.places
        ]
    agents = [*[agent.text for agent in AGENTS], *CRAWLERS, SCRIPT_AGENT]
    return Catalogue(
        sites=tuple(tables),
        prefixes=pieces([f'{{"site_id":{text(site.name)},"event_id":"' for site in all_sites]),
        pages=pieces([_page(address, title, query) for query in queries for address, title in addresses]),
        campaigns=len(queries),
        channel_campaigns=np.array([queries.index(channel.query) for channel in channels]),
        referrers=pieces(["", *[_referrer(c.referrer) for c in channels], *[_referrer(a) for a, _ in addresses]]),
        first_page_referrer=1 + len(channels),
        extras=pieces(extras),
        errors=errors,
        rage=rage,
        menu=menu,
        agents=pieces([f',"user_agent":{text(agent)},"ip":"198.' for agent in agents]),
        agent_shares=cumulative([agent.share for agent in AGENTS]),
        load_factors=np.array([agent.load_factor for agent in AGENTS] + [1.0] * (len(CRAWLERS) + 1)),
        in_app=np.array([agent.in_app for agent in AGENTS] + [False] * (len(CRAWLERS) + 1)),
        places=pieces(places),
    )


def scroll_extra(catalogue: Catalogue, step: int) -> int:
    """Extra piece of scrolling to 25 × (step + 1) per cent."""
    return catalogue.menu + 1 + step


def not_found_extra(catalogue: Catalogue) -> int:
    """Extra piece of the error on a page that does not exist."""
    return catalogue.menu + 5


def _element(selector: str, words: str) -> str:
    return f',"element_selector":{text(selector)},"element_text":{text(words)}'


def _title(pattern: str, slug: str) -> str:
    words = slug.replace("-", " ")
    return pattern.format(slug=words if pattern != "{slug}" else words.capitalize())


def _page(address: str, title: str, query: str) -> str:
    joined = address if not query else f"{address}{'&' if '?' in address else '?'}{query}"
    return f',"page_url":{text(joined)},"page_title":{text(title)}'


def _referrer(address: str) -> str:
    return f',"referrer_url":{text(address)}' if address else ""


def _row(site: Site, weights: dict[str, float], *, with_exit: bool) -> Floats:
    names = [kind.name for kind in site.kinds] + ([EXIT] if with_exit else [])
    return cumulative([weights.get(name, 0.0) for name in names])


def _purchases(site: Site) -> list[str]:
    """Value pieces of every product in every quantity; nothing where the site sells nothing."""
    slugs = next((kind.slugs for kind in site.kinds if kind.name == "product"), ())
    made = []
    for number, slug in enumerate(slugs):
        cents = 990 + (number * 2654435761 % 2_800) * 10  # spread over 9.90 … 289.80, the same for ever
        for quantity in range(1, QUANTITIES + 1):
            total = cents * quantity
            made.append(
                f',"value":{total // 100}.{total % 100:02d},"currency":"{site.currency}"'
                f',"properties":{{"sku":{text(slug)},"quantity":{quantity}}}'
            )
    return made
