"""One request and its reply on the wire: whole JSON bodies, and lines or events in chunks."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler

from ops.simulator.cancel import Cancelled, CancelToken, DisconnectWatcher

JSON = "application/json; charset=utf-8"
TEXT = "text/plain"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


class Exchange:
    """Carries one reply; every write notices a client that is gone.

    Attributes:
        token: cancelled when the client goes.
        status: the status sent, 0 before.
        before_last: called just before the last byte leaves, so that whoever has the answer finds it in the log.
        reset_by_us: whether the connection was broken on purpose.
    """

    def __init__(self, handler: BaseHTTPRequestHandler, watcher: DisconnectWatcher) -> None:
        self._handler = handler
        self._watcher = watcher
        self._watched = False
        self._kind = ""
        self.before_last: Callable[[], None] = lambda: None
        self.token = CancelToken()
        self.status = 0
        self.reset_by_us = False

    @property
    def streaming(self) -> bool:
        """Tell whether the reply has begun as a stream."""
        return bool(self._kind)

    def watch(self) -> None:
        """Begin to watch for the client's going; called before anything that waits."""
        if not self._watched:
            self._watched = True
            self._watcher.watch(self._handler.connection, self.token)

    def close(self) -> None:
        """Stop watching."""
        if self._watched:
            self._watcher.forget(self._handler.connection)

    def reply(self, status: int, body: bytes, content_type: str = JSON) -> None:
        """Send a whole reply."""
        self.status = status
        self.before_last()
        try:
            self._handler.send_response(status)
            if content_type and body:
                self._handler.send_header("Content-Type", content_type)
            self._handler.send_header("Content-Length", str(len(body)))
            self._handler.end_headers()
            if self._handler.command != "HEAD":
                self._handler.wfile.write(body)
        except OSError as error:
            raise Cancelled from error

    def reply_json(self, value: Mapping[str, object], status: int = 200) -> None:
        """Send a whole JSON object."""
        self.reply(status, dump(value))

    def begin_stream(self, kind: str = NDJSON) -> None:
        """Send the head of a chunked reply; the lines follow."""
        self._kind, self.status = kind, 200
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", kind)
        self._handler.send_header("Transfer-Encoding", "chunked")
        try:
            self._handler.end_headers()
        except OSError as error:
            raise Cancelled from error

    def send(self, value: Mapping[str, object] | str) -> None:
        """Send one object as a line, or as an event of an event stream; text is sent as it is."""
        data = value.encode() if isinstance(value, str) else dump(value)
        framed = b"data: " + data + b"\n\n" if self._kind == EVENTS else data + b"\n"
        self._write(b"%x\r\n%b\r\n" % (len(framed), framed))

    def end_stream(self) -> None:
        """Send the last, empty chunk."""
        self.before_last()
        self._write(b"0\r\n\r\n")

    def reset(self) -> None:
        """Break the connection so that the client sees a reset."""
        self.reset_by_us = True
        self.before_last()
        self._handler.close_connection = True
        with contextlib.suppress(OSError):
            self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._watcher.forget(self._handler.connection)
            self._handler.connection.close()

    def _write(self, data: bytes) -> None:
        self.token.check()
        try:
            self._handler.wfile.write(data)
        except OSError as error:
            raise Cancelled from error


def dump(value: Mapping[str, object]) -> bytes:
    """Write JSON without spaces, as Go does."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
