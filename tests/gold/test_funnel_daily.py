"""funnel_daily: how far journeys got."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.funnels import load_funnels
from pipelines.gold import funnel_daily
from tests.conftest import MakeContext
from tests.model import run as run_model
from tests.model.strategies import FUNNELS, SITES, random_events, small_settings
from tests.rows import Row, day, events_frame, utc
from tests.runs import bring_up_to_date, content, differences, in_key_order, land

FIFTH = day("2026-01-05")
SHOPPING = {
    "steps": [
        {"name": "See", "event_type": "page_view"},
        {"name": "Cart", "page": "^/cart(/|$)"},
        {"name": "Buy", "event_type": "purchase"},
    ]
}


def check(built: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Expected: site, date, funnel, number, step, journeys, count, drop-off and its rate, step and conversion rate."""
    rows = [(*row[:3], "(all)", *row[3:], None, None) for row in expected]  # presence has no times
    frame = built.sparkSession.createDataFrame(rows, contract("gold.funnel_daily").ddl)
    assert_df_equality(built, frame, ignore_row_order=True, ignore_nullable=True)


def journey(session_id: str, *events: tuple[str, str | None], **more: Any) -> list[Row]:
    return [
        {"session_id": session_id, "event_id": f"{session_id}-{i}", "event_type": kind, "page_path": page, **more}
        for i, (kind, page) in enumerate(events)
    ]


