"""Where a referrer points to: kind of site, name, and the words searched for there.

The sites are in `sources.csv`, kept by hand. A domain stands for itself and all below it; `google.*` for google under
any public suffix; `bing.com/images` for a path. Names without a dot are what campaigns call the site (`fb`), names in
reverse order are Android apps, which refer as `android-app://com.google.android.gm/`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

import pyarrow as pa

from pipelines.enrichment import rows

SOURCES = Path(__file__).with_name("sources.csv")

# Second levels under which countries register names (co.uk, com.au), so that `google.*` is not google.evil.com.
_SECOND_LEVELS = frozenset(("ac", "co", "com", "edu", "go", "gob", "gov", "ne", "net", "nom", "or", "org"))
# First labels of webmail hosts: any site's, and those of providers in the list.
_WEBMAIL = re.compile(r"(?:web)?mail\d*|webmailer|e-?mail|roundcube|zimbra|owa")
_PROVIDERS_WEBMAIL = re.compile(
    r"\w*mail[\w-]*|messagerie\w*|navigator(?:-\w+)?|3c(?:-\w+)?|rich-\w+|poczta|correo|zimbra"
)
# Links in mails of United Internet lead over deref-gmx.net, deref-web.de, deref-1und1-02.de.
_DEREFERRER = re.compile(r"deref-([a-z0-9]+)(?:-\d+)?\.")
_HOST = re.compile(r"[\w.:-]+")
# Names of listed sites that campaigns use as words: `utm_source=shop` is not shop.app.
_EVERYDAY = frozenset(
    (
        *("andi", "atlas", "beacons", "buffer", "classmates", "clubhouse", "delicious", "dev", "ernie"),
        *("excite", "fireball", "free", "globo", "ilse", "jasper", "kick", "line", "liner", "mamma", "medium"),
        *("meetup", "minds", "nate", "note", "orange", "otto", "pi", "pocket", "poe", "rumble", "shop"),
        *("signal", "sputnik", "tagged", "target", "ted", "terra", "walla", "wish", "workplace"),
    )
)
_READ = 8192  # letters of a URL that are read

SCHEMA = rows.schema("referrer_url", "page_host", "medium", "source", "term", "host")


class Site(NamedTuple):
    """A row of sources.csv. `category`: search, social, video, shopping, email, chatbot or paid."""

    category: str
    name: str
    parameters: tuple[str, ...]


class Referrer(NamedTuple):
    """What a referrer says. `medium`: a category of Site, `internal`, or `unknown` for a site that is not listed."""

    medium: str | None
    source: str | None
    term: str | None
    host: str | None


_NONE = Referrer(None, None, None, None)


def lookup(referrer_urls: pa.Array, page_hosts: pa.Array, own_domains: Collection[str] = ()) -> pa.Table:
    """One row per pair of referrer URL and host of the page it led to, in order, with the columns of Referrer.

    `own_domains`: domains of the site besides the page's host. All null where there is no referrer or it is no URL.
    Hand over distinct pairs: 30 ms per 1,000 on a slow core, and 5 ms once per process. Memory is that of the values
    and the result.
    """
    pairs = zip(referrer_urls.to_pylist(), page_hosts.to_pylist(), strict=True)
    return rows.table(((url, host, *describe(url, host, own_domains)) for url, host in pairs), SCHEMA)


def describe(referrer_url: str | None, page_host: str | None, own_domains: Collection[str] = ()) -> Referrer:
    """The columns of one referrer."""
    url = _parsed(referrer_url)
    named = (url.hostname if url else None) or ""
    if url is None or not _HOST.fullmatch(named):
        return _NONE
    host = bare(named)
    if any(host == own or host.endswith(f".{own}") for own in own_domains) or host == bare(page_host or ""):
        return Referrer("internal", None, None, host)
    site = find(host, url.path)
    if site is not None:
        return Referrer(site.category, site.name, _term(url, site), host)
    if _WEBMAIL.fullmatch(named.partition(".")[0]):
        return Referrer("email", host, None, host)
    return Referrer("unknown", None, None, host)


def bare(host: str) -> str:
    """A host in lower case without `www.`, port and last dot."""
    name = host.partition(":")[0] if host.count(":") == 1 else host  # more of them: IPv6
    return name.lower().rstrip(".").removeprefix("www.")


def find(host: str, path: str = "") -> Site | None:
    """The listed site of a host and path: the one with the longest domain, and then the longest path."""
    sites = _sites()
    host = _DEREFERRER.sub(r"mail.\1.", host)
    segments = path.lower().strip("/").split("/")[:2]
    paths = ("/" + "/".join(segments), "/" + segments[0], "")
    webmail = "@" if _PROVIDERS_WEBMAIL.fullmatch(host.partition(".")[0]) else ""
    for whole, domain in _domains(host):
        for end in paths:
            for mark in ("=" if whole else "", webmail, ""):
                if site := sites.get(mark + domain + end):
                    return site
    return None


def _domains(host: str) -> Iterator[tuple[bool, str]]:
    """`a.google.co.uk` → a.google.co.uk, a.google.*, google.co.uk, google.*, co.uk, and whether that is all of it."""
    labels = host.split(".")
    suffix = 2 if len(labels) > 2 and labels[-2] in _SECOND_LEVELS and len(labels[-1]) == 2 else 1
    for start in range(len(labels)):
        yield start == 0, ".".join(labels[start:])
        if start < len(labels) - suffix:
            yield start == 0, ".".join([*labels[start:-suffix], "*"])


@cache
def _sites() -> dict[str, Site]:
    """Domain (and path), app or campaign name → site."""
    found: dict[str, Site] = {}
    with SOURCES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            site = Site(row["category"], row["name"], tuple(row["parameters"].split()))
            if "." not in row["name"] and row["name"].lower() not in _EVERYDAY:
                found.setdefault(row["name"].lower(), site)
            for domain in row["domains"].split():
                found[domain] = site
    return found


def _parsed(url: str | None) -> SplitResult | None:
    try:
        parts = urlsplit((url or "")[:_READ])
        return parts if parts.scheme in ("http", "https", "android-app", "ios-app") else None
    except ValueError:
        return None


def _term(url: SplitResult, site: Site) -> str | None:
    """The first parameter of the site that holds something; Google's old addresses have it after the `#`."""
    given = parse_qs(url.query) if url.query else {}
    for parameters in (given, parse_qs(url.fragment) if "=" in url.fragment else {}):
        for name in site.parameters:
            if any(value.strip() for value in parameters.get(name, ())):
                return parameters[name][-1]
    return None
