"""A contract's columns as Delta and Arrow type them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from deltalake import Field as DeltaField
from deltalake import Schema
from deltalake.schema import ArrayType, MapType, PrimitiveType

from pipelines.contracts import Contract


def delta_schema(declared: Contract) -> Schema:
    """The schema that a table is created with: names, types, nullability, and descriptions as comments."""
    fields = []
    for column in declared.columns:
        comment = column.description + (f" [{column.unit}]" if column.unit else "")
        fields.append(
            DeltaField(
                column.name, _delta_type(column.type), nullable=not column.required, metadata={"comment": comment}
            )
        )
    return Schema(fields)


def _delta_type(type_: str) -> Any:
    if type_ == "map<string,string>":
        return MapType(PrimitiveType("string"), PrimitiveType("string"), value_contains_null=True)
    if type_ == "array<string>":
        return ArrayType(PrimitiveType("string"), contains_null=True)
    return PrimitiveType({"bigint": "long", "int": "integer"}.get(type_, type_))


def arrow_schema(declared: Contract) -> pa.Schema:
    """The schema of rows that are written without Spark."""
    return pa.schema([pa.field(c.name, _arrow_type(c.type), nullable=not c.required) for c in declared.columns])


_ARROW = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "map<string,string>": pa.map_(pa.string(), pa.string()),
    "array<string>": pa.list_(pa.string()),
}


def _arrow_type(type_: str) -> pa.DataType:
    if type_.startswith("decimal("):
        precision, scale = type_.removeprefix("decimal(").removesuffix(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    return _ARROW[type_]
