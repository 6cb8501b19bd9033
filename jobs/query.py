"""Ask the published tables in SQL, without Spark: query.py --lakehouse DIR "select * from gold.funnel_daily"."""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import duckdb

from pipelines.errors import ConfigurationError
from pipelines.serving.published import connect

TABLES = """
select schema_name || '.' || view_name as "table" from duckdb_views()
where schema_name in ('silver', 'gold', 'ops') order by 1
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask the published tables in SQL (DuckDB's), without Spark.")
    parser.add_argument(
        "sql", nargs="?", help='for example "from gold.active_users_daily order by date"; none: list the tables'
    )
    parser.add_argument("--lakehouse", default=".lake", metavar="DIR", help="root of the tables (default: .lake)")
    parser.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    arguments = parser.parse_args()
    try:
        result = connect(arguments.lakehouse).sql(arguments.sql or TABLES)
        if result is None:
            print("done")
        elif arguments.csv:
            writer = csv.writer(sys.stdout)
            writer.writerow(result.columns)
            while rows := result.fetchmany(10_000):
                writer.writerows(rows)
        else:
            print(result)
    except (ConfigurationError, duckdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
