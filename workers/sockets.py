"""Which ports a process listens on."""

from __future__ import annotations

import psutil


def listening_ports(pid: int) -> frozenset[int]:
    """Return the TCP ports that a process listens on; none where it is gone, or its sockets cannot be seen."""
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except (psutil.Error, OSError):
        return frozenset()
    return frozenset(one.laddr.port for one in found if one.status == psutil.CONN_LISTEN and one.laddr)
