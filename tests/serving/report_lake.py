"""A lake for the report without Spark: ten weeks of a busy shop, three sessions of a quiet site, every published table.

The tables are counted from the shop's sessions by plain Python; labels that come from users are hostile.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from pipelines.contracts import load_contracts
from pipelines.delta_types import arrow_schema

FIRST, LAST = date(2026, 3, 1), date(2026, 5, 10)
DAYS = [FIRST + timedelta(days) for days in range((LAST - FIRST).days + 1)]
HOSTILE = "/x/<img src=x onerror=hacked()></script><script>hacked()</script>"
BOLD = "<b>bold</b> <a href='https://evil.example'>link</a> %{x} &lt;"
PAGES = ["/", "/category/lamps", "/product/oak-lamp", "/product/wool-rug", "/cart", "/checkout", HOSTILE]
STEPS = {"Entry": "/", "Browse": "/category", "Product": "/product", "Cart": "/cart", "Checkout": "/checkout"}
# channel, source, medium, campaign; how often
SOURCES = [
    ("Organic Search", "google", "organic", "(not set)", 40),
    ("Direct", "(direct)", "(none)", "(not set)", 30),
    ("Email", "newsletter", "email", BOLD, 20),
    ("Paid Social", HOSTILE, "paid", "spring", 10),
]
AT = datetime(2026, 5, 11, 1, tzinfo=UTC)

Row = dict[str, Any]


def make(root: Path, *, without: Iterable[str] = ()) -> Path:
    """Write the lake and publish it, but for the tables in `without`."""
    made = sessions()
    tables = {"silver.sessions": made, "silver.events": page_views(made), **_gold(made), **_ops()}
    for name in without:
        tables.pop(name)
    for name, rows in tables.items():
        _write(root, name, rows)
    published = [
        {"table_name": name, "version": 0, "batch_id": 7, "run_id": "run-7", "published_at": AT}
        for name in tables
        if not name.startswith("ops.")
    ]
    _write(root, "ops.published", published)
    return root


def _write(root: Path, name: str, rows: list[Row]) -> None:
    contract = load_contracts().get(name)
    if contract is None:
        table = pa.Table.from_pylist(rows)
    else:
        nothing = {"string": "-", "bigint": 0, "int": 0, "double": 0.0, "boolean": False, "timestamp": AT}
        nothing |= {"map<string,string>": [], "array<string>": []}
        blank = {column.name: nothing.get(column.type) if column.required else None for column in contract.columns}
        given = [{key: row[key] for key in row if key in blank} for row in rows]
        table = pa.Table.from_pylist([{**blank, **row} for row in given], schema=arrow_schema(contract))
    write_deltalake(str(root.joinpath(*name.split("."))), table)


def sessions() -> list[Row]:
    """All sessions of both sites, the same at every call."""
    chance = random.Random(7)
    made = []
    for day in DAYS:
        busy = 1.6 if day > LAST - timedelta(7) else 1.0  # the last week is the best
        for _ in range(round(chance.randint(24, 32) * busy)):
            channel, source, medium, campaign, _ = chance.choices(SOURCES, [row[4] for row in SOURCES])[0]
            pages = chance.choices([*PAGES[:4], HOSTILE], k=chance.choice([1, 1, 2, 3, 4, 6]))
            converted = chance.random() < 0.06
            if converted:
                pages += ["/cart", "/checkout"]
            made.append(
                _session(day, len(made), "shop", pages, converted, chance)
                | {"channel": channel, "traffic_source": source, "traffic_medium": medium, "campaign": campaign}
            )
    for day in DAYS[-3:]:
        made.append(_session(day, len(made), "quiet", ["/"], False, chance))
    return made


def _session(day: date, number: int, site: str, pages: list[str], converted: bool, chance: random.Random) -> Row:
    start = datetime.combine(day, time(9 + number % 12, number % 60), UTC)
    seconds = None if len(pages) == 1 else 20.0 * len(pages) + chance.randint(0, 90)
    device = chance.choices(["mobile", "desktop", "tablet"], [6, 4, 1])[0]
    country = chance.choices(["DE", "FR", "(unknown)"], [6, 3, 1])[0]
    person = f"person-{chance.randint(1, 400)}"
    return {
        "site_id": site, "session_id": f"{number:032x}", "visitor_id": person, "person_id": person,
        "start_time": start, "end_time": datetime.combine(day, time(23, 10), UTC), "session_date": day,
        "event_count": len(pages) * 3, "page_view_count": len(pages), "page_count": len(set(pages)),
        "entry_page": pages[0], "exit_page": pages[-1], "journey_path": pages, "pages_visited": pages,
        "duration_seconds": seconds, "bounced": len(pages) == 1, "engaged": len(pages) > 1, "converted": converted,
        "converted_at": start + timedelta(seconds=150) if converted else None, "had_error": chance.random() < 0.03,
        "revenue": Decimal(chance.randint(20, 300)) if converted else Decimal(0), "device_type": device, "os": "Linux",
        "browser": BOLD if number % 5 == 0 else "Firefox", "country": country, "region": "(unknown)",
        "is_countable": True, "created_at": AT,
    }  # fmt: skip


def page_views(sessions: list[Row]) -> list[Row]:
    """Their page views, each with a load time."""
    return [
        {
            "site_id": row["site_id"], "event_id": f"{row['session_id']}-{place}", "event_type": "page_view",
            "event_time": row["start_time"], "event_date": row["session_date"], "event_utc_date": row["session_date"],
            "session_date": row["session_date"], "session_id": row["session_id"],
            "page_path": page, "device_type": row["device_type"], "is_countable": True,
            "load_time_ms": 300 + (sum(map(ord, page)) * 7 + place * 131 + row["event_count"] * 53) % 2000,
        }
        for row in sessions
        for place, page in enumerate(row["journey_path"])
    ]  # fmt: skip


def _gold(sessions: list[Row]) -> dict[str, list[Row]]:
    shop = [row for row in sessions if row["site_id"] == "shop"]
    quiet = [row for row in sessions if row["site_id"] == "quiet"]
    of_day = defaultdict(list)
    for row in shop:
        of_day[row["session_date"]].append(row)
    return {
        "gold.active_users_daily": _active(shop, "shop") + _active(quiet, "quiet"),
        **_people(shop),
        **_counted(of_day),
        **_journeys(of_day),
        **_judged(of_day),
    }


def _active(sessions: list[Row], site: str) -> list[Row]:
    people = defaultdict(set)
    for row in sessions:
        people[row["session_date"]].add(row["person_id"])
    made = []
    for day in DAYS:
        dau, wau, mau = (
            len(set().union(*(people[day - timedelta(back)] for back in range(days)))) for days in (1, 7, 30)
        )
        if mau:
            made.append({"site_id": site, "date": day, "dau": dau, "wau": wau, "mau": mau, "stickiness": dau / mau})
    return made


def _people(shop: list[Row]) -> dict[str, list[Row]]:
    weeks = [DAYS[0] + timedelta(7 * number) for number in range(10)]
    risks = [("0.000", "core"), ("0.300", "regular"), ("0.500", "casual"), ("0.700", "at_risk"), ("0.900", "at_risk")]
    engagement = [
        {
            "site_id": "shop", "person_id": f"person-{number}", "as_of_date": LAST, "first_active_date": FIRST,
            "trend": ("increasing", "stable", "declining")[number % 3], "churn_risk": Decimal(risks[number % 5][0]),
            "is_at_risk": number % 5 > 2, "tier": risks[number % 5][1],
        }
        for number in range(400)
    ]  # fmt: skip
    retention = [
        {
            "site_id": "shop", "period": "week", "cohort_start": start, "n": n, "cohort_size": 40 + cohort,
            "active": (40 + cohort) // (1 + n), "retention": ((40 + cohort) // (1 + n)) / (40 + cohort),
            "unbounded_retention": 1.0, "stickiness": None,
        }
        for cohort, start in enumerate(weeks)
        for n in range(10 - cohort)
    ]  # fmt: skip
    lifecycle = [
        {
            "site_id": "shop", "period": period, "period_start": start, "new": 60 - 4 * number,
            "returning": 20 + 6 * number, "resurrected": 3 * number, "dormant": -5 * number,
        }
        for period, starts in (("week", weeks), ("month", weeks[::4]))
        for number, start in enumerate(starts)
    ]  # fmt: skip
    tiers = [
        {"site_id": "shop", "date": day, "tier": tier, "users": users}
        for day in DAYS
        for tier, users in (("power", 12), ("core", 25), ("regular", 90), ("casual", 210))
    ]
    return {
        "gold.user_engagement": engagement,
        "gold.cohort_retention": retention,
        "gold.lifecycle": lifecycle,
        "gold.engagement_tiers_daily": tiers,
    }


def _grouped(of_day: dict[date, list[Row]], names: dict[str, str]) -> list[Row]:
    """Sessions, conversions and the like by the columns named (column in silver → column in gold)."""
    made = []
    for day, rows in of_day.items():
        groups = defaultdict(list)
        for row in rows:
            groups[tuple(row[name] for name in names)].append(row)
        made += [
            {
                **dict(zip(names.values(), key, strict=True)), "site_id": "shop", "date": day, "sessions": len(group),
                "visitors": len({row["visitor_id"] for row in group}), "bounces": sum(row["bounced"] for row in group),
                "conversions": sum(row["converted"] for row in group), "revenue": sum(row["revenue"] for row in group),
                "page_views": sum(row["page_view_count"] for row in group),
            }
            for key, group in groups.items()
        ]  # fmt: skip
    return made


def _counted(of_day: dict[date, list[Row]]) -> dict[str, list[Row]]:
    same = {name: name for name in ("channel", "traffic_source", "traffic_medium", "campaign")}
    sources = _grouped(of_day, same)
    models = ("first", "last", "last_non_direct", "linear", "position", "time_decay")
    credited = [row for row in sources if row["conversions"]]
    return {
        "gold.traffic_sources_daily": sources,
        "gold.devices_daily": _grouped(of_day, {name: name for name in ("device_type", "browser", "os")}),
        "gold.geo_daily": _grouped(of_day, {"country": "country", "region": "region"}),
        "gold.attribution_daily": [
            {
                "site_id": "shop", "date": row["date"], "model": model, "channel": row["channel"],
                "source": row["traffic_source"], "conversions": Decimal(row["conversions"]) * (10 + shift) / 10,
                "revenue": row["revenue"],
            }
            for row in credited
            for shift, model in enumerate(models)
        ],
    }  # fmt: skip


def _journeys(of_day: dict[date, list[Row]]) -> dict[str, list[Row]]:
    funnel, pages, patterns = [], [], []
    for day, rows in of_day.items():
        counts = [
            sum(any(page.startswith(at) for page in row["journey_path"]) for row in rows) for at in STEPS.values()
        ]
        funnel += [
            {
                "site_id": "shop", "date": day, "funnel": "stages", "breakdown": "(all)", "step_number": number + 1,
                "step": step, "journeys": len(rows), "count": counts[number], "median_seconds": 30.0 * number,
                "p90_seconds": 80.0 * number,
            }
            for number, step in enumerate(STEPS)
        ]  # fmt: skip
        views, entries, exits, bounces, lost, whole = (Counter() for _ in range(6))
        for row in rows:
            views.update(row["journey_path"])
            entries[row["entry_page"]] += 1
            exits[row["exit_page"]] += 1
            bounces[row["entry_page"]] += row["bounced"]
            lost[row["exit_page"]] += not row["converted"]
            whole[" > ".join(row["journey_path"])] += 1
        pages += [
            {
                "site_id": "shop", "date": day, "page": page, "views": views[page], "entries": entries[page],
                "exits": exits[page], "bounces": bounces[page], "abandonments": lost[page],
            }
            for page in views
        ]  # fmt: skip
        patterns += [
            {"site_id": "shop", "date": day, "path": path, "sessions": n, "conversions": 0} for path, n in whole.items()
        ]
    return {"gold.funnel_daily": funnel, "gold.page_metrics_daily": pages, "gold.flow_patterns_daily": patterns}


def _judged(of_day: dict[date, list[Row]]) -> dict[str, list[Row]]:
    kinds = {"long_gap": "temporal", "error_keyword": "technical", "high_activity": "behavioural"}
    unusual = [
        {
            "site_id": "shop", "session_id": rows[place]["session_id"], "session_date": day, "kind": kind,
            "category": category, "observed": 400.0 + place, "score": None,
            "detail": f"400 s without an event after {HOSTILE}.",
        }
        for day, rows in of_day.items()
        for place, (kind, category) in enumerate(kinds.items())
        if (day.day + place) % 2
    ]  # fmt: skip
    metric = {
        "site_id": "shop", "date": LAST - timedelta(1), "metric": "sessions", "segment": BOLD, "value": 47.0,
        "expected": 28.0, "low": 20.0, "high": 36.0, "score": 5.1, "severity": "warning",
        "explained_by": [f"channel: {HOSTILE} (80 %)"], "since": LAST - timedelta(2), "compared_with": "same_weekday",
        "compared_days": 8,
    }  # fmt: skip
    kpi = [
        {"site_id": "shop", "date": day, "kpi": name, "dimension": dimension, "value": value + day.day / 1000,
         "unit": unit, "target": target,
         "target_kind": target and "at_least", "status": status}
        for day in DAYS
        for name, dimension, value, unit, target, status in (
            ("conversion_rate", "(all)", 0.05, "ratio", 0.04, "met"),
            ("bounce_rate", "(all)", 0.33, "ratio", 0.3, "missed"),
            ("avg_session_duration", "(all)", 95.0, "s", None, "no_target"),
            ("top_browsers", BOLD, 0.2, "ratio", None, "no_target"),
        )
    ]  # fmt: skip
    return {
        "gold.session_anomalies": unusual,
        "gold.metric_anomalies": [
            metric,
            {
                **metric,
                "metric": "error_rate",
                "value": 0.09,
                "expected": 0.03,
                "low": 0.01,
                "high": 0.05,
                "segment": "(all)",
            },
        ],
        "gold.kpi_daily": kpi,
    }


def _ops() -> dict[str, list[Row]]:
    run = {
        "run_id": "run-7", "job": "run_pipeline", "environment": "local", "as_of": LAST, "status": "succeeded",
        "started_at": AT, "seconds": 61.5, "received": 9000, "accepted": 8950, "duplicates": 40, "dead": 10,
        "pending": 0, "new_records": 900,
    }  # fmt: skip
    checks = [
        {"run_id": "run-7", "gate": gate, "table_name": "silver.events", "check_name": f"check_{number}",
         "severity": "warn", "success": number > 0, "observed": 3.0, "allowed_max": 2.0,
         "rows_judged": 900, "judged_at": AT}
        for gate in ("landing→bronze", "bronze→silver", "silver→gold")
        for number in range(4)
    ]  # fmt: skip
    dead = [
        {"source": "web", "layer": "silver", "reason": reason, "raw": HOSTILE, "origin": "file", "position": number,
         "ingested_at": AT, "batch_id": 7, "refused_at": AT}
        for number, reason in enumerate(["malformed"] * 7 + ["bad_timestamp"] * 3)
    ]  # fmt: skip
    return {"ops.runs": [run], "ops.quality_results": checks, "ops.dead_letters": dead}
