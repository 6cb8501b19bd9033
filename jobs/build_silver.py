"""Bronze → silver: events, sessions and user days, up to the last batch of bronze."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli
from pipelines.runner import Run
from pipelines.sources import load_source


def main() -> int:
    parser = cli.parser("Bring silver up to the last batch of bronze.")
    parser.add_argument(
        "--mapping",
        metavar="FILE",
        action="append",
        default=[],
        help="a mapping of your own that bronze holds records of",
    )
    arguments = parser.parse_args()

    def work(run: Run) -> None:
        run.sources.update((source.source, source) for source in map(load_source, arguments.mapping))
        run.build_silver()

    return cli.main("build_silver", arguments, work)


if __name__ == "__main__":
    sys.exit(main())
