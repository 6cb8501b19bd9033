"""What each part of the report reads: SQL over the published tables and the temporary table `periods`.

`periods` holds (site_id, period, kind, first_date, last_date). A result's first column is `site_id`; where the second
is `period`, its rows belong to that period, else to the site. Numbers that cannot be added up over days (distinct
people, percentiles) are computed over the whole period, from silver where gold has only days.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """SQL, and the tables that must be published for it."""

    needs: tuple[str, ...]
    sql: str


# Sums over countable sessions, from which the numbers of the cards are divided.
_SUMS = """
    count(*) as sessions,
    sum(page_view_count)::bigint as page_views,
    count_if(page_view_count > 0) as page_sessions,
    count_if(bounced) as bounced,
    count_if(engaged) as engaged,
    count_if(converted) as converted,
    count_if(had_error) as with_error,
    sum(revenue)::double as revenue,
    sum(duration_seconds) as duration,
    count(duration_seconds) as durations
"""

# Deep pages go by their first folder, so that a shop's thousand products are one place on the way.
_PLACE = "case when regexp_matches(page, '^/[^/]+/.') then '/' || split_part(page, '/', 2) || '/…' else page end"

_PAGE_LOADS = """
    select p.site_id, p.period, coalesce(e.page_path, '(not set)') as page,
        coalesce(e.device_type, '(unknown)') as device, e.load_time_ms as ms
    from silver.events e
    join periods p on e.site_id = p.site_id and e.event_date between p.first_date and p.last_date
    where e.is_countable and e.event_type = 'page_view' and e.load_time_ms is not null
