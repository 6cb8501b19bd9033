"""One pass over a new landing file: whether it can be read to its end, its checksum, and which reader it suits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.bronze.content import Kind, Limits, Tap, text
from pipelines.bronze.lines import is_utf8

# Hadoop chooses a codec by these, whatever the file holds.
_CODEC_SUFFIXES = (".gz", ".bz2", ".deflate", ".snappy", ".lz4", ".zst", ".zstd", ".lzo", ".xz")


@dataclass(frozen=True)
class Inspection:
    """What a file holds: `stored_bytes` as it lies there, `text_bytes` unpacked; `checksum` is of the former."""

    kind: Kind
    checksum: str
    stored_bytes: int
    text_bytes: int
    records: int
    has_long_line: bool
    is_utf8: bool

    def suits_spark(self, path: str) -> bool:
        """Whether Spark's reader gives the same lines as the plain one; it goes by the name and checks nothing."""
        names = path.split("://")[-1].partition("/")[2]  # without a host and its port
        packed = names.lower().endswith(_CODEC_SUFFIXES)
        named_rightly = names.endswith(".gz") if self.kind == "gzip" else self.kind == "plain" and not packed
        readable = ":" not in names and names.isprintable()
        return named_rightly and readable and self.is_utf8 and not self.has_long_line


def inspect(tap: Tap, limits: Limits, max_record_bytes: int) -> Inspection:
    """Read the file once, with bounded memory; raises UnreadableError where it cannot be read to its end."""
    size = newlines = 0
    line_start = 0  # where in the text the line begins that the next byte belongs to
    long_line, utf8, last, cut = False, True, b"", b""  # cut: a character that the next chunk may complete
    for chunk in text(tap, limits):
        if not chunk:
            continue
        newlines += int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == 10))
        if not long_line:
            line_start = _last_line_start(chunk, line_start - size, max_record_bytes) + size
            long_line = size + len(chunk) - line_start > max_record_bytes
        if utf8:
            utf8, cut = _is_utf8(cut + chunk)
        size += len(chunk)
        last = chunk[-1:]
    return Inspection(
        kind=tap.kind,
        checksum=tap.checksum,
        stored_bytes=tap.bytes_read,
        text_bytes=size,
        records=newlines + (last not in (b"", b"\n")),
        has_long_line=long_line,
        is_utf8=utf8 and _decodes(cut),
    )


def _last_line_start(chunk: bytes, start: int, limit: int) -> int:
    """Where the last line begins, or the first that is longer than `limit`, without looking at every line:

    between a line's start and `limit` bytes on there is either another line's start, or the line is too long.
    """
    while (end := chunk.rfind(b"\n", max(start, 0), max(start + limit + 1, 0))) >= 0:
        start = end + 1
    return start


def _is_utf8(text: bytes) -> tuple[bool, bytes]:
    """Whether it is, up to the last character, which may be cut; and that character's bytes."""
    if text.isascii():
        return True, b""
    cut = next((n for n in (1, 2, 3) if len(text) >= n and text[-n] >= 0xC0), 0)
    whole = len(text) - cut
    offsets = pa.py_buffer(np.array([0, whole], np.int64))
    return is_utf8(pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(text)])), text[whole:]


def _decodes(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
