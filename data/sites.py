"""What the made-up sites consist of: pages, how visitors move between them, where they come from, what they carry.

Everything here is invented for this project; the referrers are addresses in use.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

EXIT = "(exit)"


@dataclass(frozen=True)
class PageKind:
    """A group of pages that visitors use alike.

    `dwell_s` and `load_ms` are medians; `scroll` is the share of views that reach 25, 50, 75 and 100 %; `actions` maps
    an event type to the chance that a view leads to it; `link` is what a visitor clicks to come here.
    """

    name: str
    path: str
    title: str
    slugs: tuple[str, ...] = ("",)
    dwell_s: float = 20.0
    load_ms: float = 700.0
    scroll: tuple[float, float, float, float] = (0.4, 0.25, 0.12, 0.05)
    actions: dict[str, float] = field(default_factory=dict)
    link: tuple[str, str] = ("a.home", "Home")


@dataclass(frozen=True)
class Channel:
    """Where a session comes from: its share, referrer, campaign (a query string) and how it lands."""

    share: float
    referrer: str = ""
    query: str = ""
    entry: str = "home"


@dataclass(frozen=True)
class Place:
    """Where visitors are: share, ISO 3166-1 country, region, city."""

    share: float
    country: str
    region: str
    city: str


@dataclass(frozen=True)
class Site:
    """One site; `moves` gives for each kind of page the weights of the next one, `entries` those of the first."""

    name: str
    timezone: str
    currency: str
    kinds: tuple[PageKind, ...]
    moves: dict[str, dict[str, float]]
    entries: dict[str, dict[str, float]]
    channels: tuple[Channel, ...]
    places: tuple[Place, ...]
    hours: tuple[int, ...]  # weight of each local hour
    weekdays: tuple[float, ...]  # Monday first; 1.0 = an average day


ERRORS = (
    ("#reviews", "Request timeout while loading reviews"),
    ("form .message", "Payment failed, please try another card"),
    ("#app", "Unexpected error, please reload"),
    ("img.hero", "Failed to load image"),
)
COMMENTS = (
    "Just what I was looking for.",
    "Could you say more about this?",
    "Thank you!",
    "Not for me.",
    "Great, shared it.",
)


def _combined(first: str, second: str) -> tuple[str, ...]:
    return tuple(f"{a}-{b}" for b in second.split() for a in first.split())


_PRODUCTS = _combined(
    "oak brass linen glass copper wool slate walnut", "lamp chair table mirror rug shelf clock vase stool tray"
)
_CATEGORIES = (
    "lamps",
    "chairs",
    "tables",
    "mirrors",
    "rugs",
    "shelves",
    "clocks",
    "vases",
    "stools",
    "trays",
    "sale",
    "new",
)
_ARTICLES = _combined(
    "late-events exact-counts time-zones slow-pages honest-charts small-tables quiet-alerts old-logs first-users",
    "explained in-practice revisited for-beginners at-scale by-example without-tears measured",
)
_TOPICS = ("data", "web", "design", "teams", "tools")

SHOP = Site(
    name="shop",
    timezone="Europe/Berlin",
    currency="EUR",
    kinds=(
        PageKind("home", "/", "Shop", dwell_s=14, load_ms=820, link=("a.logo", "Home")),
        PageKind(
            "category",
            "/category/{slug}",
            "Category {slug}",
            _CATEGORIES,
            18,
            680,
            (0.7, 0.5, 0.3, 0.12),
            link=("nav a.category", "See all"),
        ),
        PageKind(
            "search",
            "/search?q={slug}",
            "Search {slug}",
            ("lamp", "chair", "rug", "gift", "oak", "clock"),
            12,
            900,
            link=("form.search button", "Search"),
        ),
        PageKind(
            "product",
            "/product/{slug}",
            "Product {slug}",
            _PRODUCTS,
            30,
            940,
            (0.75, 0.5, 0.3, 0.15),
            {"view": 0.3, "like": 0.04, "comment": 0.006, "video_play": 0.05, "add_to_wishlist": 0.03, "error": 0.006},
            ("a.card", "Details"),
        ),
        PageKind(
            "cart",
            "/cart",
            "Cart",
            dwell_s=16,
            load_ms=560,
            actions={"coupon_opened": 0.05},
            link=("button.add-to-cart", "Add to cart"),
        ),
        PageKind(
            "checkout",
            "/checkout",
            "Checkout",
            dwell_s=55,
            load_ms=620,
            actions={"form_start": 0.85, "error": 0.02},
            link=("a.to-checkout", "Check out"),
        ),
        PageKind(
            "confirmation",
            "/checkout/confirmation",
            "Thank you",
            dwell_s=10,
            load_ms=700,
            actions={"purchase": 1.0},
            link=("button.pay", "Pay now"),
        ),
        PageKind("account", "/account/orders", "Orders", dwell_s=20, load_ms=600, link=("a.account", "My orders")),
        PageKind(
            "help",
            "/help/{slug}",
            "Help: {slug}",
            ("shipping", "returns", "payment", "contact"),
            35,
            480,
            link=("footer a.help", "Help"),
        ),
        PageKind(
            "not_found",
            "/old/{slug}",
            "404 Not found",
            ("offer", "winter", "catalogue"),
            6,
            400,
            (0, 0, 0, 0),
            {"error": 1.0},
            ("a.banner", "Offer"),
        ),
    ),
    moves={
        "home": {"category": 38, "search": 14, "product": 14, "account": 4, "help": 2, "not_found": 0.5, EXIT: 27},
        "category": {"product": 52, "category": 14, "search": 5, "home": 4, "not_found": 0.5, EXIT: 24},
        "search": {"product": 50, "search": 14, "category": 10, "home": 3, EXIT: 23},
        "product": {"cart": 15, "product": 22, "category": 19, "search": 7, "home": 4, "help": 2, EXIT: 31},
        "cart": {"checkout": 48, "product": 14, "category": 10, "home": 4, EXIT: 24},
        "checkout": {"confirmation": 56, "cart": 10, "checkout": 4, "help": 5, EXIT: 25},
        "confirmation": {"account": 12, "home": 12, EXIT: 76},
        "account": {"help": 12, "home": 20, "product": 10, EXIT: 58},
        "help": {"home": 15, "account": 12, "help": 12, EXIT: 61},
        "not_found": {"home": 40, "search": 12, EXIT: 48},
    },
    entries={
        "home": {"home": 68, "category": 12, "product": 12, "account": 8},
        "deep": {"home": 14, "category": 30, "product": 50, "help": 4, "not_found": 2},
        "campaign": {"home": 20, "category": 45, "product": 35},
    },
    channels=(
        Channel(0.30),
        Channel(0.30, "https://www.google.com/", entry="deep"),
        Channel(0.05, "https://www.bing.com/", entry="deep"),
        Channel(
            0.11,
            "https://www.google.com/",
            "utm_source=google&utm_medium=cpc&utm_campaign=brand&utm_term=furniture",
            "campaign",
        ),
        Channel(
            0.08, "", "utm_source=newsletter&utm_medium=email&utm_campaign=winter_sale&utm_content=header", "campaign"
        ),
        Channel(
            0.06,
            "https://www.instagram.com/",
            "utm_source=instagram&utm_medium=paid_social&utm_campaign=new_home",
            "campaign",
        ),
        Channel(0.04, "https://www.facebook.com/", entry="deep"),
        Channel(0.03, "https://chatgpt.com/", "utm_source=chatgpt.com", "deep"),
        Channel(0.03, "https://interiors.example/best-lamps", entry="deep"),
    ),
    places=(
        Place(0.24, "DE", "Berlin", "Berlin"),
        Place(0.16, "DE", "Bayern", "München"),
        Place(0.13, "DE", "Hamburg", "Hamburg"),
        Place(0.12, "DE", "Nordrhein-Westfalen", "Köln"),
        Place(0.11, "AT", "Wien", "Wien"),
        Place(0.07, "CH", "Zürich", "Zürich"),
        Place(0.07, "NL", "Noord-Holland", "Amsterdam"),
        Place(0.05, "PL", "Mazowieckie", "Warszawa"),
        Place(0.05, "FR", "Île-de-France", "Paris"),
    ),
    hours=(6, 3, 2, 1, 1, 3, 10, 22, 30, 34, 36, 38, 46, 42, 36, 36, 40, 48, 60, 78, 88, 76, 44, 18),
    weekdays=(1.0, 0.96, 0.95, 0.98, 0.92, 1.02, 1.17),
)

BLOG = Site(
    name="blog",
    timezone="America/New_York",
    currency="USD",
    kinds=(
        PageKind("home", "/", "Blog", dwell_s=12, load_ms=520, link=("a.logo", "Home")),
        PageKind(
            "article",
            "/articles/{slug}",
            "{slug}",
            _ARTICLES,
            85,
            560,
            (0.8, 0.6, 0.42, 0.28),
            {"view": 0.85, "like": 0.09, "comment": 0.02, "share": 0.02, "error": 0.003},
            ("a.read-more", "Read more"),
        ),
        PageKind(
            "topic",
            "/topics/{slug}",
            "Topic {slug}",
            _TOPICS,
            15,
            500,
            (0.6, 0.4, 0.2, 0.1),
            link=("nav a.topic", "Topic"),
        ),
        PageKind(
            "video",
            "/videos/{slug}",
            "Video {slug}",
            _ARTICLES[:12],
            140,
            900,
            (0.2, 0.1, 0, 0),
            {"video_play": 0.8, "like": 0.1, "comment": 0.03},
            ("a.video", "Watch"),
        ),
        PageKind(
            "search",
            "/search?q={slug}",
            "Search {slug}",
            ("spark", "time", "counting", "charts", "logs"),
            12,
            650,
            link=("form.search button", "Search"),
        ),
        PageKind(
            "newsletter",
            "/newsletter",
            "Newsletter",
            dwell_s=25,
            load_ms=430,
            actions={"form_start": 0.6},
            link=("a.subscribe", "Subscribe"),
        ),
        PageKind("about", "/about", "About", dwell_s=30, load_ms=420, link=("footer a.about", "About")),
        PageKind(
            "not_found",
            "/2019/{slug}",
            "404 Not found",
            ("draft", "feed", "talk"),
            6,
            380,
            (0, 0, 0, 0),
            {"error": 1.0},
            ("a.archive", "Archive"),
        ),
    ),
    moves={
        "home": {
            "article": 55,
            "topic": 12,
            "video": 5,
            "search": 4,
            "about": 3,
            "newsletter": 2,
            "not_found": 0.5,
            EXIT: 18,
        },
        "article": {
            "article": 24,
            "home": 9,
            "topic": 7,
            "video": 3,
            "newsletter": 4,
            "about": 1,
            "not_found": 0.4,
            EXIT: 52,
        },
        "topic": {"article": 60, "topic": 10, "home": 6, EXIT: 24},
        "video": {"video": 20, "article": 16, "home": 6, EXIT: 58},
        "search": {"article": 60, "search": 14, EXIT: 26},
        "newsletter": {"home": 22, "article": 22, EXIT: 56},
        "about": {"home": 20, "article": 14, "newsletter": 10, EXIT: 56},
        "not_found": {"home": 34, "search": 12, EXIT: 54},
    },
    entries={
        "home": {"home": 72, "article": 20, "video": 3, "topic": 5},
        "deep": {"article": 82, "home": 6, "topic": 6, "video": 4, "not_found": 2},
        "campaign": {"article": 88, "newsletter": 12},
    },
    channels=(
        Channel(0.24),
        Channel(0.34, "https://www.google.com/", entry="deep"),
        Channel(0.05, "https://duckduckgo.com/", entry="deep"),
        Channel(0.10, "", "utm_source=newsletter&utm_medium=email&utm_campaign=weekly_digest", "campaign"),
        Channel(0.07, "https://t.co/x1", entry="deep"),
        Channel(0.06, "https://news.ycombinator.com/", entry="deep"),
        Channel(
            0.05, "https://www.linkedin.com/", "utm_source=linkedin&utm_medium=social&utm_campaign=authors", "campaign"
        ),
        Channel(0.05, "https://www.perplexity.ai/", entry="deep"),
        Channel(0.04, "https://podcast.example/episodes/12", entry="deep"),
    ),
    places=(
        Place(0.22, "US", "New York", "New York"),
        Place(0.16, "US", "California", "San Francisco"),
        Place(0.12, "US", "Texas", "Austin"),
        Place(0.10, "US", "Washington", "Seattle"),
        Place(0.10, "CA", "Ontario", "Toronto"),
        Place(0.11, "GB", "England", "London"),
        Place(0.07, "IN", "Karnataka", "Bengaluru"),
        Place(0.06, "DE", "Berlin", "Berlin"),
        Place(0.06, "BR", "São Paulo", "São Paulo"),
    ),
    hours=(9, 6, 4, 3, 3, 6, 16, 34, 56, 72, 78, 74, 70, 66, 62, 58, 52, 44, 38, 36, 38, 36, 26, 15),
    weekdays=(1.14, 1.18, 1.16, 1.12, 0.98, 0.68, 0.74),
)


def sites(count: int) -> tuple[Site, ...]:
    """`shop`, `blog`, then further ones of the two sorts: `shop-2`, `blog-2`, …; raises ValueError below one."""
    if count < 1:
        raise ValueError(f"at least one site is needed, got {count}")
    made = []
    for index in range(count):
        site = (SHOP, BLOG)[index % 2]
        made.append(site if index < 2 else replace(site, name=f"{site.name}-{index // 2 + 1}"))
    return tuple(made)
