"""Progress: what a person sees and what the log keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.progress import Progress


def logged(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_is_logged_with_its_run_time_and_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("run-1", human=True, log_file=tmp_path / "logs" / "run.jsonl")
    with progress.step("silver.events") as note:
        note.words, note.fields = "3 accepted", {"accepted": 3}

    started, finished = logged(tmp_path / "logs" / "run.jsonl")
    assert (started["event"], started["step"], started["run_id"]) == ("step_started", "silver.events", "run-1")
    assert (finished["event"], finished["accepted"]) == ("step_finished", 3)
    assert finished["execution_time_s"] == round(progress.seconds["silver.events"], 3)
    shown = capsys.readouterr()
    assert "✓ silver.events" in shown.err
    assert "3 accepted" in shown.err
    assert shown.out == ""  # stdout is for the summary


def test_the_time_of_a_repeated_step_adds_up(tmp_path: Path) -> None:
    progress = Progress("run-1", human=False)
    with progress.step("x"):
        pass
    once = progress.seconds["x"]
    with progress.step("x"):
        pass
    assert progress.seconds["x"] > once


def test_a_failing_step_is_logged_by_its_first_line_and_raises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("run-1", human=True, log_file=tmp_path / "run.jsonl")
    with pytest.raises(ValueError, match="no such thing"), progress.step("gold.x"):
        raise ValueError("no such thing\nand a page of detail")

    assert logged(tmp_path / "run.jsonl")[-1] | {"at": ""} == {
        "at": "",
        "run_id": "run-1",
        "event": "step_failed",
        "step": "gold.x",
        "error": "no such thing",
    }
    assert capsys.readouterr().err == "  ✗ gold.x\n"
    assert "gold.x" not in progress.seconds


def test_machines_read_json_lines_on_stderr_and_nothing_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("run-1", human=False, machine=True)
    progress.say("for a person")
    progress.log("run_finished", status="succeeded")
    (line,) = capsys.readouterr().err.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["status"]) == ("run_finished", "succeeded")
