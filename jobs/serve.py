"""Serve the published tables over HTTP: serve.py --lakehouse DIR. Settings: conf/api.yaml."""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvicorn

from pipelines.errors import PipelineError
from pipelines.serving.api.app import make_app
from pipelines.serving.api.keys import Keys
from pipelines.serving.api.settings import load_api_settings


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve the published tables over HTTP (settings: conf/api.yaml).")
    parser.add_argument("--lakehouse", default=".lake", metavar="DIR", help="root of the tables (default: .lake)")
    parser.add_argument("--host", help="address to listen on (default: from the settings)")
    parser.add_argument("--port", type=int, help="port to listen on (default: from the settings)")
    parser.add_argument("--no-cache", action="store_true", help="compute every answer, for measurements")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        settings = load_api_settings()
        if arguments.no_cache:
            cache = settings.cache.model_copy(update={"ttl_seconds": {}, "warm_sites": 0})
            settings = settings.model_copy(update={"cache": cache})
        if not len(Keys(settings.keys_file)):
            print(f"no API key in {settings.keys_file}: make api-key SITES=shop,blog", file=sys.stderr)
        app = make_app(arguments.lakehouse, settings)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    host = arguments.host or settings.host
    port = settings.port if arguments.port is None else arguments.port
    print(f"http://{host}:{port} (what it answers: /openapi.json); interrupt it to stop", file=sys.stderr)
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
