"""The conservation law: every record that was received is somewhere, and in one place only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from pipelines.contracts import standard_sql_string
from pipelines.lake import Lake


@dataclass(frozen=True)
class Terms:
    """received = accepted + duplicates + dead + pending, in records."""

    received: int
    accepted: int
    duplicates: int
    dead: int
    pending: int

    @property
    def missing(self) -> int:
        """Records that are nowhere (or, below zero, in two places)."""
        return self.received - self.accepted - self.duplicates - self.dead - self.pending


@dataclass(frozen=True)
class Books:
    """The terms of each source, and of all."""

    sources: dict[str, Terms]

    @property
    def total(self) -> Terms:
        terms = self.sources.values()
        return Terms(
            received=sum(term.received for term in terms),
            accepted=sum(term.accepted for term in terms),
            duplicates=sum(term.duplicates for term in terms),
            dead=sum(term.dead for term in terms),
            pending=sum(term.pending for term in terms),
        )

    @staticmethod
    def of(lake: Lake) -> Books:
        """Read from the state of the tables, as of the batch that silver.events reflects.

        What a run decided before it died, and silver.events does not reflect, does not count yet.
        """
        done = lake.batch("silver.events")
        received: Counter[str] = Counter()
        pending: Counter[str] = Counter()
        for (source, batch), records in lake.records_by_batch("bronze.events").items():
            received[source] += records
            if batch > done:
                pending[source] += records
        held = standing("decided_in", "released_in", done)
        pending += _counted(lake, "ops.held_batches", f"sum(records) as n from t where {held}")
        letters = standing("judged_in", "replayed_in", done)
        accepted = _counted(lake, "silver.events", "count(*) as n from t", source="first_source")
        dead = _counted(lake, "ops.dead_letters", f"count(*) as n from t where {letters}")
        repeats = standing("judged_in", "replaced_in", done)
        duplicates = _counted(lake, "ops.duplicates", f"count(*) as n from t where {repeats}")
        names = received.keys() | accepted.keys() | dead.keys() | duplicates.keys() | pending.keys()
        return Books(
            {
                name: Terms(received[name], accepted[name], duplicates[name], dead[name], pending[name])
                for name in sorted(names)
            }
        )


def standing(since: str, until: str, done: int) -> str:
    """Predicate on a ledger's rows: decided (`since`) and not taken back (`until`) by a batch that silver reflects."""
    return f"{since} <= {done} and ({until} is null or {until} > {done})"


def _counted(lake: Lake, table: str, select: str, source: str = "source") -> Counter[str]:
    return Counter({row["s"]: int(row["n"]) for row in lake.rows(table, f"select {source} as s, {select} group by 1")})


# What two tables must agree on, by site and date: table, its date, its number.
_AGREEMENTS = {
    "countable_events": (
        ("silver.events", "event_date", "count(*) filter (where is_countable)"),
        ("silver.user_days", "date", "sum(events)"),
    ),
    "countable_sessions": (
        ("silver.sessions", "session_date", "count(*) filter (where is_countable)"),
        ("gold.journey_stats_daily", "date", "sum(total_journeys)"),
    ),
    "page_views": (
        (
            "silver.events",
            "event_date",
            "count(*) filter (where is_countable and event_type = 'page_view' and page_view_number is not null)",
        ),
        ("gold.page_metrics_daily", "date", "sum(views)"),
    ),
}


def layer_differences(lake: Lake, tables: Sequence[str], since: int) -> dict[str, int]:
    """By agreement of two of the tables, the (site, date) slices touched after batch `since` in which they differ."""
    found = {}
    for name, sides in _AGREEMENTS.items():
        if not {table for table, _, _ in sides} <= set(tables):
            continue
        con = duckdb.connect()
        touched = lake.touched_since(sides[0][0], since, sides[0][1])
        for side, (table, day, number) in zip(("l", "r"), sides, strict=True):
            where = touched.predicate(day, standard_sql_string)
            sql = f"select site_id, {day} as day, {number} as n from t where {where} group by 1, 2"
            answer = lake.table(table, sql)
            if answer is None:
                return {}
            con.register(side, answer)
        row = con.execute(
            "select count(*) from l full join r using (site_id, day) where coalesce(l.n, 0) <> coalesce(r.n, 0)"
        ).fetchone()
        assert row is not None
        found[f"slices_differing_in_{name}"] = int(row[0])
    return found
