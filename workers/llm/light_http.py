"""One HTTP request by the standard library, for those who wait: loading a client would cost more than the waiting."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

MOST_LISTED = 4 * 1024 * 1024  # bytes of an answer; the list of a thousand models has less than one
MOST_HEAD = 64 * 1024  # bytes of its head, and of answers before it


class Down(Exception):
    """Nobody listens: the server does not run, so nobody uses it."""


class Unknown(Exception):
    """The server is there but gave no answer in time, or none that can be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `date` is the header, empty when there is none."""

    status: int
    date: str
    body: bytes


def fetch(url: str, path: str, timeout_s: float, body: Mapping[str, object] | None = None) -> Answer:
    """GET *path* below *url*, or POST *body* as JSON, in *timeout_s* seconds from here to the answer's last byte.

    Raises:
        Down: nobody listens at *url*.
        Unknown: anything else than an HTTP answer came, or not all of it in time.
    """
    parts, end = split(url), time.monotonic() + timeout_s
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            sent = None if body is None else json.dumps(body)
            head = {} if body is None else {"Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", f"{parts.path.rstrip('/')}{path}", sent, head)
            coming = _Coming(connection.sock, end)
            connection.response_class = partial(_response, coming)  # type: ignore[assignment]  # it is called, no more
            response = connection.getresponse()
            coming.left = MOST_LISTED  # of the head there were fewer
            return Answer(response.status, response.getheader("Date", ""), _read_all(response))
        finally:
            connection.close()
    except ConnectionRefusedError as error:
        raise Down(str(error)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unknown(f"{type(error).__name__}: {error}") from error


class _Coming(io.RawIOBase):
    """What a server sends: within one time for all of it, and in size, whatever it is made of.

    `http.client` bounds a silence only, and passes over any number of answers before the last (100 Continue).
    """

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock, self._inner, self._end = sock, sock.makefile("rb", buffering=0), end
        self.left = MOST_HEAD  # bytes that may still come

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Stand in for the socket, as far as a response wants one."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; raises when there are too many, or when the time for all of them is over."""
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left_s)
        count = self._inner.readinto(buffer) or 0
        self.left -= count
        if self.left < 0:
            raise ValueError("the answer does not end")
        return count

    def close(self) -> None:
        """Let the socket go."""
        self._inner.close()
        super().close()


def _response(coming: _Coming, _sock: socket.socket, **given: Any) -> http.client.HTTPResponse:
    return http.client.HTTPResponse(cast("socket.socket", coming), **given)


def split(url: str) -> SplitResult:
    """Take an address apart, also one without `http://`."""
    return urlsplit(url if "://" in url else f"http://{url}")


def other_machine(url: str) -> str:
    """Return the host of a server that runs elsewhere, empty when it runs on this machine.

    >>> other_machine("http://127.0.0.1:11434"), other_machine("gpu.lan:11434"), other_machine("http://[::1]:1")
    ('', 'gpu.lan', '')
    """
    host = (split(url).hostname or "").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return "" if host in {"", "localhost"} or host.endswith(".localhost") else host
    return "" if address.is_loopback or address.is_unspecified else host


def is_here(url: str) -> bool:
    """Tell whether the server of *url* runs on this machine.

    >>> is_here("http://127.0.0.1:11434"), is_here("localhost:11434"), is_here("http://nas:11434")
    (True, True, False)
    """
    return not other_machine(url)


def _read_all(response: http.client.HTTPResponse) -> bytes:
    """Read a short reply to its end, as far as `_Coming` lets it come."""
    parts = list[bytes]()
    while part := response.read1(65_536):
        parts.append(part)
    return b"".join(parts)
