"""Recompute silver and gold from bronze, by today's mappings, sites and rules."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli
from pipelines.ops import rebuild


def main() -> int:
    parser = cli.parser("Recompute silver and gold from bronze, by today's mappings, sites and rules.")
    cli.add_mappings(parser)
    cli.add_tables(parser)
    rebuild.add_range(parser)
    arguments = parser.parse_args()
    return cli.main("rebuild", arguments, lambda run: rebuild.rebuild(run, arguments))


if __name__ == "__main__":
    sys.exit(main())