"""


def _over(table: str, columns: str, group: str, date: str = "date", rest: str = "") -> str:
    """`columns` of a daily table added up over each period."""
    by = f", {group}" if group else ""
    return f"""
        select p.site_id, p.period{by}, {columns}
        from {table} t join periods p on t.site_id = p.site_id and t.{date} between p.first_date and p.last_date
        group by p.site_id, p.period{by} {rest}"""


def _top(count: int, order: str, by: str = "") -> str:
    return f"qualify row_number() over (partition by p.site_id, p.period{by} order by {order}) <= {count}"


def _dimension(table: str, dimension: str) -> str:
    column = dimension if table != "gold.traffic_sources_daily" or dimension == "channel" else f"traffic_{dimension}"
    counted = (
        f"'{dimension}' as dimension, t.{column} as value, "
        "sum(sessions)::bigint as sessions, sum(conversions)::bigint as conversions"
    )
    return f"""
        select p.site_id, p.period, {counted}
        from {table} t join periods p on t.site_id = p.site_id and t.date between p.first_date and p.last_date
        group by p.site_id, p.period, t.{column}
        {_top(10, f"sum(sessions) desc, t.{column}")}"""


QUERIES = {
    "totals": Query(
        ("silver.sessions",),
        f"""
        select p.site_id, p.period, {_SUMS},
            quantile_cont(epoch(converted_at - start_time), 0.5) filter (converted) as convert_median,
            quantile_cont(epoch(converted_at - start_time), 0.9) filter (converted) as convert_p90
        from silver.sessions s
        join periods p on s.site_id = p.site_id and s.session_date between p.first_date and p.last_date
        where s.is_countable group by p.site_id, p.period""",
    ),
    "daily": Query(
        ("silver.sessions",),
        f"""
        select s.site_id, session_date as date, {_SUMS}
        from silver.sessions s
        join (
            select site_id, min(first_date) as first_date, max(last_date) as last_date from periods group by site_id
        ) p on s.site_id = p.site_id and s.session_date between p.first_date and p.last_date
        where is_countable group by s.site_id, session_date order by all""",
    ),
    "users": Query(
        ("gold.active_users_daily",),
        """
        select p.site_id, p.period, case kind when 'day' then dau when 'week' then wau else mau end as users,
            dau, wau, mau, stickiness
        from gold.active_users_daily a join periods p on a.site_id = p.site_id and a.date = p.last_date""",
    ),
    "active_users": Query(
        ("gold.active_users_daily",),
        """
        select a.site_id, date, dau, wau, mau, stickiness from gold.active_users_daily a
        join (select site_id, max(last_date) as last_date from periods group by site_id) p
            on a.site_id = p.site_id and a.date between p.last_date - 89 and p.last_date
        order by a.site_id, date""",
    ),
    "lifecycle": Query(
        ("gold.lifecycle",),
        """
        select l.site_id, l.period as length, period_start, new, "returning", resurrected, dormant
        from gold.lifecycle l
        join (select site_id, max(last_date) as last_date from periods group by site_id) p
            on l.site_id = p.site_id and period_start <= last_date
        qualify row_number() over (partition by l.site_id, l.period order by period_start desc)
            <= case l.period when 'day' then 30 else 13 end
        order by l.site_id, l.period, period_start""",
    ),
    "tiers": Query(
        ("gold.engagement_tiers_daily",),
        """
        select p.site_id, p.period, tier, users from gold.engagement_tiers_daily t
        join periods p on t.site_id = p.site_id and t.date = p.last_date""",
    ),
    "churn": Query(
        ("gold.user_engagement",),
        """
        select site_id, tier, trend, is_at_risk as at_risk, floor(churn_risk * 10) / 10 as risk, count(*) as users,
            max(as_of_date) as as_of
        from gold.user_engagement group by all order by all""",
    ),
    "retention": Query(
        ("gold.cohort_retention",),
        """
        select r.site_id, r.period as length, cohort_start, n, cohort_size as size, active, retention
        from gold.cohort_retention r
        where n <= 14 and r.site_id in (select site_id from periods)
        qualify dense_rank() over (partition by r.site_id, r.period order by cohort_start desc) <= 14
        order by r.site_id, r.period, cohort_start, n""",
    ),
    "funnels": Query(
        ("gold.funnel_daily",),
        # Counts add up; a median of the whole period does not follow from those of its days, so it is their mean.
        _over(
            "gold.funnel_daily",
            """any_value(step) as step, sum(journeys)::bigint as journeys, sum(count)::bigint as count,
            sum(median_seconds * count) / sum(count) filter (median_seconds is not null) as median_seconds,
            sum(p90_seconds * count) / sum(count) filter (p90_seconds is not null) as p90_seconds""",
            "funnel, step_number",
            rest="order by all",
        ),
    ),
    "pages": Query(
        ("gold.page_metrics_daily",),
        f"""
        with pages as ({
            _over(
                "gold.page_metrics_daily",
                '''sum(views)::bigint as views, sum(entries)::bigint as entries, sum(exits)::bigint as exits,
            sum(bounces)::bigint as bounces, sum(abandonments)::bigint as abandonments, sum(errors)::bigint as errors,
            sum(avg_time_on_page_seconds * views) / sum(views) as seconds''',
                "page",
            )
        })
        select * from pages p
        qualify row_number() over (partition by site_id, period order by entries desc, page) <= 8
            or row_number() over (partition by site_id, period order by exits desc, page) <= 8
            or row_number() over (partition by site_id, period order by abandonments desc, page) <= 8
        order by site_id, period, views desc, page""",
    ),
    "speed": Query(
        ("silver.events",),
        f"""
        select p.site_id, p.period, device, count(*) as samples, quantile_cont(ms, 0.5) as p50,
            quantile_cont(ms, 0.9) as p90, quantile_cont(ms, 0.99) as p99
        from ({_PAGE_LOADS}) p group by grouping sets ((site_id, period), (site_id, period, device))
        order by site_id, period, device nulls first""",
    ),
    "slow_pages": Query(
        ("silver.events",),
        f"""
        select p.site_id, p.period, page, count(*) as samples, quantile_cont(ms, 0.5) as p50,
            quantile_cont(ms, 0.9) as p90
        from ({_PAGE_LOADS}) p group by p.site_id, p.period, page having count(*) >= 10
        {_top(10, "quantile_cont(ms, 0.9) desc, page")} order by p90 desc""",
    ),
    "sources": Query(
        ("gold.traffic_sources_daily",),
        _over(
            "gold.traffic_sources_daily",
            """sum(sessions)::bigint as sessions, sum(bounces)::bigint as bounces,
            sum(conversions)::bigint as conversions, sum(revenue)::double as revenue""",
            "channel, traffic_source, traffic_medium, campaign",
            rest=_top(10, "sum(sessions) desc, channel, traffic_source, traffic_medium, campaign")
            + " order by sessions desc, channel, traffic_source, campaign",
        ),
    ),
    "attribution": Query(
        ("gold.attribution_daily",),
        _over(
            "gold.attribution_daily",
            "sum(conversions)::double as conversions, sum(revenue)::double as revenue",
            "model, channel",
            rest="order by all",
        ),
    ),
    **{
        f"segments_{dimension}": Query((table,), _dimension(table, dimension) + " order by sessions desc, value")
        for table, dimension in (
            ("gold.traffic_sources_daily", "channel"),
            ("gold.devices_daily", "device_type"),
            ("gold.devices_daily", "browser"),
            ("gold.devices_daily", "os"),
            ("gold.geo_daily", "country"),
            ("gold.geo_daily", "region"),
        )
    },
    "paths": Query(
        ("silver.sessions",),
        f"""
        with paths as (
            select p.site_id, p.period,
                list_transform((journey_path || ['(exit)'])[1:5], lambda page: {_PLACE}) as path
            from silver.sessions s
            join periods p on s.site_id = p.site_id and s.session_date between p.first_date and p.last_date
            where s.is_countable and len(journey_path) > 0
        ),
        steps as (select site_id, period, unnest(path) as page, generate_subscripts(path, 1) as step from paths),
        kept as (
            select site_id, period, step, page from steps group by site_id, period, step, page
            qualify page = '(exit)' or row_number() over (
                partition by site_id, period, step order by (page = '(exit)'), count(*) desc, page) <= 5
        ),
        hops as (
            select site_id, period, step, path[step] as from_page, path[step + 1] as to_page, count(*) as sessions
            from paths, range(1, 5) as steps(step) where step < len(path) group by all
        )
        select h.site_id, h.period, h.step, coalesce(f.page, '(other)') as from_page,
            coalesce(t.page, '(other)') as to_page, sum(h.sessions)::bigint as sessions
        from hops h
        left join kept f on (f.site_id, f.period, f.step, f.page) = (h.site_id, h.period, h.step, h.from_page)
        left join kept t on (t.site_id, t.period, t.step, t.page) = (h.site_id, h.period, h.step + 1, h.to_page)
        group by all order by all""",
    ),
    "patterns": Query(
        ("gold.flow_patterns_daily",),
        _over(
            "gold.flow_patterns_daily",
            "sum(sessions)::bigint as sessions, sum(conversions)::bigint as conversions",
            "path",
            rest=_top(8, "sum(sessions) desc, path") + " order by sessions desc, path",
        ),
    ),
    "kpis": Query(
        ("gold.kpi_daily",),
        """
        select p.site_id, p.period, kpi, dimension, avg(value)::double as value, arg_max(value, date)::double as latest,
            any_value(unit) as unit, arg_max(target, date)::double as target, arg_max(target_kind, date) as target_kind,
            arg_max(status, date) as status
        from gold.kpi_daily t join periods p on t.site_id = p.site_id and t.date between p.first_date and p.last_date
        where value is not null group by p.site_id, p.period, kpi, dimension
        qualify row_number() over (partition by p.site_id, p.period, kpi order by avg(value) desc, dimension) <= 5
        order by kpi, value desc, dimension""",
    ),
    "anomalies": Query(
        ("gold.metric_anomalies",),
        """
        select p.site_id, p.period, date, metric, segment, value::double as value, expected::double as expected,
            low::double as low, high::double as high, score::double as score, severity::varchar as severity,
            array_to_string(explained_by, '; ') as explained_by,
            since, compared_with, compared_days
        from gold.metric_anomalies t
        join periods p on t.site_id = p.site_id and t.date between p.first_date and p.last_date
        qualify row_number() over (
            partition by p.site_id, p.period
            order by (segment = '(all)') desc, abs(score) desc, date, metric, segment) <= 12
        order by (segment = '(all)') desc, abs(score) desc, date, metric, segment""",
    ),
    "anomaly_sessions": Query(
        ("gold.metric_anomalies", "silver.sessions"),
        # The sessions of the day that show the metric best: with errors, converted, else the busiest.
        """
        select t.site_id, t.date, t.metric, s.session_id, s.entry_page, s.exit_page, s.event_count, s.duration_seconds
        from (select distinct site_id, date, metric from gold.metric_anomalies
              where date in (select unnest(range(first_date, last_date + 1, interval 1 day))::date from periods)) t
        join silver.sessions s on s.site_id = t.site_id and s.session_date = t.date and s.is_countable
        qualify row_number() over (
            partition by t.site_id, t.date, t.metric
            order by (metric like '%error%' and had_error) desc, (metric like '%conver%' and converted) desc,
                event_count desc, session_id) <= 3
        order by t.date, t.metric, event_count desc""",
    ),
    "unusual": Query(
        ("gold.session_anomalies",),
        _over(
            "gold.session_anomalies",
            "count(*) as found, count(distinct session_id) as sessions",
            "category, t.kind",
            date="session_date",
            rest="order by sessions desc, t.kind",
        ),
    ),
    "unusual_sessions": Query(
        ("gold.session_anomalies", "silver.sessions"),
        f"""
        select p.site_id, p.period, a.kind, a.session_date as date, a.session_id, a.detail, s.entry_page, s.exit_page,
            s.event_count, s.duration_seconds
        from gold.session_anomalies a
        join periods p on a.site_id = p.site_id and a.session_date between p.first_date and p.last_date
        join silver.sessions s on s.site_id = a.site_id and s.session_id = a.session_id and s.is_countable
        {_top(2, "abs(coalesce(a.score, 0)) desc, a.observed desc, a.session_id", ", a.kind")} order by a.kind, date""",
    ),
}
