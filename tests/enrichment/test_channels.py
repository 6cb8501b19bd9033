"""From referrer, campaign and click id to source, medium and channel."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.enrichment import channels
from pipelines.enrichment.channels import CHANNELS, CLICK_IDS, INPUTS, NOTHING, Touch, channel_of, describe

GOOGLE = "https://www.google.com/search?q=shoes"

RULES = [
    # (source, medium, campaign, channel): each rule, and where two hold, that the first one wins
    ("(direct)", "(none)", None, "Direct"),
    ("(direct)", "(not set)", None, "Direct"),
    ("google", "cpc", "summer cross-network", "Cross-network"),
    ("google", "cpc", "winter-shop", "Paid Shopping"),
    ("amazon", "cpc", None, "Paid Shopping"),
    ("google", "cpc", "workshop", "Paid Search"),  # `shop` only begins a word, or follows an e
    ("bing", "ppc", None, "Paid Search"),
    ("google", "cpm", None, "Paid Search"),
    ("fb", "paid_social", None, "Paid Social"),
    ("linkedin.com", "retargeting", None, "Paid Social"),
    ("youtube", "cpv", None, "Paid Video"),
    ("dbm", "cpm", None, "Display"),
    ("facebook", "banner", None, "Display"),
    ("chatgpt.com", "cpc", None, "Paid Other"),
    ("partner", "cpa", None, "Paid Other"),
    ("chatgpt.com", None, None, "AI Assistant"),
    ("perplexity", "referral", None, "AI Assistant"),
    ("claude.ai", "organic", None, "AI Assistant"),
    ("somebot", "ai-assistant", None, "AI Assistant"),
    ("Google Shopping", None, None, "Organic Shopping"),
    ("newsletter", "email", "shop-news", "Organic Shopping"),
    ("ig", None, None, "Organic Social"),
    ("m.facebook.com", "referral", None, "Organic Social"),
    ("partner", "social-media", None, "Organic Social"),
    ("vimeo.com", "referral", None, "Organic Video"),
    ("partner", "video-ad", None, "Organic Video"),
    ("duckduckgo", "referral", None, "Organic Search"),
    ("partner", "organic", None, "Organic Search"),
    ("partner.example", "referral", None, "Referral"),
    ("partner", "link", None, "Referral"),
    ("newsletter", "e-mail", None, "Email"),
    ("email", None, None, "Email"),
    ("shop", "email", None, "Email"),  # the word, not the shopping site of that name
    ("partner", "affiliate", None, "Affiliates"),
    ("podcast", "audio", None, "Audio"),
    ("sms", None, None, "SMS"),
    ("partner", "sms", None, "SMS"),
    ("app", "web-push", None, "Mobile Push Notifications"),
    ("partner", "mobile-banner", None, "Mobile Push Notifications"),
    ("firebase", None, None, "Mobile Push Notifications"),
    ("partner", "flyer", None, "Unassigned"),
    ("partner", None, None, "Unassigned"),
    (None, None, "spring", "Unassigned"),
    (None, None, None, None),
    ("", " ", "", None),
]


@pytest.mark.parametrize(("source", "medium", "campaign", "channel"), RULES)
def test_channels_follow_ga4s_rules_in_their_order(
    source: str | None, medium: str | None, campaign: str | None, channel: str | None
) -> None:
    assert channel_of(source, medium, campaign) == channel


def test_every_channel_has_a_case_above_and_the_list_of_channels_is_whole() -> None:
    assert {channel for *_, channel in RULES if channel} == set(CHANNELS)


@pytest.mark.parametrize("case", [str.upper, str.title, str.lower])
def test_case_does_not_matter(case: object) -> None:
    assert channel_of(case("google"), case("cpc"), None) == "Paid Search"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("referrer", "utm", "click_id", "expected"),
    [
        # nothing said: what the session makes of it is decided there
        (None, (None, None, None), None, NOTHING),
        ("https://shop.example/cart", (None, None, None), None, NOTHING),
        ("https://blog.example/", (None, None, None), None, NOTHING),
        ("about:blank", (None, None, None), None, NOTHING),
        # referrers
        (GOOGLE, (None, None, None), None, Touch("google", "organic", "Organic Search", "shoes")),
        (
            "https://www.google.fr/imgres?q=a",
            (None, None, None),
            None,
            Touch("google", "organic", "Organic Search", "a"),
        ),
        ("https://l.facebook.com/", (None, None, None), None, Touch("facebook", "referral", "Organic Social", None)),
        ("https://youtu.be/1", (None, None, None), None, Touch("youtube", "referral", "Organic Video", None)),
        ("https://mail.google.com/", (None, None, None), None, Touch("gmail", "email", "Email", None)),
        ("https://chatgpt.com/", (None, None, None), None, Touch("chatgpt", "ai-assistant", "AI Assistant", None)),
        ("https://www.acme.example/x", (None, None, None), None, Touch("acme.example", "referral", "Referral", None)),
        ("https://tpc.googlesyndication.com/", (None, None, None), None, Touch("google", "cpc", "Paid Search", None)),
        # campaigns win over referrers, also over the site's own
        (GOOGLE, ("Newsletter", "Email", "May"), None, Touch("newsletter", "email", "Email", "shoes")),
        ("https://shop.example/", ("promo", "banner", None), None, Touch("promo", "banner", "Display", None)),
        ("https://chatgpt.com/", ("chatgpt.com", None, None), None, Touch("chatgpt.com", None, "AI Assistant", None)),
        (GOOGLE, (None, None, "May"), None, Touch(None, None, "Unassigned", "shoes")),
        (GOOGLE, ("", " ", ""), None, Touch("google", "organic", "Organic Search", "shoes")),
        # click ids win over referrers and fill what the campaign leaves open
        (GOOGLE, (None, None, None), "gclid", Touch("google", "cpc", "Paid Search", "shoes")),
        (None, (None, None, None), "wbraid", Touch("google", "cpc", "Paid Search", None)),
        (None, (None, None, None), "msclkid", Touch("bing", "cpc", "Paid Search", None)),
        (None, (None, None, None), "dclid", Touch("dbm", "cpm", "Display", None)),
        (None, (None, None, "winter-shop"), "gclid", Touch("google", "cpc", "Paid Shopping", None)),
        (None, ("google", None, "May"), "gclid", Touch("google", "cpc", "Paid Search", None)),
        (None, ("newsletter", "email", None), "gclid", Touch("newsletter", "email", "Email", None)),
        (None, ("newsletter", None, None), "gclid", Touch("newsletter", None, "Unassigned", None)),
        # unpaid links carry fbclid too
        (
            "https://l.facebook.com/",
            (None, None, None),
            "fbclid",
            Touch("facebook", "referral", "Organic Social", None),
        ),
    ],
)
def test_a_campaign_wins_over_a_click_id_and_that_over_the_referrer(
    referrer: str | None, utm: tuple[str | None, str | None, str | None], click_id: str | None, expected: Touch
) -> None:
    assert describe(referrer, "shop.example", *utm, click_id, own_domains=("blog.example",)) == expected


def test_a_table_has_a_row_per_touch_in_order_by_each_sites_own_domains() -> None:
    rows = [
        ("shop", "https://blog.example/", "shop.example", None, None, None, None),
        ("news", "https://blog.example/", "news.example", None, None, None, None),
        ("news", None, None, "Fb", "CPC", None, None),
    ]
    touches = pa.Table.from_pylist(
        [dict(zip(INPUTS, row, strict=True)) for row in rows], channels.SCHEMA.empty_table().select(INPUTS).schema
    )
    found = channels.lookup(touches, {"shop": ("blog.example",)})
    assert found.schema == channels.SCHEMA
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (*rows[0], None, None, None, None),
        (*rows[1], "blog.example", "referral", "Referral", None),
        (*rows[2], "fb", "cpc", "Paid Social", None),
    ]


def test_click_ids_lead_to_paid_channels() -> None:
    assert {channel_of(*pair, None) for pair in CLICK_IDS.values()} == {"Paid Search", "Display"}
