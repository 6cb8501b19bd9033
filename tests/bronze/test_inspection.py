"""Inspection: what a file is by its content, whether it can be read to its end, which reader it suits."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import resource
from typing import Any

import pyarrow as pa
import pytest

from pipelines.bronze.content import Limits, Tap, UnreadableError
from pipelines.bronze.inspection import Inspection, inspect

LIMITS = Limits(expanded_bytes=1 << 40, ratio=250)
LINES = b"".join(b"line %d %d\n" % (n, n * n * 7919 % 10007) for n in range(5000))


def packed(kind: str, content: bytes) -> bytes:
    # Without the time: the bytes are in names of tests, which all of pytest's workers must collect alike.
    return bytes(pa.compress(content, kind, asbytes=True)) if kind == "zstd" else gzip.compress(content, mtime=0)


def inspected(content: bytes, limits: Limits = LIMITS, max_record_bytes: int = 1000) -> Inspection:
    return inspect(Tap(io.BytesIO(content)), limits, max_record_bytes)


def refused(content: bytes, limits: Limits = LIMITS) -> tuple[str, str]:
    with pytest.raises(UnreadableError) as error:
        inspected(content, limits)
    return error.value.reason, error.value.detail


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_packed_file_is_read_through_all_its_parts(kind: str, parts: int) -> None:
    content = packed(kind, LINES) * parts
    found = inspected(content)
    assert (found.kind, found.records, found.text_bytes) == (kind, 5000 * parts, len(LINES) * parts)
    assert found.stored_bytes == len(content)


def test_a_checksum_is_of_the_bytes_as_stored() -> None:
    assert inspected(b"one\n").checksum == inspected(b"one\n").checksum
    contents = [b"one\n", b"one", b"two\n", b"", packed("gzip", b"one\n"), packed("zstd", b"one\n")]
    assert len({inspected(content).checksum for content in contents}) == len(contents)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("kept", [3, 12, 100, -100, -9, -1])
@pytest.mark.fault(
    of="files",
    injected="a gzip that ends anywhere before its end",
    holds="it is found truncated, however little is missing",
)
def test_a_packed_file_that_ends_early_is_truncated(kind: str, kept: int) -> None:
    whole = packed(kind, LINES)
    assert refused(whole[: kept if kind == "gzip" or kept > 3 or kept < 0 else 4])[0] == "truncated"
    assert refused(whole + whole[: kept if kept != 3 else 6])[0] == "truncated"


@pytest.mark.parametrize(
    "content",
    [
        packed("gzip", LINES)[:-8] + b"\0\0\0\0" + packed("gzip", LINES)[-4:],  # its check sum
        packed("gzip", LINES)[:-4] + b"\0\0\0\0",  # its length
        packed("gzip", LINES) + b"garbage at the end",
        packed("zstd", LINES) + b"garbage at the end",
        packed("gzip", LINES)[:2000] + b"\xff" * 50 + packed("gzip", LINES)[2050:],
    ],
)
def test_a_packed_file_that_was_damaged_is_corrupt(content: bytes) -> None:
    assert refused(content)[0] == "corrupt"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.fault(
    of="files",
    injected="a small gzip that unpacks to a thousand times its size",
    holds="it is found out after a bounded part of it",
)
def test_a_bomb_is_found_by_its_ratio_before_it_is_unpacked(kind: str) -> None:
    bomb = packed(kind, b"\n" * 300_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reason, detail = refused(bomb, Limits(expanded_bytes=1 << 40, ratio=100))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert (reason, detail) == ("bomb", "unpacks to more than 100 times its size")
    assert grown < 100_000_000


def test_a_bomb_is_found_by_its_size() -> None:
    content = packed("gzip", LINES)
    limit = Limits(expanded_bytes=len(LINES) - 1, ratio=250)
    assert refused(content, limit) == ("bomb", f"unpacks to more than {len(LINES) - 1:,} bytes")
    assert inspected(content, Limits(expanded_bytes=len(LINES), ratio=250)).records == 5000


def test_a_plain_file_may_be_of_any_size() -> None:
    assert inspected(LINES, Limits(expanded_bytes=10, ratio=1)).records == 5000


def test_a_small_file_may_repeat_itself() -> None:
    assert inspected(packed("gzip", b"\n" * 60_000_000)).records == 60_000_000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_text_in_a_wide_encoding_is_refused(encoding: str, kind: str) -> None:
    mark = {"utf-16-le": "", "utf-16-be": "\ufeff", "utf-32-be": "\ufeff"}.get(encoding, "")
    content = (mark + '{"a": "some words"}\n' * 9).encode(encoding)
    reason, _ = refused(content if kind == "plain" else packed(kind, content))
    assert reason == ("binary" if encoding == "utf-16-le" else "wide_encoding")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04", "zip"),
        (bz2.compress(LINES), "bzip2"),
        (lzma.compress(LINES), "xz"),
        (b"PAR1....", "Parquet"),
        (packed("gzip", packed("gzip", LINES)), "gzip within a packed file"),
        (b"\0" * 100, "NUL"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes, words: str) -> None:
    reason, detail = refused(content)
    assert reason == "binary"
    assert words in detail


def test_a_failing_disk_is_not_a_broken_archive() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(OSError, match="Input/output error"):
        inspect(Tap(Failing(packed("gzip", LINES))), LIMITS, 1000)


@pytest.mark.parametrize(
    ("path", "content", "limit", "suits"),
    [
        ("/in/a.jsonl", b"one\n", 3, True),
        ("/in/a.jsonl", b"four\n", 3, False),
        ("/in/a.jsonl", b"\xff\n", 3, False),
        ("/in/a.jsonl.gz", packed("gzip", b"one\n"), 3, True),
        ("/in/a.jsonl.gz", b"one\n", 3, False),
        ("/in/a.GZ", packed("gzip", b"one\n"), 3, False),
        ("/in/a.jsonl", packed("gzip", b"one\n"), 3, False),
        ("/in/a.jsonl.bz2", b"one\n", 3, False),
        ("/in/a.jsonl.zst", packed("zstd", b"one\n"), 3, False),
        ("/in/12:30.jsonl", b"one\n", 3, False),
        ("/in/12:30/a.jsonl", b"one\n", 3, False),
        ("hdfs://name:8020/in/a.jsonl", b"one\n", 3, True),
        ("/in/a\nb.jsonl", b"one\n", 3, False),
    ],
)
def test_spark_gets_what_it_reads_rightly(path: str, content: bytes, limit: int, suits: bool) -> None:
    assert inspected(content, max_record_bytes=limit).suits_spark(path) is suits


def test_an_object_stores_scheme_is_no_odd_name() -> None:
    assert inspected(b"one\n").suits_spark("s3a://bucket/a.jsonl")


class Endless:
    """A plain file of one line, made as it is read."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return b"x" * size


def test_a_line_of_any_length_is_inspected_in_bounded_memory() -> None:
    stream: Any = Endless(1_000_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = inspect(Tap(stream), LIMITS, 1000)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert (found.records, found.has_long_line, found.text_bytes) == (1, True, 1_000_000_000)
    assert grown < 50_000_000
