"""Put dead letters back through today's mapping, or let a held batch go on."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli
from pipelines.ops import replay


def main() -> int:
    parser = cli.parser("Put dead letters back through today's mapping, or let a held batch go on.")
    cli.add_mappings(parser)
    cli.add_tables(parser)
    replay.add_selection(parser)
    arguments = parser.parse_args()
    return cli.main("replay", arguments, lambda run: replay.replay(run, arguments))


if __name__ == "__main__":
    sys.exit(main())
