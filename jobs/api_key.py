"""Make an API key for some sites, or take one back: api_key.py --sites shop,blog [--note WHO] | --revoke ID."""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines.errors import PipelineError
from pipelines.serving.api.keys import add_key, revoke_key
from pipelines.serving.api.settings import load_api_settings


def main() -> int:
    parser = argparse.ArgumentParser(description="Make an API key for some sites, or take one back.")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--sites", help="sites that the key may see, by commas")
    wanted.add_argument("--revoke", metavar="ID", help="what stands before the dot of a key")
    parser.add_argument("--note", default="", help="whose it is, for people")
    parser.add_argument("--days", type=int, help="how long it is valid (default: until it is revoked)")
    arguments = parser.parse_args()
    try:
        path = load_api_settings().keys_file
        if arguments.revoke:
            if not revoke_key(path, arguments.revoke):
                print(f"error: {path} has no key {arguments.revoke!r}", file=sys.stderr)
                return 2
            print(f"revoked {arguments.revoke}")
            return 0
        sites = [site.strip() for site in arguments.sites.split(",") if site.strip()]
        if not sites or (arguments.days is not None and arguments.days <= 0):
            print("error: expected --sites such as shop,blog and --days of 1 or more", file=sys.stderr)
            return 2
        until = None
        if arguments.days:
            until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=arguments.days)
        print(add_key(path, sites, arguments.note, until))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
