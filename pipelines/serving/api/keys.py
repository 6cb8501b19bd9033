"""API keys: who may ask, and about which sites. The file holds their hashes, never a key.

A key is `<id>.<secret>` with 256 random bits of secret, so a plain SHA-256 of it cannot be guessed back.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import Field

from pipelines.config import Model, load
from pipelines.errors import ConfigurationError


class ApiKey(Model):
    """One key: the hash of its secret and the sites that it may see."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    sites: tuple[str, ...] = Field(min_length=1)
    note: str = ""
    created_at: datetime
    expires_at: datetime | None = None


class _KeyFile(Model):
    keys: dict[str, ApiKey] = Field(default_factory=dict)


@dataclass
class Keys:
    """The keys of a file, read again whenever it changes: a key taken out is refused from the next request on."""

    path: Path
    _read_at: tuple[int, int] | None = None
    _keys: dict[str, ApiKey] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, given: str, *, at: datetime | None = None) -> ApiKey | None:
        """The key that `given` is, if it is one and has not expired at `at` (default: now)."""
        name, _, secret = given.partition(".")
        found = self._current().get(name)
        expected = found.sha256 if found else "0" * 64
        matches = hmac.compare_digest(_hash(secret), expected)  # takes as long for an unknown id
        if not found or not matches:
            return None
        if found.expires_at and (at or datetime.now(UTC)) >= found.expires_at:
            return None
        return found

    def __len__(self) -> int:
        return len(self._current())

    def _current(self) -> dict[str, ApiKey]:
        with self._lock:
            try:
                stat = self.path.stat()
            except FileNotFoundError:
                self._read_at, self._keys = None, {}
                return self._keys
            if self._read_at != (stat.st_mtime_ns, stat.st_size):
                try:
                    self._keys = load(_KeyFile, self.path).keys
                except ConfigurationError:
                    self._keys = {}  # a broken file lets nobody in
                self._read_at = (stat.st_mtime_ns, stat.st_size)
            return self._keys


def add_key(path: Path, sites: list[str], note: str = "", expires_at: datetime | None = None) -> str:
    """Add a key for `sites` to the file and return it; it is not kept anywhere and cannot be shown again."""
    content = load(_KeyFile, path) if path.exists() else _KeyFile()
    name, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    added = ApiKey(
        sha256=_hash(secret),
        sites=tuple(sites),
        note=note,
        created_at=datetime.now(UTC).replace(microsecond=0),
        expires_at=expires_at,
    )
    _write(path, _KeyFile(keys={**content.keys, name: added}))
    return f"{name}.{secret}"


def revoke_key(path: Path, name: str) -> bool:
    """Take the key with this id out of the file; False where there is none."""
    content = load(_KeyFile, path) if path.exists() else _KeyFile()
    if name not in content.keys:
        return False
    _write(path, _KeyFile(keys={other: key for other, key in content.keys.items() if other != name}))
    return True


def _write(path: Path, content: _KeyFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(content.model_dump(mode="json", exclude_none=True), sort_keys=False)
    handle, partial = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
