"""Write the quality page, without Spark: quality.py --lakehouse DIR."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import duckdb

from pipelines.errors import ConfigurationError
from pipelines.serving import quality


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the quality page: checks, runs, refused records, dictionary.")
    parser.add_argument("--lakehouse", default=".lake", metavar="DIR", help="root of the tables (default: .lake)")
    parser.add_argument("--out", metavar="FILE", help="where to put it (default: DIR/quality.html)")
    arguments = parser.parse_args()
    target = Path(arguments.out or Path(arguments.lakehouse, "quality.html"))
    try:
        quality.write(arguments.lakehouse, target, at=datetime.now(UTC))
    except (ConfigurationError, duckdb.Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 3
    print(f"quality page: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
