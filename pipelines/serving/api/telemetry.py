"""Numbers about the service itself, in Prometheus' text format; they name endpoints, never sites or keys."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Telemetry:
    """One registry for one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "api_requests", "Requests answered.", ["endpoint", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "api_request_seconds",
            "Time from request to answer.",
            ["endpoint"],
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 2, 5, 10),
            registry=self.registry,
        )
        self.cache = Counter(
            "api_cache_lookups", "Answers looked up in the cache.", ["endpoint", "result"], registry=self.registry
        )
        self.hit_ratio = Gauge("api_cache_hit_ratio", "Hits / look-ups since the start.", registry=self.registry)
        self.redis_failures = Counter("api_redis_failures", "Calls of Redis that failed.", registry=self.registry)
        self.redis_up = Gauge("api_redis_up", "1: answers are kept in Redis; 0: in memory.", registry=self.registry)
        self.published_at = Gauge(
            "api_data_published_timestamp_seconds", "When the served version was published.", registry=self.registry
        )
        self._hits = self._lookups = 0

    def looked_up(self, endpoint: str, *, hit: bool) -> None:
        """Count a look-up in the cache."""
        self.cache.labels(endpoint, "hit" if hit else "miss").inc()
        self._lookups += 1
        self._hits += hit
        self.hit_ratio.set(self._hits / self._lookups)

    def text(self) -> bytes:
        return generate_latest(self.registry)
