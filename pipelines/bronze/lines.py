"""A file's text as lines in Arrow batches, without Spark and with bounded memory.

Lines are those of `events.read_lines`: they end at \\n only, the last one needs no end, blank ones count. Besides, a
line that is too large or no UTF-8 comes with its defect instead of stopping the file.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

_HEAD_BYTES = 1 << 16  # kept of a line that is too large
_NEWLINE = 10

Lines = tuple[pa.Array, pa.Array]
"""`raw` and `defect` of consecutive lines."""


def lines_of(chunks: Iterable[bytes], max_bytes: int) -> Iterator[Lines]:
    """The lines of a text in blocks of about a chunk; at most `max_bytes` and a chunk are held at a time."""
    begun = b""  # the line whose end was not read yet: its bytes, or its head where it is too large already
    dropped = 0  # how many of its bytes are not held any more
    for chunk in chunks:
        if dropped:
            end = chunk.find(b"\n")
            dropped += len(chunk) if end < 0 else end
            if end < 0:
                continue
            yield _too_large(begun, len(begun) + dropped)
            begun, dropped, chunk = b"", 0, chunk[end + 1 :]
        end = chunk.rfind(b"\n") + 1
        if end:
            yield _block(begun + chunk[:end], max_bytes)
            begun = chunk[end:]
        else:
            begun += chunk
        if len(begun) > max(max_bytes, _HEAD_BYTES):
            dropped = len(begun) - _HEAD_BYTES
            begun = begun[:_HEAD_BYTES]
    if dropped:
        yield _too_large(begun, len(begun) + dropped)
    elif begun:
        yield _block(begun + b"\n", max_bytes)


def _block(text: bytes, max_bytes: int) -> Lines:
    """Lines, each with its end."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _NEWLINE)
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends - np.arange(len(ends))
    raw = pa.Array.from_buffers(
        pa.string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(text.replace(b"\n", b""))]
    )
    if np.diff(offsets).max() <= max_bytes and is_utf8(raw):
        return raw, pa.nulls(len(ends), pa.string())
    pairs = [told(line, max_bytes) for line in text[:-1].split(b"\n")]
    return pa.array([raw for raw, _ in pairs], pa.string()), pa.array([defect for _, defect in pairs], pa.string())


def told(line: bytes, max_bytes: int) -> tuple[str, str | None]:
    """`raw` and `defect` of a line or record."""
    if len(line) > max_bytes:
        return _head(line), f"too_large: {len(line)} bytes"
    try:
        return line.decode(), None
    except UnicodeDecodeError:
        return base64.b64encode(line).decode(), "not_utf8"


def _too_large(head: bytes, size: int) -> Lines:
    return pa.array([_head(head)], pa.string()), pa.array([f"too_large: {size} bytes"], pa.string())


def _head(line: bytes) -> str:
    """The line's beginning, up to the last whole character; what is no UTF-8 in it is replaced."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(line[:_HEAD_BYTES])


def is_utf8(texts: pa.Array) -> bool:
    """Whether each text of a string array is."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
