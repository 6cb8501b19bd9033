"""Raw records → canonical events with a verdict. One Spark job reads the cases of most tables below."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from pipelines.silver import canonical
from pipelines.sources import load_source
from tests.conftest import MakeContext
from tests.rows import day, records_frame

Judge = dict[str, Row]


def line(**changes: Any) -> str:
    """A record of the `web` source that is fine but for the changes; None leaves a field out."""
    record = {
        "site_id": "shop",
        "event_id": "e1",
        "event_type": "click",
        "event_time": "2026-01-05T12:00:00Z",
        "anonymous_id": "a-1",
        **changes,
    }
    return json.dumps({name: value for name, value in record.items() if value is not None})


FINE = line()
FINE_OBJECT = json.loads(FINE)

MALFORMED = {
    "blank": "",
    "only spaces": " \t ",
    "an empty array": "[]",
    "an array of an object": f"[{FINE}]",
    "two objects": f"{FINE}{FINE}",
    "two objects with a space": f"{FINE} {FINE}",
    "two objects with a comma": f"{FINE},{FINE}",
    "an object and null": f"{FINE},null",
    "a trailing comma": f"{FINE},",
    "trailing text": f"{FINE} and more",
    "a bracket too much": f"{FINE}]",
    "text behind a bracket": f"{FINE}] and more",
    "an object in brackets of its own": f"{FINE}],[{FINE}",
    "truncated": FINE[:-20],
    "truncated by its last brace": FINE[:-1],
    "a number": "12",
    "a text": '"click"',
    "null": "null",
    "no JSON": "site_id=shop",
}

REFUSED = [
    (line(site_id=None), "bad_required_field", "site_id is missing"),
    (line(site_id=" "), "bad_required_field", "site_id is missing"),
    (line(event_type=None), "bad_required_field", "event_type is missing"),
    (line(anonymous_id=None), "missing_identity", "no anonymous_id, user_id or client session id"),
    (line(anonymous_id="", user_id=" "), "missing_identity", "no anonymous_id, user_id or client session id"),
    (line(event_time=None), "missing_timestamp", "event_time is missing"),
    (line(event_time=""), "missing_timestamp", "event_time is missing"),
    (line(event_time="yesterday"), "bad_timestamp", "cannot be read: yesterday"),
    (line(event_time="x" * 300), "bad_timestamp", "cannot be read: " + "x" * 100),
    (line(event_time="1999-12-31T23:59:59Z"), "bad_timestamp", "before the earliest time: 1999-12-31T23:59:59Z"),
    (line(event_time="2026"), "bad_timestamp", "before the earliest time: 2026"),
    (
        line(event_time="2026-01-06T12:00:00.001Z", received_at="2026-01-05T12:00:00Z"),
        "future_timestamp",
        "after it was received: 2026-01-06T12:00:00.001Z",
    ),
    (line(site_id="s" * 201), "contract_violation", "site_id_short_enough"),
    # The first thing wrong, in the order of this table, is the reason.
    (line(site_id=None, anonymous_id=None, event_time="x"), "bad_required_field", "site_id is missing"),
]

ACCEPTED = [
    FINE,
    line(event_time="2000-01-01T00:00:00Z"),
    line(event_time="2026-01-06T12:00:00Z", received_at="2026-01-05T12:00:00Z"),  # by the tolerance of a day
    line(event_time="2031-01-01T00:00:00Z"),  # a source without received_at sets no tolerance
    line(site_id="s" * 200),
]

OPTIONAL = [
    ("load_time_ms", "fast", None),
    ("load_time_ms", -1, None),
    ("load_time_ms", 12.4, 12),
    ("scroll_depth_pct", 101, None),
    ("scroll_depth_pct", "100.0", 100),
    ("value", "1,50", None),
    ("value", "1.23456", Decimal("1.2346")),
    ("sequence", "first", None),
    ("received_at", "just now", None),
]

PAGES = [
    ("https://Shop.Example/A/b?x=1#top", "/A/b", "shop.example"),
    ("https://shop.example", "/", "shop.example"),
    ("https://shop.example?x=1", "/", "shop.example"),
    ("https://ann:secret@shop.example:8443/p", "/p", "shop.example"),
    ("//cdn.example/p", "/p", "cdn.example"),
    ("/only/a/path?q=https://x.example/#part", "/only/a/path", None),
    ("?q=1", "/", None),
    ("", None, None),
    (None, None, None),
]

CAMPAIGNS = [
    ("https://x.example/?utm_source=a&utm_medium=b+c&utm_campaign=d%20%26%C3%A9", ("a", "b c", "d &é")),
    ("https://x.example/?utm_medium=%zz&utm_source=&q=1#utm_campaign=x", (None, "%zz", None)),
    ("https://x.example/?my_utm_source=a", (None, None, None)),
    ("/p?q=1&utm_source=a#top", ("a", None, None)),
]

TYPES = [
    ({"event_type": "PageView"}, "page_view", None),
    ({"event_type": "CLICK"}, "click", None),
    ({"event_type": "click", "event_name": "menu"}, "click", "menu"),
    ({"event_type": "Share"}, "custom_event", "Share"),
    ({"event_type": "Share", "event_name": "menu"}, "custom_event", "menu"),
]

IDENTITIES = [
    ({"anonymous_id": "a", "user_id": "u", "session_id": "s"}, "a", "u"),
    ({"anonymous_id": None, "user_id": "u", "session_id": "s"}, "u", "u"),
    ({"anonymous_id": "a", "user_id": None, "session_id": "s"}, "a", "a"),
    ({"anonymous_id": None, "user_id": None, "session_id": "s"}, "s", "s"),
]

TEST_USERS = [
    ({"user_id": "test-1"}, True),
    ({"user_id": "contest-1"}, False),
    ({"user_id": None}, False),
    ({"user_id": "ann", "is_test_user": True}, True),
    ({"user_id": "test-1", "is_test_user": False}, True),
    ({"site_id": "open", "user_id": "test-1"}, False),  # a site without a pattern
    ({"site_id": "open", "user_id": "ann", "is_test_user": "yes"}, True),
]

DATES = [
    ("shop", "2026-01-05T22:59:59Z", "2026-01-05", "2026-01-05"),
    ("shop", "2026-01-05T23:00:00Z", "2026-01-06", "2026-01-05"),
    ("shop", "2026-07-05T22:00:00Z", "2026-07-06", "2026-07-05"),  # summer time
    ("west", "2026-01-06T07:59:59Z", "2026-01-05", "2026-01-06"),
    ("unlisted", "2026-01-05T23:59:59Z", "2026-01-05", "2026-01-05"),
]

UNKNOWN = line(plan="pro", nested={"b": [1]}, properties={"a": "1"})
CLASHING = line(value="cheap", properties={"value": "of the page", "a": None}, plan="pro")
TWICE = FINE[:-1] + ', "user_id": "first", "plan": "a", "plan": "b", "user_id": "last", "properties": {"k": 1, "k": 2}}'
NO_MAP = line(properties="free text")

# Events without an id of their own, by what they say; the first three say the same.
SAME = [
    line(event_id=None, value="1.5", properties={"a": "1", "b": "2"}),
    line(event_id=" ", properties={"b": "2", "a": "1"}, value=1.50),
    line(event_id=None, event_time=1767614400, value=1.5, properties={"a": 1, "b": 2}, user_agent="curl/8"),
]
OTHERS = [
    line(event_id=None, value="1.5", properties={"a": "1"}),
    line(event_id=None, value="1.6", properties={"a": "1", "b": "2"}),
    line(event_id=None, value="1.5", properties={"a": "1", "b": "2"}, event_time="2026-01-05T12:00:00.000001Z"),
    line(event_id=None, value="1.5", properties={"a": "1", "b": "2"}, user_id="u"),
    line(event_id=None, value="1.5", properties={"a": "1", "b": "2"}, site_id="west"),
    line(event_id=None, value="1.5", properties={"a": "1", "b": "2"}, page_url="/p"),
    line(event_id=None, value="1.5", properties={"a": "1", "b": "2"}, element_text="x"),
    line(event_id=None, value="1.5", properties={"a": "1", "b": "2"}, element_selector="x"),
    line(event_id=None, value="1.5", properties={"a": "1", "b": "2"}, plan="pro"),
]


@pytest.fixture(scope="module")
def judged(spark: SparkSession, context: MakeContext) -> Judge:
    """The verdict on each line of the tables above."""
    lines = [
        *MALFORMED.values(),
        *[raw for raw, _, _ in REFUSED],
        *ACCEPTED,
        UNKNOWN,
        CLASHING,
        TWICE,
        NO_MAP,
        *SAME,
        *OTHERS,
    ]
    lines += [line(**{name: value}) for name, value, _ in OPTIONAL]
    lines += [line(page_url=url) for url, *_ in (*PAGES, *CAMPAIGNS)] + [
        line(page_url=CAMPAIGNS[0][0], utm_source="own")
    ]
    tables: list[list[Any]] = [[*TYPES], [*IDENTITIES], [*TEST_USERS]]
    given: list[dict[str, Any]] = [case[0] for table in tables for case in table]
    lines += [line(**changes) for changes in given]
    lines += [line(site_id=site, event_time=time) for site, time, *_ in DATES]
    lines += [f"\ufeff{line(event_id='bom')}", f"{line(event_id='cr')}\r", f"  {line(event_id='spaces')} \t"]
    rule = {"user_id_pattern": "^test[-_]"}
    sites = {
        "shop": {"timezone": "Europe/Berlin", "test_users": rule},
        "west": {"timezone": "America/Los_Angeles", "test_users": rule},
        "open": {},
    }
    made = context(sites=sites)
    frame = records_frame(spark, "web", dict.fromkeys(lines))
    rows = canonical.build(frame, load_source("web"), context=made).collect()
    assert len(rows) == len(set(lines))
    return {row["raw"]: row for row in rows}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.fault(
    of="records",
    injected="arrays, two objects in a line, trailing text, truncated JSON",
    holds="a dead letter `malformed`, never half a record",
)
def test_a_line_that_is_not_one_object_is_malformed(judged: Judge, kind: str) -> None:
    verdict = judged[MALFORMED[kind]]
    assert (verdict["reason"], verdict["detail"]) == ("malformed", "not one JSON object")


@pytest.mark.parametrize(("raw", "reason", "detail"), REFUSED)
@pytest.mark.fault(
    of="records",
    injected="a missing or unusable site, type, identity or time",
    holds="a dead letter with the first reason that holds",
)
def test_a_record_is_refused_with_its_reason(judged: Judge, raw: str, reason: str, detail: str) -> None:
    assert (judged[raw]["reason"], judged[raw]["detail"]) == (reason, detail)


@pytest.mark.parametrize("raw", ACCEPTED)
def test_a_record_at_the_edge_is_accepted(judged: Judge, raw: str) -> None:
    assert (judged[raw]["reason"], judged[raw]["detail"]) == (None, None)


@pytest.mark.parametrize(("name", "given", "expected"), OPTIONAL)
@pytest.mark.fault(
    of="drift",
    injected="an optional field whose type changed",
    holds="it is null, counted, and its raw value stays in `properties`; the record is accepted",
)
def test_an_optional_value_is_cast_or_kept_in_properties(judged: Judge, name: str, given: Any, expected: Any) -> None:
    event = judged[line(**{name: given})]
    kept = {name: str(given)} if expected is None else {}
    assert (event["reason"], event[name], event["uncast"] or {}, event["properties"]) == (None, expected, kept, kept)


@pytest.mark.fault(
    of="drift", injected="a field that the mapping does not know", holds="it stays in `properties` and is reported"
)
def test_new_fields_are_kept_in_properties_and_reported(judged: Judge) -> None:
    event = judged[UNKNOWN]
    assert event["properties"] == {"a": "1", "plan": "pro", "nested": '{"b":[1]}'}
    assert sorted(event["new_fields"]) == ["nested", "plan"]
    assert judged[FINE]["new_fields"] is None


def test_properties_of_the_record_stand_before_what_is_kept_beside_them(judged: Judge) -> None:
    event = judged[CLASHING]
    assert event["properties"] == {"value": "of the page", "a": None, "plan": "pro"}
    assert event["uncast"] == {"value": "cheap"}


@pytest.mark.fault(
    of="records", injected="a record that holds a name twice", holds="the last value stands, nobody's run stops"
)
def test_of_a_name_that_a_record_holds_twice_the_last_value_stands(judged: Judge) -> None:
    event = judged[TWICE]
    assert (event["reason"], event["user_id"], event["properties"]) == (None, "last", {"k": "2", "plan": "b"})


@pytest.mark.fault(
    of="drift",
    injected="`properties` that is text instead of an object",
    holds="it is kept whole; the record is accepted",
)
def test_properties_that_are_no_object_are_kept_whole(judged: Judge) -> None:
    assert judged[NO_MAP]["properties"] == {"properties": "free text"}


@pytest.mark.parametrize(("url", "path", "host"), PAGES)
def test_path_and_host_come_from_the_address(judged: Judge, url: str | None, path: str, host: str) -> None:
    event = judged[line(page_url=url)]
    assert (event["page_path"], event["page_host"]) == (path, host)


@pytest.mark.parametrize(("url", "expected"), CAMPAIGNS)
def test_the_campaign_comes_from_the_address(judged: Judge, url: str, expected: tuple[str | None, ...]) -> None:
    event = judged[line(page_url=url)]
    assert (event["utm_source"], event["utm_medium"], event["utm_campaign"]) == expected


def test_a_campaign_field_stands_before_the_address(judged: Judge) -> None:
    event = judged[line(page_url=CAMPAIGNS[0][0], utm_source="own")]
    assert (event["utm_source"], event["utm_medium"]) == ("own", "b c")


@pytest.mark.parametrize(("changes", "type_", "name"), TYPES)
@pytest.mark.fault(
    of="drift", injected="an event type that nobody has heard of", holds="a custom event that keeps its name"
)
def test_an_unknown_type_is_a_custom_event_that_keeps_its_name(
    judged: Judge, changes: dict[str, Any], type_: str, name: str | None
) -> None:
    event = judged[line(**changes)]
    assert (event["event_type"], event["event_name"]) == (type_, name)


@pytest.mark.parametrize(("changes", "visitor", "person"), IDENTITIES)
def test_visitor_and_person_follow_the_ids_there_are(
    judged: Judge, changes: dict[str, Any], visitor: str, person: str
) -> None:
    event = judged[line(**changes)]
    assert (event["visitor_id"], event["person_id"]) == (visitor, person)


@pytest.mark.parametrize(("changes", "expected"), TEST_USERS)
def test_test_users_are_marked_by_the_record_or_by_the_sites_pattern(
    judged: Judge, changes: dict[str, Any], expected: bool
) -> None:
    assert judged[line(**changes)]["is_test_user"] is expected


@pytest.mark.parametrize(("site", "time", "local", "in_utc"), DATES)
@pytest.mark.fault(
    of="time", injected="events around midnight, summer time and other zones", holds="the date on the site's own clock"
)
def test_the_date_is_the_sites_own(judged: Judge, site: str, time: str, local: str, in_utc: str) -> None:
    event = judged[line(site_id=site, event_time=time)]
    assert (event["event_date"], event["event_utc_date"]) == (day(local), day(in_utc))


@pytest.mark.parametrize(
    ("raw", "event_id"),
    [
        (f"\ufeff{line(event_id='bom')}", "bom"),
        (f"{line(event_id='cr')}\r", "cr"),
        (f"  {line(event_id='spaces')} \t", "spaces"),
    ],
)
@pytest.mark.fault(
    of="records", injected="a byte order mark, blanks or `\\r` around a record", holds="the same event as without them"
)
def test_what_stands_around_a_record_is_no_part_of_it(judged: Judge, raw: str, event_id: str) -> None:
    event = judged[raw]
    assert (event["reason"], event["event_id"]) == (None, event_id)
    assert event["record_hash"] == hashlib.md5(raw.encode()).hexdigest()


def test_the_sources_own_id_stands(judged: Judge) -> None:
    assert judged[FINE]["event_id"] == "e1"


@pytest.mark.fault(
    of="duplicates",
    injected="the same event without an id, sent twice with its fields in another order",
    holds="one event",
)
def test_without_an_id_the_same_content_is_the_same_event(judged: Judge) -> None:
    assert len({judged[raw]["event_id"] for raw in SAME}) == 1


def test_without_an_id_other_content_is_another_event(judged: Judge) -> None:
    ids = [judged[raw]["event_id"] for raw in (SAME[0], *OTHERS)]
    assert len(set(ids)) == len(ids)
    assert all(len(event_id) == 32 for event_id in ids)
