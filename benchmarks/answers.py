"""What is the same in every contender's tables, whatever they call it: counts and sums that any difference moves."""

from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines.serving import published

Row = tuple[object, ...]
Answers = dict[str, list[Row]]
"""Question → its rows, in order."""

# Where our names differ from those of benchmarks/peers/__init__.py.
_OURS = {
    "events": "select * from silver.events",
    "sessions": "select * from silver.sessions",
    "funnel_daily": 'select site_id, date, step_number, "count" as sessions from gold.funnel_daily',
    "active_users_daily": "select * from gold.active_users_daily",
    # All of the benchmark's events come from one kind of device.
    "page_metrics_daily": """
        select m.site_id, m.date, m.page, m.views, m.visitors, p.p50_ms, p.p90_ms
        from gold.page_metrics_daily m left join gold.page_performance_daily p using (site_id, date, page)
    """,
}
_NOT_REPEATED = "% 1000003"  # sums of instants, short enough to add up, that an exchange of two events moves
_QUESTIONS = {
    "events of each day": f"""
        select site_id, event_date, count(*), count(distinct visitor_id), count(distinct event_id), count(anonymous_id),
               count(user_id), count(*) filter (event_type = 'page_view'), sum(load_time_ms), sum(scroll_depth_pct),
               sum(value::decimal(18, 4)), sum(epoch_us(event_time) {_NOT_REPEATED}), bit_xor(hash(event_id)),
               bit_xor(hash(event_id, event_type, page_path, visitor_id)), count(distinct session_date)
        from events group by 1, 2
    """,
    "sessions of each day": f"""
        select site_id, session_date, count(*), count(distinct visitor_id), sum(event_count), sum(page_view_count),
               sum(epoch_us(end_time) - epoch_us(start_time)), sum(epoch_us(start_time) {_NOT_REPEATED}),
               sum(epoch_us(end_time) {_NOT_REPEATED}), bit_xor(hash(visitor_id, epoch_us(start_time), event_count))
        from sessions group by 1, 2
    """,
    "events in their sessions": f"""
        select site_id, s.session_date, count(*), sum((epoch_us(event_time) - epoch_us(start_time)) {_NOT_REPEATED})
        from events e join sessions s using (site_id, session_id) group by 1, 2
    """,
    "funnel": "select site_id, date, step_number, sessions from funnel_daily",
    "active users": "select site_id, date, dau, mau from active_users_daily",
    # Between whole numbers these have one decimal; what follows is the engines' own noise.
    "pages": "select site_id, date, page, views, visitors, round(p50_ms, 1), round(p90_ms, 1) from page_metrics_daily",
}


def of_peer(out: Path) -> Answers:
    """The answers of the Parquet files in `out`."""
    with duckdb.connect() as con:
        for table in _OURS:
            con.execute(f"create view {table} as from read_parquet('{out}/{table}/*.parquet')")
        return _asked(con)


def of_ours(lake: Path) -> Answers:
    """The answers of what a lake publishes."""
    with published.connect(str(lake)) as con:
        for table, sql in _OURS.items():
            con.execute(f"create temp view {table} as {sql}")
        return _asked(con)


def _asked(con: duckdb.DuckDBPyConnection) -> Answers:
    con.execute("set timezone = 'UTC'")
    return {question: con.execute(f"{sql} order by all").fetchall() for question, sql in _QUESTIONS.items()}


def differences(found: Answers, expected: Answers) -> list[str]:
    """What differs: for each question how many rows, and the first of them; nothing where all are equal."""
    told = []
    for question, rows in expected.items():
        mine, theirs = set(found[question]) - set(rows), set(rows) - set(found[question])
        if mine or theirs or len(found[question]) != len(rows):
            told.append(
                f"{question}: {len(mine)} rows against {len(theirs)}: {_least(mine)}, expected {_least(theirs)}"
            )
    return told


def _least(rows: set[Row]) -> Row | str:
    return min(rows, key=str, default="no such row")
