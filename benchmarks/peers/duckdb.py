"""DuckDB: one script of SQL, in memory, spilling to disk where it must."""

from __future__ import annotations

from pathlib import Path

import duckdb

from benchmarks.peers import EVENT_TYPES, GAP_SECONDS, MONTH_DAYS, PATH, STEPS, places

_EVENTS = f"""
create table events as
with lines as (
    select * from read_json($files, format = 'newline_delimited', ignore_errors = true, columns = {{
        site_id: 'varchar', event_id: 'varchar', event_type: 'varchar', event_time: 'varchar', anonymous_id: 'varchar',
        user_id: 'varchar', page_url: 'varchar', user_agent: 'varchar', load_time_ms: 'varchar',
        scroll_depth_pct: 'varchar', value: 'varchar'
    }})
),
typed as (
    select site_id, event_id,
           case when lower(event_type) in {EVENT_TYPES} then lower(event_type) else 'custom_event' end as event_type,
           try_cast(event_time as timestamp) as event_time, anonymous_id, user_id,
           coalesce(anonymous_id, user_id) as visitor_id, page_url,
           coalesce(nullif(regexp_extract(page_url, '{PATH}', 1), ''), '/') as page_path, user_agent,
           try_cast(load_time_ms as bigint) as load_time_ms, try_cast(scroll_depth_pct as integer) as scroll_depth_pct,
           try_cast(value as decimal(18, 4)) as value
    from lines
    where site_id is not null and event_id is not null and event_type is not null
),
accepted as (
    select *, event_time::date as event_date from typed where event_time is not null and visitor_id is not null
),
distinct_events as (
    select * from accepted
    qualify row_number() over (partition by site_id, event_id, event_date order by event_time) = 1
),
opened as (
    select *, coalesce(event_time - lag(event_time) over visitor > interval {GAP_SECONDS} seconds, true) as opens
    from distinct_events window visitor as (partition by site_id, visitor_id order by event_time, event_id)
),
started as (
    select * exclude (opens), max(case when opens then event_time end) over visitor as start_time
    from opened window visitor as (partition by site_id, visitor_id order by event_time, event_id)
)
select * exclude (start_time), md5(concat_ws('|', site_id, visitor_id, start_time)) as session_id,
       start_time::date as session_date
from started
"""

_TABLES = {
    "events": """
        select site_id, event_id, event_type, event_time, event_date, anonymous_id, user_id, visitor_id, session_id,
               session_date, page_url, page_path, user_agent, load_time_ms, scroll_depth_pct, value
        from events
    """,
    "sessions": """
        select site_id, session_id, any_value(visitor_id) as visitor_id, min(event_time) as start_time,
               max(event_time) as end_time, any_value(session_date) as session_date, count(*) as event_count,
               count(*) filter (event_type = 'page_view') as page_view_count
        from events group by site_id, session_id
    """,
    "funnel_daily": f"""
        with steps as (
            select site_id, session_id, session_date,
                   {
        ", ".join(
            f"list(event_time) filter (regexp_matches(page_path, '{step}')) as step_{n}"
            for n, step in enumerate(STEPS, 1)
        )
    }
            from (select * replace (case when event_type = 'page_view' then page_path end as page_path) from events)
            group by all
        ),
        reached as (
            select site_id, session_date, list_min(step_1) as at_1,
                   {
        ", ".join(
            f"list_min(list_filter(step_{n}, lambda moment: moment >= at_{n - 1})) as at_{n}"
            for n in range(2, len(STEPS) + 1)
        )
    }
            from steps
        ),
        days as (
            select site_id, session_date as date, [{", ".join(f"count(at_{n})" for n in range(1, len(STEPS) + 1))}] as n
            from reached group by all
        )
        select site_id, date, unnest(range(1, {len(STEPS) + 1})) as step_number, unnest(n) as sessions from days
    """,
    "active_users_daily": f"""
        with days as (select distinct site_id, visitor_id, event_date as date from events),
        stays as (
            select site_id, date,
                   least(date + {MONTH_DAYS}, lead(date) over (partition by site_id, visitor_id order by date)) as until
            from days
        ),
        changes as (
            select site_id, date, 1 as dau, 1 as change from stays union all select site_id, until, 0, -1 from stays
        ),
        by_day as (
            select site_id, date, sum(dau)::bigint as dau,
                   sum(sum(change)) over (partition by site_id order by date)::bigint as mau,
                   lead(date) over (partition by site_id order by date) as next
            from changes group by site_id, date
        )
        select site_id, day::date as date, case when day = date then dau else 0 end as dau, mau
        from by_day, unnest(generate_series(date::timestamp, next - interval 1 day, interval 1 day)) as d(day)
        where mau > 0
    """,
    "page_metrics_daily": """
        with pages as (
            select site_id, event_date as date, page_path as page, count(*) as views,
                   count(distinct visitor_id) as visitors, quantile_cont(load_time_ms, [0.5, 0.9]) as percentiles
            from events where event_type = 'page_view' group by all
        )
        select * exclude (percentiles), percentiles[1] as p50_ms, percentiles[2] as p90_ms from pages
    """,
}


def main() -> None:
    out, landing = places()
    with duckdb.connect() as con:
        con.execute("set preserve_insertion_order = false; set timezone = 'UTC'; set enable_progress_bar = false")
        con.execute(_EVENTS, {"files": [f"{folder}/*.jsonl" for folder in landing]})
        for name, sql in _TABLES.items():
            target = Path(out, name)
            target.mkdir(parents=True)
            con.execute(f"copy ({sql}) to '{target}/part.parquet' (format parquet)")


if __name__ == "__main__":
    main()
