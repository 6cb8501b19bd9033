"""Runs a query that the gate let through, where it can do no harm: in a process of its own, on a connection of its own.

The process has no environment, cannot write files, and its memory is bounded by the system; one that takes too long is
killed and replaced. The connection has the files of the caller's own sites attached for reading, views over them, no
access to other files, and a locked configuration. DuckDB's own limits are not enough: a single call such as
`list_sum(range(1000000000))` goes past its memory limit and cannot be interrupted.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import queue
import resource
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from pipelines.serving.api.gate import RefusedError
from pipelines.serving.api.settings import QuerySettings


class BusyError(Exception):
    """Every worker is at work."""


@dataclass(frozen=True)
class Job:
    """A query, the tables that it asks and the files that hold them, one a site."""

    sql: str
    tables: tuple[str, ...]
    files: tuple[str, ...]
    rows: int


def run(job: Job, limits: QuerySettings) -> dict[str, Any]:
    """Columns and rows of a query; raises RefusedError with one line where DuckDB does not take it."""
    try:
        with _connection(job, limits) as con:
            statements = con.extract_statements(job.sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise RefusedError("only one query may be asked")
            _check_tree(con, job)
            relation = con.sql(job.sql)
            columns = [
                {"name": name, "type": str(type_)} for name, type_ in zip(relation.columns, relation.types, strict=True)
            ]
            return {"columns": columns, **_rows(relation.limit(job.rows + 1), job.rows, limits.max_bytes)}
    except duckdb.OutOfMemoryException as error:
        raise RefusedError(f"the query needs more memory than {limits.memory}") from error
    except duckdb.Error as error:
        raise RefusedError(str(error).splitlines()[0]) from error


def _check_tree(con: duckdb.DuckDBPyConnection, job: Job) -> None:
    """What DuckDB's own parser finds must be what the gate's found: the same tables, and no table function."""
    found = con.execute("select json_serialize_sql($1::varchar)", [job.sql]).fetchone()
    tree = json.loads(found[0]) if found else {"error": True}
    if tree.get("error"):
        raise RefusedError("only a query may be asked")
    allowed = {tuple(table.split(".")) for table in job.tables}
    own: set[str] = set()
    asked: set[tuple[str, ...]] = set()
    nodes: list[Any] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            own |= {entry["key"].lower() for entry in (node.get("cte_map") or {}).get("map", [])}
            if node.get("type") == "BASE_TABLE":
                parts = (node["catalog_name"], node["schema_name"], node["table_name"])
                asked.add(tuple(part.lower() for part in parts if part))
            elif node.get("type") == "TABLE_FUNCTION" and node["function"]["function_name"] != "unnest":
                raise RefusedError(f"{node['function']['function_name']}: not allowed in place of a table")
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
    unknown = asked - allowed - {(name,) for name in own}
    if unknown:
        raise RefusedError(f"{'.'.join(min(unknown))}: no such table")


def _connection(job: Job, limits: QuerySettings) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(f"set threads = 1; set memory_limit = '{limits.memory}'; set timezone = 'UTC'")
    con.execute("set enable_progress_bar = false")
    con.execute("set temp_directory = ''; set max_temp_directory_size = '0B'")
    for number, file in enumerate(job.files):
        con.execute(f"attach '{file}' as site_{number} (read_only)")
    con.execute("create schema silver; create schema gold")
    for table in job.tables:
        layer, name = table.split(".")
        every = " union all ".join(f'from site_{number}.{layer}."{name}"' for number in range(len(job.files)))
        con.execute(f'create view {layer}."{name}" as {every}')
    for setting in (
        "python_enable_replacements",
        "autoinstall_known_extensions",
        "autoload_known_extensions",
        "allow_community_extensions",
        "allow_unsigned_extensions",
        "enable_external_access",
    ):
        with suppress(duckdb.InvalidInputException):  # some are fixed by now, at what they shall be
            con.execute(f"set {setting} = false")
    con.execute("set lock_configuration = true")
    return con


def _rows(relation: duckdb.DuckDBPyRelation, most_rows: int, most_bytes: int) -> dict[str, Any]:
    """Rows up to both limits, and whether there were more."""
    rows: list[list[Any]] = []
    size = 0
    while batch := relation.fetchmany(500):
        for row in batch:
            values = [plain(value) for value in row]
            size += len(json.dumps(values))
            if len(rows) == most_rows or size > most_bytes:
                return {"rows": rows, "truncated": True}
            rows.append(values)
    return {"rows": rows, "truncated": False}


def plain(value: Any) -> Any:
    """A value as JSON has it: decimals, dates and the like as text, no NaN."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


class Sandbox:
    """A few processes that run queries, started when first needed."""

    def __init__(self, limits: QuerySettings) -> None:
        self._limits = limits
        self._free: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._all: list[_Worker] = []
        self._lock = threading.Lock()
        for _ in range(limits.workers):
            worker = _Worker(limits)
            self._all.append(worker)
            self._free.put(worker)

    def ask(self, sql: str, tables: Sequence[str], files: Sequence[Path], rows: int) -> dict[str, Any]:
        """The answer of `run`, from a worker. Raises RefusedError as `run` does, BusyError when no worker is free."""
        try:
            worker = self._free.get(timeout=self._limits.wait_seconds)
        except queue.Empty as error:
            raise BusyError from error
        try:
            return worker.ask(Job(sql, tuple(tables), tuple(map(str, files)), rows))
        finally:
            self._free.put(worker)

    def warm(self) -> None:
        """Start the workers ahead, so that the first query does not wait for it."""
        with suppress(queue.Empty, BusyError):
            taken = [self._free.get_nowait() for _ in self._all]
            for worker in taken:
                try:
                    worker.start()
                finally:
                    self._free.put(worker)

    def close(self) -> None:
        for worker in self._all:
            worker.end()


class _Worker:
    """One process; it is replaced after it was killed or died."""

    def __init__(self, limits: QuerySettings) -> None:
        self._limits = limits
        self._process: Any = None
        self._pipe: Connection | None = None

    def ask(self, job: Job) -> dict[str, Any]:
        if self._process is None or not self._process.is_alive():
            self.start()
        assert self._pipe is not None
        try:
            self._pipe.send(job)
            if not self._pipe.poll(self._limits.max_seconds):
                self.end()
                raise RefusedError(f"the query took longer than {self._limits.max_seconds:g} s")
            answer: dict[str, Any] = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.end()
            raise RefusedError("the query needs more memory than it may have") from error
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return answer

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def start(self) -> None:
        self.end()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._limits), name="query", daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(60) or self._pipe.recv() != "ready":
            self.end()
            raise BusyError


def _work(pipe: Connection, limits: QuerySettings) -> None:
    """Answer jobs until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    os.environ.clear()
    with duckdb.connect() as con:  # what DuckDB loads on first use is loaded before memory is bounded
        con.execute("select json_serialize_sql('select 1')").fetchall()
    started_with = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = started_with + limits.process_memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send("ready")
    with suppress(EOFError):
        while True:
            job: Job = pipe.recv()
            try:
                pipe.send(run(job, limits))
            except RefusedError as error:
                pipe.send({"refused": str(error)})
            except (MemoryError, RecursionError):
                pipe.send({"refused": "the query needs more memory than it may have"})
