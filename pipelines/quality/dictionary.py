"""The data dictionary, docs/tables.md, written from the contracts: `python -m pipelines.quality.dictionary`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.config import PROJECT
from pipelines.contracts import Column, Contract, load_contracts

PAGE = PROJECT / "docs" / "tables.md"

_HEAD = """\
# Tables

Made by `make docs` from the contracts in `conf/tables`: change those, not this page.

Every table is a Delta table at `<lakehouse>/<layer>/<table>`. *Required* columns are `not null` in the table itself.
*Declared checks* are the table's own rules; a required column and its allowed values are checked as well. Where checks
are judged, and what a failed one does, is in [design.md](design.md#quality-gates); how the published numbers are
defined is in [metrics.md](metrics.md). Retention is declared here; no job deletes rows yet.

Timestamps are UTC, to the microsecond. A date is in the site's time zone unless its description says UTC.
"""

_WRITES = {
    "append": "rows are only added",
    "upsert": "rows are inserted, and updated by key",
    "replace_slices": "whole slices (site, `{slice}`) are replaced",
    "replace": "replaced whole",
}


def render(contracts: Mapping[str, Contract]) -> str:
    """The page in Markdown: a list of the tables, then a section a table, in the order of `contracts`."""
    index = _table(
        ("table", "content"),
        [(f"[{name}](#{name.replace('.', '')})", declared.description) for name, declared in contracts.items()],
    )
    return "\n".join([_HEAD, index, *[_section(declared) for declared in contracts.values()]])


def _section(declared: Contract) -> str:
    parts = [f"## {declared.table}", declared.description, _facts(declared), _columns(declared)]
    if declared.checks:
        parts.append(
            "Declared checks:\n\n"
            + _table(
                ("check", "every row satisfies", "severity", "meaning"),
                [(f"`{c.name}`", f"`{c.rule}`", c.severity, c.description) for c in declared.checks],
            )
        )
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _facts(declared: Contract) -> str:
    facts = [
        ("Grain", declared.grain),
        ("Owner", declared.owner),
        ("Inputs", _inputs(declared)),
        ("Written", _WRITES[declared.write].format(slice=declared.slice)),
        ("Key", _names(declared.key)),
    ]
    if declared.partition_by:
        facts.append(("Partitions", _names(declared.partition_by)))
    facts.append(("Retention", f"{declared.retention_days} days"))
    if declared.expects_rows_where is not None:
        facts.append(
            ("Empty only where", f"no row of `{next(iter(declared.inputs))}` has `{declared.expects_rows_where}`")
        )
    return "\n".join(f"- {name}: {value}" for name, value in facts)


def _inputs(declared: Contract) -> str:
    if not declared.inputs:
        return "none of the tables"
    found = ", ".join(f"`{name}`" + (f" by `{column}`" if column else "") for name, column in declared.inputs.items())
    found += f", {declared.looks_back_days} days back" if declared.looks_back_days else ""
    ahead = ", ".join(f"`{name}` by `{column}`" for name, column in declared.looks_ahead.items())
    return found + (f"; {ahead}, as many days ahead as the configuration asks for" if ahead else "")


def _columns(declared: Contract) -> str:
    rows = [
        (f"`{c.name}`", f"`{c.type}`", "yes" if c.required else "", c.unit or "", _allowed(c), c.description)
        for c in declared.columns
    ]
    return _table(("column", "type", "required", "unit", "allowed", "meaning"), rows)


def _allowed(column: Column) -> str:
    """What the values may be, in words; empty where any value of the type is allowed."""
    found = [", ".join(column.accepted)] if column.accepted else []
    if column.min is not None and column.max is not None:
        found.append(f"{column.min:.15g} to {column.max:.15g}")
    elif column.min is not None:
        found.append(f"from {column.min:.15g}")
    elif column.max is not None:
        found.append(f"up to {column.max:.15g}")
    if column.max_length is not None:
        found.append(f"at most {column.max_length} characters")
    return "; ".join(found)


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(load_contracts()), encoding="utf-8")
