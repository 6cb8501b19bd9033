"""The whole way on this machine: a week of sample events of two sites, made here, through every table."""

import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data.generate import write_events
from pipelines import cli, runner
from pipelines.run import Run
from pipelines.sources import load_source


def main() -> int:
    arguments = cli.parser("Make sample events and bring every table up to date.").parse_args()

    def work(run: Run) -> None:
        landing = Path(run.lake.root, "landing", "web")
        if not landing.exists():
            with run.progress.step("sample events") as note:
                written = write_events(landing, start=date(2026, 1, 5), days=7, users=400, seed=7)
                note.words = f"{written.lines:,} lines in {len(written.files)} files"
        runner.bring_up_to_date(run, [(load_source("web"), str(landing))])

    return cli.main("run_local", arguments, work)


if __name__ == "__main__":
    sys.exit(main())
