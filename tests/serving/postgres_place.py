"""A schema of one test's own in PostgreSQL, a small lake to publish there, and how the two compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pipelines.serving.postgres import Change, publish
from tests.rows import Row, day, utc
from tests.serving.postgres_server import Server
from tests.serving.small_lake import SmallLake

SESSIONS, PATHS, TIERS = "silver.sessions", "gold.flow_patterns_daily", "gold.engagement_tiers_daily"
ALL = (SESSIONS, PATHS, TIERS)
MONDAY, TUESDAY = day("2026-01-05"), day("2026-01-06")


def filled(root: Path) -> SmallLake:
    """A lake with three sessions and two paths, published."""
    made = SmallLake(root)
    made.replace(SESSIONS, [session("a"), session("b", events=2), session("c", session_date=TUESDAY)])
    made.replace(PATHS, [path("/a > /b"), path("/c", sessions=5)])
    made.replace(TIERS, [])
    made.publish(*ALL)
    return made


class Place:
    """A schema of one test's own."""

    def __init__(self, server: Server, schema: str) -> None:
        self.server, self.schema = server, schema

    def publish(self, lake: SmallLake, *, whole: bool = False) -> list[Change]:
        told: list[str] = []
        return publish(
            lake.root, self.server.url, self.schema, whole=whole, tell=told.append, seconds_before_retry=0.01
        )

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The answer as rows; `{}` in the query is the schema."""
        with psycopg.connect(self.server.url, row_factory=dict_row, options="-c timezone=UTC") as con:
            return con.execute(query.replace("{}", self.schema).encode()).fetchall()

    def do(self, statements: str) -> None:
        with psycopg.connect(self.server.url) as con:
            con.execute(statements.replace("{}", self.schema).encode())


def session(session_id: str, *, events: int = 1, session_date: Any = MONDAY, **other: Any) -> Row:
    return {
        "site_id": "shop",
        "session_id": session_id,
        "session_date": session_date,
        "event_count": events,
        "created_at": utc("2026-01-07T03:00:00.000001"),
        **other,
    }


def path(text: str, *, sessions: int = 1, site_id: str = "shop") -> Row:
    return {"site_id": site_id, "date": MONDAY, "path": text, "sessions": sessions}


def in_lake(lake: SmallLake, table: str) -> list[tuple[Any, ...]]:
    rows = lake.lake.rows(table)
    return sorted((tuple(row.values()) for row in rows), key=repr)


def in_postgres(place: Place, table: str) -> list[tuple[Any, ...]]:
    rows = place.rows(f"select * from {{}}.{table.split('.')[1]}")
    return sorted((tuple(row.values()) for row in rows), key=repr)


def assert_same(place: Place, lake: SmallLake, *tables: str) -> None:
    for table in tables or ALL:
        assert in_postgres(place, table) == in_lake(lake, table)


def by_table(done: list[Change]) -> dict[str, tuple[int, int, int]]:
    return {change.table: (change.sent, change.written, change.removed) for change in done}
