"""The generator: same seed, same bytes; every kind of trouble in the share that was asked for; days respected."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from data.catalogue import EVENT_TYPES
from data.generate import Shares, Written, main, write_events
from pipelines.sources import load_source

START = date(2026, 1, 5)
DAYS = 4


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _lines(folder: Path) -> list[bytes]:
    return [line for content in _contents(folder).values() for line in content.splitlines()]


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The record of a line that silver would accept; None for one that it refuses."""
    try:
        record = json.loads(line)
        datetime.fromisoformat(record["event_time"].replace("Z", "+00:00"))
    except (ValueError, TypeError, KeyError):
        return None
    return record if "anonymous_id" in record or "user_id" in record else None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    folder = tmp_path_factory.mktemp("generated")
    return folder, write_events(folder, start=START, days=DAYS, users=2500, seed=11)


@pytest.fixture(scope="module")
def records(made: tuple[Path, Written]) -> list[dict[str, Any]]:
    return [record for line in _lines(made[0]) if (record := _parsed(line)) is not None]


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path: Path) -> None:
    for name, seed, compress in (("a", 3, False), ("b", 3, False), ("c", 4, False), ("d", 3, True), ("e", 3, True)):
        write_events(tmp_path / name, start=START, days=2, users=60, seed=seed, compress=compress)
    plain = _contents(tmp_path / "a")
    assert plain == _contents(tmp_path / "b")
    assert plain != _contents(tmp_path / "c")
    assert _contents(tmp_path / "d") == _contents(tmp_path / "e")
    assert plain == {name[:-3]: gzip.decompress(packed) for name, packed in _contents(tmp_path / "d").items()}


def test_a_day_cut_into_files_reads_as_the_whole_day(tmp_path: Path) -> None:
    write_events(tmp_path / "one", start=START, days=2, users=60, seed=3)
    write_events(tmp_path / "three", start=START, days=2, users=60, seed=3, files_per_day=3)
    assert _lines(tmp_path / "one") == _lines(tmp_path / "three")
    assert (tmp_path / "three" / "2026-01-05-02.jsonl").exists()


def test_counts_say_what_was_written(made: tuple[Path, Written], records: list[dict[str, Any]]) -> None:
    folder, written = made
    distinct = {(record["site_id"], record["event_id"]) for record in records}
    assert len(_lines(folder)) == written.lines
    assert written.lines == written.events + written.duplicates + written.malformed
    assert len(distinct) == written.events
    assert len(records) == written.events + written.duplicates
    assert sorted(written.files) == sorted(folder.iterdir())


def test_shares_are_near_what_was_asked(made: tuple[Path, Written]) -> None:
    _, written = made
    assert 0.014 < written.late / written.events < 0.026
    assert 0.003 < written.duplicates / written.events < 0.007
    assert 0.0005 < written.malformed / written.lines < 0.0016
    assert 0.01 < written.bot_events / written.events < 0.06
    assert 0 < written.test_events / written.events < 0.03


def test_nothing_is_wrong_where_nothing_was_asked_to_be(tmp_path: Path) -> None:
    none = Shares(late=0.0, duplicates=0.0, malformed=0.0)
    written = write_events(tmp_path, start=START, days=2, users=100, seed=5, shares=none)
    assert (written.late, written.duplicates, written.malformed) == (0, 0, 0)
    assert all(_parsed(line) is not None for line in _lines(tmp_path))


def test_duplicates_are_exact_and_their_events_are_otherwise_unique(made: tuple[Path, Written]) -> None:
    by_event: dict[tuple[str, str], set[bytes]] = {}
    for line in _lines(made[0]):
        if (record := _parsed(line)) is not None:
            by_event.setdefault((record["site_id"], record["event_id"]), set()).add(line)
    assert {len(copies) for copies in by_event.values()} == {1}


