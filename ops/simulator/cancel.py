"""Notices a client that went away, at once and also while its request only waits."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable


class Cancelled(Exception):
    """The client closed its connection before the answer was complete."""


class CancelToken:
    """Says whether the client of one request is gone, and wakes those who wait on its behalf."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def gone(self) -> bool:
        """Tell whether the client is gone."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Mark the client as gone and call everyone who asked to be told."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call *callback* once when the client goes, or now if it is gone."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def wait(self, seconds: float) -> None:
        """Wait up to *seconds*.

        Raises:
            Cancelled: the client went away.
        """
        if self._event.wait(seconds):
            raise Cancelled

    def check(self) -> None:
        """Go on only if the client is still there.

        Raises:
            Cancelled: the client went away.
        """
        if self._event.is_set():
            raise Cancelled


class DisconnectWatcher:
    """One thread that watches the sockets of all requests in flight for their end."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._todo: deque[tuple[socket.socket, CancelToken | None, threading.Event | None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._watch, name="disconnects", daemon=True)
        self._closing = False
        self._lock = threading.Lock()
        self._thread.start()

    def watch(self, connection: socket.socket, token: CancelToken) -> None:
        """Cancel *token* as soon as the peer of *connection* closes or resets it."""
        self._order(connection, token, None)

    def forget(self, connection: socket.socket) -> None:
        """Stop watching *connection*; returns when the thread no longer looks at it."""
        done = threading.Event()
        if self._order(connection, None, done):
            done.wait(1.0)

    def close(self) -> None:
        """End the thread, and with it all requests that it watched."""
        with self._lock:
            self._closing = True
            os.write(self._wake_write, b"x")
        self._thread.join(2.0)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, CancelToken):
                key.data.cancel()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _order(self, connection: socket.socket, token: CancelToken | None, done: threading.Event | None) -> bool:
        with self._lock:
            if not self._closing:
                self._todo.append((connection, token, done))
                os.write(self._wake_write, b"+")
            return not self._closing

    def _watch(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                else:
                    self._look(key)
            self._take_orders()

    def _take_orders(self) -> None:
        while self._todo:
            connection, token, done = self._todo.popleft()
            with contextlib.suppress(KeyError, ValueError, OSError):
                if token is None:
                    self._selector.unregister(connection)
                else:
                    self._selector.register(connection, selectors.EVENT_READ, token)
            if done is not None:
                done.set()

    def _look(self, key: selectors.SelectorKey) -> None:
        # A pipelined next request also makes the socket readable: then nobody left, and the watch ends.
        connection, token = key.fileobj, key.data
        self._selector.unregister(connection)
        if not isinstance(connection, socket.socket) or not isinstance(token, CancelToken):
            return
        try:
            gone = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone:
            token.cancel()
