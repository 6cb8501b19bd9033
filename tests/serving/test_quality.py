"""The quality page: what it says, and that nothing on it can do anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import PROJECT
from pipelines.contracts import load_contracts
from pipelines.errors import ConfigurationError
from pipelines.serving.quality import render, write
from tests.rows import Row
from tests.serving.small_lake import SmallLake

AT = datetime(2026, 1, 9, 7, 30, tzinfo=UTC)
EVIL = "<script>alert('x')</script><b onclick=\"x\">&amp;"


class Words(HTMLParser):
    """The page's text, and every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in_style = False
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text += f" {data}"


def run(run_id: str, *, hour: int = 0, **other: Any) -> Row:
    books = {"received": 1000, "accepted": 980, "duplicates": 5, "dead": 15, "pending": 0, "new_records": 100}
    said = {"run_id": run_id, "job": "run_local", "status": "succeeded", "started_at": AT + timedelta(hours=hour)}
    return {**books, **said, "seconds": 12.5, "as_of": AT.date(), **other}


def verdict(check: str, *, run_id: str = "r1", hour: int = 0, **other: Any) -> Row:
    said = {"table_name": "gold.page_metrics_daily", "gate": "silver→gold", "severity": "error", "success": True}
    judged = {"observed": 0.0, "allowed_max": 0.0, "rows_judged": 10, "judged_at": AT + timedelta(hours=hour)}
    return {**said, **judged, "run_id": run_id, "check_name": check, **other}


def letter(position: int, **other: Any) -> Row:
    said = {"source": "web", "layer": "silver", "reason": "bad_timestamp", "raw": "SECRET RECORD"}
    return {**said, "position": position, "refused_at": AT, "ingested_at": AT, **other}


@pytest.fixture
def lake(tmp_path: Path) -> SmallLake:
    made = SmallLake(tmp_path / "lake")
    made.replace("ops.runs", [run("r1")])
    return made


def test_all_that_holds_is_said_in_one_line(lake: SmallLake) -> None:
    lake.replace("ops.quality_results", [verdict("page_present"), verdict("views_present")])
    words = Words(render(lake.root, at=AT)).text
    assert "Every check holds." in words
    assert "Checks that hold 2 of 2" in words
    assert "Not accounted for 0" in words
    assert "Refused, open 15 1.50 % of received" in words
    assert "Every check held in every run that is on record." in words
    assert "No record was refused." in words
    assert "Nothing was published yet." in words


def test_the_last_verdict_counts_and_the_earlier_failure_stays_on_record(lake: SmallLake) -> None:
    lake.replace(
        "ops.quality_results",
        [
            verdict("visitors_within_views", success=False, observed=3.0),
            verdict("visitors_within_views", run_id="r2", hour=1),
            verdict("page_present", run_id="r2", hour=1, success=False, observed=2.0),
        ],
    )
    page = render(lake.root, at=AT)
    words = Words(page).text
    assert "1 check does not hold: what it judges was not published." in words
    assert "Checks that hold 1 of 2" in words
    assert "gold.page_metrics_daily 1 of 2 not held" in words
    history = words.split("What did not hold, in any run")[1].split("Refused records")[0]
    assert "2026-01-09 08:30:00 gold.page_metrics_daily page_present error 2 at most 0 10 r2" in history
    assert "2026-01-09 07:30:00 gold.page_metrics_daily visitors_within_views error 3 at most 0 10 r1" in history
    assert "page_present failed 2 at most 0 10 error Required. page is not null" in words


def test_a_warning_is_no_failure(lake: SmallLake) -> None:
    lake.replace(
        "ops.quality_results", [verdict("share", success=False, observed=0.0812, severity="warn", allowed_max=0.05)]
    )
    words = Words(render(lake.root, at=AT)).text
    assert "Every check that blocks holds; 1 warning." in words
    assert "share warning 0.0812 at most 0.05" in words


def test_a_run_that_failed_is_the_headline(lake: SmallLake) -> None:
    lake.replace("ops.runs", [run("r1"), run("r2", hour=1, status="failed", error="the store is away")])
    words = Words(render(lake.root, at=AT)).text
    assert "The last run ended as failed: the store is away" in words
    assert words.index("2026-01-09 08:30:00 run_local failed") < words.index("2026-01-09 07:30:00 run_local succeeded")


def test_refused_records_are_counted_by_reason_and_never_shown(lake: SmallLake) -> None:
    lake.replace(
        "ops.dead_letters",
        [
            letter(1, detail="older"),
            letter(2, detail="newer", refused_at=AT + timedelta(hours=1)),
            letter(3, detail="put back", replayed_at=AT + timedelta(hours=2)),
            letter(4, reason="malformed", layer="bronze"),
        ],
    )
    page = render(lake.root, at=AT)
    words = Words(page).text
    assert "web silver bad timestamp 3 1 2026-01-09 08:30:00 newer" in words
    assert "web bronze malformed 1 0 2026-01-09 07:30:00" in words
    assert "SECRET" not in page


@pytest.mark.fault(
    of="serving",
    injected="scripts and tags in sources, details, run ids, jobs, errors and names of checks",
    holds="the quality page shows them as text; its policy would run no script",
)
def test_what_users_sent_cannot_become_part_of_the_page(lake: SmallLake) -> None:
    harmless = Words(render(lake.root, at=AT))
    lake.replace("ops.dead_letters", [letter(1, source=EVIL, detail=EVIL)])
    lake.replace("ops.runs", [run(EVIL, job=EVIL, status="failed", error=EVIL)])
    lake.replace("ops.quality_results", [verdict(EVIL, success=False, table_name=EVIL, run_id=EVIL)])
    lake.publish()
    page = render(lake.root, at=AT)
    read = Words(page)
    assert read.text.count(EVIL) >= 9
    assert not [tag for tag, _ in read.tags if tag in ("script", "b") and tag not in {tag for tag, _ in harmless.tags}]
    assert not [attributes for _, attributes in read.tags if any(name.startswith("on") for name in attributes)]


def test_the_dictionary_holds_every_table_and_column(lake: SmallLake) -> None:
    words = Words(render(lake.root, at=AT)).text
    for declared in load_contracts().values():
        assert " ".join(f"{declared.table} {declared.description}".split()) in words
        for column in declared.columns:
            assert " ".join(column.description.split()) in words


def test_the_page_loads_nothing_and_runs_nothing(lake: SmallLake) -> None:
    page = render(lake.root, at=AT)
    tags = Words(page).tags
    assert "script" not in {tag for tag, _ in tags}
    for _, attributes in tags:
        assert "src" not in attributes
        assert "style" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "url(" not in page
    assert "@import" not in page


def test_a_browser_shows_it_without_a_complaint(lake: SmallLake, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    lake.replace("ops.quality_results", [verdict("page_present")])
    write(lake.root, tmp_path / "page.html", at=AT)
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=900,700"]
    done = subprocess.run(
        [browser, *arguments, f"--user-data-dir={tmp_path / 'chromium'}", f"--screenshot={tmp_path / 'shot.png'}",
         (tmp_path / "page.html").as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (tmp_path / "shot.png").exists(), done.stderr[-2000:]
    assert not re.findall(r".*CONSOLE.*", done.stderr)


def test_a_folder_without_a_lake_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no run has ended at"):
        render(str(tmp_path), at=AT)
    done = subprocess.run(
        [sys.executable, "jobs/quality.py", "--lakehouse", str(tmp_path)], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
