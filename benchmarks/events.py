"""Many events of one site as JSON Lines in the `web` format, made by DuckDB so that making them costs little.

Sessions of 7 events on average, one file a day; visitors come back on other days; every event has its own id.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb

# A session: its visitor, day and start follow from its number, so any part of the history can be made by itself.
_SQL = """
copy (
  with sessions as (
    select s, hash(s * 7919 + {seed}) as h,
           case when hash(s * 23 + {seed}) % 100 < {heavy_percent} then 'heavy'
           else 'v' || (hash(s * 31 + {seed}) % {visitors})::varchar end as visitor,
           3 + (hash(s + 17) % 9)::int as events,
           timestamp '{day} 00:00:00' + to_seconds((hash(s * 13 + {seed}) % 84000)::bigint) as start
    from range({first}, {last}) t(s)
  ),
  events as (
    select s, h, visitor, events, e,
           start + to_milliseconds((e * 20000 + hash(s * 101 + e) % 15000)::bigint) as moment,
           (hash(s * 3 + e) % 10)::int as kind
    from sessions, range(0, events) r(e)
  )
  select 'shop' as site_id, md5({seed}::varchar || ':' || s || ':' || e) as event_id,
         case when e = 0 or kind < 6 then 'page_view' when kind < 8 then 'click'
              when kind = 8 then 'scroll' when h % 20 = 0 then 'purchase' else 'custom_event' end as event_type,
         strftime(moment, '%Y-%m-%dT%H:%M:%S.%fZ') as event_time, visitor as anonymous_id,
         case when h % 5 = 0 then 'u' || visitor end as user_id,
         'https://shop.example/' || ['', 'category/a', 'category/b', 'product/1', 'product/2', 'cart', 'checkout',
         'checkout/confirmation', 'search', 'about'][1 + (hash(s * 5 + e) % 10)::int] as page_url,
         'Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0' as user_agent,
         (80 + hash(s * 11 + e) % 4000)::int as load_time_ms,
         case when kind = 8 then (hash(s + e) % 101)::int end as scroll_depth_pct,
         case when kind = 9 and h % 20 = 0 then (hash(s) % 10000) / 100.0 end as value
  from events
) to '{path}' (format json)
"""

# Of a day's lines every 50th comes again, as it is or with a time a second off; and every 200th is wrong in some way.
_FLAWS_SQL = r"""
copy (
  with lines as (
    select json::varchar as line, hash(json::varchar, {seed}) as h
    from read_json_objects('{day}', format = 'newline_delimited')
  ),
  repeats as (
    select line, h, (line ->> 'event_time')::timestamp as moment, line ->> 'event_time' as said
    from lines where h % 50 = 0
  )
  select replace(line, said, strftime(moment + to_seconds([-1, 0, 0, 1][1 + ((h // 50) % 4)::int]),
                 '%Y-%m-%dT%H:%M:%S.%fZ')) as line
  from repeats
  union all
  select case ((h // 200) % 6)::int
    when 0 then left(line, 80)
    when 1 then 'not JSON at all'
    when 2 then regexp_replace(line, '"event_time":"[^"]*"', '"event_time":"yesterday"')
    when 3 then regexp_replace(line, '"event_time":"[^"]*",', '')
    when 4 then regexp_replace(line, '"(anonymous_id|user_id)":"[^"]*"', '"\1":null', 'g')
    else regexp_replace(
      replace(line, '"event_id":"', '"event_id":"x'), '"load_time_ms":[0-9]*', '"load_time_ms":"slow"'
    )
  end
  from lines where h % 200 = 1
) to '{path}' (format csv, header false, delimiter e'\x1f', quote '', escape '')
"""


def write_day(
    folder: Path, name: str, day: date, *, events: int, visitors: int, seed: int, heavy_percent: int = 0
) -> int:
    """One file of about so many events that start on `day`; returns how many. `heavy_percent`: what one visitor has."""
    folder.mkdir(parents=True, exist_ok=True)
    sessions = max(1, round(events / 7))
    first = (day - date(2020, 1, 1)).days * 10_000_000
    given = {"seed": seed, "visitors": visitors, "heavy_percent": heavy_percent, "day": day}
    sql = _SQL.format(**given, first=first, last=first + sessions, path=folder / f"{name}.jsonl")
    row = duckdb.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def write_history(
    folder: Path, *, last: date, days: int, events: int, visitors: int, seed: int = 1, heavy_percent: int = 0
) -> int:
    """A file a day for `days` days up to `last`; returns the number of events."""
    given = {"events": events // days, "visitors": visitors, "seed": seed, "heavy_percent": heavy_percent}
    return sum(
        write_day(folder, str(day), day, **given) for day in (last - timedelta(days=step) for step in range(days))
    )


def write_flaws(folder: Path, day: str, *, seed: int = 1) -> int:
    """Another file with repeats of a day's events (2 %) and lines that are wrong (0.5 %); returns how many."""
    path = folder / f"{day}-again.jsonl"
    row = duckdb.execute(_FLAWS_SQL.format(day=folder / f"{day}.jsonl", path=path, seed=seed)).fetchone()
    assert row is not None
    return int(row[0])


def scatter(folder: Path, files: int) -> None:
    """Spread the lines of a folder over about so many files."""
    given = sorted(folder.glob("*.jsonl"))
    share = files // len(given)
    for path in given:
        parts = [path.with_suffix(f".{part}.jsonl").open("wb") for part in range(share)]
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                parts[number % share].write(line)
        for part in parts:
            part.close()
        path.unlink()
