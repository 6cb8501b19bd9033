"""Table contracts: the single declaration of every table's columns, keys, inputs and checks (conf/tables)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pipelines.config import CONF, Model, display_path, load
from pipelines.errors import ConfigurationError

Severity = Literal["error", "warn"]
LAYERS = ("bronze", "silver", "gold", "ops")


class Check(Model):
    """A rule on rows: `rule` is a Spark SQL predicate that every row must satisfy (null counts as broken)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    rule: str
    description: str
    severity: Severity = "error"


class Column(Model):
    """A column, with what its values may be."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    type: str
    description: str = Field(min_length=1)
    required: bool = False
    unit: str | None = None
    accepted: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    max_length: int | None = None
    operational: bool = False
    """Says when or by which batch a row came to be; outside "same answer from any arrival"."""
    first_written: bool = False
    """Keeps the value of the row's first writing when its slice is replaced."""

    def checks(self) -> list[Check]:
        """The row rules that follow from the declaration."""
        found = []
        if self.required:
            found.append(Check(name=f"{self.name}_present", rule=f"{self.name} is not null", description="Required."))
        rules = []
        if self.accepted:
            values = ", ".join(sql_string(value) for value in self.accepted)
            rules.append(("accepted", f"{self.name} in ({values})"))
        if self.min is not None or self.max is not None:
            bounds = [
                f"{self.name} {sign} {limit:.15g}"
                for sign, limit in (("<=", self.max), (">=", self.min))
                if limit is not None
            ]
            rules.append(("in_range", " and ".join(bounds)))
        if self.max_length is not None:
            rules.append(("short_enough", f"length({self.name}) <= {self.max_length}"))
        for name, rule in rules:
            allowed = f"{self.name} is null or ({rule})"
            found.append(Check(name=f"{self.name}_{name}", rule=allowed, description=f"Values of {self.name}."))
        return found


class Contract(Model):
    """One table: what a row is, where it comes from, how it is written, what must hold."""

    table: str = Field(pattern=r"^(bronze|silver|gold|ops)\.[a-z][a-z0-9_]*$")
    description: str = Field(min_length=1)
    grain: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    inputs: dict[str, str | None]
    """Input table → its column whose dates say which slices of this table a change touches.

    A table that is replaced whole may name none (null): any change of the input counts.
    """
    looks_back_days: int = Field(default=0, ge=0)
    """How many days before its date a row's inputs reach."""
    as_of: bool = False
    """Rows depend on the run's last complete date as well as on the inputs."""
    looks_ahead: dict[str, str] = Field(default_factory=dict)
    """Input table → its column by whose dates a row also reads it, from its own date on, for as many days as the step's
    `days_ahead` says by the configuration; not at all where it says None."""
    write: Literal["append", "upsert", "replace_slices", "replace"]
    slice: str | None = None
    key: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    expects_rows_where: str | None = None
    """Predicate on rows of the first input: where one holds, an empty result is a fault. None: it may be empty."""
    retention_days: int = Field(gt=0)
    columns: tuple[Column, ...]
    checks: tuple[Check, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        names = [column.name for column in self.columns]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"columns declared twice: {', '.join(repeated)}")
        named = (*self.key, *self.partition_by, *self.cluster_by, *filter(None, [self.slice]))
        checks = [check.name for check in self.row_checks()]
        repeated = sorted({name for name in checks if checks.count(name) > 1})
        if repeated:
            raise ValueError(f"checks declared twice: {', '.join(repeated)}")
        unknown = sorted(set(named) - set(names))
        if unknown:
            raise ValueError(f"not among the columns: {', '.join(unknown)}")
        if (self.write == "replace_slices") != (self.slice is not None):
            raise ValueError("`slice` goes with `write: replace_slices`, and only with it")
        if self.as_of and self.write != "replace":
            raise ValueError("`as_of` goes only with `write: replace`: another date may change every row")
        return self

    @property
    def layer(self) -> str:
        return self.table.split(".")[0]

    @property
    def name(self) -> str:
        return self.table.split(".")[1]

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def comparable_columns(self) -> list[str]:
        """Columns that must not depend on when or in which batch a record arrived."""
        return [column.name for column in self.columns if not column.operational]

    @property
    def first_written_columns(self) -> list[str]:
        return [column.name for column in self.columns if column.first_written]

    @property
    def ddl(self) -> str:
        """The schema as Spark DDL, with nullability."""
        return ", ".join(f"{c.name} {c.type}{' not null' if c.required else ''}" for c in self.columns)

    def row_checks(self) -> list[Check]:
        """Every rule that a row of this table must keep: those of its columns, then its own."""
        return [check for column in self.columns for check in column.checks()] + list(self.checks)


def sql_string(value: str) -> str:
    """`value` as a Spark SQL string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def standard_sql_string(value: str) -> str:
    """`value` as a string literal of standard SQL (DuckDB, DataFusion), where a backslash is a backslash."""
    return "'" + value.replace("'", "''") + "'"


@cache
def load_contracts(folder: Path = CONF / "tables") -> dict[str, Contract]:
    """Every contract by table name; raises ConfigurationError when a file's place and its table differ."""
    contracts: dict[str, Contract] = {}
    for layer in LAYERS:
        for path in sorted((folder / layer).glob("*.yaml")):
            contract = load(Contract, path)
            if contract.table != f"{layer}.{path.stem}":
                place = f"{layer}.{path.stem}"
                raise ConfigurationError(f"{display_path(path)}: table: expected {place!r}, got {contract.table!r}")
            contracts[contract.table] = contract
    for contract in contracts.values():
        path = folder / contract.layer / f"{contract.name}.yaml"
        unknown = sorted(set(contract.inputs) - set(contracts))
        if unknown:
            raise ConfigurationError(f"{display_path(path)}: inputs: no such table: {', '.join(unknown)}")
        dated = sorted(name for name in contract.inputs if contracts[name].as_of)
        if dated and not contract.as_of:
            raise ConfigurationError(f"{display_path(path)}: as_of: expected true, as for its input {', '.join(dated)}")
    return contracts


def contract(table: str) -> Contract:
    """The contract of one table."""
    return load_contracts()[table]
