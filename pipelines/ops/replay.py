"""Put dead letters back through today's mapping, let a held batch go on, or take what can be read of a file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pipelines import runner
from pipelines.contracts import contract, sql_string
from pipelines.errors import ConfigurationError
from pipelines.run import Run
from pipelines.steps import holds, requests
from pipelines.steps.conform import source_of
from pipelines.steps.salvage import salvage

REASONS = next(column.accepted for column in contract("ops.dead_letters").columns if column.name == "reason")


def add_selection(made: argparse.ArgumentParser) -> None:
    """The arguments that say what is put back."""
    made.add_argument("--all", action="store_true", help="every open dead letter")
    made.add_argument("--reason", action="append", default=[], choices=REASONS, help="dead letters of this reason")
    made.add_argument("--of-source", action="append", default=[], metavar="NAME", help="dead letters of this source")
    made.add_argument(
        "--batch", type=int, metavar="ID", help="dead letters of this batch; with --accept: the held batch"
    )
    made.add_argument("--accept", action="store_true", help="with --batch: release the batch that a rule holds")
    made.add_argument(
        "--file", metavar="PATH", help="take what can be read of a quarantined file (with --of-source NAME)"
    )
    made.add_argument("--unpack-bomb", action="store_true", help="with --file: even if it unpacks beyond the limits")


def replay(run: Run, arguments: argparse.Namespace) -> None:
    """Record the request and bring every table up to date.

    Idempotent: a letter that was put back is closed, a batch that was released is not held. Raises ConfigurationError
    where the call selects nothing that exists.
    """
    if arguments.file is not None:
        if len(arguments.of_source) != 1:
            raise ConfigurationError("--file goes with --of-source NAME, the source that the file was offered to")
        salvage(run, arguments.of_source[0], arguments.file, unpack_bomb=arguments.unpack_bomb)
    elif arguments.accept:
        _release(run, arguments.batch)
    else:
        _put_back(run, arguments)
    runner.bring_up_to_date(run)


def _release(run: Run, batch: int | None) -> None:
    if batch is None:
        raise ConfigurationError("--accept goes with --batch ID")
    held = {row["batch_id"]: row for row in holds.waiting(run.lake)}
    if batch in held:
        source_of(run, held[batch]["source"])
        requests.add(run, "release", str(batch))
    elif not run.lake.rows("ops.held_batches", f"select 1 from t where batch_id = {batch}"):
        waiting = ", ".join(str(number) for number in sorted(held)) or "none"
        raise ConfigurationError(f"--batch: expected a held batch ({waiting}), got {batch}")


def _put_back(run: Run, arguments: argparse.Namespace) -> None:
    parts = []
    if arguments.reason:
        parts.append(f"reason in ({_listed(arguments.reason)})")
    if arguments.of_source:
        parts.append(f"source in ({_listed(arguments.of_source)})")
    if arguments.batch is not None:
        parts.append(f"batch_id = {arguments.batch}")
    if not parts and not arguments.all:
        raise ConfigurationError("say which dead letters: --all, --reason, --of-source or --batch")
    chosen = " and ".join(parts) or "true"
    found = run.lake.rows("ops.dead_letters", f"select distinct source from t where replayed_in is null and {chosen}")
    for row in found:
        source_of(run, row["source"])  # a mapping that cannot be read is told before anything is recorded
    if found:
        requests.add(run, "replay", chosen)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sql_string(name) for name in names)
