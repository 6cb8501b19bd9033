"""Make the DuckDB file with a view for every published table, without Spark: warehouse.py --lakehouse DIR."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import duckdb

from pipelines.errors import ConfigurationError
from pipelines.serving import warehouse


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a DuckDB file with a view for every published table.")
    parser.add_argument("--lakehouse", default=".lake", metavar="DIR", help="root of the tables (default: .lake)")
    parser.add_argument("--out", metavar="FILE", help="where to put it (default: DIR/warehouse.duckdb)")
    arguments = parser.parse_args()
    target = Path(arguments.out or Path(arguments.lakehouse, "warehouse.duckdb"))
    try:
        views = warehouse.write(arguments.lakehouse, target)
    except (ConfigurationError, duckdb.Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 3
    print(f"{target}: {views} views of what is published")
    return 0


if __name__ == "__main__":
    sys.exit(main())