def test_counts_drop_off_and_rates_of_a_leaking_funnel(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(
        spark,
        journey("s1", ("page_view", "/"), ("page_view", "/cart"), ("purchase", "/checkout"))
        + journey("s2", ("page_view", "/"), ("page_view", "/cart/items"))
        + journey("s3", ("page_view", "/"), ("click", "/cartoons"))
        + journey("s4", ("like", None)),
    )
    check(
        funnel_daily.build(events, context=context(funnels={"shopping": SHOPPING})),
        [
            ("shop", FIFTH, "shopping", 1, "See", 4, 3, 1, 1 / 3, 3 / 4, 3 / 4),
            ("shop", FIFTH, "shopping", 2, "Cart", 4, 2, 1, 1 / 2, 2 / 3, 2 / 4),
            ("shop", FIFTH, "shopping", 3, "Buy", 4, 1, 1, 0.0, 1 / 2, 1 / 4),
        ],
    )


def test_presence_knows_no_order_and_more_may_reach_a_later_step(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(
        spark,
        journey("s1", ("purchase", "/checkout"), ("page_view", "/"))  # never saw the cart, bought before looking
        + journey("s2", ("purchase", "/checkout"))
        + journey("s3", ("click", "/cart")),
    )
    check(
        funnel_daily.build(events, context=context(funnels={"shopping": SHOPPING})),
        [
            ("shop", FIFTH, "shopping", 1, "See", 3, 1, 2, 0.0, 1 / 3, 1 / 3),
            ("shop", FIFTH, "shopping", 2, "Cart", 3, 1, 0, 0.0, 1.0, 1 / 3),
            ("shop", FIFTH, "shopping", 3, "Buy", 3, 2, 0, 0.0, 2.0, 2 / 3),
        ],
    )


def test_nobody_in_the_funnel_gives_zeros_for_every_step(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(spark, journey("s1", ("like", None)))
    check(
        funnel_daily.build(events, context=context(funnels={"shopping": SHOPPING})),
        [
            ("shop", FIFTH, "shopping", 1, "See", 1, 0, 1, 0.0, 0.0, 0.0),
            ("shop", FIFTH, "shopping", 2, "Cart", 1, 0, 0, 0.0, 0.0, 0.0),
            ("shop", FIFTH, "shopping", 3, "Buy", 1, 0, 0, 0.0, 0.0, 0.0),
        ],
    )


def test_a_step_may_ask_for_properties_and_all_it_asks_for_must_hold(spark: SparkSession, context: MakeContext) -> None:
    play = {"name": "Watch", "event_type": "video_play", "page": "trailer", "properties": {"quality": "hd"}}
    events = events_frame(
        spark,
        journey("s1", ("video_play", "/trailer/1"), properties={"quality": "hd", "length": "30"})
        + journey("s2", ("video_play", "/trailer/1"), properties={"quality": "sd"})
        + journey("s3", ("video_play", "/trailer/1"), properties={})
        + journey("s4", ("video_play", "/film"), properties={"quality": "hd"})
        + journey("s5", ("click", "/trailer/1"), properties={"quality": "hd"}),
    )
    check(
        funnel_daily.build(events, context=context(funnels={"watching": {"steps": [play]}})),
        [("shop", FIFTH, "watching", 1, "Watch", 5, 1, 4, 0.0, 1 / 5, 1 / 5)],
    )


def test_a_journey_belongs_to_the_date_it_started_and_excluded_events_to_none(
    spark: SparkSession, context: MakeContext
) -> None:
    events = events_frame(
        spark,
        journey("s1", ("click", "/"), event_time=utc("2026-01-05 23:59:00"))
        + journey("s1", ("page_view", "/"), event_time=utc("2026-01-06 00:01:00"), session_date=FIFTH)
        + journey("bot", ("page_view", "/"), is_countable=False),
    )
    see = {"steps": SHOPPING["steps"][:1]}
    check(
        funnel_daily.build(events, context=context(funnels={"seeing": see})),
        [("shop", FIFTH, "seeing", 1, "See", 1, 1, 0, 0.0, 1.0, 1.0)],
    )


def test_a_funnel_limited_to_sites_is_absent_elsewhere(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(
        spark, journey("s1", ("page_view", "/"), site_id="shop") + journey("s1", ("page_view", "/"), site_id="blog")
    )
    see = {"steps": SHOPPING["steps"][:1]}
    built = funnel_daily.build(events, context=context(funnels={"all": see, "ours": {**see, "sites": ["shop"]}}))
    check(
        built,
        [
            ("shop", FIFTH, "all", 1, "See", 1, 1, 0, 0.0, 1.0, 1.0),
            ("shop", FIFTH, "ours", 1, "See", 1, 1, 0, 0.0, 1.0, 1.0),
            ("blog", FIFTH, "all", 1, "See", 1, 1, 0, 0.0, 1.0, 1.0),
        ],
    )


def test_the_stage_funnel_that_ships_follows_a_purchase_by_its_urls(spark: SparkSession, context: MakeContext) -> None:
    bought = ["/", "/category/shoes", "/products/7", "/cart", "/checkout", "/checkout/confirmation"]
    events = events_frame(
        spark,
        journey("s1", *[("page_view", page) for page in bought])
        + journey("s2", *[("page_view", page) for page in bought[:3]]),
    )
    built = funnel_daily.build(events, context=replace(context(), funnels=load_funnels())).where("funnel = 'stages'")
    check(
        built,
        [
            ("shop", FIFTH, "stages", 1, "Entry", 2, 2, 0, 0.0, 1.0, 1.0),
            ("shop", FIFTH, "stages", 2, "Browse", 2, 2, 0, 0.0, 1.0, 1.0),
            ("shop", FIFTH, "stages", 3, "Product", 2, 2, 0, 0.5, 1.0, 1.0),
            ("shop", FIFTH, "stages", 4, "Cart", 2, 1, 1, 0.0, 0.5, 0.5),
            ("shop", FIFTH, "stages", 5, "Checkout", 2, 1, 0, 0.0, 1.0, 0.5),
            ("shop", FIFTH, "stages", 6, "Confirmation", 2, 1, 0, 0.0, 1.0, 0.5),
        ],
    )


def test_without_steps_or_without_journeys_there_are_no_rows(spark: SparkSession, context: MakeContext) -> None:
    one = events_frame(spark, journey("s1", ("page_view", "/")))
    check(funnel_daily.build(one, context=context(funnels={})), [])
    check(funnel_daily.build(one, context=context(funnels={"empty": {"steps": []}})), [])
    check(funnel_daily.build(events_frame(spark, []), context=context(funnels={"shopping": SHOPPING})), [])


# --- paths ----------------------------------------------------------------------------------------------------------

BUYING = {"mode": "ordered", "steps": [{"name": "Look", "page": "^/p"}, {"name": "Buy", "event_type": "purchase"}]}
TIMES = ("breakdown", "step", "journeys", "count", "drop_off", "drop_off_rate", "step_rate", "conversion_rate")


def at(time: str, kind: str, page: str | None = None, **more: Any) -> Row:
    return {"event_time": utc(f"2026-01-{time}"), "event_type": kind, "page_path": page, **more}


def rows(built: DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in built.select(*columns).collect())


def test_a_path_is_measured_from_its_first_step_and_converts_from_it(spark: SparkSession, context: MakeContext) -> None:
    events = []
    for seconds in (10, 20, 40, 50):  # four that buy, one that only looks, one that only buys, one that does neither
        session = {"session_id": f"s{seconds}"}
        events += [at("05 12:00:00", "page_view", "/p", **session), at(f"05 12:00:{seconds}", "purchase", **session)]
    events += [at("05 12:00:00", "page_view", "/p", session_id="looks")]
    events += [at("05 12:00:00", "purchase", session_id="buys"), at("05 12:00:00", "click", session_id="else")]
    built = funnel_daily.build(events_frame(spark, events), context=context(funnels={"buying": BUYING}))
    assert rows(built, *TIMES, "median_seconds", "p90_seconds") == [
        ("(all)", "Buy", 7, 4, 1, 0.0, 4 / 5, 4 / 5, 30.0, 47.0),
        ("(all)", "Look", 7, 5, 2, 1 / 5, 5 / 7, 1.0, 0.0, 0.0),
    ]


def test_nobody_on_the_path_gives_zeros_and_no_times(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(spark, [at("05 12:00:00", "purchase")])
    built = funnel_daily.build(events, context=context(funnels={"buying": BUYING}))
    assert rows(built, *TIMES, "median_seconds", "p90_seconds") == [
        ("(all)", "Buy", 1, 0, 0, 0.0, 0.0, 0.0, None, None),
        ("(all)", "Look", 1, 0, 1, 0.0, 0.0, 0.0, None, None),
    ]


def test_strict_sees_every_event_of_the_session_and_excluded_journeys_reach_nothing(
    spark: SparkSession, context: MakeContext
) -> None:
    events = events_frame(
        spark,
        [
            at("05 12:00:00", "page_view", "/p", session_id="s1"),
            at("05 12:00:01", "like", session_id="s1"),
            at("05 12:00:02", "purchase", session_id="s1"),
        ],
    )
    funnels = {
        "ordered": BUYING,
        "strict": {**BUYING, "mode": "strict"},
        "unliked": {**BUYING, "exclude": [{"event_type": "like", "between": [1, 2]}]},
    }
    built = funnel_daily.build(events, context=context(funnels=funnels))
    assert rows(built, "funnel", "step_number", "journeys", "count") == [
        ("ordered", 1, 1, 1),
        ("ordered", 2, 1, 1),
        ("strict", 1, 1, 1),
        ("strict", 2, 1, 0),
        ("unliked", 1, 1, 0),
        ("unliked", 2, 1, 0),
    ]


def test_a_breakdown_is_the_first_touch_and_its_parts_add_up(spark: SparkSession, context: MakeContext) -> None:
    first = {"channel": "Referral", "traffic_source": "news"}
    second = {"channel": "Email", "traffic_source": "shop", "utm_campaign": "sale"}
    events = events_frame(
        spark,
        [
            at("05 12:00:00", "session_start", session_id="s1", device_type=None),
            at("05 12:00:00", "page_view", "/p", session_id="s1", device_type="mobile", is_entry=True, **first),
            at("05 12:00:02", "purchase", session_id="s1", device_type="desktop", **second),
            at("05 12:00:00", "page_view", "/p", session_id="s2", is_entry=True, **second),
            at("05 12:00:00", "page_view", "/p", session_id="s3", is_entry=True),
            at("05 12:00:01", "page_view", "/", session_id="s3", **first),  # after the entry
        ],
    )
    names = ("traffic_source", "utm_campaign", "device_type")
    built = funnel_daily.build(
        events, context=context(funnels={name: {**BUYING, "breakdown": name} for name in names})
    ).where("step_number = 2")
    assert rows(built, "funnel", "breakdown", "journeys", "count") == [
        ("device_type", "(not set)", 2, 0),
        ("device_type", "mobile", 1, 1),
        ("traffic_source", "(direct)", 1, 0),
        ("traffic_source", "news", 1, 1),
        ("traffic_source", "shop", 1, 0),
        ("utm_campaign", "(not set)", 2, 1),  # the first touch had none, whatever came later
        ("utm_campaign", "sale", 1, 0),
    ]


def test_a_person_counts_once_a_date_on_which_their_best_attempt_starts(
    spark: SparkSession, context: MakeContext
) -> None:
    events = events_frame(
        spark,
        [
            at("05 23:00:00", "page_view", "/p", session_id="s1", device_type="mobile"),
            at("05 23:10:00", "page_view", "/p", session_id="s1", device_type="desktop"),
            at("06 01:00:00", "page_view", "/p", session_id="s2", device_type="desktop"),
            at("06 23:00:00", "purchase", session_id="s3"),  # a day after the first look, the window's last instant
            at("06 23:00:01", "purchase", session_id="s3", visitor_id="bob"),
        ],
    )
    person = {**BUYING, "scope": "person", "window_seconds": 86_400, "breakdown": "device_type"}
    built = funnel_daily.build(events, context=context(funnels={"person": person}))
    assert rows(built, "date", "breakdown", "step_number", "journeys", "count", "median_seconds") == [
        (FIFTH, "mobile", 1, 1, 1, 0.0),
        (FIFTH, "mobile", 2, 1, 1, 86_400.0),
        (day("2026-01-06"), "(not set)", 1, 1, 0, None),
        (day("2026-01-06"), "(not set)", 2, 1, 0, None),
        (day("2026-01-06"), "desktop", 1, 1, 1, 0.0),
        (day("2026-01-06"), "desktop", 2, 1, 1, 79_200.0),
    ]


def test_what_comes_before_the_slice_changes_nothing_in_it(spark: SparkSession, context: MakeContext) -> None:
    person = {**BUYING, "scope": "person", "window_seconds": 2 * 86_400}
    made = context(funnels={"person": person})
    events = [
        at("04 12:00:00", "page_view", "/p"),
        at("05 12:00:00", "page_view", "/p"),
        at("06 12:00:00", "purchase"),
        at("09 12:00:00", "page_view", "/p"),
    ]
    whole = rows(funnel_daily.build(events_frame(spark, events), context=made).where("date = '2026-01-05'"), *TIMES)
    assert made.funnels.days_ahead == 4
    part = rows(funnel_daily.build(events_frame(spark, events[1:]), context=made).where("date = '2026-01-05'"), *TIMES)
    assert part == whole
    assert [row[3] for row in whole] == [1, 1]


# --- at random ------------------------------------------------------------------------------------------------------


def test_random_events_give_the_models_rows(spark: SparkSession, context: MakeContext) -> None:
    rng = random.Random(11)
    result = run_model(random_events(rng, 160), SITES, FUNNELS, small_settings())
    columns = contract("silver.events").column_names
    events = [{name: value for name, value in row.items() if name in columns} for row in result["silver.events"]]
    built = funnel_daily.build(events_frame(spark, events), context=replace(context(), funnels=FUNNELS))
    found = in_key_order("gold.funnel_daily", [row.asDict() for row in built.collect()])
    expected = in_key_order("gold.funnel_daily", result["gold.funnel_daily"])
    assert differences(found, expected) == []
    for name in ("buy_ordered", "buy_strict", "buy_unordered", "buy_person"):
        assert any(row["funnel"] == name and row["step_number"] == 2 and row["count"] for row in found), name


def test_the_last_step_of_a_funnel_shorter_than_another_loses_nobody(spark: SparkSession, context: MakeContext) -> None:
    events = events_frame(spark, [at("05 12:00:00", "page_view", "/p"), at("05 12:00:01", "purchase")])
    built = funnel_daily.build(events, context=context(funnels={"buying": BUYING, "shopping": SHOPPING}))
    assert rows(built, "funnel", "step_number", "count", "drop_off_rate") == [
        *[("buying", 1, 1, 0.0), ("buying", 2, 1, 0.0)],
        *[("shopping", 1, 1, 1.0), ("shopping", 2, 0, 0.0), ("shopping", 3, 1, 0.0)],
    ]


# --- by arrival -----------------------------------------------------------------------------------------------------


def test_an_event_that_arrives_later_completes_an_attempt_of_an_earlier_date(
    spark: SparkSession, context: MakeContext, tmp_path: Path
) -> None:
    person = {**BUYING, "scope": "person", "window_seconds": 2 * 86_400}
    made = context(funnels={"person": person})
    look = {"event_id": "look", "event_type": "page_view", "page_path": "/p", "event_time": "2026-01-05T12:00:00Z"}
    buy = {"event_id": "buy", "event_type": "purchase", "event_time": "2026-01-07T12:00:00Z"}
    found = []
    for number, event in enumerate((look, buy)):
        line = json.dumps({"site_id": "shop", "anonymous_id": "ann", **event})
        landing = land(tmp_path / "landing", f"{number}.jsonl", [line]).parent
        bring_up_to_date(spark, tmp_path / "lake", made, landing, "gold.funnel_daily")
        of_table = content(tmp_path / "lake", "gold.funnel_daily")
        found.append([(row["date"], row["step_number"], row["count"]) for row in of_table])
    seventh = day("2026-01-07")
    assert found == [[(FIFTH, 1, 1), (FIFTH, 2, 0)], [(FIFTH, 1, 1), (FIFTH, 2, 1), (seventh, 1, 0), (seventh, 2, 0)]]
