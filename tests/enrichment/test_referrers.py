"""Where referrers point to, and what was searched for there."""

from __future__ import annotations

import csv

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.enrichment import referrers
from pipelines.enrichment.referrers import describe

CASES = [
    # (referrer, medium, source, term)
    ("https://www.google.com/", "search", "Google", None),
    ("https://www.google.co.uk/search?q=red+shoes&hl=en", "search", "Google", "red shoes"),
    ("https://www.google.com/#q=red+shoes", "search", "Google", "red shoes"),
    ("https://www.google.de/search?q=&oq=x", "search", "Google", None),
    ("https://www.google.de/imgres?q=schuhe", "search", "Google Images", "schuhe"),
    ("android-app://com.google.android.googlequicksearchbox/", "search", "Google", None),
    ("https://www.bing.com/search?q=caf%C3%A9", "search", "Bing", "café"),
    ("https://duckduckgo.com/", "search", "DuckDuckGo", None),
    ("https://de.search.yahoo.com/search?p=schuhe", "search", "Yahoo!", "schuhe"),
    ("https://yandex.ru/search/?text=%D0%BE%D0%B1%D1%83%D0%B2%D1%8C", "search", "Yandex", "обувь"),
    ("https://www.baidu.com/s?wd=shoes", "search", "Baidu", "shoes"),
    ("https://www.ecosia.org/search?q=shoes", "search", "Ecosia", "shoes"),
    ("https://m.facebook.com/", "social", "Facebook", None),
    ("https://l.instagram.com/?u=https%3A%2F%2Fshop.example", "social", "Instagram", None),
    ("https://t.co/abc", "social", "Twitter", None),
    ("android-app://com.linkedin.android/", "social", "LinkedIn", None),
    ("https://old.reddit.com/r/shoes", "social", "Reddit", None),
    ("https://somebody.tumblr.com/", "social", "Tumblr", None),
    ("https://www.youtube.com/watch?v=1", "video", "YouTube", None),
    ("https://www.amazon.co.jp/dp/1", "shopping", "Amazon", None),
    ("https://shopping.google.com/", "shopping", "Google Shopping", None),
    ("https://mail.google.com/mail/u/0", "email", "Gmail", None),
    ("android-app://com.google.android.gm/", "email", "Gmail", None),
    ("https://outlook.live.com/", "email", "Outlook.com", None),
    ("https://deref-web.de/mail/client/x", "email", "Web.de", None),
    ("https://webmail7.orange.fr/read", "email", "Orange Webmail", None),
    ("https://webmail.acme.example/inbox", "email", "webmail.acme.example", None),
    ("https://chatgpt.com/", "chatbot", "ChatGPT", None),
    ("https://gemini.google.com/app", "chatbot", "Google Gemini", None),
    ("https://www.perplexity.ai/search?q=shoes", "chatbot", "Perplexity.ai", None),
    ("https://www.bing.com/chat?q=shoes", "chatbot", "Microsoft Copilot", None),
    ("https://tpc.googlesyndication.com/", "paid", "Google", None),
    # Portals search and do other things: only the searching counts as such.
    ("https://docs.google.com/document/1", "unknown", None, None),
    ("https://www.gmx.net/magazine", "unknown", None, None),
    # A listed name in a foreign domain is foreign.
    ("https://google.evil.example/", "unknown", None, None),
    ("https://facebook.com.evil.example/", "unknown", None, None),
    ("https://notgoogle.com/", "unknown", None, None),
    ("http://192.0.2.7/", "unknown", None, None),
    ("http://[2001:db8::7]:8080/", "unknown", None, None),
]
NONE = [None, "", "-", "about:blank", "shop", "/search?q=x", "file:///home/x", "http://", "http://[::1", "javascript:x"]
NONE += ["https://<script>/", r"http://\xe4\xe5/", "https://a b/"]


@pytest.mark.parametrize(("url", "medium", "source", "term"), CASES)
def test_a_referrer_has_a_kind_a_name_and_perhaps_a_term(
    url: str, medium: str, source: str | None, term: str | None
) -> None:
    found = describe(url, "shop.example")
    assert (found.medium, found.source, found.term) == (medium, source, term)


@pytest.mark.parametrize("url", NONE)
def test_what_is_no_address_of_a_page_says_nothing(url: str | None) -> None:
    assert describe(url, "shop.example") == (None, None, None, None)


@pytest.mark.parametrize(
    ("url", "page_host", "own_domains", "medium"),
    [
        ("https://www.Shop.example/cart", "shop.example", (), "internal"),
        ("https://shop.example:8443/cart", "www.shop.example", (), "internal"),
        ("https://pay.shop.example/", "shop.example", (), "unknown"),
        ("https://pay.shop.example/", "shop.example", ("shop.example",), "internal"),
        ("https://blog.example/", "shop.example", ("shop.example", "blog.example"), "internal"),
        ("https://myshop.example/", "shop.example", ("shop.example",), "unknown"),
        ("https://www.google.com/", "www.google.com", (), "internal"),
        ("https://shop.example/", None, (), "unknown"),
    ],
)
def test_the_sites_own_hosts_are_internal(
    url: str, page_host: str | None, own_domains: tuple[str, ...], medium: str
) -> None:
    assert describe(url, page_host, own_domains).medium == medium


def test_a_table_has_a_row_per_pair_in_order() -> None:
    found = referrers.lookup(
        pa.array(["https://www.bing.com/search?q=a", None, "https://x.example/"]), pa.array(["s", "s", None])
    )
    assert found.schema == referrers.SCHEMA
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("https://www.bing.com/search?q=a", "s", "search", "Bing", "a", "bing.com"),
        (None, "s", None, None, None, None),
        ("https://x.example/", None, "unknown", None, None, "x.example"),
    ]


def test_the_list_of_sites_names_each_domain_once_and_in_lower_case() -> None:
    with referrers.SOURCES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    domains = [domain for row in rows for domain in row["domains"].split()]
    assert sorted(domains) == sorted(set(domains))
    assert [domain for domain in domains if domain != domain.lower() or domain.startswith("www.")] == []
    assert {row["category"] for row in rows} == {"search", "social", "video", "shopping", "email", "chatbot", "paid"}
    assert [row["name"] for row in rows if (row["category"] == "search") != bool(row["parameters"])] == []


@given(st.sampled_from(["", "http://", "https://www.google.com/"]), st.text(), st.none() | st.text())
def test_any_text_is_read_without_error(start: str, text: str, page_host: str | None) -> None:
    found = describe(start + text, page_host)
    assert (found.medium is None) == (found.host is None)
