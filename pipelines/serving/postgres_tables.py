"""The tables in PostgreSQL as the contracts declare them, and the statements that bring one up to date."""

from __future__ import annotations

import hashlib

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipelines.contracts import Contract
from pipelines.serving.changes import hashed

PUBLISHED = "published"
"""Which version of each table is here; it belongs to the same transaction as the rows."""

_TYPES = {
    "string": "text",
    "bigint": "bigint",
    "int": "integer",
    "double": "double precision",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "array<string>": "text[]",
}

# Beside the key, what people look rows up by.
_INDEXED = {"silver.sessions": ("site_id", "created_at")}


class Table:
    """One table of a schema in PostgreSQL: its name is the contract's, without the layer."""

    def __init__(self, schema: str, declared: Contract) -> None:
        self.declared = declared
        self.name = Identifier(schema, declared.name)
        self._columns = {column.name: column for column in declared.columns}

    @property
    def key(self) -> Composed:
        return _names(self.declared.key)

    @property
    def shape(self) -> str:
        """Names columns, types, nullability, key and indexes: a table of another shape is made anew."""
        statements = [self._create(), self._unique(), *self._indexes()]
        return hashlib.sha256("\n".join(s.as_string(None) for s in statements).encode()).hexdigest()

    def definition(self) -> Composed:
        """Make the table, with its indexes."""
        return SQL("; ").join([self._create(), self._unique(), *self._indexes()])

    def comments(self) -> Composed:
        """What the contract says of the table and of every column."""
        declared = self.declared
        said = [
            SQL("comment on table {} is {}").format(
                self.name, Literal(f"{declared.description} Grain: {declared.grain}.")
            )
        ]
        for column in declared.columns:
            words = column.description + (f" [{column.unit}]" if column.unit else "")
            said.append(SQL("comment on column {}.{} is {}").format(self.name, Identifier(column.name), Literal(words)))
        return SQL("; ").join(said)

    def upsert(self, staged: Identifier) -> Composed:
        """Take over the staged rows, and touch no row that is the same already."""
        names = _names(self.declared.column_names)
        held = SQL(", ").join(SQL("held.{}").format(Identifier(n)) for n in self.declared.column_names)
        new = SQL(", ").join(SQL("excluded.{}").format(Identifier(n)) for n in self.declared.column_names)
        return SQL(
            "insert into {table} as held ({names}) select {names} from {staged} on conflict ({key}) do update "
            "set ({names}) = row({new}) where ({held}) is distinct from ({new})"
        ).format(table=self.name, names=names, staged=staged, key=self._index_key(), held=held, new=new)

    def remove_listed(self, gone: Identifier) -> Composed:
        """Remove the rows whose key is listed."""
        return SQL("delete from {} as held using {} as other where {}").format(self.name, gone, self._same_key())

    def remove_others(self, staged: Identifier) -> Composed:
        """Remove the rows whose key is not staged."""
        return SQL("delete from {} as held where not exists (select from {} as other where {})").format(
            self.name, staged, self._same_key()
        )

    def _create(self) -> Composed:
        columns = [
            SQL("{} {}{}").format(Identifier(c.name), _type(c.type), SQL(" not null") if c.required else SQL(""))
            for c in self.declared.columns
        ]
        return SQL("create table {} ({})").format(self.name, SQL(", ").join(columns))

    def _unique(self) -> Composed:
        if self._has_long_key():
            return SQL("create unique index on {} ({})").format(self.name, self._index_key())
        return SQL("alter table {} add primary key ({})").format(self.name, self.key)

    def _indexes(self) -> list[Composed]:
        columns = _INDEXED.get(self.declared.table)
        return [SQL("create index on {} ({})").format(self.name, _names(columns))] if columns else []

    def _has_long_key(self) -> bool:
        return any(hashed(self._columns[name]) for name in self.declared.key)

    def _index_key(self) -> Composed:
        return SQL(", ").join(
            SQL("md5({})" if hashed(self._columns[name]) else "{}").format(Identifier(name))
            for name in self.declared.key
        )

    def _same_key(self) -> Composed:
        return SQL(" and ").join(
            SQL("held.{name} = other.{name}").format(name=Identifier(name)) for name in self.declared.key
        )


def published_table(schema: str) -> Composed:
    """Make the list of versions where it is not there."""
    return SQL(
        "create table if not exists {table} ("
        "table_name text primary key, version bigint not null, batch_id bigint not null, run_id text not null, "
        "published_at timestamp with time zone not null, table_id text not null, shape text not null, "
        "left_out bigint not null, loaded_at timestamp with time zone not null default now()); "
        "comment on table {table} is 'The version of each table that this schema holds; "
        "it changes in the same transaction as the rows.'"
    ).format(table=Identifier(schema, PUBLISHED))


def _names(columns: tuple[str, ...] | list[str]) -> Composed:
    return SQL(", ").join(map(Identifier, columns))


def _type(declared: str) -> Composable:
    if declared.startswith("decimal("):
        precision, scale = declared.removeprefix("decimal(").removesuffix(")").split(",")
        return SQL("numeric({}, {})").format(Literal(int(precision)), Literal(int(scale)))
    return SQL(_TYPES[declared])
