"""Bronze → silver: events, sessions and user days, up to the last batch of bronze."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli, runner


def main() -> int:
    parser = cli.parser("Bring silver up to the last batch of bronze.")
    cli.add_mappings(parser)
    return cli.main("build_silver", parser.parse_args(), runner.build_silver)


if __name__ == "__main__":
    sys.exit(main())
