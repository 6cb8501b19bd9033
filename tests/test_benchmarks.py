"""The engines of `make bench` do the same work, and a difference between them is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks import answers, report
from benchmarks.compare import PEERS, Bench, DifferenceError, work_in
from benchmarks.events import scatter, write_history
from benchmarks.peers import STEPS
from benchmarks.report import EMPTY, FULL, INCREMENT, SAME_TABLES, Figures, Size
from pipelines.funnels import load_funnels

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY, NEXT_DAY = date(2026, 6, 1), date(2026, 6, 2)


def event(who: str, name: str, seconds: float, page: str = "/", **others: Any) -> str:
    at = (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    fields = {
        "site_id": "shop",
        "event_id": f"{who}-{name}",
        "event_type": "page_view",
        "event_time": at,
        "anonymous_id": who,
        "page_url": f"https://shop.example{page}",
    }
    return json.dumps({**fields, **others})


LINES = [
    # ann's gap of exactly 30 minutes stays one session, a millisecond more does not; her late cart counts.
    event("ann", "1", 0, "/category/a", load_time_ms=100),
    event("ann", "2", 1800, "/product/1?colour=red#top", load_time_ms=200),
    event("ann", "3", 3600.001, "/cart", load_time_ms=300),
    # bob's steps come twice, first in the wrong order; two of them in one instant.
    event("bob", "1", 10, "/product/1", load_time_ms=101),
    event("bob", "2", 20, "/category/b", load_time_ms="slow"),
    event("bob", "3", 30, "/cart"),
    event("bob", "4", 30, "/product/2"),
    event("bob", "5", 40, "/checkout/confirmation", event_type="PAGE_VIEW", user_id="b"),
    event("bob", "6", 50, "/checkout", event_type="hover", value=1.5),
    # cat's copies: the earliest wins; one on another date is another event, and her session crosses midnight.
    event("cat", "1", 43_190, "/about"),
    event("cat", "1", 43_180, "/about", scroll_depth_pct=40),
    event("cat", "1", 43_201, "/about"),
    # Refused: no identity, no time, no readable time, cut off, no JSON.
    event("dan", "1", 0, anonymous_id=None),
    event("dan", "2", 0, event_time=None),
    event("dan", "3", 0, event_time="noon"),
    event("dan", "4", 0)[:60],
    "hello",
]
SESSIONS = [  # visitor, date, events, page views, seconds
    ("ann", DAY, 1, 1, 0),
    ("ann", DAY, 2, 2, 1800),
    ("bob", DAY, 6, 5, 40),
    ("cat", DAY, 2, 2, 21),
]
FUNNEL = [(DAY, 1, 2), (DAY, 2, 2), (DAY, 3, 1), (DAY, 4, 1)]
PAGES = [  # date, page, views, visitors, p50, p90
    (DAY, "/about", 1, 1, None, None),
    (DAY, "/cart", 2, 2, 300.0, 300.0),
    (DAY, "/category/a", 1, 1, 100.0, 100.0),
    (DAY, "/category/b", 1, 1, None, None),
    (DAY, "/checkout/confirmation", 1, 1, None, None),
    (DAY, "/product/1", 2, 2, 150.5, 190.1),
    (DAY, "/product/2", 1, 1, None, None),
    (NEXT_DAY, "/about", 1, 1, None, None),
]
ACTIVE = [  # date, dau, mau
    (DAY, 3, 3),
    (NEXT_DAY, 1, 3),
    *[(DAY + timedelta(days=n), 0, 3) for n in range(2, 30)],
    (DAY + timedelta(days=30), 0, 1),
]


@pytest.fixture
def landing(tmp_path: Path) -> tuple[Path, Path]:
    """The lines in two folders, the second of which comes later; copies of an event lie in both."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, lines in ((first, LINES[::2]), (second, LINES[1::2])):
        folder.mkdir()
        (folder / "lines.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return first, second


def bench(folder: Path) -> Bench:
    return Bench(folder, "1g")


def as_answers(found: answers.Answers) -> dict[str, list[Any]]:
    return {question: [row[1:] for row in rows] for question, rows in found.items()}


@pytest.mark.parametrize("peer", [*PEERS[:3], pytest.param(PEERS[3], marks=pytest.mark.slow)])
def test_an_engine_gives_the_answers_written_here(peer: str, landing: tuple[Path, Path], tmp_path: Path) -> None:
    if peer == "chdb":
        pytest.importorskip("chdb", reason="make bench-install")
    *_, (_, figures, found) = bench(tmp_path).peer(peer, work_in(tmp_path), *landing)
    assert found is not None
    told = as_answers(found)
    assert told["funnel"] == FUNNEL
    assert told["active users"] == ACTIVE
    assert told["pages"] == PAGES
    assert [row[1:6] for row in told["sessions of each day"]] == [
        (
            len(SESSIONS),
            len({who for who, *_ in SESSIONS}),
            sum(events for _, _, events, _, _ in SESSIONS),
            sum(views for _, _, _, views, _ in SESSIONS),
            sum(seconds for *_, seconds in SESSIONS) * 1_000_000,
        )
    ]
    assert figures.wall_seconds > 0
    assert figures.peak_bytes > 0
    assert figures.written_bytes > 0


@pytest.mark.slow
def test_this_project_gives_the_same_answers_as_duckdb(landing: tuple[Path, Path], tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for_each_part = {part: found for part, _, found in bench(tmp_path).peer("duckdb", work_in(theirs), *landing)}
    runs = list(bench(tmp_path).ours(SAME_TABLES, work_in(ours), *landing))
    assert [part for part, _, _ in runs] == [FULL, EMPTY, INCREMENT]
    for part, _, found in runs:
        expected = for_each_part.get(part)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert answers.differences(found, expected) == []
    built = {folder.name for folder in (ours / "work/lake/gold").iterdir()}
    assert built == {"funnel_daily", "active_users_daily", "page_metrics_daily", "page_performance_daily"}


def test_both_sides_name_the_same_funnel_steps() -> None:
    [funnel] = load_funnels(Path(report.__file__).parent / "conf/funnels.yaml").funnels.values()
    assert tuple(step.page for step in funnel.steps) == STEPS


CHANGES: dict[str, Callable[[str], str]] = {
    "an event is missing": lambda events: f"select * from {events} where event_id <> 'bob-4'",
    "an event is there twice": lambda events: f"from {events} union all from {events} where event_id = 'bob-4'",
    "a load time is another": lambda events: f"select * replace (load_time_ms + 1 as load_time_ms) from {events}",
    "an event is in another session": lambda events: (
        "select * replace (case when event_id = 'bob-4' then max(session_id) over () else session_id end as session_id)"
        f" from {events}"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_in_the_events_is_found(change: str, landing: tuple[Path, Path], tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    runs = bench(tmp_path).peer("duckdb", work_in(tmp_path), *landing)
    _, _, expected = next(iter(runs))  # the files stay until the next part is asked for
    (tmp_path / "work/out").rename(out)
    for table in out.iterdir():
        (other / table.name).mkdir(parents=True)
        rows = f"'{table}/*.parquet'"
        sql = CHANGES[change](rows) if table.name == "events" else f"from {rows}"
        duckdb.execute(f"copy ({sql}) to '{other}/{table.name}/part.parquet'")
    assert expected is not None
    assert answers.differences(expected, answers.of_peer(out)) == []
    told = answers.differences(answers.of_peer(other), expected)
    assert [line.split(":")[0] for line in told if line.startswith("events")] != []


def test_different_answers_stop_the_run_before_any_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "differences", lambda found, expected: ["funnel: 1 rows against 2"])
    with pytest.raises(DifferenceError, match="duckdb, full run: funnel: 1 rows against 2"):
        bench(tmp_path).size(700, ["duckdb"])
    assert list(tmp_path.iterdir()) == []


def test_a_heavy_visitor_and_many_files_are_other_ways_to_hold_as_many_events(tmp_path: Path) -> None:
    given = {"last": DAY, "days": 2, "events": 7_000, "visitors": 100}
    for name, heavy_percent in (("even", 0), ("heavy", 20)):
        write_history(tmp_path / name, **given, heavy_percent=heavy_percent)
    scatter(tmp_path / "even", 50)
    assert len(list((tmp_path / "even").iterdir())) == 50
    told = {
        name: duckdb.execute(
            "select count(*), count_if(anonymous_id = 'heavy') / count(*)"
            f" from read_json('{tmp_path / name}/*.jsonl', format = 'newline_delimited')"
        ).fetchall()[0]
        for name in ("even", "heavy")
    }
    assert told["even"][0] == told["heavy"][0]
    assert told["even"][1] == 0
    assert told["heavy"][1] == pytest.approx(0.2, abs=0.05)


def test_an_engine_that_fails_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = bench(tmp_path)
    size = both.size(700, ["no_engine", "duckdb"])
    assert list(size.failures) == ["no_engine"]
    assert both.failed
    assert {contender for contender, _ in size.figures} == {"duckdb"}


def test_the_page_shows_ratios_to_duckdb_and_to_plain_spark(tmp_path: Path) -> None:
    size = Size("10 events", 1_000_000, 3000, 0)
    size.figures["duckdb", FULL] = Figures(2.0, 4.0, 1 << 30, 1_000_000)
    size.figures["plain_spark", FULL] = Figures(20.0, 30.0, 2 << 30, 2_000_000)
    size.figures[SAME_TABLES, FULL] = Figures(5.0, 6.0, 3 << 30, 3_000_000)
    report.write(tmp_path / "page.md", [size], Figures(3.0, 4.0, 1 << 29, 0), "4g for both", 0.2)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| this project, the same tables | 5.0 | 6.0 | 3.00 | 3 | 2.50 | 0.25 | 1.50 | 0.20 |" in page
    assert "| 10 events, the same tables | 5.0 | 6.0 | 3.00 |" in page
    assert "× DuckDB" in page
    assert "× plain Spark" in page
