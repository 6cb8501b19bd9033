"""A PostgreSQL of the tests' own, on loopback, as `make postgres` runs one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pipelines.config import PROJECT
from tests.ports import free_port

_SCRIPT = str(PROJECT / "deploy" / "postgres.sh")


class Server:
    """A server that can be stopped and started again on its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        password = (self.folder / "password").read_text(encoding="ascii")
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        with (self.folder.parent / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_SCRIPT, "run", str(self.port), str(self.folder)], stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except (psycopg.OperationalError, OSError) as error:
                code = self._process.poll()
                if code == 2:
                    pytest.skip("no PostgreSQL here: `make postgres-install`")
                if code is not None or time.monotonic() > until:
                    said = (self.folder.parent / "server.log").read_text(encoding="utf-8")
                    raise AssertionError(f"PostgreSQL does not start: {said[-2000:]}") from error
                time.sleep(0.1)

    def stop(self) -> None:
        """End it at once, connections and all, with its data in order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)


@contextmanager
def running() -> Iterator[Server]:
    top = Path(tempfile.mkdtemp(prefix="postgres-"))  # not pytest's folder, which the server's user may not enter
    top.chmod(0o755)
    server = Server(top / "server")
    try:
        server.folder.mkdir()
        server.start()
        yield server
        server.stop()
    finally:
        if server._process is not None and server._process.poll() is None:
            server._process.kill()
        shutil.rmtree(top)
