"""Bring PostgreSQL to the published versions of sessions and gold, without Spark: publish.py --postgres URL."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines.config import parse
from pipelines.errors import PipelineError
from pipelines.serving.postgres import publish
from pipelines.settings import PostgresSettings, load_settings


def main() -> int:
    parser = argparse.ArgumentParser(description="Publish sessions and gold to PostgreSQL, without Spark.")
    parser.add_argument(
        "--postgres", metavar="URL", help="postgresql://user@host:port/database (default: from settings)"
    )
    parser.add_argument("--schema", help="schema that holds the tables (default: from settings: analytics)")
    parser.add_argument("--lakehouse", metavar="DIR", help="root of the tables (default: from settings)")
    parser.add_argument("--env", default="local", help="settings to run under (default: local)")
    parser.add_argument("--whole", action="store_true", help="compare all rows, and take the place of another lake's")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        settings = load_settings(arguments.env)
        given = {"url": arguments.postgres, "schema_name": arguments.schema}
        chosen = {**settings.postgres.model_dump(), **{key: value for key, value in given.items() if value is not None}}
        if arguments.postgres:
            chosen["url_variable"] = ""  # what is given goes before the environment
        target = parse(PostgresSettings, chosen, "--postgres, --schema")
        done = publish(
            arguments.lakehouse or settings.lakehouse, target.target(), target.schema_name, whole=arguments.whole
        )
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for change in done:
        print(f"  {change.sentence()}")
    changed = sum(change.written + change.removed > 0 for change in done)
    print(f"PostgreSQL, schema {target.schema_name}: {changed} tables changed in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
