"""Ports on loopback for servers that tests start as programs of their own."""

from __future__ import annotations

import random
import socket

# Below those that the system gives to outgoing connections: such a one may be taken before the server listens on it.
_PORTS = range(12_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A port on which nobody listens, another one each time."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        if port in _given:
            continue
        _given.add(port)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
