"""Silver → gold → served: every gold table up to the last batch of silver, then published as one set."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines import cli
from pipelines.runner import Run


def main() -> int:
    arguments = cli.parser("Bring gold up to the last batch of silver and publish it.").parse_args()

    def work(run: Run) -> None:
        run.build_gold()
        run.publish()

    return cli.main("build_gold", arguments, work)


if __name__ == "__main__":
    sys.exit(main())
