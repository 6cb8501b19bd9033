"""Rows of the tables for tests: a test names the columns that matter to it, the contract supplies the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import contract

Row = dict[str, Any]
NEUTRAL: Row = {
    "string": "-",
    "boolean": False,
    "bigint": 0,
    "int": 0,
    "double": 0.0,
    "date": date(2026, 1, 5),
    "timestamp": datetime(2026, 1, 5, 12, tzinfo=UTC),
    "array<string>": [],
    "map<string,string>": {},
    "decimal(28,4)": Decimal(0),
    "decimal(4,3)": Decimal(0),
}
"""What a required column holds where a test does not care."""


def utc(text: str) -> datetime:
    """An ISO 8601 time without offset, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(text: str) -> date:
    return date.fromisoformat(text)


def table_frame(spark: SparkSession, table: str, rows: Iterable[Row]) -> DataFrame:
    """A frame with the contract's schema; optional columns that a row leaves out are null, required ones neutral."""
    columns = contract(table).columns
    known = {column.name for column in columns}
    content = []
    for row in rows:
        unknown = set(row) - known
        if unknown:
            raise KeyError(f"{table} has no column {', '.join(sorted(unknown))}")
        content.append(tuple(row.get(c.name, NEUTRAL[c.type] if c.required else None) for c in columns))
    return spark.createDataFrame(content, contract(table).ddl)


def records_frame(spark: SparkSession, source: str, lines: Iterable[str | Row]) -> DataFrame:
    """bronze.events of one file and batch: the lines in their order, from position 1; a row may say more than `raw`."""
    content = []
    for number, given in enumerate(lines, start=1):
        row = {"raw": given} if isinstance(given, str) else given
        content.append({"source": source, "origin": "/landing/file.jsonl", "position": number, "batch_id": 1, **row})
    return table_frame(spark, "bronze.events", content)


def events_frame(spark: SparkSession, rows: Iterable[Row]) -> DataFrame:
    """silver.events: countable custom events of site `shop`, with ids e1, e2, … and dates in UTC.

    Page views are numbered as they stand, and an owned event has its page_view_date from its own date.
    """
    content = []
    views: Counter[str] = Counter()
    for number, given in enumerate(rows, start=1):
        row = {"site_id": "shop", "event_id": f"e{number}", "event_type": "custom_event", **given}
        row.setdefault("event_time", NEUTRAL["timestamp"])
        row.setdefault("event_date", row["event_time"].date())
        row.setdefault("event_utc_date", row["event_time"].date())
        row.setdefault("session_id", "s1")
        row.setdefault("session_date", row["event_date"])
        row.setdefault("visitor_id", "ann")
        row.setdefault("person_id", row["visitor_id"])
        row.setdefault("is_countable", True)
        if row["event_type"] == "page_view":
            views[row["session_id"]] += 1
            row.setdefault("page_view_number", views[row["session_id"]])
        if row.get("page_view_number") is not None:
            row.setdefault("page_view_date", row["event_date"])
        content.append(row)
    return table_frame(spark, "silver.events", content)


def sessions_frame(spark: SparkSession, rows: Iterable[Row]) -> DataFrame:
    """silver.sessions: countable sessions s1, s2, … of site `shop`; duration_seconds also sets end_time and, where
    it is given, an event_count of 2 (1 where it is not)."""
    content = []
    for number, given in enumerate(rows, start=1):
        row = {"site_id": "shop", "session_id": f"s{number}", "is_countable": True, **given}
        row.setdefault("visitor_id", "ann")
        row.setdefault("person_id", row["visitor_id"])
        row.setdefault("session_date", NEUTRAL["date"])
        noon = datetime.combine(row["session_date"], time(12), UTC)
        row.setdefault("start_time", noon)
        duration = row.get("duration_seconds")
        row.setdefault("event_count", 1 if duration is None else 2)
        row.setdefault("end_time", row["start_time"] + timedelta(seconds=duration or 0))
        content.append(row)
    return table_frame(spark, "silver.sessions", content)


def user_days_frame(spark: SparkSession, rows: Iterable[tuple[str, str] | Row]) -> DataFrame:
    """silver.user_days of site `shop` with one event each; (person, ISO date) is short for such a row."""
    content = []
    for given in rows:
        row = {"person_id": given[0], "date": day(given[1])} if isinstance(given, tuple) else given
        content.append({"site_id": "shop", "events": 1, **row})
    return table_frame(spark, "silver.user_days", content)
