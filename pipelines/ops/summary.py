"""What a run tells at its end, for machines (`--json`) and for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import duckdb

from pipelines.ops.books import Books, standing
from pipelines.run import Run
from pipelines.steps import holds


def collect(
    run: Run, books: Books, *, job: str, status: str, seconds: float, changed: list[str], error: str | None
) -> dict[str, Any]:
    """The run's summary as plain values; numbers of sites are those of the last date that each has."""
    lake = run.lake
    still = standing("judged_in", "replayed_in", lake.batch("silver.events"))
    dead = lake.rows(
        "ops.dead_letters",
        f"select source, reason, count(*) as records from t where {still} group by 1, 2 order by 1, 2",
    )
    layers = ("bronze.events", *run.served, "ops.dead_letters", "ops.duplicates")
    return {
        "run_id": run.run_id,
        "job": job,
        "status": status,
        "error": error,
        "as_of": run.context.last_dates[""],
        "as_of_by_site": {site: day for site, day in run.context.last_dates.items() if site},
        "lakehouse": lake.root,
        "seconds": round(seconds, 3),
        "steps": {name: round(took, 3) for name, took in run.progress.seconds.items()},
        "new_records": run.new_records,
        "changed_tables": changed,
        "books": asdict(books.total),
        "sources": {name: asdict(terms) for name, terms in books.sources.items()},
        "rows": {table: lake.count(table) for table in layers},
        "sites": _sites(run),
        "dead_letters": dead,
        "held_batches": [
            {name: row[name] for name in ("batch_id", "source", "records", "check_name", "detail")}
            for row in holds.waiting(lake)
        ],
        "skipped_files": run.skipped_files,
        "new_fields": run.new_fields,
        "gates": {
            "checks": len(run.results),
            "passed": sum(result.success for result in run.results),
            "warnings": [r.sentence() for r in run.results if not r.success and not r.blocks],
            "errors": [r.sentence() for r in run.results if r.blocks],
        },
    }


def _sites(run: Run) -> list[dict[str, Any]]:
    """Per site: the last date with activity, its active users, and the sessions and conversion of the last 7 dates."""
    tables = ("gold.active_users_daily", "gold.journey_stats_daily")
    users, journeys = (run.lake.table(table) if table in run.served else None for table in tables)
    if users is None or journeys is None:
        return []
    con = duckdb.connect()
    con.register("users", users)
    con.register("journeys", journeys)
    rows = con.execute(
        """
        with last as (select site_id, max(date) as date from users where dau > 0 group by site_id)
        select l.site_id, l.date, u.dau, u.wau, u.mau,
               sum(j.total_journeys)::bigint as sessions,
               sum(j.total_journeys * j.conversion_rate_pct) / sum(j.total_journeys) as conversion_rate_pct
        from last l
        join users u using (site_id, date)
        left join journeys j on j.site_id = l.site_id and j.date between l.date - 6 and l.date
        group by all order by l.site_id
        """
    )
    names = [column[0] for column in rows.description or []]
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def sentences(summary: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [""]
    say = lines.append
    if summary["error"]:
        say(f"✗ {summary['error']}")
    elif not summary["changed_tables"]:
        say("Nothing new: every record was taken before. No table changed.")
    say(f"Run {summary['run_id']} · {summary['status']} · {summary['seconds']:.1f} s · as of {summary['as_of']}")
    books = summary["books"]
    say("")
    say(f"Records   {books['received']:>10,} received")
    parts = [("accepted", "accepted"), ("duplicates", "repeats"), ("dead", "dead letters"), ("pending", "pending")]
    say("          " + " + ".join(f"{books[key]:,} {words}" for key, words in parts))
    for letter in summary["dead_letters"]:
        say(f"          dead letters: {letter['records']:>7,} {letter['reason']} ({letter['source']})")
    for held in summary["held_batches"]:
        batch = f"batch {held['batch_id']} of {held['source']}"
        say(f"          pending: {batch}, {held['records']:,} records: {held['detail']}")
    if summary["skipped_files"]:
        say(f"          passed over: {', '.join(summary['skipped_files'][:3])}")
    for table, names in summary["new_fields"].items():
        say(f"          new fields kept in properties of {table}: {', '.join(names)}")
    say("")
    say("Rows      " + "\n          ".join(f"{rows:>10,} {table}" for table, rows in summary["rows"].items()))
    if summary["sites"]:
        say("")
        say(f"{'Site':<10}{'last date':>12}{'DAU':>8}{'WAU':>8}{'MAU':>8}{'sessions 7 d':>14}{'conversion':>12}")
        for site in summary["sites"]:
            conversion = "-" if site["conversion_rate_pct"] is None else f"{site['conversion_rate_pct']:.2f} %"
            sessions = "-" if site["sessions"] is None else f"{site['sessions']:,}"
            say(
                f"{site['site_id']:<10}{site['date']!s:>12}{site['dau']:>8,}{site['wau']:>8,}{site['mau']:>8,}"
                f"{sessions:>14}{conversion:>12}"
            )
    gates = summary["gates"]
    if gates["checks"]:
        say("")
        say(f"Gates     {gates['passed']} of {gates['checks']} checks hold")
        for sentence in gates["errors"]:
            say(f"          error: {sentence}")
        for sentence in gates["warnings"]:
            say(f"          warn:  {sentence}")
    if summary["changed_tables"]:
        slowest = sorted(summary["steps"].items(), key=lambda item: -item[1])[:6]
        total = sum(summary["steps"].values()) or 1.0
        say("")
        say("Time      " + " · ".join(f"{name} {took:.1f} s ({100 * took / total:.0f} %)" for name, took in slowest))
    say("")
    say(f"Tables    {summary['lakehouse']}/<layer>/<table> (Delta)")
    gold = [table for table in summary["rows"] if table.startswith("gold.")]
    example = "gold.funnel_daily" if "gold.funnel_daily" in gold else gold[0]
    say(f"Next      make query LAKE={summary['lakehouse']} \\")
    say(f'          SQL="select * from {example} order by all limit 12"')
    return "\n".join(lines)
