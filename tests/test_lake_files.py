"""Which rows of a file are written anew, by keys that look alike."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from pipelines.errors import InfrastructureError
from pipelines.lake_files import Edits

KEY = ("site_id", "session_id")
SCHEMA = pa.schema([(name, pa.string()) for name in KEY])
ALIKE = [("a", "b:c"), ("a:b", "c")]


def rows(keys: list[tuple[str, str]]) -> pa.Table:
    return pa.table([list(column) for column in zip(*keys, strict=True)], schema=SCHEMA)


def edits(gone: list[tuple[str, str]], patched: list[tuple[str, str]]) -> Edits:
    return Edits("silver.sessions", KEY, ds.dataset(SCHEMA.empty_table()), rows(gone), rows(patched))


def test_a_row_is_told_by_its_whole_key() -> None:
    mixed = [("a", "c"), ("a:b", "b:c"), ("a", "d")]
    found = edits(gone=ALIKE[:1], patched=[("b", "c"), ALIKE[1]]).concerned(SCHEMA).fate(rows([*ALIKE, *mixed]))
    gone, second_patch, stays = -1, 1, -2
    assert found.tolist() == [gone, second_patch, stays, stays, stays]


def test_of_no_rows_nothing_is_told() -> None:
    assert edits(gone=ALIKE[:1], patched=ALIKE[1:]).concerned(SCHEMA).fate(SCHEMA.empty_table()).tolist() == []


def test_keys_are_compared_as_the_table_has_them() -> None:
    table, other = (pa.schema([("start", pa.timestamp(unit, "UTC"))]) for unit in ("us", "ms"))
    stored = pa.table([[datetime(2026, 1, 5, tzinfo=UTC)]], schema=table)
    told = Edits("gold.traffic_5min", ("start",), ds.dataset(table.empty_table()), stored.cast(other))
    assert told.concerned(table).fate(stored).tolist() == [-1]


def test_a_key_that_comes_twice_stops_the_write() -> None:
    with pytest.raises(InfrastructureError, match=r"silver\.sessions: two rows are to be written for one key"):
        edits(gone=ALIKE, patched=ALIKE[1:]).concerned(SCHEMA)
