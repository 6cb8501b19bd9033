"""ClickHouse in the process (chdb): MergeTree tables whose order serves the next step."""

from __future__ import annotations

import tempfile
from pathlib import Path

from chdb.session import Session

from benchmarks.peers import EVENT_TYPES, GAP_SECONDS, MONTH_DAYS, STEPS, places

_TEXTS = ("site_id", "event_id", "event_type", "event_time", "anonymous_id", "user_id", "page_url", "user_agent")
_FIELDS = ", ".join(f"{name} Nullable(String)" for name in (*_TEXTS, "load_time_ms", "scroll_depth_pct", "value"))
_COLUMNS = """
    site_id LowCardinality(String), event_id String, event_type LowCardinality(String), event_time DateTime64(6, 'UTC'),
    event_date Date, anonymous_id Nullable(String), user_id Nullable(String), visitor_id String,
    page_url Nullable(String), page_path Nullable(String), user_agent LowCardinality(Nullable(String)),
    load_time_ms Nullable(Int64), scroll_depth_pct Nullable(Int32), value Nullable(Decimal(18, 4))
"""
_VISITOR = "partition by site_id, visitor_id order by event_time, event_id"

# JSONEachRow, told to allow errors, drops good lines beside a line that is cut off; whole lines are parsed instead.
_SCRIPT = f"""
create table accepted ({_COLUMNS}) engine = MergeTree order by (site_id, event_id, event_date, event_time);

insert into accepted
with JSONExtract(line, 'Tuple({_FIELDS})') as r, lower(r.event_type) as type,
     parseDateTime64BestEffortOrNull(r.event_time, 6, 'UTC') as moment, coalesce(r.anonymous_id, r.user_id) as visitor
select r.site_id, r.event_id, if(type in {EVENT_TYPES}, type, 'custom_event'), moment, toDate(moment),
       r.anonymous_id, r.user_id, visitor, r.page_url, if(path(r.page_url) = '', '/', path(r.page_url)), r.user_agent,
       toInt64OrNull(r.load_time_ms), toInt32OrNull(r.scroll_depth_pct), toDecimal64OrNull(r.value, 4)
from ({{lines}})
where r.site_id is not null and r.event_id is not null and r.event_type is not null and moment is not null
  and visitor is not null;

create table distinct_events ({_COLUMNS}) engine = MergeTree order by (site_id, visitor_id, event_time, event_id);

insert into distinct_events
select * from accepted order by site_id, event_id, event_date, event_time limit 1 by site_id, event_id, event_date;

drop table accepted sync;

create table events ({_COLUMNS}, session_id String, session_date Date)
engine = MergeTree order by (site_id, session_date, session_id);

insert into events
with
    opened as (
        select *,
               lagInFrame(toNullable(event_time), 1) over (
                   {_VISITOR} rows between unbounded preceding and current row
               ) as before,
               before is null or dateDiff('microsecond', before, event_time) > {GAP_SECONDS} * 1000000 as opens
        from distinct_events
    ),
    started as (
        select *, max(if(opens, event_time, null)) over (
            {_VISITOR} rows between unbounded preceding and current row
        ) as start_time
        from opened
    )
select * except (before, opens, start_time),
       lower(hex(MD5(concat(site_id, '|', visitor_id, '|', toString(assumeNotNull(start_time)))))), toDate(start_time)
from started;

drop table distinct_events sync
"""

_TABLES = {
    "events": """
        select site_id, event_id, event_type, event_time, event_date, anonymous_id, user_id, visitor_id, session_id,
               session_date, page_url, page_path, user_agent, load_time_ms, scroll_depth_pct, value
        from events
    """,
    "sessions": """
        select site_id, session_id, any(visitor_id) as visitor_id, min(event_time) as start_time,
               max(event_time) as end_time, session_date, count() as event_count,
               countIf(event_type = 'page_view') as page_view_count
        from events group by site_id, session_date, session_id
    """,
    "funnel_daily": f"""
        with sessions as (
            select site_id, session_date, windowFunnel(1000000000000000)(
                toUInt64(toUnixTimestamp64Micro(event_time)),
                {", ".join(f"event_type = 'page_view' and match(ifNull(page_path, ''), '{step}')" for step in STEPS)}
            ) as level
            from events group by site_id, session_date, session_id
        )
        select site_id, session_date as date, step.1 as step_number, step.2 as sessions
        from (
            select site_id, session_date,
                   [{", ".join(f"({n}, countIf(level >= {n}))" for n in range(1, len(STEPS) + 1))}] as steps
            from sessions group by site_id, session_date
        )
        array join steps as step
    """,
    "active_users_daily": f"""
        with
            days as (select distinct site_id, visitor_id, event_date as date from events),
            stays as (
                select site_id, date,
                       least(date + {MONTH_DAYS}, leadInFrame(date, 1, date + {MONTH_DAYS}) over (
                           partition by site_id, visitor_id order by date
                           rows between current row and unbounded following
                       )) as until
                from days
            ),
            changes as (
                select site_id, date, 1 as dau, 1 as change from stays
                union all select site_id, until, 0, -1 from stays
            ),
            by_day as (
                select site_id, date, sum(dau) as dau, sum(change) as change from changes group by site_id, date
            ),
            levels as (
                select site_id, date, dau, sum(change) over (partition by site_id order by date) as mau,
                       leadInFrame(date, 1, date) over (
                           partition by site_id order by date rows between current row and unbounded following
                       ) as next
                from by_day
            )
        select site_id, date + day as date, if(day = 0, toInt64(dau), 0) as dau, mau
        from levels array join range(toUInt32(next - levels.date)) as day
        where mau > 0
    """,
    "page_metrics_daily": """
        with quantilesExactInclusive(0.5, 0.9)(load_time_ms) as percentiles, count(load_time_ms) > 0 as has_some
        select site_id, event_date as date, page_path as page, count() as views, uniqExact(visitor_id) as visitors,
               if(has_some, percentiles[1], null) as p50_ms, if(has_some, percentiles[2], null) as p90_ms
        from events where event_type = 'page_view' group by site_id, event_date, page_path
    """,
}


def main() -> None:
    out, landing = places()
    lines = " union all ".join(f"select line from file('{at}/*.jsonl', LineAsString, 'line String')" for at in landing)
    with tempfile.TemporaryDirectory() as place:
        session = Session(place)
        session.query("create database bench")
        session.query("use bench")
        for statement in _SCRIPT.replace("{lines}", lines).split(";"):
            session.query(statement)
        for name, sql in _TABLES.items():
            Path(out, name).mkdir(parents=True)
            session.query(f"insert into function file('{out}/{name}/part.parquet', Parquet) {sql}")
        session.close()


if __name__ == "__main__":
    main()
