"""What the report says of a period, and the file that holds it; test_report_browser.py opens that in a browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobs import report as job
from pipelines.errors import ConfigurationError
from pipelines.serving.published import connect
from pipelines.serving.report import cards
from pipelines.serving.report.content import collect
from pipelines.serving.report.page import render
from pipelines.serving.report.periods import Period, last_complete_date, periods_of
from pipelines.serving.report.sections import SECTIONS, definitions, pitfalls
from pipelines.serving.report.words import Facts, headline, what_changed
from pipelines.settings import Sites
from tests.serving import report_lake
from tests.serving.report_lake import AT, HOSTILE, LAST

SITES = Sites()


def read(root: Path, **more: Any) -> dict[str, Any]:
    return collect(connect(str(root)), SITES, at=AT, **more)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_lake.make(tmp_path_factory.mktemp("report") / "lake")


@pytest.fixture(scope="module")
def document(lake: Path) -> dict[str, Any]:
    return read(lake)


def rows_of(document: dict[str, Any], site: str, period: str, query: str) -> list[dict[str, Any]]:
    data = next(found for found in document["sites"] if found["id"] == site)["data"]
    return [dict(zip(document["columns"][query], row, strict=True)) for row in data.get(period, {}).get(query, [])]


# --- Periods ---


@pytest.mark.parametrize(
    ("newest", "zone", "as_of", "expected"),
    [
        ("2026-01-11T23:40", "UTC", "2026-01-20", "2026-01-11"),  # the day's last hour has begun
        ("2026-01-11T22:40", "UTC", "2026-01-20", "2026-01-10"),
        ("2026-01-11T23:40", "Europe/Berlin", "2026-01-20", "2026-01-11"),  # there it is the 12th already
        ("2026-01-11T23:40", "America/New_York", "2026-01-20", "2026-01-10"),
        ("2026-01-11T23:40", "UTC", "2026-01-09", "2026-01-09"),
    ],
)
def test_a_day_is_complete_once_it_is_over_on_the_sites_clock(
    newest: str, zone: str, as_of: str, expected: str
) -> None:
    instant = datetime.fromisoformat(newest).replace(tzinfo=UTC)

    found = last_complete_date(instant, ZoneInfo(zone), date.fromisoformat(as_of))

    assert found.isoformat() == expected


def test_periods_end_on_the_last_date_and_hold_some_of_the_data() -> None:
    found = [(p.key, p.label) for p in periods_of("shop", date(2026, 1, 9), date(2026, 1, 11))]

    assert found == [
        ("day-20260111", "Sun 11 Jan 2026"),
        ("day-20260110", "Sat 10 Jan 2026"),
        ("day-20260109", "Fri 9 Jan 2026"),
        ("week-20260111", "5 – 11 Jan 2026"),
        ("month-20260111", "13 Dec 2025 – 11 Jan 2026"),
    ]


def test_a_day_is_compared_with_its_weekday_and_a_week_with_the_week_before() -> None:
    day = Period("shop", "day", date(2026, 1, 11), date(2026, 1, 11)).before
    week = Period("shop", "week", date(2026, 1, 5), date(2026, 1, 11)).before

    assert [(p.start.isoformat(), p.end.isoformat()) for p in (day, week)] == [
        ("2026-01-04", "2026-01-04"),
        ("2025-12-29", "2026-01-04"),
    ]


# --- Words ---


def sums(sessions: int, converted: int, **more: Any) -> dict[str, Any]:
    blank = {"users": sessions, "page_views": sessions, "page_sessions": sessions, "bounced": 0, "with_error": 0}
    return {
        **blank,
        "revenue": 0.0,
        "duration": 60.0,
        "durations": 1,
        "sessions": sessions,
        "converted": converted,
        **more,
    }


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (sums(1200, 60), sums(1000, 50), "Sessions rose 20% to 1,200; conversion held at 5.0%"),
        (sums(1040, 60), sums(1000, 50), "Sessions about the same at 1,040; conversion held at 5.8%"),
        (sums(1000, 90), sums(1000, 50), "Sessions about the same at 1,000; conversion rose from 5.0% to 9.0%"),
        (sums(500, 25), None, "500 sessions, of which 5.0% converted"),
        ({}, sums(1000, 50), "Nobody came"),
    ],
)
def test_the_headline_names_only_changes_larger_than_chance(
    now: dict[str, Any], before: dict[str, Any] | None, expected: str
) -> None:
    assert headline(Facts("", now, before, "")) == expected


def test_a_change_is_put_down_to_the_segment_that_moved_most() -> None:
    now = [{"value": "Email", "sessions": 390}, {"value": "Direct", "sessions": 810}]
    before = [{"value": "Email", "sessions": 200}, {"value": "Direct", "sessions": 800}]
    evenly = [{"value": "DE", "sessions": 1200}], [{"value": "DE", "sessions": 1000}]

    said = what_changed(Facts("", sums(1200, 60), sums(1000, 50), "", {"channel": (now, before), "country": evenly}))

    assert said == ["Email (channel) gained 190 of the 200 sessions.", "Users rose 20% to 1,200."]


def test_without_an_earlier_period_it_says_so_and_describes_this_one() -> None:
    segments = {"channel": ([{"value": "Direct", "sessions": 30}], [])}

    said = what_changed(Facts("", sums(100, 5), None, "Data begin on 5 Jan.", segments))

    assert said == ["Of the sessions, 30% came by Direct.", "Data begin on 5 Jan."]


def test_a_card_is_better_or_worse_by_its_own_direction() -> None:
    rows = cards.rows(sums(1200, 60, bounced=480), sums(1000, 50, bounced=300))
    verdicts = {card.key: row["verdict"] for card, row in zip(cards.CARDS, rows, strict=True)}

    assert verdicts == {
        "users": "better", "sessions": "better", "conversion": "", "revenue": "", "bounce": "worse", "duration": "",
        "pages": "", "errors": "",
    }  # fmt: skip


# --- Numbers ---


def test_numbers_of_a_period_are_those_counted_session_by_session(document: dict[str, Any]) -> None:
    sessions = [
        row
        for row in report_lake.sessions()
        if row["site_id"] == "shop" and date(2026, 5, 4) <= row["session_date"] <= LAST
    ]
    loads = sorted(row["load_time_ms"] for row in report_lake.page_views(sessions))

    [totals] = rows_of(document, "shop", "week-20260510", "totals")
    [users] = rows_of(document, "shop", "week-20260510", "users")
    speed = next(row for row in rows_of(document, "shop", "week-20260510", "speed") if row["device"] is None)
    pages = {row["page"]: row for row in rows_of(document, "shop", "week-20260510", "pages")}

    assert totals["sessions"] == len(sessions)
    assert totals["converted"] == sum(row["converted"] for row in sessions)
    assert totals["bounced"] == sum(row["bounced"] for row in sessions)
    assert totals["revenue"] == sum(row["revenue"] for row in sessions)
    assert users["users"] == len({row["person_id"] for row in sessions})
    assert speed["p50"] == (loads[(len(loads) - 1) // 2] + loads[len(loads) // 2]) / 2
    assert pages[HOSTILE]["entries"] == sum(row["entry_page"] == HOSTILE for row in sessions)
    assert pages[HOSTILE]["abandonments"] == sum(
        row["exit_page"] == HOSTILE and not row["converted"] for row in sessions
    )


def test_every_session_takes_one_first_step_and_leaves_once_within_five_pages_or_goes_on(
    document: dict[str, Any],
) -> None:
    hops = rows_of(document, "shop", "week-20260510", "paths")
    [totals] = rows_of(document, "shop", "week-20260510", "totals")

    def taken(step: int, to_exit: bool) -> int:
        return sum(hop["sessions"] for hop in hops if hop["step"] == step and (hop["to_page"] == "(exit)") == to_exit)

    assert taken(1, True) + taken(1, False) == totals["sessions"]
    assert taken(1, True) == totals["bounced"]
    assert [taken(step + 1, True) + taken(step + 1, False) for step in (1, 2, 3)] == [
        taken(step, False) for step in (1, 2, 3)
    ]


def test_a_table_that_is_not_published_is_named_in_a_sentence(tmp_path: Path) -> None:
    found = read(report_lake.make(tmp_path / "lake", without=["gold.cohort_retention", "gold.metric_anomalies"]))

    assert found["notes"]["retention"] == (
        "This is not computed yet: gold.cohort_retention is not among the published tables."
    )
    assert found["missing"]["anomalies"] == ["gold.metric_anomalies"]
    assert found["notes"]["anomalies"] is None  # unusual sessions are there


def test_a_lake_whose_only_run_died_after_it_published_is_told_all_the_same(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    found = read(report_lake.make(tmp_path / "lake", without=["ops.runs", "ops.quality_results"]))

    assert [site["id"] for site in found["sites"]] == [site["id"] for site in document["sites"]]
    assert (found["quality"]["runs"], found["quality"]["gates"]) == ([], [])


def test_the_busiest_site_comes_first_and_one_can_ask_for_another(lake: Path, document: dict[str, Any]) -> None:
    assert [site["id"] for site in document["sites"]] == ["shop", "quiet"]
    assert [site["id"] for site in read(lake, only=("quiet",))["sites"]] == ["quiet"]
    with pytest.raises(ConfigurationError, match=r"--site: no complete day of nosuch; there is: quiet, shop"):
        read(lake, only=("nosuch",))


def test_every_query_gives_rows_of_the_full_lake(document: dict[str, Any]) -> None:
    data = document["sites"][0]["data"]
    found = set(data[""]) | set(data["week-20260510"])

    assert set(document["columns"]) - found == set()
    assert {section.id for section in SECTIONS} == set(document["notes"])


# --- The file ---


def test_only_the_pages_own_scripts_may_run_and_nothing_is_loaded(document: dict[str, Any]) -> None:
    page = render(document, AT)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    policy = policy.replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    [packed] = re.findall(r'id="plotly">([^<]*)</script>', page)
    plotly = gzip.decompress(base64.b64decode(packed)).decode()

    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (*scripts, plotly)]
    assert len(scripts) == 2
    assert re.findall(r"'sha256-([^']*)'", policy) == hashes
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert not re.findall(r"<(?:link|img|iframe|script)[^>]+(?:src|href)=", page)
    assert len(page) < 3_000_000


def test_a_hostile_page_path_cannot_leave_its_place_in_the_file(document: dict[str, Any]) -> None:
    page = render(document, AT)
    [embedded] = re.findall(r'id="document">(.*?)</script>', page, flags=re.DOTALL)

    assert HOSTILE in json.dumps(json.loads(embedded), ensure_ascii=False)
    assert "<img src=x" not in page


def test_definitions_and_pitfalls_come_from_contracts_and_docs() -> None:
    users = next(section for section in SECTIONS if section.id == "users")

    assert ("stickiness", "dau / mau") in {(name, text.rstrip(".")[:9]) for name, text, _ in definitions(users)}
    attribution = next(section for section in SECTIONS if section.id == "attribution")
    assert "Filter or group by model. A sum over models counts everything six times." in pitfalls(attribution)


def test_the_job_writes_the_file(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    monkeypatch.setattr("sys.argv", ["report.py", "--lakehouse", str(lake), "--out", str(out)])

    assert job.main() == 0
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().out.startswith(f"{out}: shop, quiet; ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lakehouse", "nowhere"], "error: nothing is published at nowhere: run the pipeline first (make run-local)"),
        (["--site", "nosuch"], "error: --site: no complete day of nosuch; there is: quiet, shop"),
        (["--as-of", "2020-01-01"], "error: no site has a complete day with a countable session"),
    ],
)
def test_a_mistake_in_the_call_is_one_line(
    lake: Path,
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["report.py", "--lakehouse", str(lake), "--out", str(tmp_path / "report.html"), *arguments]
    monkeypatch.setattr("sys.argv", given)

    assert job.main() == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
