"""Landing files: which are there, which are new.

A file is known by path, size, time and checksum, never by name alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from pipelines.errors import ConfigurationError, InfrastructureError


@dataclass(frozen=True)
class LandingFile:
    """A file as listed; `sha256` is of its bytes as stored."""

    path: str
    size_bytes: int
    modified_ns: int
    sha256: str = ""


@dataclass(frozen=True)
class Listing:
    """What a folder offers: files not taken yet, and names that are passed over and why they must not be silent."""

    new: list[LandingFile]
    known: int
    skipped: list[str]


def list_new(location: str, taken: Iterable[dict[str, Any]]) -> Listing:
    """Compare a file or folder (local or object store) with the rows of bronze.files that count as taken.

    A file with the same path, size and time as a taken one is known; any other is read for its checksum, and known if
    that was taken under this path. Raises ConfigurationError where there is nothing at `location`.
    """
    filesystem, root = _open(location)
    by_path: dict[str, list[dict[str, Any]]] = {}
    for row in taken:
        by_path.setdefault(row["path"], []).append(row)
    listed, skipped = _files(filesystem, root, location)
    unseen = []
    for file in listed:
        rows = by_path.get(file.path, [])
        latest = max(rows, key=lambda row: row["batch_id"], default=None)
        if latest is None or (latest["size_bytes"], latest["modified_ns"]) != (file.size_bytes, file.modified_ns):
            unseen.append(file)
    with ThreadPoolExecutor(4) as pool:
        hashed = list(pool.map(lambda file: _hashed(filesystem, file), unseen))
    new = [file for file in hashed if file.sha256 not in {row["sha256"] for row in by_path.get(file.path, [])}]
    return Listing(new=new, known=len(listed) - len(new), skipped=skipped)


def _open(location: str) -> tuple[fs.FileSystem, str]:
    try:
        uri = location.replace("s3a://", "s3://") if "://" in location else _absolute(location)
        opened: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(uri)
        return opened
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"--input: {location}: {error}") from error


def _absolute(location: str) -> str:
    return Path(location).expanduser().resolve().as_uri()


def _files(filesystem: fs.FileSystem, root: str, location: str) -> tuple[list[LandingFile], list[str]]:
    found = filesystem.get_file_info(root)
    if found.type == fs.FileType.NotFound:
        raise ConfigurationError(f"--input: there is nothing at {location}")
    infos = (
        [found] if found.type == fs.FileType.File else filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    )
    files, skipped = [], []
    for info in sorted(infos, key=lambda info: info.path):
        if info.type != fs.FileType.File:
            continue
        within = info.path[len(root) :].strip("/") or info.base_name
        # Spark passes over names with a leading _ or . and unfinished copies without a word, so none is offered to it.
        if any(part.startswith(("_", ".")) for part in within.split("/")) or within.endswith("._COPYING_"):
            skipped.append(info.path)
        elif ":" in within and isinstance(filesystem, fs.LocalFileSystem):
            raise ConfigurationError(f"--input: {info.path}: Spark cannot read a local name with a colon; rename it")
        else:
            files.append(LandingFile(info.path, info.size, info.mtime_ns))
    return files, skipped


def _hashed(filesystem: fs.FileSystem, file: LandingFile) -> LandingFile:
    digest = hashlib.sha256()
    try:
        with filesystem.open_input_stream(file.path, compression=None) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InfrastructureError(f"{file.path}: cannot be read: {error}") from error
    return LandingFile(file.path, file.size_bytes, file.modified_ns, digest.hexdigest())
