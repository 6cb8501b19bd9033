"""The copies of published versions that requests are answered from, and the change from one to the next."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from pipelines.config import PROJECT
from pipelines.errors import PipelineError
from pipelines.serving.api.build import MANIFEST
from pipelines.serving.api.settings import ApiSettings
from pipelines.serving.published import published_commit

log = logging.getLogger("api")


@dataclass
class Snapshot:
    """One published version, a DuckDB file for each site; a site's connection reaches that site's rows only."""

    folder: Path
    data_version: str
    published_at: datetime
    tables: frozenset[str]
    files: dict[str, Path]
    last_dates: dict[str, date]
    options: dict[str, str | bool | int | float | list[str]]
    _open: dict[str, duckdb.DuckDBPyConnection] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, folder: Path, settings: ApiSettings) -> Snapshot:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sites = manifest["sites"]
        return cls(
            folder,
            manifest["data_version"],
            datetime.fromisoformat(manifest["published_at"]),
            frozenset(manifest["tables"]),
            {site: (folder / entry["file"]).resolve() for site, entry in sites.items()},
            {site: date.fromisoformat(entry["last_date"]) for site, entry in sites.items()},
            {"threads": settings.threads, "memory_limit": settings.memory},
        )

    def ask(self, site: str, sql: str, values: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows; on a cursor of its own, so that requests do not wait for each other."""
        with self._connection(site).cursor() as cursor:
            cursor.execute(sql, list(values))
            return [column[0] for column in cursor.description or ()], cursor.fetchall()

    def _connection(self, site: str) -> duckdb.DuckDBPyConnection:
        with self._lock:
            found = self._open.get(site)
            if found is None:
                found = duckdb.connect(str(self.files[site]), read_only=True, config=self.options)
                found.execute("set timezone = 'UTC'; set enable_progress_bar = false")
                self._open[site] = found
            return found


class Engine:
    """Holds the served snapshot and follows ops.published; a request keeps the snapshot that it began with."""

    def __init__(self, root: str, settings: ApiSettings, warm: Callable[[Snapshot], None] = lambda _: None) -> None:
        self._root = root
        self._settings = settings
        self._warm = warm
        self._commit: tuple[str, int] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-published", daemon=True)
        self.current: Snapshot | None = None
        self.error: str | None = None
        """Why the newest version is not served, where it is not."""

    def start(self) -> None:
        """Serve what is published, then follow it; nothing published is no error, but nothing to serve yet."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def refresh(self) -> bool:
        """Take over a new version if there is one; True if so. Whatever fails leaves the old one served."""
        try:
            commit = published_commit(self._root)
            if commit is None:
                self.error = f"nothing is published at {self._root}"
                return False
            if commit == self._commit and self.current:
                self.error = None
                return False
            snapshot = Snapshot.load(self._build(), self._settings)
            if self.current is None or snapshot.data_version != self.current.data_version:
                self._warm(snapshot)
                self.current = snapshot
                log.info("serving version %s", snapshot.data_version)
            self._commit, self.error = commit, None
            self._remove_old()
        except (PipelineError, OSError, duckdb.Error, ValueError, subprocess.SubprocessError) as error:
            self.error = str(error).splitlines()[0]
            log.warning("the newest version is not served: %s", self.error)
            return False
        return True

    def _build(self) -> Path:
        settings = self._settings.model_copy(update={"data_folder": self._settings.data_folder.resolve()})
        command = [sys.executable, "-m", "pipelines.serving.api.build", str(Path(self._root).resolve())]
        done = subprocess.run(
            [*command, settings.model_dump_json()], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        words = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
        if done.returncode != 0:
            raise OSError(words[-1] if words else f"the copy ended with {done.returncode}")
        return Path(words[-1])

    def _copies(self) -> list[Path]:
        return [path.parent for path in self._settings.data_folder.resolve().glob(f"[0-9]*/{MANIFEST}")]

    def _remove_old(self) -> None:
        for folder in sorted(self._copies(), key=_made_at)[: -self._settings.keep_versions]:
            if self.current is None or folder != self.current.folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _follow(self) -> None:
        while not self._ended.wait(self._settings.poll_seconds):
            self.refresh()


def _made_at(folder: Path) -> float:
    return (folder / MANIFEST).stat().st_mtime
