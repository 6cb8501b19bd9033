"""Pydantic models of answers and parameters, made from the tables' contracts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from pipelines.contracts import Column, load_contracts
from pipelines.serving.api.settings import PagingSettings

_PYTHON: dict[str, Any] = {
    "string": str,
    "bigint": int,
    "int": int,
    "double": float,
    "boolean": bool,
    "date": date,
    "timestamp": datetime,
    "map<string,string>": dict[str, str | None],
    "array<string>": list[str | None],
}
_EXAMPLES: dict[str, Any] = {
    "string": "text",
    "bigint": 12,
    "int": 3,
    "double": 0.25,
    "boolean": False,
    "date": date(2026, 1, 31),
    "timestamp": datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
    "map<string,string>": {"key": "value"},
    "array<string>": ["/", "/products/3", "/cart"],
}
_NAMED_EXAMPLES = {
    "site_id": "shop",
    "page": "/cart",
    "entry_page": "/",
    "exit_page": "/cart",
    "funnel": "stages",
    "step": "Cart",
    "channel": "Organic Search",
    "traffic_source": "google",
    "traffic_medium": "organic",
    "device_type": "mobile",
    "browser": "Firefox",
    "os": "Android",
    "country": "DE",
}


class Page(BaseModel):
    """Which part of the rows an answer holds."""

    limit: int = Field(description="At most so many rows.", examples=[100])
    offset: int = Field(description="So many rows come before these.", examples=[0])
    next_offset: int | None = Field(description="`offset` of the next part; null at the end.", examples=[None])


def row_model(name: str, columns: list[Column]) -> type[BaseModel]:
    """One row, as the contract declares its columns; decimals are strings, so that no digit is lost."""
    fields: dict[str, Any] = {}
    for column in columns:
        python, example = _python(column)
        described = column.description + (f" [{column.unit}]" if column.unit else "")
        optional = python if column.required else python | None
        fields[column.name] = (optional, Field(description=described, examples=[example]))
    return create_model(name, **fields)


def any_row(name: str) -> type[BaseModel]:
    """A row of a table that has no contract here."""
    return create_model(name, __config__=ConfigDict(extra="allow"))


def answer_model(name: str, row: type[BaseModel], totals: type[BaseModel] | None = None) -> type[BaseModel]:
    """What an endpoint of rows answers."""
    fields: dict[str, Any] = {
        "data_version": (
            str,
            Field(description="The published version that answered.", examples=["12-20260201T0400Z"]),
        ),
        "site": (str, Field(examples=["shop"])),
        "from": (date, Field(description="First date, site time.", examples=["2026-01-02"])),
        "to": (date, Field(description="Last date, site time, inclusive.", examples=["2026-01-31"])),
        "rows": (list[row], ...),  # type: ignore[valid-type]
        "page": (Page, ...),
    }
    if totals is not None:
        fields["totals"] = (
            list[totals],  # type: ignore[valid-type]
            Field(description="The whole range together: one row each, the largest first, 100 at most."),
        )
    return create_model(name, **fields)


class Range(BaseModel):
    """Parameters of every endpoint of rows: a site and its dates."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    site: str = Field(min_length=1, max_length=200, description="Site, one of the key's.", examples=["shop"])
    from_: date | None = Field(
        None, alias="from", description="First date, site time; default: so long before `to` as the endpoint says."
    )
    to: date | None = Field(
        None, description="Last date, site time, inclusive; default: the site's newest date.", examples=["2026-01-31"]
    )

    @model_validator(mode="after")
    def _forward(self) -> Range:
        if self.from_ and self.to and self.from_ > self.to:
            raise ValueError(f"`from` ({self.from_}) is after `to` ({self.to})")
        return self


def parameters(name: str, filters: dict[str, Any], paging: PagingSettings) -> type[Range]:
    """Query parameters of an endpoint: site, dates, filters on columns, paging."""
    limit = Annotated[int, Field(ge=1, le=paging.max_limit, description="At most so many rows.")]
    offset = Annotated[int, Field(ge=0, le=paging.max_offset, description="Leave out so many rows.")]
    return create_model(
        name,
        __base__=Range,
        limit=(limit, paging.default_limit),
        offset=(offset, 0),
        **filters,
    )


def filter_field(table: str, column: str) -> Any:
    """A column as an optional parameter: rows where it equals the value."""
    declared = {found.name: found for found in columns_of(table)}.get(column)
    python = _PYTHON[declared.type] if declared else str
    words = f"Only rows with this value. {declared.description}" if declared else "Only rows with this value."
    return (python | None, Field(None, description=words, max_length=2000 if python is str else None))


def columns_of(table: str) -> tuple[Column, ...]:
    """The contract's columns; none where the table has no contract here."""
    found = load_contracts().get(table)
    return found.columns if found else ()


def _python(column: Column) -> tuple[Any, Any]:
    if column.type.startswith("decimal"):
        return Decimal, "129.9000"
    example = _NAMED_EXAMPLES.get(column.name, column.accepted[0] if column.accepted else _EXAMPLES[column.type])
    return _PYTHON[column.type], example
