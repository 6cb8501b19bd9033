"""A published lake of two sites, and the API over it as a server of its own on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from pipelines.serving.api.app import Service, make_app
from pipelines.serving.api.keys import add_key
from pipelines.serving.api.settings import ApiSettings, load_api_settings
from tests.ports import free_port
from tests.serving.lakes import publish, row, session
from tests.serving.postgres_place import Place
from tests.serving.postgres_server import Server, running

SECRET = "canary-7f3a"
"""Stands in every row of the site that the tests' key may not see."""
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def sample(views: int = 10) -> dict[str, list[dict[str, Any]]]:
    """Tables of the sites shop (whose page has so many views) and blog (which holds the secret)."""
    days = [date(2026, 1, day) for day in (29, 30, 31)]
    steps = [("Entry", 10), ("Cart", 4), ("Confirmation", 1)]
    return {
        "silver.sessions": [
            *(
                session("shop", f"s{n}", NOON - timedelta(hours=n), person=f"ann{n % 2}", converted=n == 3)
                for n in range(6)
            ),
            session("shop", "old", NOON - timedelta(days=200), person="ann0"),
            session("blog", SECRET, NOON, person=SECRET, exit_page=SECRET),
        ],
        "gold.page_metrics_daily": [
            *(row("gold.page_metrics_daily", site_id="shop", date=day, page="/cart", views=views) for day in days),
            row("gold.page_metrics_daily", site_id="shop", date=days[0], page="/a b/100%?", views=2),
            *(row("gold.page_metrics_daily", site_id="blog", date=day, page=f"/{SECRET}", views=777) for day in days),
        ],
        "gold.funnel_daily": [
            row(
                "gold.funnel_daily", site_id=site, date=day, funnel="stages", step_number=number, step=step,
                journeys=10, count=count,
            )
            for site in ("shop", "blog") for day in days[:2] for number, (step, count) in enumerate(steps, 1)
        ],
        "gold.traffic_sources_daily": [
            row("gold.traffic_sources_daily", site_id=site, date=days[2], channel=channel, campaign=name, sessions=4)
            for site, name in (("shop", "spring"), ("blog", SECRET)) for channel in ("Direct", "Email")
        ],
        "gold.journey_stats_daily": [
            row("gold.journey_stats_daily", site_id=site, date=day) for site in ("shop", "blog") for day in days
        ],
    }  # fmt: skip


@dataclass
class Api:
    """A running API, a client with a key for `shop` alone, and what is behind it."""

    url: str
    service: Service
    lake: Path
    client: httpx.Client

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(path, params={"site": "shop", **parameters})

    def query(self, sql: str, **more: Any) -> httpx.Response:
        return self.client.post("/query", json={"sql": sql, **more})


Start = Callable[..., Api]


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    publish(root, sample())
    return root


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts APIs that end with the module: start(lake, setting=value…)."""
    ends: list[Callable[[], None]] = []

    def begin(lake: Path, **changes: Any) -> Api:
        folder = tmp_path_factory.mktemp("api")
        settings = settings_in(folder, **changes)
        app = make_app(str(lake), settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        key = add_key(settings.keys_file, ["shop"])
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120, trust_env=False)

        def end() -> None:
            client.close()
            server.should_exit = True
            thread.join(timeout=60)

        ends.append(end)
        wait_for(lambda: server.started)
        return Api(url, app.state.service, lake, client)

    yield begin
    for end in ends:
        end()


@pytest.fixture(scope="module")
def api(start: Start, lake: Path) -> Api:
    return start(lake)


def settings_in(folder: Path, **changes: Any) -> ApiSettings:
    """The settings that ship, with everything that is written below `folder`."""
    settings = load_api_settings()
    places = {"keys_file": folder / "keys.yaml", "data_folder": folder / "data"}
    return settings.model_copy(update={**places, **changes})


def wait_for(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


class Redis:
    """Debian's Redis on a port of its own, which a test may stop and start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        wait_for(self._answers)

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        with socket.socket() as found:
            return found.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here: make redis-install")
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture
def place(postgres: Server, request: pytest.FixtureRequest) -> Place:
    """A schema of the test's own."""
    return Place(postgres, "p" + request.node.name.removeprefix("test_")[:40].lower().replace("[", "_").rstrip("]"))
