"""What the API answers how fast: `python -m benchmarks.load`, bounded and on loopback; the result is docs/load.md.

Makes a published lake of generated sessions (by DuckDB, without Spark), serves it by `jobs/serve.py` in a process of
its own, and asks each endpoint from several clients that send the next request when the last is answered: once with
every answer computed, once with the cache. Parameters are drawn at random with a fixed seed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote

import duckdb
from deltalake import DeltaTable

from benchmarks.sessions_lake import DAYS, FIRST, PAGES, write_lake
from pipelines.serving.api.keys import add_key

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = _ROOT / "docs/load.md"
_LIMIT_MS = {"look-up": 200, "metric": 50, "query": None}

Ask = Callable[[random.Random], tuple[str, str, bytes | None]]


def _range(draw: random.Random, days: int = 30) -> str:
    first = FIRST + timedelta(days=draw.randrange(DAYS - days))
    return f"from={first}&to={first + timedelta(days=days - 1)}"


def _page(draw: random.Random) -> str:
    return quote(f"/page-{draw.randrange(PAGES)}", safe="")


def _get(path: Callable[[random.Random], str]) -> Ask:
    return lambda draw: ("GET", path(draw), None)


def _query(draw: random.Random) -> tuple[str, str, bytes | None]:
    first = FIRST + timedelta(days=draw.randrange(DAYS - 30))
    sql = (
        "select channel, sum(sessions) as sessions, sum(conversions) as conversions from gold.traffic_sources_daily "
        f"where date between date '{first}' and date '{first + timedelta(days=29)}' group by all order by 2 desc"
    )
    return "POST", "/query", json.dumps({"sql": sql}).encode()


def endpoints(session_ids: list[str], people: list[str]) -> dict[str, tuple[str, Ask]]:
    """Name → what kind of question it is (which has a limit), and how one is drawn."""
    return {
        "/pages/{page}/metrics": ("metric", _get(lambda d: f"/pages/{_page(d)}/metrics?site=shop&{_range(d)}")),
        "/pages/{page}/performance": ("metric", _get(lambda d: f"/pages/{_page(d)}/performance?site=shop&{_range(d)}")),
        "/funnels/{funnel}/conversion": ("metric", _get(lambda d: f"/funnels/stages/conversion?site=shop&{_range(d)}")),
        "/journey-funnels": ("metric", _get(lambda d: f"/journey-funnels?site=shop&{_range(d)}")),
        "/sessions/stats": ("metric", _get(lambda d: f"/sessions/stats?site=shop&{_range(d)}")),
        "/traffic-sources": ("metric", _get(lambda d: f"/traffic-sources?site=shop&{_range(d)}")),
        "/devices": ("metric", _get(lambda d: f"/devices?site=shop&{_range(d)}")),
        "/active-users": ("metric", _get(lambda d: f"/active-users?site=shop&{_range(d)}")),
        "/anomalies/sessions": ("metric", _get(lambda d: f"/anomalies/sessions?site=shop&{_range(d)}")),
        "/sessions": ("look-up", _get(lambda d: f"/sessions?site=shop&{_range(d)}&offset={d.randrange(1000)}")),
        "/sessions (converted, mobile)": (
            "look-up",
            _get(lambda d: f"/sessions?site=shop&{_range(d)}&converted=true&device_type=mobile"),
        ),
        "/sessions/{session}": ("look-up", _get(lambda d: f"/sessions/{d.choice(session_ids)}?site=shop")),
        "/users/{user}/journey": ("look-up", _get(lambda d: f"/users/{d.choice(people)}/journey?site=shop")),
        "POST /query": ("query", _query),
    }


def measure(port: int, key: str, ask: Ask, *, clients: int, seconds: float) -> tuple[list[float], dict[int, int]]:
    """Milliseconds of every request, and how often each status came."""
    times: list[float] = []
    statuses: dict[int, int] = {}
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        draw = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        mine: list[tuple[float, int]] = []
        while time.monotonic() < end:
            method, path, body = ask(draw)
            started = time.perf_counter()
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            mine.append(((time.perf_counter() - started) * 1000, response.status))
        connection.close()
        with lock:
            for milliseconds, status in mine:
                times.append(milliseconds)
                statuses[status] = statuses.get(status, 0) + 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, statuses


@contextmanager
def serving(lake: Path, folder: Path, *, cached: bool) -> Iterator[tuple[int, str, int]]:
    """The API as `make serve` starts it, from its folder: its port, a key, its process."""
    port = _free_port()
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PIPELINE_API_KEYS": str(folder / "keys.yaml")}
    key = add_key(folder / "keys.yaml", ["shop", "blog"])
    command = [sys.executable, str(_ROOT / "jobs/serve.py"), "--lakehouse", str(lake), "--port", str(port)]
    process = subprocess.Popen([*command, *([] if cached else ["--no-cache"])], cwd=folder, env=environment)
    try:
        _wait_until_healthy(port, process)
        yield port, key, process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.5)
    raise RuntimeError("the API does not come up")


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _at(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _table(lake: Path, folder: Path, arguments: argparse.Namespace, *, cached: bool) -> list[str]:
    files = DeltaTable(str(lake / "silver/sessions")).file_uris()
    with duckdb.connect() as con:
        found = con.execute(
            "select session_id, person_id from read_parquet($1, hive_partitioning = true) where site_id = 'shop' "
            "using sample 5000 rows (reservoir, 7)",
            [files],
        ).fetchall()
    session_ids, people = (sorted(set(values)) for values in zip(*found, strict=True))
    lines = [
        "| endpoint | requests | per second | p50 ms | p95 ms | p99 ms | max ms | aim: p99 ms | CPU ms a request |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    with serving(lake, folder, cached=cached) as (port, key, pid):
        for name, (kind, ask) in endpoints(session_ids, people).items():
            measure(port, key, ask, clients=arguments.clients, seconds=1)  # reads from disk what it needs
            cpu = _cpu_seconds(pid)
            times, statuses = measure(port, key, ask, clients=arguments.clients, seconds=arguments.seconds)
            cpu = _cpu_seconds(pid) - cpu
            if set(statuses) != {200}:
                raise RuntimeError(f"{name}: answers were {statuses}")
            figures = " | ".join(f"{_at(times, share):.1f}" for share in (0.5, 0.95, 0.99, 1))
            aim = _LIMIT_MS[kind]
            lines.append(
                f"| {name} | {len(times)} | {len(times) / arguments.seconds:.0f} | {figures} | {aim or ''} "
                f"| {cpu / len(times) * 1000:.1f} |"
            )
            print(lines[-1], flush=True)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the API's answers on generated sessions, on loopback.")
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5, help="for each endpoint, with and without the cache")
    parser.add_argument("--folder", type=Path, help="where the lake is made, or lies from before (default: a new one)")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="load-"))
    lake = folder / "lake"
    if not (lake / "ops/published").exists():
        write_lake(lake, arguments.sessions)
    busy = os.getloadavg()[0]
    started = date.today()
    computed = _table(lake, folder, arguments, cached=False)
    kept = _table(lake, folder, arguments, cached=True)
    _PAGE.write_text(
        f"""# How fast the API answers

Written by `make load` on {started}: {arguments.sessions:,} generated sessions over {DAYS} dates in two sites, of which
`shop` has four fifths; {arguments.clients} clients on the same machine, each sending its next request when the last is
answered, for {arguments.seconds:g} s an endpoint; parameters drawn at random (30 dates; pages, sessions, users of all).
The machine has {os.cpu_count()} processors, which server and clients share; its load average before the run was
{busy:.1f}: {"other programs were using it too" if busy > 1 else "nothing else was using it"}.
The time is what a client sees. The last column is the server's own processor time, which other programs do not change
as much.

## Every answer computed (no cache)

{chr(10).join(computed)}

## With the cache in the server's memory, filled by the run itself

{chr(10).join(kept)}
""",
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
