"""Write the report: report.py --lakehouse DIR --out report.html; one file that opens in any browser, offline."""

import argparse
import sys
from datetime import UTC, date, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import duckdb

from pipelines.errors import ConfigurationError
from pipelines.serving.published import connect
from pipelines.serving.report.content import collect
from pipelines.serving.report.page import render
from pipelines.settings import load_sites


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the report of the published tables as one HTML file.")
    parser.add_argument("--lakehouse", default=".lake", metavar="DIR", help="root of the tables (default: .lake)")
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html")
    parser.add_argument("--site", action="append", default=[], help="only this site; may be repeated (default: all)")
    parser.add_argument("--conf", type=Path, metavar="DIR", help="folder with a sites.yaml of your own (default: conf)")
    parser.add_argument(
        "--as-of", type=date.fromisoformat, metavar="DATE", help="last day to show (default: the last complete one)"
    )
    arguments = parser.parse_args()
    now = datetime.now(UTC)
    try:
        sites = load_sites(arguments.conf / "sites.yaml") if arguments.conf else load_sites()
        document = collect(
            connect(arguments.lakehouse), sites, only=tuple(arguments.site), at=now, last=arguments.as_of
        )
        arguments.out.write_text(render(document, now), encoding="utf-8")
    except (ConfigurationError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except duckdb.Error as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 3
    size = arguments.out.stat().st_size / 1e6
    named = ", ".join(site["id"] for site in document["sites"])
    print(f"{arguments.out}: {named}; {size:.1f} MB, open it in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
