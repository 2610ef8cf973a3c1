"""Ports of servers that tests start."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port that nothing listens on, and that no server which looks for one from a fixed number on finds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Tell whether something listens on *port*."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
