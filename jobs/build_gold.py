"""Silver → gold → served: every gold table up to the last batch of silver, then published as one set."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli, runner


def main() -> int:
    arguments = cli.parser("Bring gold up to the last batch of silver and publish it.").parse_args()
    return cli.main("build_gold", arguments, runner.build_gold)


if __name__ == "__main__":
    sys.exit(main())
