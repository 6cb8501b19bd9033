"""Landing files of tests, broken ones among them, and runs that take them."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

from pipelines.lake import Lake
from pipelines.progress import Progress
from pipelines.run import Run
from pipelines.steps.ingest_files import take_files
from tests.conftest import MakeContext
from tests.runs import CANONICAL, no_session

SOURCE = CANONICAL.source

A = [("a.jsonl", 1, "one"), ("a.jsonl", 2, ""), ("a.jsonl", 3, "three")]
PACKED = gzip.compress("".join(f"line {i} {random.Random(i).random()}\n" for i in range(3000)).encode())
BROKEN = {
    "truncated": PACKED[:-1000],
    "corrupt": PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:],
    "bomb": gzip.compress(b"\n" * 80_000_000),
    "wide_encoding": '{"a": "é"}\nzwei\n'.encode("utf-16"),
    "binary": b"PK\x03\x04 and so on",
}


class Ingest:
    """Runs over one lake; on a `cluster` every regular file goes through Spark."""

    def __init__(self, root: Path, context: MakeContext) -> None:
        self.lake = Lake(str(root), {}, no_session)
        self._context = context
        self.settings: dict[str, Any] = {}
        self.cluster = False

    def run(self) -> Run:
        spark = {"master": "yarn"} if self.cluster else {}
        context = self._context(landing=self.settings, spark=spark)
        return Run(self.lake, context, Progress("test-run", human=False), "test-run")

    def __call__(self, landing: Path) -> Run:
        run = self.run()
        take_files(run, CANONICAL, str(landing))
        return run

    def lines(self) -> list[tuple[str, int, str]]:
        """Every record as (name of its file, position, raw)."""
        rows = self.lake.rows("bronze.events", "select origin, position, raw, batch_id from t")
        rows.sort(key=lambda row: (row["batch_id"], row["origin"], row["position"]))
        return [(Path(row["origin"]).name, row["position"], row["raw"]) for row in rows]

    def quarantined(self) -> dict[str, str]:
        return {Path(row["path"]).name: row["reason"] for row in self.lake.rows("ops.quarantined_files")}


def warnings(run: Run) -> dict[str, float]:
    return {result.check.name: result.check.value for result in run.results if not result.success}
