"""Batch rules: whether a batch looks like those before it; one that breaks a rule of severity error is held as pending.

Later batches go on without it, and `jobs/replay.py --batch ID --accept` lets it go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from pipelines.lake import Lake
from pipelines.ops.books import standing
from pipelines.quality import gate
from pipelines.quality.gate import Measured
from pipelines.run import Run

_TABLE = "ops.held_batches"
# The rule's name where a source's mapping cannot be read.
MAPPING = "mapping"
# Columns whose share of nulls is watched.
DRIFTING = ("user_id", "anonymous_id", "client_session_id", "page_path", "referrer_url")
# A median of fewer batches says nothing.
_LEAST_BATCHES = 5
_TRAILING_BATCHES = 28
# Of so many records at least one must be usable.
_ENOUGH_TO_BE_ALL_WRONG = 10


@dataclass(frozen=True)
class Hold:
    """A batch that is kept out of silver, and why."""

    batch_id: int
    source: str
    records: int
    check_name: str
    detail: str


def judge(run: Run, arrived: Mapping[int, tuple[str, int]], measured: Sequence[dict[str, Any]]) -> list[Hold]:
    """Apply the batch rules to each new batch; returns those that a rule of severity error holds."""
    held = []
    for row in measured:
        if row["batch_id"] in arrived:
            source, records = arrived[row["batch_id"]]
            results = gate.judge("bronze→silver", "silver.events", _rules(run, source, row), row["received"])
            run.results += results
            broken = [result for result in results if result.blocks]
            if broken:
                detail = "; ".join(result.sentence() for result in broken)
                held.append(Hold(row["batch_id"], source, records, broken[0].check.name, detail))
    return held


def _rules(run: Run, source: str, batch: dict[str, Any]) -> list[Measured]:
    limits = run.context.settings.gates
    received = batch["received"]
    rules = [
        # Usually another source's mapping: as dead letters they would have to be put back one source for another.
        Measured(
            f"{source}_usable_records",
            received - batch["refused"],
            least=1 if received >= _ENOUGH_TO_BE_ALL_WRONG else 0,
        ),
        Measured(
            f"{source}_dead_letter_share",
            batch["refused"] / received if received else 0.0,
            most=limits.dead_letter_share.most,
            severity=limits.dead_letter_share.severity,
        ),
    ]
    before = [
        records
        for (name, number), records in sorted(run.lake.records_by_batch("bronze.events").items())
        if name == source and number < batch["batch_id"]
    ][-_TRAILING_BATCHES:]
    if len(before) >= _LEAST_BATCHES and median(before):
        volume = limits.volume_of_median
        ratio = received / median(before)
        rules.append(Measured(f"{source}_volume_of_median", ratio, volume.least, volume.most, severity=volume.severity))
    if limits.hours_behind.most is not None and batch["newest_us"] is not None:
        hours = (run.context.started_at.timestamp() - batch["newest_us"] / 1e6) / 3600
        rules.append(
            Measured(
                f"{source}_hours_behind", hours, most=limits.hours_behind.most, severity=limits.hours_behind.severity
            )
        )
    return rules + _null_rules(run, source, batch)


def _null_rules(run: Run, source: str, batch: dict[str, Any]) -> list[Measured]:
    """A column's share of nulls against the median of the source's batches before, as their verdicts recorded it."""
    usable = batch["accepted"] + batch["repeats"]
    if not usable:
        return []
    rules = []
    names = {column: f"{source}_null_share_{column}" for column in DRIFTING}
    listed = ", ".join(f"'{name}'" for name in names.values())
    seen: dict[str, list[float]] = {name: [] for name in names.values()}
    for row in run.lake.rows(
        "ops.quality_results",
        f"select check_name, observed from t where check_name in ({listed}) order by judged_at desc"
        f" limit {_TRAILING_BATCHES * len(names)}",
    ):
        seen[row["check_name"]].append(row["observed"])
    drift = run.context.settings.gates.null_drift
    for column, name in names.items():
        share = batch["nulls"][column] / usable
        known = seen[name]
        if len(known) >= _LEAST_BATCHES and drift.most is not None:
            usual = median(known)
            rules.append(Measured(name, share, usual - drift.most, usual + drift.most, severity=drift.severity))
        else:
            rules.append(Measured(name, share, least=0, most=1, severity="warn"))
    return rules


def forget_failed_try(lake: Lake, done: int) -> None:
    """Take back what was decided on the way to a batch that silver does not reflect."""
    rows = lake.rows(_TABLE)
    kept = [
        {**row, "released_in": None if (row["released_in"] or 0) > done else row["released_in"]}
        for row in rows
        if row["decided_in"] <= done
    ]
    if kept != rows:
        lake.replace_rows(_TABLE, kept)


def record(run: Run, held: Sequence[Hold], released: Sequence[int], *, target: int) -> None:
    """Write which batches are held and released on the way to `target`."""
    at = run.context.started_at
    rows = run.lake.rows(_TABLE)
    after = [{**row, "released_in": target} if row["batch_id"] in released else row for row in rows]
    after += [{**asdict(hold), "held_at": at, "decided_in": target, "released_in": None} for hold in held]
    if after != rows:
        run.lake.replace_rows(_TABLE, after)


def waiting(lake: Lake) -> list[dict[str, Any]]:
    """The batches that are held now."""
    still = standing("decided_in", "released_in", lake.batch("silver.events"))
    return lake.rows(_TABLE, f"select * from t where {still}")
