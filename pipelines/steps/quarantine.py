"""ops.quarantined_files: landing files that cannot be read to their end, set aside until they change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipelines.bronze.content import UnreadableError
from pipelines.bronze.files import LandingFile
from pipelines.lake import Lake

Row = dict[str, Any]

TABLE = "ops.quarantined_files"


def of_source(lake: Lake, source: str) -> dict[str, Row]:
    """The source's rows by path: of a path only its last version is set aside."""
    return {row["path"]: row for row in lake.rows(TABLE) if row["source"] == source}


def row_of(source: str, file: LandingFile, error: UnreadableError, at: datetime) -> Row:
    """The row of a file that was found unreadable."""
    return {
        **vars(file),
        "source": source,
        "reason": error.reason,
        "detail": error.detail,
        "quarantined_at": at,
        "salvaged_at": None,
    }


def holds(row: Row | None, file: LandingFile) -> bool:
    """Whether the row speaks of the file as it is. Rights are not part of a file's time: `unreadable` is tried anew."""
    return (
        row is not None
        and (row["size_bytes"], row["modified_ns"]) == (file.size_bytes, file.modified_ns)
        and row["reason"] != "unreadable"
    )


def first_of(old: Row | None, new: Row) -> Row:
    """The old row where the new one only says the same later."""
    return old if old is not None and {**new, "quarantined_at": old["quarantined_at"]} == old else new


def sentence(row: Row) -> str:
    """`PATH: truncated (detail)` for a person."""
    return f"{row['path']}: {row['reason']} ({row['detail']})"


def save(lake: Lake, source: str, rows: dict[str, Row]) -> None:
    """Make these the source's rows, where they are not already."""
    if rows != of_source(lake, source):
        others = [row for row in lake.rows(TABLE) if row["source"] != source]
        lake.replace_rows(TABLE, [*others, *rows.values()])
