"""Which user agents are not people: they say so, they drive a browser by program, or they say nothing."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

# Words by which crawlers, monitors and libraries name themselves (lower case). Plain words, not one pattern: an
# alternation that is tried at every letter of every agent cost more than the rest of reading a record together.
_DECLARED = (
    *("bot", "crawl", "spider", "slurp", "mediapartners", "feedfetcher", "facebookexternalhit", "archiver", "pingdom"),
    *("uptime", "scrapy", "scraper", "curl/", "wget/", "python-", "libwww", "java/", "okhttp", "go-http-client"),
    *("httpclient", "monitoring", "preview", "validator"),
)
_TELEPHONES = ("cubot",)  # names that hold such a word and are people's
_AUTOMATED = ("headless", "phantomjs", "selenium", "webdriver", "puppeteer", "playwright", "cypress")


def reason_of_agent(user_agent: Column) -> Column:
    """empty_user_agent, automation or declared_bot; null for a person's agent and where the source maps none."""
    agent = F.lower(user_agent)
    return (
        F.when(user_agent.isin("", "-"), F.lit("empty_user_agent"))
        .when(_holds_any(agent, _AUTOMATED), F.lit("automation"))
        .when(_holds_any(agent, _DECLARED) & ~_holds_any(agent, _TELEPHONES), F.lit("declared_bot"))
    )


def _holds_any(text: Column, words: tuple[str, ...]) -> Column:
    return reduce(lambda left, right: left | right, [F.contains(text, F.lit(word)) for word in words])
