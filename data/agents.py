"""User agents of browsers and crawlers in use, with the share of visitors that has each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agent:
    """A browser: share of visitors, device class, factor on load times, and whether an app shows the pages."""

    share: float
    device: str
    load_factor: float
    text: str
    in_app: bool = False


_KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KHTML}"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_ANDROID = f"Mozilla/5.0 (Linux; Android 10; K) {_KHTML}"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) {_APPLE}"
_IPAD = f"Mozilla/5.0 (iPad; CPU OS 18_7 like Mac OS X) {_APPLE}"
_PIXEL = f"Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A; wv) {_KHTML} Version/4.0"

AGENTS = (
    Agent(0.22, "desktop", 0.8, f"{_WINDOWS} Chrome/143.0.0.0 Safari/537.36"),
    Agent(0.06, "desktop", 0.8, f"{_WINDOWS} Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0"),
    Agent(0.07, "desktop", 0.7, f"{_MAC} {_KHTML} Chrome/142.0.0.0 Safari/537.36"),
    Agent(0.06, "desktop", 0.7, f"{_MAC} {_APPLE} Version/26.1 Safari/605.1.15"),
    Agent(0.05, "desktop", 0.9, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:146.0) Gecko/20100101 Firefox/146.0"),
    Agent(0.02, "desktop", 0.9, "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0"),
    Agent(0.20, "mobile", 1.7, f"{_ANDROID} Chrome/143.0.0.0 Mobile Safari/537.36"),
    Agent(0.17, "mobile", 1.4, f"{_IPHONE} Version/26.1 Mobile/15E148 Safari/604.1"),
    Agent(0.03, "mobile", 1.8, f"{_ANDROID} SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36"),
    Agent(0.02, "mobile", 1.5, f"{_IPHONE} CriOS/143.0.7499.92 Mobile/15E148 Safari/604.1"),
    Agent(0.03, "tablet", 1.3, f"{_IPAD} Version/26.1 Mobile/15E148 Safari/604.1"),
    Agent(0.02, "tablet", 1.6, f"Mozilla/5.0 (Linux; Android 14; SM-X710) {_KHTML} Chrome/143.0.0.0 Safari/537.36"),
    Agent(0.03, "mobile", 1.9, f"{_IPHONE} Mobile/22H20 [FBAN/FBIOS;FBAV/540.0.0.39.65;FBSV/18.7]", in_app=True),
    Agent(0.02, "mobile", 2.0, f"{_PIXEL} Chrome/143.0.0.0 Mobile Safari/537.36 Instagram 408.0.0.51.78", in_app=True),
)
CRAWLERS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
)
# It says that it is a browser; only its pace gives it away.
SCRIPT_AGENT = f"Mozilla/5.0 (X11; Linux x86_64) {_KHTML} Chrome/120.0.0.0 Safari/537.36"
