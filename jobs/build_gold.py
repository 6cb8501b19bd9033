"""Silver → gold → served: every gold table up to the last batch of silver, then published as one set."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli, runner


def main() -> int:
    parser = cli.parser("Bring gold up to the last batch of silver and publish it.")
    cli.add_mappings(parser)
    cli.add_tables(parser)
    return cli.main("build_gold", parser.parse_args(), runner.build_gold)


if __name__ == "__main__":
    sys.exit(main())
