"""funnel_daily: how far journeys got."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract
from pipelines.funnels import load_funnels
from pipelines.gold import funnel_daily
from tests.conftest import MakeContext
from tests.rows import Row, day, events_frame, utc

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
    rows = [(*row, None, None) for row in expected]  # presence has no times
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
    built = funnel_daily.build(events, context=replace(context(), funnels=load_funnels()))
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
