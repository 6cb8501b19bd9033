"""What user agents say of device, browser and system, and which are bots'."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.enrichment import agents
from pipelines.enrichment.agents import Agent, describe

KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"


def chrome(device: str, end: str = "Safari/537.36") -> str:
    """The agent of a browser made of Chromium."""
    return f"Mozilla/5.0 ({device}) {KHTML} Chrome/143.0.0.0 {end}"


WINDOWS = "Windows NT 10.0; Win64; x64"
CHROME = chrome(WINDOWS)
PHONE = "Mobile Safari/537.36"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) {APPLE}"
IPAD = f"Mozilla/5.0 (iPad; CPU OS 18_7 like Mac OS X) {APPLE}"
PIXEL_VIEW = chrome("Linux; Android 15; Pixel 8 Build/AP3A.240617.008; wv", PHONE)

PEOPLE = [
    (CHROME, "desktop", "Chrome", "Windows"),
    (f"{CHROME} Edg/143.0.0.0", "desktop", "Edge", "Windows"),
    (f"{MAC} {APPLE} Version/26.1 Safari/605.1.15", "desktop", "Safari", "Mac OS X"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0", "desktop", "Firefox", "Linux"),
    (chrome("X11; CrOS x86_64 14541.0.0"), "desktop", "Chrome", "Chrome OS"),
    ("Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0; Tablet PC 2.0)", "desktop", "IE", "Windows"),
    ("Mozilla/5.0 (compatible; Konqueror/4.5; FreeBSD) KHTML/4.5.4 (like Gecko)", "desktop", "Konqueror", "FreeBSD"),
    ("Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18", "desktop", "Opera", "Windows"),
    (f"{IPHONE} Version/26.1 Mobile/15E148 Safari/604.1", "mobile", "Mobile Safari", "iOS"),
    (f"{IPHONE} CriOS/143.0.7499.92 Mobile/15E148 Safari/604.1", "mobile", "Chrome Mobile iOS", "iOS"),
    (chrome("Linux; Android 10; K", PHONE), "mobile", "Chrome Mobile", "Android"),
    ("Mozilla/5.0 (Android 14; Mobile; rv:146.0) Gecko/146.0 Firefox/146.0", "mobile", "Firefox Mobile", "Android"),
    ("Mozilla/5.0 (Mobile; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5", "mobile", "Firefox Mobile", "KaiOS"),
    ("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1; U; en) Presto/2.8.119 Version/11.10", "mobile", "Opera Mini", None),
    ("Dalvik/2.1.0 (Linux; U; Android 14; SM-S918B Build/UP1A.231005.007)", "mobile", "Android", "Android"),
    (chrome("Linux; Android 14; CUBOT X70", PHONE), "mobile", "Chrome Mobile", "Android"),
    (f"{IPAD} Version/26.1 Mobile/15E148 Safari/604.1", "tablet", "Mobile Safari", "iOS"),
    (chrome("Linux; Android 14; SM-X710"), "tablet", "Chrome", "Android"),
    ("Mozilla/5.0 (Android 14; Tablet; rv:146.0) Gecko/146.0 Firefox/146.0", "tablet", "Firefox Mobile", "Android"),
    (chrome("Linux; Android 9; KFMAWI", "Silk/120.4.1 Safari/537.36"), "tablet", "Amazon Silk", "Android"),
    (f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) {KHTML} Version/7.0 TV Safari/537.36", "other", "Safari", "Tizen"),
    (chrome("Linux; Android 9; AFTMM Build/PS7613; wv"), "other", "Chrome Mobile WebView", "Android"),
    (chrome(f"{WINDOWS}; Xbox; Xbox One", "Safari/537.36 Edge/44.18363.8131"), "other", "Edge", "Windows"),
    (f"Mozilla/5.0 (PlayStation; PlayStation 5/2.26) {APPLE} Version/13.0 Safari/605.1.15", "other", "Safari", None),
    ('Odd "Agent" 1.0', "other", None, None),
    ("Mozilla/5.0", "other", None, None),
]

IN_APPS = [
    f"{IPHONE} Mobile/22H20 [FBAN/FBIOS;FBAV/540.0.0.39.65;FBSV/18.7]",
    f"{PIXEL_VIEW} [FB_IAB/FB4A;FBAV/540.0.0.39.65;]",
    f"{PIXEL_VIEW} Instagram 408.0.0.51.78 Android (35/15; 420dpi; 1080x2400; Google; Pixel 8)",
    f"{PIXEL_VIEW} MetaIAB Facebook",
    f"{IPHONE} Mobile/15E148 musical_ly_38.5.0 JsSdk/2.0 BytedanceWebview/d8a21c6",
    f"{IPHONE} Mobile/15E148 [LinkedInApp]/9.31.1234",
    f"{IPHONE} Mobile/15E148 [Pinterest/iOS]",
    f"{IPHONE} Mobile/15E148 Twitter for iPhone/10.60",
    f"{IPHONE} Mobile/15E148 Snapchat/13.20.0.40 (like Safari/8620.1.16.10.11, panda)",
    f"{IPHONE} Mobile/15E148 MicroMessenger/8.0.50(0x18003230) NetType/WIFI Language/en",
    f"{IPHONE} GSA/390.0.123456789 Mobile/15E148 Safari/604.1",
    f"{IPHONE} Mobile/15E148 Safari Line/15.1.0",
    f"{PIXEL_VIEW} Viber/24.1.0.0",
]

BOTS = [
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "declared_bot"),
    (f"Mozilla/5.0 {KHTML}; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "declared_bot"),
    (chrome("Linux; Android 6.0.1; Nexus 5X", f"{PHONE} (compatible; Googlebot/2.1)"), "declared_bot"),
    ("MOZILLA/5.0 (COMPATIBLE; GPTBOT/1.2)", "declared_bot"),
    (f"Mozilla/5.0 {KHTML}; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", "declared_bot"),
    ("Mozilla/5.0 (compatible; Yahoo! Slurp)", "declared_bot"),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "declared_bot"),
    ("WhatsApp/2.23.20.0", "declared_bot"),  # fetches a link to show what is behind it
    ("curl/8.5.0", "declared_bot"),
    ("Wget/1.21", "declared_bot"),
    ("python-requests/2.32", "declared_bot"),
    ("Go-http-client/2.0", "declared_bot"),
    ("okhttp/4.12.0", "declared_bot"),
    ("PostmanRuntime/7.43.0", "declared_bot"),
    ("kube-probe/1.31", "declared_bot"),
    ("ELB-HealthChecker/2.0", "declared_bot"),
    ("Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "declared_bot"),
    ("NetNewsWire (RSS Reader; https://netnewswire.com/)", "declared_bot"),
    ("Mozilla/5.0 (compatible; Nobody-has-listed-me/1.0)", "declared_bot"),  # names no system
    ("SomeTool/1.0 (operator@some.example)", "declared_bot"),  # gives an address for complaints
    (CHROME.replace("Chrome", "HeadlessChrome"), "automation"),
    ("Mozilla/5.0 (Unknown; Linux) AppleWebKit/538.1 PhantomJS/2.1.1 Safari/538.1", "automation"),
    (f"{CHROME} Cypress/13.6", "automation"),
    (f"{CHROME} Playwright bot", "automation"),  # the more telling of two reasons
    ("", "empty_user_agent"),
    ("  ", "empty_user_agent"),
    ("-", "empty_user_agent"),
]


@pytest.mark.parametrize(("text", "device", "browser", "system"), PEOPLE)
def test_people_have_a_device_a_browser_and_a_system(
    text: str, device: str, browser: str | None, system: str | None
) -> None:
    assert describe(text) == Agent(device, browser, system, None)


@pytest.mark.parametrize("text", IN_APPS)
def test_browsers_inside_apps_are_people(text: str) -> None:
    assert (describe(text).device_type, describe(text).bot_reason) == ("mobile", None)


@pytest.mark.parametrize(("text", "reason"), BOTS)
def test_programs_are_bots_for_a_reason(text: str, reason: str) -> None:
    assert (describe(text).device_type, describe(text).bot_reason) == ("bot", reason)


@pytest.mark.parametrize(
    "text",
    [
        f"Opera/9.70 (Linux armv7l; turbotabbee/TSV2.0; fr) {KHTML}",
        "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Banca Caboto s.p.a.)",
        chrome("Linux; Android 12; moto g(50) Build/S1RSS32.38-20; wv", PHONE),
        f"{PIXEL_VIEW} CamScanner/4.8.5",
        chrome("Linux; Android 14; Micron X1", PHONE),
        chrome("Linux; Android 14", f"{PHONE} SogouMSE,SogouMobileBrowser/5.2"),
    ],
)
def test_words_that_only_look_like_a_bots_are_peoples(text: str) -> None:
    assert describe(text).bot_reason is None


def test_a_bot_inside_an_apps_name_stays_a_bot_where_it_says_so_itself() -> None:
    assert describe("Instagram 1.0 linkbot/2.0").bot_reason == "declared_bot"


def test_a_source_without_agents_says_nothing() -> None:
    assert describe(None) == Agent(None, None, None, None)


def test_a_table_has_a_row_per_value_in_order() -> None:
    found = agents.lookup(pa.chunked_array([pa.array([CHROME, None]), pa.array(["curl/8"])]))
    assert found.schema == agents.SCHEMA
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (CHROME, "desktop", "Chrome", "Windows", None),
        (None, None, None, None, None),
        ("curl/8", "bot", "curl", None, "declared_bot"),
    ]
    assert agents.lookup(pa.array([], pa.string())).num_rows == 0


def test_an_agent_of_a_million_letters_costs_what_others_cost() -> None:
    describe(CHROME)
    started = time.thread_time()
    assert describe(CHROME + " (compatible; " * 80_000).browser == "Chrome"
    assert time.thread_time() - started < 0.5


@given(st.text())
def test_any_text_is_either_a_persons_or_a_bots(text: str) -> None:
    found = describe(text)
    assert (found.device_type == "bot") == (found.bot_reason is not None)
    assert found.device_type in ("desktop", "mobile", "tablet", "bot", "other")
