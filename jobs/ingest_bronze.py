"""Landing → bronze: take new records of one source or more, verbatim."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli, runner


def main() -> int:
    parser = cli.parser("Take new records into bronze.events.")
    cli.add_source(parser)
    arguments = parser.parse_args()
    return cli.main("ingest_bronze", arguments, lambda run: runner.take(run, cli.feeds(arguments)))


if __name__ == "__main__":
    sys.exit(main())
