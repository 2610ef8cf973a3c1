"""Let no Python process of the tests talk to another machine; the tests put this folder on PYTHONPATH.

Python loads this module at its start by its name. Native code (libpq, a browser) does not pass here.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

LOG = "EVOCTL_TEST_SOCKETS"
"""Names the file into which every refused contact is written, one a line."""
ALLOWED = "EVOCTL_TEST_HOSTS"
"""Names further hosts, with spaces between: servers that the caller of the tests has named."""
_PLACE = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}


def harmless(address: Any) -> bool:
    """Tell whether *address* lies on this machine: a loopback address or name, or a path of a Unix socket."""
    host = address[0] if isinstance(address, tuple) and address else address
    if isinstance(address, (str, bytes)) and address[:1] in ("/", b"/", b"\0", "\0"):
        return True
    if host is None or isinstance(host, int):  # a server's own address; another family than the internet's
        return True
    name = (host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)).partition("%")[0].lower()
    if name in {"", "localhost", *os.environ.get(ALLOWED, "").split()}:
        return True
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified


def watch(event: str, args: tuple[Any, ...]) -> None:
    """Refuse a contact with another machine, and note it; a hook of `sys.addaudithook`.

    Raises:
        OSError: the address is no loopback one.
    """
    place = _PLACE.get(event)
    if place is None or harmless(args[place]):
        return
    if log := os.environ.get(LOG):
        with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would be loaded into every process
            file.write(f"{event} {args[place]!r} by {' '.join(sys.argv)[:200]}\n")
    raise OSError(f"the tests may not contact {args[place]!r}")


sys.addaudithook(watch)
