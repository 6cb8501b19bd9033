"""Landing → bronze: take new files of a source, verbatim."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli
from pipelines.sources import load_source


def main() -> int:
    parser = cli.parser("Take new files of a source into bronze.events.")
    cli.add_source(parser)
    arguments = parser.parse_args()
    return cli.main("ingest_bronze", arguments, lambda run: run.ingest(load_source(arguments.source), arguments.input))


if __name__ == "__main__":
    sys.exit(main())
