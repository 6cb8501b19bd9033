"""Polars: lazy frames on the streaming engine; the events are sorted once, so sessions need no window by visitor."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.peers import EVENT_TYPES, GAP_SECONDS, MONTH_DAYS, PATH, STEPS, places

_FIELDS = (
    *("site_id", "event_id", "event_type", "event_time", "anonymous_id", "user_id", "page_url", "user_agent"),
    *("load_time_ms", "scroll_depth_pct", "value"),
)
_SESSION = ("site_id", "session_id")


def _lines(landing: list[str]) -> pl.LazyFrame:
    """Every field as text. scan_ndjson stops at a line that is cut off, whatever it is told to ignore."""
    files = [path for folder in landing for path in sorted(Path(folder).glob("*.jsonl"))]
    line = pl.col("line")
    whole = pl.scan_lines(files, name="line").filter(line.str.starts_with("{") & line.str.ends_with("}"))
    return whole.select(line.str.json_decode(pl.Struct(dict.fromkeys(_FIELDS, pl.String)))).unnest("line")


def _events(lines: pl.LazyFrame) -> pl.LazyFrame:
    kind, path = pl.col("event_type").str.to_lowercase(), pl.col("page_url").str.extract(PATH)
    distinct = (
        lines.with_columns(
            pl.when(kind.is_in(EVENT_TYPES)).then(kind).otherwise(pl.lit("custom_event")).alias("event_type"),
            pl.col("event_time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False),
            pl.coalesce("anonymous_id", "user_id").alias("visitor_id"),
            pl.when(path == "").then(pl.lit("/")).otherwise(path).alias("page_path"),
            pl.col("load_time_ms").cast(pl.Int64, strict=False),
            pl.col("scroll_depth_pct").cast(pl.Int32, strict=False),
            pl.col("value").cast(pl.Decimal(18, 4), strict=False),
        )
        .drop_nulls(["site_id", "event_id", "event_type", "event_time", "visitor_id"])
        .with_columns(pl.col("event_time").dt.date().alias("event_date"))
        .sort("event_time")
        .unique(["site_id", "event_id", "event_date"], keep="first", maintain_order=True)
    )
    pause = pl.col("event_time") - pl.col("event_time").shift(1)
    same_visitor = (pl.col("site_id") == pl.col("site_id").shift(1)) & (
        pl.col("visitor_id") == pl.col("visitor_id").shift(1)
    )
    opens = ~(same_visitor & (pause <= pl.duration(seconds=GAP_SECONDS))).fill_null(False)
    return (
        distinct.sort("site_id", "visitor_id", "event_time", "event_id")
        .with_columns(pl.when(opens).then("event_time").forward_fill().alias("start_time"))
        .select(
            *("site_id", "event_id", "event_type", "event_time", "event_date", "anonymous_id", "user_id", "visitor_id"),
            pl.concat_str("site_id", "visitor_id", pl.col("start_time").dt.timestamp("us"), separator="|").alias(
                "session_id"
            ),
            pl.col("start_time").dt.date().alias("session_date"),
            *("page_url", "page_path", "user_agent", "load_time_ms", "scroll_depth_pct", "value"),
        )
    )


def _sessions(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.group_by(_SESSION).agg(
        pl.col("visitor_id").first(),
        pl.col("event_time").min().alias("start_time"),
        pl.col("event_time").max().alias("end_time"),
        pl.col("session_date").first(),
        pl.len().cast(pl.Int64).alias("event_count"),
        (pl.col("event_type") == "page_view").sum().cast(pl.Int64).alias("page_view_count"),
    )


def _funnel(events: pl.LazyFrame) -> pl.LazyFrame:
    views = events.filter(pl.col("event_type") == "page_view").select(*_SESSION, "event_time", "page_path")
    reached = events.select(*_SESSION, "session_date").unique()
    for number, step in enumerate(STEPS, 1):
        shown = views.filter(pl.col("page_path").str.contains(step))
        if number > 1:
            before = reached.select(*_SESSION, f"at_{number - 1}").drop_nulls()
            shown = shown.join(before, on=_SESSION).filter(pl.col("event_time") >= pl.col(f"at_{number - 1}"))
        first = shown.group_by(_SESSION).agg(pl.col("event_time").min().alias(f"at_{number}"))
        reached = reached.join(first, on=_SESSION, how="left")
    counts = [pl.col(f"at_{number}").count().alias(str(number)) for number in range(1, len(STEPS) + 1)]
    return (
        reached.group_by("site_id", pl.col("session_date").alias("date"))
        .agg(counts)
        .unpivot(index=["site_id", "date"], variable_name="step_number", value_name="sessions")
        .with_columns(pl.col("step_number").cast(pl.Int32), pl.col("sessions").cast(pl.Int64))
    )


def _active_users(events: pl.LazyFrame) -> pl.LazyFrame:
    days = (
        events.select("site_id", "visitor_id", pl.col("event_date").alias("date"))
        .unique()
        .sort("site_id", "visitor_id", "date")
    )
    following = pl.col("date").shift(-1).over("site_id", "visitor_id")
    leaves = pl.min_horizontal(pl.col("date").dt.offset_by(f"{MONTH_DAYS}d"), following)
    changes = pl.concat(
        [
            days.select("site_id", "date", pl.lit(1).alias("dau"), pl.lit(1).alias("change")),
            days.select("site_id", leaves.alias("date"), pl.lit(0).alias("dau"), pl.lit(-1).alias("change")),
        ]
    )
    by_day = changes.group_by("site_id", "date").agg(pl.col("dau", "change").sum().cast(pl.Int64))
    every_day = (
        by_day.sort("site_id", "date")
        .collect(engine="streaming")
        .upsample("date", every="1d", group_by="site_id")
        .with_columns(pl.col("site_id").forward_fill(), pl.col("dau", "change").fill_null(0))
    )
    return (
        every_day.lazy()
        .select("site_id", "date", "dau", pl.col("change").cum_sum().over("site_id").alias("mau"))
        .filter(pl.col("mau") > 0)
    )


def _pages(events: pl.LazyFrame) -> pl.LazyFrame:
    load_time = pl.col("load_time_ms")
    return (
        events.filter(pl.col("event_type") == "page_view")
        .group_by("site_id", pl.col("event_date").alias("date"), pl.col("page_path").alias("page"))
        .agg(
            pl.len().cast(pl.Int64).alias("views"),
            pl.col("visitor_id").n_unique().cast(pl.Int64).alias("visitors"),
            load_time.quantile(0.5, interpolation="linear").alias("p50_ms"),
            load_time.quantile(0.9, interpolation="linear").alias("p90_ms"),
        )
    )


def main() -> None:
    out, landing = places()

    def target(table: str) -> Path:
        return Path(out, table, "part.parquet")

    _events(_lines(landing)).sink_parquet(target("events"), mkdir=True, engine="streaming")
    events = pl.scan_parquet(target("events"))
    tables = {
        "sessions": _sessions(events),
        "funnel_daily": _funnel(events),
        "active_users_daily": _active_users(events),
        "page_metrics_daily": _pages(events),
    }
    for name, rows in tables.items():
        rows.sink_parquet(target(name), mkdir=True, engine="streaming")


if __name__ == "__main__":
    main()
