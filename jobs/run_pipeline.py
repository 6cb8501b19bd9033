"""The whole way for a user's own records: landing → bronze → silver → gold → served."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli, runner


def main() -> int:
    parser = cli.parser("Read new records of one source or more and bring every table up to date.")
    cli.add_source(parser)
    cli.add_tables(parser)
    cli.add_every(parser)
    arguments = parser.parse_args()
    return cli.main("run_pipeline", arguments, lambda run: runner.bring_up_to_date(run, cli.feeds(arguments)))


if __name__ == "__main__":
    sys.exit(main())
