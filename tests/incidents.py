"""docs/anomalies.md: what gold.metric_anomalies says of incidents planted into generated visits.

`python -m tests.incidents` writes the page.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill

import pyarrow as pa
from pyspark.sql import SparkSession

from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.delta_types import arrow_schema
from pipelines.funnels import Funnels
from pipelines.gold import metric_anomalies
from pipelines.settings import Sites, SparkSettings, load_settings
from pipelines.spark import build_session
from tests.planted import BEFORE, FIRST, INCIDENTS, JUDGED, LAST, PEOPLE, SETTLING, Incident, Row, segment_rows

PAGE = Path(__file__).resolve().parent.parent / "docs/anomalies.md"
SEEDS = (1, 2, 3)
_WIDTH = 120


@dataclass(frozen=True)
class Outcome:
    """What was found of one incident, in as many worlds as there are."""

    incident: Incident
    found: int
    days_until: list[int]  # from its first day, which is judged when it is over: 0
    days: int  # of its days those on which it was found
    told_by: list[str]
    explained_by: list[str]


def judge(spark: SparkSession) -> list[Row]:
    """gold.metric_anomalies of worlds with incidents (`incidents-SEED`) and of as many without (`quiet-SEED`)."""
    rows = [row for seed in SEEDS for row in segment_rows(seed, f"incidents-{seed}", INCIDENTS)]
    rows += [row for seed in SEEDS for row in segment_rows(seed + len(SEEDS), f"quiet-{seed}", ())]
    context = RunContext(load_settings("local"), Sites(), Funnels(), datetime.now(UTC), as_of=LAST)
    frame = spark.createDataFrame(
        pa.Table.from_pylist([{**_NOTHING, **row} for row in rows], schema=arrow_schema(_SEGMENTS))
    )
    found: list[Row] = metric_anomalies.build(frame, context=context).toArrow().to_pylist()
    return found


_SEGMENTS = contract("gold.segment_metrics_daily")
_NOTHING = {column.name: 0 if column.type == "bigint" else None for column in _SEGMENTS.columns}


def outcome(incident: Incident, anomalies: list[Row]) -> Outcome:
    """An incident is found on a day that a number is beyond k_open which is meant to tell it."""
    k_open = load_settings("local").metric_anomalies.k_open
    until, days = [], 0
    told: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    for seed in SEEDS:
        found = [
            row
            for row in anomalies
            if row["site_id"] == f"incidents-{seed}"
            and row["date"] in incident.dates
            and abs(row["score"]) > k_open
            and (row["metric"], row["segment"]) in incident.expected
        ]
        dates = sorted({row["date"] for row in found})
        until += [(dates[0] - incident.dates[0]).days] if dates else []
        days += len(dates)
        told.update({f"{row['metric']} of {row['segment']}" for row in found})
        explained.update({words.rsplit(" (", 1)[0] for row in found for words in row["explained_by"]})
    tellers = [f"{name} ({count} of {len(SEEDS)})" for name, count in sorted(told.items())]
    reasons = [name for name, count in explained.most_common() if count == len(SEEDS)]
    return Outcome(incident, len(until), until, days, tellers, reasons)


def raised_wrongly(anomalies: list[Row]) -> Counter[tuple[str, bool]]:
    """Rows of the worlds without incidents by metric and whether they are of the whole site."""
    quiet = [row for row in anomalies if row["site_id"].startswith("quiet") and row["date"] >= FIRST]
    return Counter((row["metric"], row["segment"] == "(all)") for row in quiet)


def aftermath(anomalies: list[Row]) -> Counter[tuple[str, bool]]:
    """Rows of the worlds with incidents on days without one."""
    planted = {day for incident in INCIDENTS for day in incident.dates}
    rows = [
        row
        for row in anomalies
        if row["site_id"].startswith("incidents") and row["date"] >= FIRST and row["date"] not in planted
    ]
    return Counter((row["metric"], row["segment"] == "(all)") for row in rows)


def page(anomalies: list[Row]) -> str:
    """The text of docs/anomalies.md."""
    sites_days = len(SEEDS) * JUDGED
    planted = len({day for incident in INCIDENTS for day in incident.dates})
    lines = [
        "# Anomalies of numbers: what is found, how soon, and what is raised wrongly",
        "",
        fill(
            f"Made by `make anomalies`. The generator makes visits of a shop with {PEOPLE:,} people for"
            f" {BEFORE + JUDGED} days (after {SETTLING} that are not used). On {planted} of the last {JUDGED} days"
            " incidents are planted into the sessions and events, and `gold.metric_anomalies` judges the counts with"
            f" the limits of `conf/settings`. Everything is done in {len(SEEDS)} worlds of different seeds, and in"
            f" {len(SEEDS)} more without incidents. Sessions are taken as they were made, not cut from events. The"
            " limits were chosen after looking at such worlds, so expect less from real data.",
            _WIDTH,
        ),
        "",
        fill(
            "A day is judged when it is over: *after 0 days* means on the morning after the first day. *Told by* are"
            " the numbers beyond `k_open` that are meant to tell the incident, and in how many of the worlds they did;"
            " *explained by* the segments that were named in all worlds. Some incidents are small on purpose.",
            _WIDTH,
        ),
        "",
        "| incident | days | found | after days | days found | told by | explained by |",
        "|---|---|---|---|---|---|---|",
    ]
    for incident in INCIDENTS:
        got = outcome(incident, anomalies)
        after = ", ".join(str(days) for days in got.days_until) or "–"
        lines.append(
            f"| {incident.name} | {incident.days} | {got.found} of {len(SEEDS)} | {after} |"
            f" {got.days} of {incident.days * len(SEEDS)} | {', '.join(got.told_by) or '–'} |"
            f" {', '.join(got.explained_by) or '–'} |"
        )
    wrong, later = raised_wrongly(anomalies), aftermath(anomalies)
    lines += [
        "",
        fill(
            f"Raised wrongly, as rows: in the {sites_days} days of the worlds that have no incident, and on the"
            f" {len(SEEDS) * (JUDGED - planted)} days without one of the others. The latter hold what an incident"
            " changes in the measure of the days after it.",
            _WIDTH,
        ),
        "",
        "| number | whole site | segments | whole site, beside incidents | segments, beside incidents |",
        "|---|---|---|---|---|",
    ]
    for metric in sorted({metric for metric, _ in wrong | later}):
        counts = [counter[metric, whole] for counter in (wrong, later) for whole in (True, False)]
        lines.append(f"| {metric} | {' | '.join(str(count) for count in counts)} |")
    totals = [
        sum(n for (_, of_all), n in c.items() if of_all == whole) for c in (wrong, later) for whole in (True, False)
    ]
    lines.append(f"| all | {' | '.join(str(total) for total in totals)} |")
    return "\n".join([*lines, "", *_READING]) + "\n"


_READING = (
    "Pitfalls",
    "",
    "- The made-up shop is calmer than most: no holidays, no trends, independent visitors. Expect more false alarms.",
    "- Segments are many: most of what is raised wrongly is raised there. Watch `segment = '(all)'` first, and",
    "  segments where you have a reason to.",
    "- A small trouble stays below what chance does to a shop of this size. With ten times the visits less is needed.",
    "- Only whole days are judged. What must be noticed within minutes needs `traffic_5min`.",
    "- A day shows up once it stands out against eight weeks: what creeps in over weeks becomes usual.",
)


def main() -> None:
    spark = build_session(
        SparkSettings(master="local[2]", shuffle_partitions=2, conf={"spark.ui.enabled": "false"}), "incidents"
    )
    PAGE.write_text(page(judge(spark)), encoding="utf-8")
    spark.stop()
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
