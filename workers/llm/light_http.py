"""One HTTP request by the standard library, for those who wait: loading a client would cost more than the waiting."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

MOST_LISTED = 4 * 1024 * 1024  # bytes of an answer; the list of a thousand models has less than one


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
    """GET *path* below *url*, or POST *body* as JSON.

    Raises:
        Down: nobody listens at *url*.
        Unknown: anything else than an HTTP answer came, or nothing in time.
    """
    parts = split(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            sent = None if body is None else json.dumps(body)
            head = {} if body is None else {"Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", f"{parts.path.rstrip('/')}{path}", sent, head)
            response = connection.getresponse()
            return Answer(response.status, response.getheader("Date", ""), read_all(response, timeout_s))
        finally:
            connection.close()
    except ConnectionRefusedError as error:
        raise Down(str(error)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unknown(f"{type(error).__name__}: {error}") from error


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


def read_all(response: http.client.HTTPResponse, timeout_s: float) -> bytes:
    """Read a short reply of `http.client` to its end, within one time for all of it and one size.

    Raises:
        ValueError: it is longer, or takes longer.
    """
    parts, left, end = list[bytes](), MOST_LISTED, time.monotonic() + timeout_s
    while part := response.read1(min(left + 1, 65_536)):
        parts.append(part)
        left -= len(part)
        if left < 0 or time.monotonic() > end:
            raise ValueError("the list does not end")
    return b"".join(parts)
