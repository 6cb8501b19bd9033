"""A user's path: own files through every table, once more with nothing new, and what the tables are then."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from data.generate import Written, write_events
from pipelines import cli, runner
from pipelines.lake import Lake
from pipelines.lock import alone
from pipelines.plan import GOLD, SERVED
from pipelines.run import Run
from pipelines.serving.published import connect
from pipelines.sources import load_source
from tests.runs import no_session

PROJECT = Path(__file__).resolve().parent.parent


def run_job(lake: Path, *arguments: str, source: str = "web", landing: Path) -> tuple[int, dict[str, Any]]:
    """The work of jobs/run_pipeline.py in this process, on the tests' session; its exit code and its `--json`."""
    parsed = cli.parser("test").parse_args(["--lakehouse", str(lake), "--json", *arguments])
    told: list[str] = []

    def work(run: Run) -> None:
        runner.bring_up_to_date(run, [(load_source(source), str(landing))])

    code = cli.main("test", parsed, work, out=told.append)
    return code, json.loads(told[-1])


@pytest.fixture(scope="module")
def sample(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written, Any]:
    """A lake after one run over three generated days."""
    root = tmp_path_factory.mktemp("sample")
    written = write_events(root / "landing", start=date(2026, 1, 5), days=3, users=60, seed=3)
    code, told = run_job(root / "lake", landing=root / "landing")
    assert code == 0, told["error"]
    return root, written, told


def versions(lake: Path) -> dict[str, int]:
    tables = ("bronze.events", "bronze.files", *SERVED, "ops.published", "ops.dead_letters", "ops.duplicates")
    return {table: DeltaTable(str(lake / table.replace(".", "/"))).version() for table in tables}


def test_every_record_is_accounted_for_as_the_generator_counted_them(sample: tuple[Path, Written, Any]) -> None:
    _, written, told = sample
    assert told["status"] == "succeeded"
    assert told["books"] == {
        "received": written.lines,
        "accepted": written.events,
        "duplicates": written.duplicates,
        "dead": written.malformed,
        "pending": 0,
    }


@pytest.mark.fault(of="arrival", injected="a run with nothing new", holds="no table gets a new version")
def test_a_second_run_changes_no_table_and_says_so(sample: tuple[Path, Written, Any]) -> None:
    root, _, _ = sample
    before = versions(root / "lake")
    code, told = run_job(root / "lake", landing=root / "landing")
    assert (code, told["status"], told["changed_tables"]) == (0, "nothing_new", [])
    assert versions(root / "lake") == before


def test_gold_keeps_to_what_every_reader_of_delta_understands(sample: tuple[Path, Written, Any]) -> None:
    root, _, _ = sample
    for step in GOLD:
        protocol = DeltaTable(str(root / "lake" / step.table.replace(".", "/"))).protocol()
        found = (protocol.min_reader_version, protocol.reader_features, protocol.min_writer_version)
        assert found == (1, None, 2), step.table


def test_published_tables_answer_in_sql_without_spark(sample: tuple[Path, Written, Any]) -> None:
    root, _, _ = sample
    con = connect(str(root / "lake"))
    sessions = con.execute("select count(*) from silver.sessions where is_countable").fetchone()
    journeys = con.execute("select sum(total_journeys) from gold.journey_stats_daily").fetchone()
    entries = con.execute(
        "select sum(count) from gold.funnel_daily where funnel = 'stages' and step = 'Entry'"
    ).fetchone()
    views = con.execute("select count(*) from silver.sessions where is_countable and page_view_count > 0").fetchone()
    assert sessions == journeys
    assert entries == views
    assert sessions is not None
    assert sessions[0] > 50


def test_a_reader_of_the_published_set_does_not_see_later_versions(sample: tuple[Path, Written, Any]) -> None:
    root, _, _ = sample
    published = {
        row["table_name"]: row["version"] for row in Lake(str(root / "lake"), {}, no_session).rows("ops.published")
    }
    assert published == {table: versions(root / "lake")[table] for table in SERVED}


def test_each_run_leaves_its_row_its_verdicts_and_its_log(sample: tuple[Path, Written, Any]) -> None:
    root, _, told = sample
    con = connect(str(root / "lake"))
    row = con.execute(
        "select status, received, new_records from ops.runs where run_id = ?", [told["run_id"]]
    ).fetchone()
    assert row == ("succeeded", told["books"]["received"], told["books"]["received"])
    checks = con.execute("select count(*) from ops.quality_results where run_id = ?", [told["run_id"]]).fetchone()
    assert checks == (told["gates"]["checks"],)
    lines = (root / "lake" / "logs" / f"{told['run_id']}.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["run_id"] for line in lines} == {told["run_id"]}


@pytest.mark.fault(
    of="gates",
    injected="a batch without one usable record",
    holds="it is held as pending, and nothing downstream sees it",
)
def test_a_batch_without_one_usable_record_is_held_and_nothing_downstream_sees_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "bad.jsonl").write_text("not json\n[]\n" * 6, encoding="utf-8")
    code, told = run_job(tmp_path / "lake", landing=landing)
    assert code == 1
    assert told["status"] == "refused"
    assert "batch 1 of web: silver.events: web_usable_records: 0, allowed at least 1 (12 rows judged)" in told["error"]
    assert told["books"]["pending"] == 12
    assert told["rows"]["silver.events"] == 0


def test_a_lake_in_use_is_named_and_left_alone(tmp_path: Path, spark: SparkSession) -> None:
    holder = "import sys; from pipelines.lock import alone\n"
    holder += "with alone(sys.argv[1], 'nightly run'): print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    code, told = run_job(tmp_path, landing=PROJECT / "data/samples/web")
    assert code == 3
    assert "in use by nightly run, process" in told["error"]
    process.kill()  # the lock dies with its holder
    process.wait()
    with alone(str(tmp_path), "next"):
        pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "nope", "--input", "x"], "error: --source: expected one of access_log,"),
        (["--source", "web", "--input", "/nonexistent"], "error: --input: there is nothing at /nonexistent"),
        (["--source", "web", "--input", "data", "--env", "mars"], "error: --env: expected one of local, prod, staging"),
    ],
)
@pytest.mark.fault(
    of="configuration", injected="a wrong source, place or environment", holds="one line, exit code 2, no stack trace"
)
def test_a_wrong_call_is_one_line_and_exit_code_two(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "jobs/run_pipeline.py", *arguments, "--lakehouse", str(tmp_path / "lake")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(words)
    assert "Traceback" not in done.stderr
