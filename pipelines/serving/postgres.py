"""Publishes sessions and gold to PostgreSQL: one transaction, and only the rows that changed travel.

The schema says in `published` which version of each table it holds, so a publish that is repeated, or that was cut off,
finds out by itself what is left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import psycopg
import tenacity
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from pipelines.contracts import load_contracts
from pipelines.errors import ConfigurationError, InfrastructureError
from pipelines.serving.changes import Changes, changes, csv_blocks
from pipelines.serving.postgres_tables import PUBLISHED, Table, published_table
from pipelines.serving.published import connect, open_at

# A publish that loses its connection is tried again so often, after about 1, 2, 4 and 8 seconds.
_RETRIES = 4

# Another publish, or a reader that keeps a table from being replaced, is waited for so long at a time.
_LOCK_TIMEOUT = "30s"

# What a server says to a caller who will not get in the next time either.
_REFUSALS = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry", "not permitted")


@dataclass(frozen=True)
class Change:
    """What a publish did to one table; `whole`: all its rows were compared, not only what changed."""

    table: str
    version: int
    sent: int
    written: int
    removed: int
    left_out: int
    whole: bool

    def sentence(self) -> str:
        """`gold.x: 12 rows sent, 12 written, 3 removed` for a person."""
        left_out = f", {self.left_out:,} LEFT OUT (keys too long or twice)" if self.left_out else ""
        compared = ", all compared" if self.whole else ""
        return (
            f"{self.table}: {self.sent:,} rows sent, {self.written:,} written, {self.removed:,} removed"
            f"{left_out}{compared}"
        )


def publish(
    root: str,
    url: str,
    schema: str,
    *,
    whole: bool = False,
    tell: Callable[[str], object] = print,
    seconds_before_retry: float = 1.0,
) -> list[Change]:
    """Bring the schema to the published versions of the lake; returns what was done to each table that changed.

    `whole` compares all rows instead of relying on the version that the schema says it holds, and lets the lake take
    the place of another one. Raises ConfigurationError or InfrastructureError with one line; nothing is changed then.
    """

    def tell_retry(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        tell(f"  ↻ PostgreSQL: {_one_line(error)}; trying again")

    try:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(1 + _RETRIES),
            wait=tenacity.wait_exponential(seconds_before_retry) + tenacity.wait_random(0, seconds_before_retry),
            before_sleep=tell_retry,
            reraise=True,
        )(_publish, root, url, schema, whole)
    except psycopg.errors.DependentObjectsStillExist as error:
        words = " ".join(f"{error.diag.message_primary}: {error.diag.message_detail}".split())
        raise ConfigurationError(f"PostgreSQL: {words}: drop it, publish, and make it again") from error
    except psycopg.OperationalError as error:
        kind = InfrastructureError if _may_pass(error) else ConfigurationError
        raise kind(f"PostgreSQL: {_one_line(error)}") from error
    except psycopg.Error as error:
        raise InfrastructureError(f"PostgreSQL: {_one_line(error)}") from error
    except duckdb.Error as error:
        raise InfrastructureError(f"{root}: {_one_line(error)}") from error


def _publish(root: str, url: str, schema: str, whole: bool) -> list[Change]:
    with _connect(url) as server, server.cursor(row_factory=dict_row) as cursor, connect(root) as con:
        con.execute("set preserve_insertion_order = false")
        # One publisher at a time: the next one waits, then finds out what is left to do.
        cursor.execute("select set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"medallion publish {schema}"])
        if cursor.execute("select to_regnamespace(%s) as there", [schema]).fetchall() == [{"there": None}]:
            cursor.execute(SQL("create schema {}").format(Identifier(schema)))  # asks for a right that not all have
        cursor.execute(published_table(schema))
        return _Publish(root, con, cursor, schema, whole).run()


def _connect(url: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(url, client_encoding="utf8", connect_timeout=10, application_name="medallion publish")
    except psycopg.ProgrammingError as error:  # its words would repeat the URL, and with it a password
        raise ConfigurationError("--postgres: expected a URL such as postgresql://user@host:5432/database") from error


class _Publish:
    """One attempt, inside one transaction of `cursor`."""

    def __init__(
        self,
        root: str,
        con: duckdb.DuckDBPyConnection,
        cursor: psycopg.Cursor[dict[str, Any]],
        schema: str,
        whole: bool,
    ) -> None:
        self.root, self.con, self.cursor, self.schema, self.whole = root, con, cursor, schema, whole
        self.published = Identifier(schema, PUBLISHED)

    def run(self) -> list[Change]:
        held = {row["table_name"]: row for row in self._rows(SQL("select * from {}").format(self.published))}
        offered = {row["table_name"]: row for row in self._offered()}
        for table in sorted(set(held) - set(offered)):
            self.cursor.execute(SQL("drop table {}").format(Identifier(self.schema, table.split(".")[1])))
            self.cursor.execute(SQL("delete from {} where table_name = %s").format(self.published), [table])
        done = [self._table(row, held.get(table)) for table, row in offered.items()]
        return [change for change in done if change is not None]

    def _offered(self) -> list[dict[str, Any]]:
        """Rows of ops.published of what is sent: sessions and gold."""
        found = self.con.execute(
            "select table_name, version, batch_id, run_id, published_at::varchar as published_at from ops.published "
            "where table_name = 'silver.sessions' or starts_with(table_name, 'gold.') order by table_name"
        )
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def _table(self, offered: dict[str, Any], held: dict[str, Any] | None) -> Change | None:
        name, version = offered["table_name"], offered["version"]
        opened = open_at(self.root, name, version)
        assert opened is not None
        table = Table(self.schema, load_contracts()[name])
        row = {**offered, "table_id": str(opened.metadata().id), "shape": table.shape}
        if held is not None and held["table_id"] != row["table_id"] and not self.whole:
            raise ConfigurationError(
                f"schema {self.schema} holds {name} of another lake: publish with --whole to put {self.root} there"
            )
        same_shape = held is not None and held["shape"] == row["shape"]
        change, row["left_out"] = None, held["left_out"] if held is not None else 0
        if not same_shape:
            self._make(table, replace=held is not None)
        if held is None or not same_shape or held["version"] != version or self.whole:
            self.cursor.execute(table.comments())
            # Where a row was left out, which of them is in the place of which is not to be told from what changed.
            exact = held is not None and same_shape and not held["left_out"] and not self.whole
            change = self._bring(table, version, held["version"] if held is not None and exact else None)
            row["left_out"] = change.left_out
        self._note(row)
        return change

    def _make(self, table: Table, *, replace: bool) -> None:
        """The empty table; one of an older shape goes first, one that is not from here never."""
        if replace:
            self.cursor.execute(SQL("drop table if exists {}").format(table.name))
        try:
            self.cursor.execute(table.definition())
        except psycopg.errors.DuplicateTable as error:
            raise ConfigurationError(
                f"schema {self.schema} has a table {table.declared.name} that was not published from here: "
                "choose another with --schema"
            ) from error

    def _bring(self, table: Table, version: int, since: int | None) -> Change:
        """Send what changed since a version; all of it where the number of rows shows that this was not enough."""
        found = changes(self.con, self.root, table.declared, version, since)
        sent, written, removed = self._apply(table, found)
        expected = self._count_in_lake(table)
        if found.gone is not None and self._count(table) != expected:
            found = changes(self.con, self.root, table.declared, version, None)
            sent, written, removed = self._apply(table, found)
        left_out = expected - self._count(table)
        return Change(table.declared.table, version, sent, written, removed, left_out, whole=found.gone is None)

    def _apply(self, table: Table, found: Changes) -> tuple[int, int, int]:
        """Rows sent, rows inserted or updated, rows removed."""
        staged, gone = Identifier("pg_temp", "staged"), Identifier("pg_temp", "gone")
        self.cursor.execute(SQL("create temporary table staged (like {})").format(table.name))
        sent = self._copy(staged, found.sent, table.declared.column_names, table)
        self.cursor.execute(SQL("analyze {}").format(staged))
        if found.gone is None:
            self.cursor.execute(table.remove_others(staged))
        else:
            self.cursor.execute(
                SQL("create temporary table gone as select {} from {} limit 0").format(table.key, table.name)
            )
            self._copy(gone, found.gone, list(table.declared.key), table)
            self.cursor.execute(table.remove_listed(gone))
        removed = self.cursor.rowcount
        self.cursor.execute(table.upsert(staged))
        written = self.cursor.rowcount
        self.cursor.execute("drop table if exists pg_temp.staged, pg_temp.gone")
        return sent, written, removed

    def _copy(self, target: Identifier, rows: str, columns: list[str], table: Table) -> int:
        declared = [column for column in table.declared.columns if column.name in columns]
        names = SQL(", ").join(Identifier(column.name) for column in declared)
        with self.cursor.copy(SQL("copy {} ({}) from stdin (format csv)").format(target, names)) as copy:
            for block in csv_blocks(self.con, rows, declared):
                copy.write(block)
        return self.cursor.rowcount

    def _note(self, row: dict[str, Any]) -> None:
        self.cursor.execute(
            SQL(
                "insert into {} as held (table_name, version, batch_id, run_id, published_at, table_id, shape, "
                "left_out) values (%(table_name)s, %(version)s, %(batch_id)s, %(run_id)s, %(published_at)s, "
                "%(table_id)s, %(shape)s, %(left_out)s) "
                "on conflict (table_name) do update set version = excluded.version, batch_id = excluded.batch_id, "
                "run_id = excluded.run_id, published_at = excluded.published_at, table_id = excluded.table_id, "
                "shape = excluded.shape, left_out = excluded.left_out, loaded_at = now()"
            ).format(self.published),
            row,
        )

    def _count(self, table: Table) -> int:
        return int(self._rows(SQL("select count(*) as rows from {}").format(table.name))[0]["rows"])

    def _count_in_lake(self, table: Table) -> int:
        found = self.con.execute(f'select count(*) from {table.declared.layer}."{table.declared.name}"').fetchone()
        assert found is not None
        return int(found[0])

    def _rows(self, query: Any) -> list[dict[str, Any]]:
        return self.cursor.execute(query).fetchall()


def _may_pass(error: BaseException) -> bool:
    """Whether trying again is worth it: a connection, a restart, a lock, a deadlock; not a refusal."""
    return isinstance(error, psycopg.OperationalError) and not any(sign in str(error) for sign in _REFUSALS)


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:500]
