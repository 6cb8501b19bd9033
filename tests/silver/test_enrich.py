"""What lookups say about events, joined back to every one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.lake import Lake
from pipelines.silver import canonical
from pipelines.sources import load_source
from pipelines.steps import lookups
from tests.conftest import MakeContext
from tests.rows import Row, records_frame
from tests.runs import new_run
from tests.silver.test_canonical import line

PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/26.1 Mobile/15E148 Safari/604.1"
)
OWN_PAGE = "https://www.shop.example/cart"

# What a record says beside the least, and what comes of it.
CASES: list[tuple[Row, Row]] = [
    ({}, {"is_bot": False, "bot_reason": None, "device_type": None, "channel": None, "country": None}),
    ({"user_agent": ""}, {"is_bot": True, "bot_reason": "empty_user_agent"}),
    ({"user_agent": "curl/8"}, {"is_bot": True, "bot_reason": "declared_bot", "device_type": "bot"}),
    ({"user_agent": PHONE}, {"is_bot": False, "device_type": "mobile", "os": "iOS"}),
    (
        {"page_url": OWN_PAGE, "referrer_url": "https://www.google.com/"},
        {"channel": "Organic Search", "traffic_source": "google", "traffic_medium": "organic"},
    ),
    ({"page_url": OWN_PAGE, "referrer_url": "https://www.shop.example/"}, {"channel": None}),
    ({"page_url": OWN_PAGE, "referrer_url": "https://shop.example/"}, {"channel": None}),
    ({"page_url": OWN_PAGE, "referrer_url": "https://pay.example/"}, {"channel": "Referral"}),
    ({"site_id": "chain", "page_url": OWN_PAGE, "referrer_url": "https://pay.example/"}, {"channel": None}),
    ({"page_url": f"{OWN_PAGE}?gclid=x"}, {"channel": "Paid Search", "traffic_source": "google"}),
    ({"page_url": f"{OWN_PAGE}?utm_source=News&utm_medium=email"}, {"channel": "Email", "utm_source": "News"}),
    ({"page_url": f"{OWN_PAGE}?utm_source=News&utm_medium=email"}, {"traffic_source": "news"}),
    ({"ip": "8.8.8.8"}, {"country": "US"}),
    ({"ip": "8.8.8.8", "country": "FR"}, {"country": "FR"}),
    ({"ip": "192.168.0.1"}, {"country": None}),
]


@pytest.mark.parametrize("many", [False, True], ids=["few", "many"])
@pytest.mark.fault(of="identity", injected="records of bots", holds="flagged with a reason, never dropped")
def test_every_event_gets_what_its_values_say(
    spark: SparkSession, context: MakeContext, tmp_path: Path, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if many:  # then Spark looks for the distinct values
        monkeypatch.setattr(Lake, "fits_page", lambda self, rows: False)
    made = context(sites={"chain": {"domains": ["pay.example"]}})
    lines = [line(event_id=str(number), **given) for number, (given, _) in enumerate(CASES)]
    records = canonical.build(records_frame(spark, "web", [*lines, "not json"]), load_source("web"), context=made)
    run = new_run(spark, tmp_path, made)
    rows = lookups.enriched(run, records, len(lines)).collect()
    found: dict[str, dict[str, Any]] = {row["event_id"]: row.asDict() for row in rows if row["reason"] is None}
    assert len(rows) == len(lines) + 1
    for number, (given, expected) in enumerate(CASES):
        assert {name: found[str(number)][name] for name in expected} == expected, given
