"""Answers kept for a while: in Redis where there is one, else in the memory of this process.

Keys hold the data version, so an answer from an old version is never found under a new one. A Redis that fails is left
alone for some seconds; meanwhile answers are computed and kept in memory, and nobody notices but the metrics.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import redis

from pipelines.serving.api.settings import CacheSettings
from pipelines.serving.api.telemetry import Telemetry


class Memory:
    """The least recently used go first when there are too many bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            if found[0] <= time.monotonic():
                self._drop(key)
                return None
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key: str, body: bytes, seconds: int) -> None:
        with self._lock:
            self._drop(key)
            self._kept[key] = (time.monotonic() + seconds, body)
            self._size += len(body)
            while self._size > self._most:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        _, body = self._kept.pop(key, (0.0, b""))
        self._size -= len(body)


class Cache:
    """`get` and `put` never fail."""

    def __init__(self, settings: CacheSettings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._memory = Memory(settings.memory_bytes)
        self._redis: redis.Redis | None = None
        self._ask_again_at = 0.0
        if settings.redis_url:
            timeout = settings.redis_timeout_seconds
            self._redis = redis.Redis.from_url(
                settings.redis_url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=None
            )

    @staticmethod
    def key(data_version: str, site: str, endpoint: str, parameters: Mapping[str, Any]) -> str:
        """Names one answer."""
        asked = json.dumps([site, endpoint, parameters], sort_keys=True, default=str)
        return f"api:{data_version}:{hashlib.sha256(asked.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def get(self, key: str) -> bytes | None:
        """The kept answer, if there is one."""
        if self._usable():
            assert self._redis is not None
            try:
                found = self._redis.get(key)
                self._telemetry.redis_up.set(1)
                return found if isinstance(found, bytes) else None
            except redis.RedisError:
                self._failed()
        return self._memory.get(key)

    def put(self, key: str, body: bytes, seconds: int) -> None:
        """Keep an answer for so long; 0: not at all."""
        if seconds <= 0:
            return
        if self._usable():
            assert self._redis is not None
            try:
                self._redis.set(key, body, ex=seconds)
                return
            except redis.RedisError:
                self._failed()
        self._memory.put(key, body, seconds)

    def _usable(self) -> bool:
        return self._redis is not None and time.monotonic() >= self._ask_again_at

    def _failed(self) -> None:
        self._ask_again_at = time.monotonic() + self._settings.redis_pause_seconds
        self._telemetry.redis_failures.inc()
        self._telemetry.redis_up.set(0)
