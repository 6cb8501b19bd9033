"""Which user agents are bots', and why."""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.silver import bots

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"
)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"


def reasons(spark: SparkSession, agents: list[str | None]) -> dict[str | None, str | None]:
    frame = spark.createDataFrame([(agent,) for agent in agents], "agent string")
    return {
        row["agent"]: row["why"]
        for row in frame.select("agent", bots.reason_of_agent(F.col("agent")).alias("why")).collect()
    }


def test_people_are_no_bots(spark: SparkSession) -> None:
    agents: list[str | None] = [
        CHROME,
        f"{IPHONE} Version/26.1 Mobile/15E148 Safari/604.1",
        f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/480.0.0.0;FBDV/iPhone15,2]",
        f"{IPHONE} Mobile/15E148 Instagram 350.0.0.0 (iPhone15,2; iOS 18_7)",
        "Mozilla/5.0 (Linux; Android 14; CUBOT X70) AppleWebKit/537.36 Chrome/143.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0",
        "Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18",
        'Odd "Agent" 1.0',
    ]
    assert reasons(spark, agents) == dict.fromkeys(agents)


def test_a_source_without_user_agents_flags_nobody_but_an_empty_one_is_a_finding(spark: SparkSession) -> None:
    assert reasons(spark, [None, "", "-"]) == {None: None, "": "empty_user_agent", "-": "empty_user_agent"}


def test_crawlers_and_libraries_say_so(spark: SparkSession) -> None:
    agents: list[str | None] = [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0) Chrome/143.0.0.0 Safari/537.36",
        "Mozilla/5.0 (compatible; Baiduspider/2.0)",
        "Mozilla/5.0 (compatible; Yahoo! Slurp)",
        "facebookexternalhit/1.1",
        "MOZILLA/5.0 (COMPATIBLE; GPTBOT/1.2)",
        "curl/8.5.0",
        "Wget/1.21",
        "python-requests/2.32",
        "Go-http-client/2.0",
        "okhttp/4.12.0",
        "UptimeRobot/2.0",
        "Scrapy/2.11",
    ]
    assert reasons(spark, agents) == dict.fromkeys(agents, "declared_bot")


def test_a_browser_driven_by_program_is_automation_even_where_it_also_says_bot(spark: SparkSession) -> None:
    agents: list[str | None] = [
        CHROME.replace("Chrome/", "HeadlessChrome/"),
        "Mozilla/5.0 (Unknown; Linux) AppleWebKit/538.1 PhantomJS/2.1.1 Safari/538.1",
        f"{CHROME} Cypress/13.6",
        f"{CHROME} Playwright bot",
    ]
    assert reasons(spark, agents) == dict.fromkeys(agents, "automation")
