"""The whole way for a user's own files: landing → bronze → silver → gold → served."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli
from pipelines.sources import load_source


def main() -> int:
    parser = cli.parser("Read new files of a source and bring every table up to date.")
    cli.add_source(parser)
    arguments = parser.parse_args()
    return cli.main(
        "run_pipeline", arguments, lambda run: run.bring_up_to_date(load_source(arguments.source), arguments.input)
    )


if __name__ == "__main__":
    sys.exit(main())
