"""Source, medium and campaign of a visit, and its channel group.

Rules in order: GA4's default channel groups (support.google.com/analytics/answer/9756891), with GA4's AI Assistant
group after the paid ones. GA4 sorts sites by a list of its own; ours is sources.csv.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import pyarrow as pa

from pipelines.enrichment import referrers, rows
from pipelines.enrichment.referrers import Referrer

CHANNELS = (
    *("Direct", "Cross-network", "Paid Shopping", "Paid Search", "Paid Social", "Paid Video", "Display", "Paid Other"),
    *("AI Assistant", "Organic Shopping", "Organic Social", "Organic Video", "Organic Search", "Referral", "Email"),
    *("Affiliates", "Audio", "SMS", "Mobile Push Notifications", "Unassigned"),
)

# Click ids that ad networks put into the landing page's address, with what a click with one was. fbclid, ttclid and
# their like are not here: they come with unpaid links too.
CLICK_IDS = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "msclkid": ("bing", "cpc"),
    "dclid": ("dbm", "cpm"),  # Google's Display & Video 360
}

_PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*", re.DOTALL)
_SHOPPING_CAMPAIGN = re.compile(r"(?:[^a-df-z]|^)shop|shopping")
_DISPLAY = frozenset(("display", "banner", "expandable", "interstitial", "cpm"))
_SOCIAL = frozenset(("social", "social-network", "social-media", "sm", "social network", "social media"))
_EMAIL = frozenset(("email", "e-mail", "e_mail", "e mail"))
_AFFILIATES = frozenset(("affiliate", "affiliates"))
_REFERRAL = frozenset(("referral", "app", "link"))
_NOT_SET = frozenset(("", "(none)", "(not set)"))

# What a listed referrer gives as medium; the others are links from a site to a site.
_MEDIUMS = {"search": "organic", "email": "email", "chatbot": "ai-assistant", "paid": "cpc"}

INPUTS = ("site_id", "referrer_url", "page_host", "utm_source", "utm_medium", "utm_campaign", "click_id")
SCHEMA = rows.schema(*INPUTS, "traffic_source", "traffic_medium", "channel", "term")


class Touch(NamedTuple):
    """Where a visit came from; all null where the event does not say (no campaign, no foreign referrer)."""

    traffic_source: str | None
    traffic_medium: str | None
    channel: str | None
    term: str | None


NOTHING = Touch(None, None, None, None)


def lookup(
    touches: pa.Table, own_domains: Mapping[str, Collection[str]], other_sites: Collection[str] = ()
) -> pa.Table:
    """One row per row of `touches` (columns INPUTS, all strings; others are ignored), in order, with those of Touch.

    `click_id`: the name of a click id in the landing page's address, one of CLICK_IDS, or null. `own_domains`:
    site → its domains besides the page's host; `other_sites`: those of sites that are not among them. Hand over
    distinct rows: 50 ms per 1,000 on a slow core, and 5 ms once per process. Memory is that of the rows and the result.
    """
    given = [touches.column(name).to_pylist() for name in INPUTS]
    described = (
        (*it, *describe(*it[1:], own_domains=own_domains.get(it[0], other_sites))) for it in zip(*given, strict=True)
    )
    return rows.table(described, SCHEMA)


def describe(
    referrer_url: str | None,
    page_host: str | None,
    utm_source: str | None,
    utm_medium: str | None,
    utm_campaign: str | None,
    click_id: str | None,
    *,
    own_domains: Collection[str] = (),
) -> Touch:
    """A campaign wins over a click id, which wins over the referrer. Source and medium are in lower case."""
    referrer = referrers.describe(referrer_url, page_host, own_domains)
    source, medium, campaign = (_clean(value) for value in (utm_source, utm_medium, utm_campaign))
    clicked = CLICK_IDS.get(click_id or "")
    if source or medium or campaign:
        if clicked and (source is None or (medium is None and source == clicked[0])):
            source, medium = source or clicked[0], medium or clicked[1]
    elif clicked:
        source, medium = clicked
    else:
        source, medium = _of_referrer(referrer)
    channel = channel_of(source, medium, campaign)
    return NOTHING if channel is None else Touch(source, medium, channel, referrer.term)


def _of_referrer(referrer: Referrer) -> tuple[str | None, str | None]:
    if referrer.medium in (None, "internal"):
        return None, None
    name = referrer.source.lower().removesuffix(" images") if referrer.source else referrer.host
    return name, _MEDIUMS.get(referrer.medium or "", "referral")


def channel_of(source: str | None, medium: str | None, campaign: str | None) -> str | None:
    """One of CHANNELS by the first rule that holds; null where none of the three is given."""
    source, medium, campaign = ((value or "").strip().lower() for value in (source, medium, campaign))
    if not (source or medium or campaign):
        return None
    if source in ("(direct)", "direct") and medium in _NOT_SET:
        return "Direct"
    if "cross-network" in campaign:
        return "Cross-network"
    category = _category(source)
    if category == "shopping" or _SHOPPING_CAMPAIGN.search(campaign):
        category = "shopping"
    paid = _PAID.fullmatch(medium) is not None
    if paid and category in ("shopping", "search", "social", "video"):
        return f"Paid {category.capitalize()}"
    if medium in _DISPLAY:
        return "Display"
    if paid:
        return "Paid Other"
    return _unpaid(source, medium, category)


def _unpaid(source: str, medium: str, category: str | None) -> str:
    rules = (
        ("AI Assistant", medium == "ai-assistant" or category == "chatbot"),
        ("Organic Shopping", category == "shopping"),
        ("Organic Social", category == "social" or medium in _SOCIAL),
        ("Organic Video", category == "video" or "video" in medium),
        ("Organic Search", category == "search" or medium == "organic"),
        ("Referral", medium in _REFERRAL),
        ("Email", source in _EMAIL or medium in _EMAIL),
        ("Affiliates", medium in _AFFILIATES),
        ("Audio", medium == "audio"),
        ("SMS", source == "sms" or medium == "sms"),
        (
            "Mobile Push Notifications",
            medium.endswith("push") or "mobile" in medium or "notification" in medium or source == "firebase",
        ),
    )
    return next((name for name, holds in rules if holds), "Unassigned")


def _category(source: str) -> str | None:
    site = referrers.find(referrers.bare(source))
    return site.category if site else None


def _clean(value: str | None) -> str | None:
    return (value or "").strip().lower() or None