def test_each_way_of_being_malformed_occurs(tmp_path: Path) -> None:
    write_events(tmp_path, start=START, days=2, users=100, seed=5, shares=Shares(malformed=0.05))
    kinds: Counter[str] = Counter()
    for line in _lines(tmp_path):
        if _parsed(line) is None:
            try:
                record = json.loads(line)
            except ValueError:
                kinds["truncated" if line else "blank"] += 1
            else:
                named = "no identity" if "anonymous_id" not in record else "bad time"
                kinds["empty array" if record == [] else named] += 1
    assert set(kinds) == {"blank", "empty array", "truncated", "bad time", "no identity"}


def test_records_hold_declared_fields_of_the_right_types(records: list[dict[str, Any]]) -> None:
    fields = set(load_source("web").fields)
    numbers = {"load_time_ms": int, "scroll_depth_pct": int, "value": float, "properties": dict}
    for record in records:
        assert set(record) <= fields
        assert record["event_type"] in EVENT_TYPES
        for name, value in record.items():
            assert isinstance(value, numbers.get(name, str)), (name, value)
    assert {record["event_type"] for record in records} == set(EVENT_TYPES)
    assert {record["site_id"] for record in records} == {"shop", "blog"}


def test_events_lie_within_the_days_and_arrive_within_three_more(
    made: tuple[Path, Written], records: list[dict[str, Any]]
) -> None:
    dates = {date.fromisoformat(record["event_time"][:10]) for record in records}
    assert dates == {START + timedelta(days=day) for day in range(DAYS)}
    for record in records:
        assert record["event_time"] < record["received_at"]
    names = {date.fromisoformat(path.name[:10]) for path in made[0].iterdir()}
    assert min(names) == START
    assert max(names) <= START + timedelta(days=DAYS + 3)


def test_lines_lie_in_the_file_of_their_day_of_arrival_but_out_of_event_order(tmp_path: Path) -> None:
    none = Shares(duplicates=0.0, malformed=0.0)
    write_events(tmp_path, start=START, days=2, users=200, seed=5, shares=none)
    disorder = 0
    for name, content in _contents(tmp_path).items():
        found = [json.loads(line) for line in content.splitlines()]
        received = [record["received_at"] for record in found]
        assert received == sorted(received)
        assert {moment[:10] for moment in received} == {name[:10]}
        times = [record["event_time"] for record in found]
        disorder += sum(later < earlier for earlier, later in pairwise(times))
    assert disorder > 0


def test_the_purchase_funnel_leaks_at_every_step(records: list[dict[str, Any]]) -> None:
    pages: dict[str, set[str]] = {}
    for record in records:
        if record["site_id"] == "shop" and record["event_type"] == "page_view" and "Bot" not in record["user_agent"]:
            pages.setdefault(record["session_id"], set()).add(record["page_url"].split(".example")[1].split("?")[0])
    stages = ("/", "/product/", "/cart", "/checkout", "/checkout/confirmation")
    reached = [sum(any(page.startswith(stage) for page in seen) for seen in pages.values()) for stage in stages]
    assert reached == sorted(reached, reverse=True)
    assert len(set(reached)) == len(reached)
    assert 0.01 < reached[-1] / reached[0] < 0.10


def test_visitors_return_and_some_log_in_on_the_way(records: list[dict[str, Any]]) -> None:
    days: dict[str, set[str]] = {}
    known: dict[str, set[bool]] = {}
    for record in records:
        days.setdefault(record["anonymous_id"], set()).add(record["event_time"][:10])
        known.setdefault(record["session_id"], set()).add("user_id" in record)
    assert set(map(len, days.values())) == set(range(1, DAYS + 1))
    assert sum(seen == {True, False} for seen in known.values()) > 20


def test_the_number_of_events_can_be_asked_for(tmp_path: Path) -> None:
    written = write_events(tmp_path, start=START, days=3, seed=5, events=30_000)
    assert 27_000 < written.events < 33_000


def test_the_command_says_what_it_wrote_and_refuses_nonsense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), "--days", "1", "--users", "20", "--sites", "3"]) == 0
    assert "20 people" in capsys.readouterr().out
    assert main(["--out", str(tmp_path), "--days", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
