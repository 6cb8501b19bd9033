"""Lines without Spark: the same as Spark's, and bounded whatever the line."""

from __future__ import annotations

import base64
import io
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pipelines.bronze import content
from pipelines.bronze.content import Limits, Tap, UnreadableError, text
from pipelines.bronze.inspection import inspect
from pipelines.bronze.lines import lines_of

LIMITS = Limits(expanded_bytes=1 << 40, ratio=250)
HEAD = 65536

# Whole characters and halves of them, line ends of all kinds, byte order marks, NULs.
PIECES = [b"a", b"\n", b"\n", b"\r\n", b"\xc3\xa9", b"\xc3", b"\xa9", "😀".encode(), b"\0", b"x" * 9]
PIECES += [b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x82", "\u2028".encode(), b'{"a": 1}']
BYTES = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


def read(chunks: list[bytes], max_bytes: int = 1000) -> list[tuple[str, str | None]]:
    return [
        (raw, defect)
        for raws, defects in lines_of(chunks, max_bytes)
        for raw, defect in zip(raws.to_pylist(), defects.to_pylist(), strict=True)
    ]


def expected(whole: bytes, max_bytes: int) -> list[tuple[str, str | None]]:
    """The same by the simplest means."""
    lines = whole.split(b"\n")
    if not lines[-1]:
        lines.pop()
    found: list[tuple[str, str | None]] = []
    for line in lines:
        if len(line) > max_bytes:
            found.append((line.decode("utf-8", "replace"), f"too_large: {len(line)} bytes"))
            continue
        try:
            found.append((line.decode(), None))
        except UnicodeDecodeError:
            found.append((base64.b64encode(line).decode(), "not_utf8"))
    return found


def cut(whole: bytes, size: int) -> list[bytes]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]


@settings(max_examples=1000, deadline=None)
@given(whole=BYTES, size=st.integers(1, 50), max_bytes=st.sampled_from([1, 8, 20, 1000]))
@pytest.mark.fault(
    of="records",
    injected="a line end, a character or a byte order mark cut by the border of two blocks",
    holds="the same lines",
)
def test_lines_do_not_depend_on_how_the_bytes_come(whole: bytes, size: int, max_bytes: int) -> None:
    found = read(cut(whole, size), max_bytes)
    wanted = expected(whole, max_bytes)
    # The beginning that is kept of a large line ends with a whole character.
    assert [defect for _, defect in found] == [defect for _, defect in wanted]
    for (raw, defect), (whole_raw, _) in zip(found, wanted, strict=True):
        if defect is not None and defect.startswith("too_large"):
            assert whole_raw.startswith(raw)
            assert len(whole_raw) - len(raw) <= 1
        else:
            assert raw == whole_raw


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whole=BYTES, size=st.integers(8, 50), max_bytes=st.sampled_from([1, 8, 20, 1000]))
def test_inspection_foresees_what_the_lines_will_be(
    monkeypatch: pytest.MonkeyPatch, whole: bytes, size: int, max_bytes: int
) -> None:
    monkeypatch.setattr(content, "CHUNK_BYTES", size)
    try:
        found = inspect(Tap(io.BytesIO(whole)), LIMITS, max_bytes)
    except UnreadableError:
        return
    lines = expected(whole.removeprefix(b"\xef\xbb\xbf"), max_bytes)
    assert found.records == len(lines)
    assert found.has_long_line == any((defect or "").startswith("too_large") for _, defect in lines)
    try:
        whole.decode()
    except UnicodeDecodeError:
        assert not found.is_utf8
    else:
        assert found.is_utf8


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(BYTES, min_size=20, max_size=20))
def test_spark_reads_the_same_lines(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("landing")
    wanted = {}
    for number, whole in enumerate(texts):
        path = folder / f"{number}.jsonl"
        path.write_bytes(whole)
        try:
            if inspect(Tap(io.BytesIO(whole)), LIMITS, 1000).suits_spark(str(path)):
                lines = read(list(text(Tap(io.BytesIO(whole)), LIMITS)))
                wanted |= {(str(path), at): raw for at, (raw, _) in enumerate(lines, start=1)}
                continue
        except UnreadableError:
            pass
        path.unlink()
    assert {(row["origin"], row["position"]): row["raw"] for row in by_spark(spark, folder)} == wanted


def by_spark(spark: SparkSession, folder: Path) -> Iterator[dict[str, object]]:
    from tests.bronze.test_events import take

    if paths := sorted(folder.iterdir()):
        yield from (row.asDict() for row in take(spark, *paths))


def test_spark_drops_a_byte_order_mark_too(spark: SparkSession, tmp_path: Path) -> None:
    marks = {"only": "\ufeff", "line": "\ufeffa\n\ufeffb\n", "blank": "\ufeff\n\n"}
    for name, whole in marks.items():
        (tmp_path / name).write_text(whole)
        assert [row["raw"] for row in by_spark(spark, tmp_path)] == [
            raw for raw, _ in read(list(text(Tap(io.BytesIO(whole.encode())), LIMITS)))
        ]
        (tmp_path / name).unlink()


@pytest.mark.fault(
    of="records",
    injected="a line one byte longer than allowed",
    holds="a dead letter with its beginning; a line at the limit is whole",
)
def test_a_line_at_the_limit_is_whole_and_one_byte_more_is_too_large() -> None:
    assert read([b"x" * 1000 + b"\n" + b"y" * 1001]) == [("x" * 1000, None), ("y" * 1001, "too_large: 1001 bytes")]


@pytest.mark.parametrize("shift", range(5))
def test_of_a_line_that_is_too_large_the_beginning_is_kept_up_to_a_whole_character(shift: int) -> None:
    line = b"x" * shift + "😀".encode() * 50_000
    ((raw, defect),) = read(cut(line, 1 << 16))
    assert defect == f"too_large: {200_000 + shift} bytes"
    assert raw == "x" * shift + "😀" * ((HEAD - shift) // 4)


@pytest.mark.fault(of="records", injected="a line larger than memory should hold", holds="it is read in bounded memory")
def test_a_line_of_any_length_is_read_in_bounded_memory() -> None:
    def endless() -> Iterator[bytes]:
        yield b"one\n"
        for _ in range(2000):
            yield b"x" * 1_000_000
        yield b"\ntwo\n"

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = [
        part for parts in lines_of(endless(), 1 << 20) for part in zip(*[p.to_pylist() for p in parts], strict=True)
    ]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert found == [("one", None), ("x" * HEAD, "too_large: 2000000000 bytes"), ("two", None)]
    assert grown < 50_000_000


def test_half_a_character_before_a_line_end_and_half_after_it_are_no_character() -> None:
    assert read([b"\xc3\n\xa9\n"]) == [("ww==", "not_utf8"), ("qQ==", "not_utf8")]
