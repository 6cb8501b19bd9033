"""Rows of strings to an Arrow table."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa


def schema(*names: str) -> pa.Schema:
    """Columns of strings."""
    return pa.schema([(name, pa.string()) for name in names])


def table(rows: Iterable[tuple[str | None, ...]], columns: pa.Schema) -> pa.Table:
    """The rows in order, none included."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    return pa.table([pa.array(column, pa.string()) for column in values], schema=columns)
