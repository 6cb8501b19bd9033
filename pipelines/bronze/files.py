"""Landing places: which files there are, under the names by which Spark reads them too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pyarrow import fs

from pipelines.bronze.content import Tap
from pipelines.errors import ConfigurationError, InfrastructureError


@dataclass(frozen=True)
class LandingFile:
    """A file as listed: local paths are absolute, others begin with their scheme."""

    path: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class Listing:
    """The files of a place, and those that are passed over for their names."""

    files: list[LandingFile]
    skipped: list[str]


class Landing:
    """A file, folder or object-store prefix: `root` is its path on the file system, `prefix` its path for Spark."""

    def __init__(self, filesystem: fs.FileSystem, root: str, prefix: str) -> None:
        self._filesystem = filesystem
        self._root = root
        self._prefix = prefix

    @staticmethod
    def at(location: str) -> Landing:
        """The place that `--input` names; raises ConfigurationError for one that cannot be."""
        try:
            uri = location.replace("s3a://", "s3://") if "://" in location else _absolute(location)
            filesystem, root = fs.FileSystem.from_uri(uri)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"--input: {location}: {error}") from error
        local = isinstance(filesystem, fs.LocalFileSystem)
        return Landing(filesystem, root, root if local else spark_path(location))

    def list(self) -> Listing:
        """Every file, in the order of paths; raises ConfigurationError where there is nothing."""
        try:
            found = self._filesystem.get_file_info(self._root)
            if found.type == fs.FileType.NotFound:
                raise ConfigurationError(f"--input: there is nothing at {self._prefix}")
            infos = [found]
            if found.type != fs.FileType.File:
                infos = self._filesystem.get_file_info(fs.FileSelector(self._root, recursive=True))
        except OSError as error:
            raise InfrastructureError(f"{self._prefix}: cannot be listed: {_first_line(error)}") from error
        files, skipped = [], []
        for info in sorted(infos, key=lambda info: info.path):
            if info.type != fs.FileType.File:
                continue
            below = info.path.strip("/")[len(self._root.strip("/")) :].strip("/")
            path = f"{self._prefix.rstrip('/')}/{below}" if below else self._prefix
            within = below or info.base_name
            # Names for what is not finished or no data, by a custom that Spark's reader follows without a word.
            if any(part.startswith(("_", ".")) for part in within.split("/")) or within.endswith("._COPYING_"):
                skipped.append(path)
            else:
                files.append(LandingFile(path, info.size, info.mtime_ns))
        return Listing(files, skipped)

    @contextmanager
    def open(self, file: LandingFile) -> Iterator[Tap]:
        """The file's stored bytes; raises OSError where it cannot be opened."""
        with self._filesystem.open_input_stream(self._here(file), compression=None) as stream:
            yield Tap(stream)

    def is_unchanged(self, file: LandingFile) -> bool:
        """Whether it still has the size and time that were listed."""
        info = self._filesystem.get_file_info(self._here(file))
        return bool((info.size, info.mtime_ns) == (file.size_bytes, file.modified_ns))

    def _here(self, file: LandingFile) -> str:
        return self._root.rstrip("/") + file.path[len(self._prefix.rstrip("/")) :]


def spark_path(location: str) -> str:
    """A URI as Spark takes it: its own name for S3, no options, no escapes."""
    path = unquote(location.split("?", 1)[0])
    return "s3a://" + path.removeprefix("s3://") if path.startswith("s3://") else path


def _absolute(location: str) -> str:
    return Path(location).expanduser().resolve().as_uri()


def _first_line(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).splitlines()[0]
