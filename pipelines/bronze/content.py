"""The bytes of a landing file as text: what kind of file it is by its content, unpacked as a stream, bounded."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import xxhash

Kind = Literal["plain", "gzip", "zstd"]
Reason = Literal["truncated", "corrupt", "bomb", "wide_encoding", "binary", "unreadable"]

CHUNK_BYTES = 1 << 20
_SALVAGE_CHUNK_BYTES = 1 << 12  # what is lost where unpacking fails is at most one chunk
_PACKED: dict[bytes, Kind] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
# The longer mark first: that of UTF-32 begins with that of UTF-16.
_WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BINARY = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"PAR1": "Parquet",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"%PDF-": "a PDF",
    **{mark: f"{kind} within a packed file" for mark, kind in _PACKED.items()},
}
_LOOKED_AT_BYTES = 1 << 16
_MAX_NUL_SHARE = 0.25  # UTF-16 without a mark has a half
_RATIO_JUDGED_FROM_BYTES = 1 << 26  # a small file may repeat one line


class UnreadableError(Exception):
    """The file cannot be read to its end: it is set aside, for a reason from a closed list."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Limits:
    """How far a packed file may expand: bytes, and times its size (judged above 64 MiB)."""

    expanded_bytes: int
    ratio: int


class Tap:
    """A file's stored bytes as a stream that counts and hashes what flows through it."""

    def __init__(self, stream: Any) -> None:
        self.bytes_read = 0
        self.failure: OSError | None = None
        self.closed = False
        self._stream = stream
        self._hash = xxhash.xxh3_128()
        self._ahead = b""
        self._ahead = self.read(8)
        self.head = self._ahead

    @property
    def kind(self) -> Kind:
        return next((kind for mark, kind in _PACKED.items() if self.head.startswith(mark)), "plain")

    @property
    def checksum(self) -> str:
        return self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        if self._ahead:
            found, self._ahead = self._ahead, b""
            return found + self.read(size - len(found)) if size > len(found) else found
        try:
            found = bytes(self._stream.read(size))
        except OSError as error:
            self.failure = error
            raise
        self.bytes_read += len(found)
        self._hash.update(found)
        return found

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def text(tap: Tap, limits: Limits) -> Iterator[bytes]:
    """The file's text in chunks, without a UTF-8 byte order mark (Spark's reader drops it too).

    Raises UnreadableError where it is no text, does not unpack to its end, or expands beyond the limits.
    """
    expanded = 0
    for chunk in _unpacked(tap, CHUNK_BYTES):
        expanded += len(chunk)
        if tap.kind != "plain":
            _stop_a_bomb(expanded, tap.bytes_read, limits)
        if expanded == len(chunk):
            _refuse_what_is_no_text(chunk, packed=tap.kind != "plain")
            yield chunk.removeprefix(codecs.BOM_UTF8)
        else:
            yield chunk


def salvaged_text(tap: Tap) -> Iterator[bytes]:
    """The same without limits, and UTF-16 and UTF-32 become UTF-8; what cannot be read still raises where it comes."""
    chunks = _unpacked(tap, _SALVAGE_CHUNK_BYTES)
    first = next(chunks, b"")
    encoding = next((name for mark, name in _WIDE.items() if first.startswith(mark)), None)
    if encoding is None:
        _refuse_what_is_no_text(first, packed=tap.kind != "plain")
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    yield decoder.decode(first).encode()
    for chunk in chunks:
        yield decoder.decode(chunk).encode()
    yield decoder.decode(b"", final=True).encode()


def _unpacked(tap: Tap, size: int) -> Iterator[bytes]:
    source = tap if tap.kind == "plain" else pa.CompressedInputStream(pa.PythonFile(tap, mode="r"), tap.kind)
    while True:
        try:
            chunk = source.read(size)
        except OSError as error:
            if tap.failure is not None:
                raise tap.failure from error
            cut = "Truncated" in str(error)
            raise UnreadableError(
                "truncated" if cut else "corrupt", f"{tap.kind}: {'it ends before its end' if cut else error}"
            ) from error
        if not chunk:
            return
        yield chunk


def _stop_a_bomb(expanded: int, stored: int, limits: Limits) -> None:
    if expanded > limits.expanded_bytes:
        raise UnreadableError("bomb", f"unpacks to more than {limits.expanded_bytes:,} bytes")
    if expanded > _RATIO_JUDGED_FROM_BYTES and expanded > limits.ratio * stored:
        raise UnreadableError("bomb", f"unpacks to more than {limits.ratio} times its size")


def _refuse_what_is_no_text(head: bytes, *, packed: bool) -> None:
    wide = next((name for mark, name in _WIDE.items() if head.startswith(mark)), None)
    if wide:
        raise UnreadableError("wide_encoding", f"its byte order mark says {wide.upper()}, expected UTF-8")
    binary = next((name for mark, name in _BINARY.items() if head.startswith(mark)), None)
    if binary:
        raise UnreadableError("binary", f"it holds {binary}, expected text")
    looked_at = head[:_LOOKED_AT_BYTES]
    if looked_at.count(0) > _MAX_NUL_SHARE * len(looked_at):
        raise UnreadableError("binary", "more than a quarter of its bytes are NUL, expected text")
