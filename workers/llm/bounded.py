"""A limit on the whole of a reply, in bytes and in seconds, whatever the server sends and however slowly.

A read time-out bounds one silence only: a server that sends a byte a second, or a line without end, would hold a job for
ever or fill the memory. The limits lie below HTTP, so that they hold for its head, its chunks and its body alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

MOST_BYTES = 8 * 1024 * 1024  # of one reply; the longest honest one, 50 vectors of 4096 numbers, has 5 MB
PLAIN = {"accept-encoding": "identity"}  # a compressed reply could be a thousand times what is counted


class CutOff(httpcore.ReadError):
    """A reply was longer, or took longer, than any reply may."""


class BoundedStream(httpcore.NetworkStream):
    """A connection that counts what it reads since it last wrote: that is one reply."""

    def __init__(self, inner: httpcore.NetworkStream, reply_s: float, most: int) -> None:
        self._inner, self._reply_s, self._most = inner, reply_s, most
        self._left, self._end = most, time.monotonic() + reply_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes; raises CutOff when there are too many, or the time of the whole reply is over."""
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise CutOff(f"the reply took longer than {self._reply_s:g} s")
        try:
            data = self._inner.read(max_bytes, left_s if timeout is None else min(timeout, left_s))
        except httpcore.ReadTimeout as error:
            if time.monotonic() >= self._end:
                raise CutOff(f"the reply took longer than {self._reply_s:g} s") from error
            raise
        self._left -= len(data)
        if self._left < 0:
            raise CutOff(f"the reply was longer than {self._most} bytes")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write a part of a request; the next byte read belongs to its reply."""
        self._left, self._end = self._most, time.monotonic() + self._reply_s
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
        """Return the same connection, encrypted and with the same limits."""
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return BoundedStream(inner, self._reply_s, self._most)

    def get_extra_info(self, info: str) -> Any:
        """Tell what the connection below tells."""
        return self._inner.get_extra_info(info)


class BoundedBackend(httpcore.SyncBackend):
    """Opens connections with limits."""

    def __init__(self, reply_s: float, most: int) -> None:
        self._limits = (reply_s, most)

    def connect_tcp(self, *args: Any, **given: Any) -> httpcore.NetworkStream:
        """Connect as the backend below does."""
        return BoundedStream(super().connect_tcp(*args, **given), *self._limits)


def bounded(*, verify: bool, reply_s: float, most: int = MOST_BYTES) -> httpx.HTTPTransport:
    """Return a transport without proxies whose replies end in time and size.

    Args:
        verify: whether certificates are checked; they take 17 ms to load.
        reply_s: longest time of one reply, from the request to its last byte.
        most: most bytes of one reply.
    """
    transport = httpx.HTTPTransport(verify=verify, trust_env=False)
    transport._pool._network_backend = BoundedBackend(reply_s, most)  # noqa: SLF001 - httpx passes none on; held by tests
    return transport


def refuse_compressed(response: httpx.Response) -> None:
    """Refuse a reply that is compressed although nobody asked for it; a hook of httpx.

    Raises:
        httpx.DecodingError: it is.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise httpx.DecodingError(f"the reply is compressed ({coding[:40]}), which was not asked for")


def cut_off(error: BaseException) -> str:
    """Say how the reply was cut off, if that is what *error* comes from; empty otherwise."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, CutOff):
            return str(at)
        at = at.__cause__ or at.__context__
    return ""


def lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    r"""Cut bytes into lines at line feeds alone: a model's U+0085 or U+2028 ends none.

    >>> list(lines([b'{"a', b'": 1}\n', b'\n{"b": "\xc2\x85"}']))
    [b'{"a": 1}', b'{"b": "\xc2\x85"}']
    """
    held: list[bytes] = []
    for part in parts:
        *whole, rest = part.split(b"\n")
        for line in whole:
            held.append(line)
            if text := b"".join(held).strip():
                yield text
            held.clear()
        held.append(rest)
    if text := b"".join(held).strip():
        yield text
