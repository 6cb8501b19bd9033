"""Answers that are kept: in Redis or in memory, never stale, and never missed when Redis goes away."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import redis

from pipelines.serving.api.cache import Cache, Memory
from pipelines.serving.api.settings import load_api_settings
from pipelines.serving.api.telemetry import Telemetry
from tests.serving.conftest import Api, Redis, Start, sample
from tests.serving.lakes import publish, write

CACHE = load_api_settings().cache
PATH = "/pages/%2Fcart/metrics"


def in_redis(server: Redis) -> list[str]:
    with redis.Redis(port=server.port) as client:
        return [key.decode() for key in client.scan_iter()]


def hit_ratio(api: Api) -> float:
    found = re.search(r"^api_cache_hit_ratio (\S+)$", api.client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def test_the_second_answer_is_the_first_from_redis(start: Start, lake: Path, redis_server: Redis) -> None:
    api = start(lake, cache=CACHE.model_copy(update={"redis_url": redis_server.url, "warm_sites": 0}))
    first, second = api.get(PATH), api.get(PATH)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert first.content == second.content
    assert [key.split(":")[:2] for key in in_redis(redis_server)] == [["api", "0-run-1"]]
    assert hit_ratio(api) == 0.5
    assert "api_redis_up 1.0" in api.client.get("/metrics").text


def test_another_site_range_or_page_is_another_answer() -> None:
    keys = [
        Cache.key("1", "shop", "devices", {"from": "a"}),
        Cache.key("2", "shop", "devices", {"from": "a"}),
        Cache.key("1", "blog", "devices", {"from": "a"}),
        Cache.key("1", "shop", "geo", {"from": "a"}),
        Cache.key("1", "shop", "devices", {"from": "b"}),
    ]
    assert len(set(keys)) == len(keys)


def test_redis_lost_and_back_changes_no_answer(start: Start, lake: Path, redis_server: Redis) -> None:
    cache = CACHE.model_copy(update={"redis_url": redis_server.url, "redis_pause_seconds": 0.2, "warm_sites": 0})
    api = start(lake, cache=cache)
    expected = api.get(PATH).content
    redis_server.stop()
    for _ in range(3):
        answer = api.get(PATH)
        assert (answer.status_code, answer.content) == (200, expected)
    assert api.get(PATH).headers["x-cache"] == "hit"  # from memory by now
    assert "api_redis_up 0.0" in api.client.get("/metrics").text
    redis_server.start()
    for _ in range(20):
        assert api.get(PATH).content == expected
        if in_redis(redis_server):
            return
        time.sleep(0.1)
    pytest.fail("Redis is not used again")


def test_a_redis_that_was_never_there_is_no_error(start: Start, lake: Path) -> None:
    api = start(lake, cache=CACHE.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", "warm_sites": 0}))
    assert [api.get(PATH).headers["x-cache"] for _ in range(2)] == ["miss", "hit"]


def test_a_new_version_is_answered_at_once_and_warm(start: Start, tmp_path: Path) -> None:
    publish(tmp_path, sample(views=10))
    api = start(tmp_path)
    assert api.get("/sessions/stats").headers["x-cache"] == "hit"  # asked ahead
    before = api.get(PATH).json()
    publish(tmp_path, sample(views=55), run_id="run-2")
    assert api.service.engine.refresh()
    after = api.get(PATH)
    assert after.headers["x-cache"] == "miss"
    assert (before["rows"][0]["views"], after.json()["rows"][0]["views"]) == (10, 55)
    assert (before["data_version"], after.json()["data_version"]) == ("0-run-1", "1-run-2")
    assert api.get("/sessions/stats").headers["x-cache"] == "hit"
    assert not api.service.engine.refresh()


def test_a_half_published_state_is_never_served(start: Start, tmp_path: Path) -> None:
    publish(tmp_path, sample(views=10))
    api = start(tmp_path)
    write(tmp_path, "gold.page_metrics_daily", sample(views=55)["gold.page_metrics_daily"])  # a run dies here
    assert not api.service.engine.refresh()
    assert api.get(PATH).json()["rows"][0]["views"] == 10


def test_a_version_that_cannot_be_read_leaves_the_old_one_served(start: Start, tmp_path: Path) -> None:
    publish(tmp_path, sample(views=10))
    api = start(tmp_path)
    publish(tmp_path, sample(views=55), run_id="run-2")
    for file in (tmp_path / "gold/page_metrics_daily").glob("*.parquet"):
        file.unlink()
    assert not api.service.engine.refresh()
    assert api.client.get("/health").json()["status"] == "stale"
    assert api.get(PATH).json()["rows"][0]["views"] == 10
    publish(tmp_path, sample(views=66), run_id="run-3")
    assert api.service.engine.refresh()
    assert api.client.get("/health").json()["status"] == "ok"
    assert api.get(PATH).json()["rows"][0]["views"] == 66


def test_nothing_published_is_said_and_then_served(start: Start, tmp_path: Path) -> None:
    api = start(tmp_path)
    assert (api.client.get("/health").status_code, api.get(PATH).status_code) == (503, 503)
    publish(tmp_path, sample())
    api.service.engine.refresh()
    assert (api.client.get("/health").status_code, api.get(PATH).status_code) == (200, 200)


def test_memory_forgets_the_least_used_and_the_old() -> None:
    memory = Memory(most_bytes=10)
    memory.put("a", b"12345", 60)
    memory.put("b", b"12345", 60)
    assert memory.get("a") == b"12345"
    memory.put("c", b"12345", 60)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (b"12345", None, b"12345")
    memory.put("d", b"1", 0)
    assert memory.get("d") is None


def test_an_endpoint_without_time_to_live_is_not_kept() -> None:
    cache = Cache(CACHE.model_copy(update={"redis_url": None}), Telemetry())
    cache.put("key", b"x", 0)
    assert cache.get("key") is None
    assert CACHE.ttl("sessions") == 300
    assert CACHE.ttl("devices") == CACHE.ttl_seconds["default"]
