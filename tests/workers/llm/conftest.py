"""A scripted HTTP server: it sends exactly the bytes that a test wants, which a faithful server would never do."""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

OWN, THEIRS, DIGEST = "smollm2:360m-instruct-q4_K_M", "qwen2.5-coder:3b", "a" * 64

Act = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Looks up what to do by path and keeps what it was sent."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Script

    def do_GET(self) -> None:
        """Serve one GET."""
        self.serve(None)

    def do_POST(self) -> None:
        """Serve one POST."""
        length = int(self.headers["Content-Length"])
        raw = self.rfile.read(length)
        if len(raw) == length:  # else the client left while it sent
            self.serve(json.loads(raw))

    def serve(self, body: Any) -> None:
        """Run the next act of the path; the last one stays."""
        self.server.asked.append((self.path, body))
        acts = self.server.acts[self.path]
        act = acts.pop(0) if len(acts) > 1 else acts[0]
        try:
            act(self)
        except ConnectionError:
            self.server.gone.append(time.monotonic())

    def begin(self, lines: Iterable[object]) -> None:
        """Send the head of a stream and some lines of it."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            text = line if isinstance(line, str) else json.dumps(line)
            self.wfile.write(f"{len(text.encode()) + 1:x}\r\n{text}\n\r\n".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Script(ThreadingHTTPServer):
    """Answers each path with its acts, one after the other."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, Any]] = []
        self.gone: list[float] = []
        self.acts: dict[str, list[Act]] = {
            "/api/version": [Script.say({"version": "0.33.0"})],
            "/api/tags": [
                Script.say({"models": [{"name": OWN, "digest": DIGEST}, {"name": THEIRS, "digest": "b" * 64}]})
            ],
            "/api/show": [Script.say({"capabilities": ["completion"]})],
            "/api/ps": [Script.say({"models": []})],
        }

    def handle_error(self, *_: object) -> None:
        """Report an error of the script; a client that broke its connection is none."""
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @staticmethod
    def say(data: object, status: int = 200) -> Act:
        """Answer with one JSON value."""
        return Script.say_text(json.dumps(data), status)

    @staticmethod
    def say_text(text: str, status: int = 200) -> Act:
        """Answer with *text* as it is."""

        def act(handler: Handler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(text.encode())))
            handler.end_headers()
            handler.wfile.write(text.encode())

        return act

    @staticmethod
    def stream(*lines: object, cut: bool = False) -> Act:
        """Answer with one JSON line for each of *lines*; *cut* resets the connection instead of ending well."""

        def act(handler: Handler) -> None:
            handler.begin(lines)
            if cut:
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                handler.close_connection = True
            else:
                handler.wfile.write(b"0\r\n\r\n")

        return act

    @staticmethod
    def stall(*lines: object, seconds: float = 20.0) -> Act:
        """Stream *lines*, then say nothing until the client goes; the moment is kept in `gone` (monotonic)."""

        def act(handler: Handler) -> None:
            handler.begin(lines)
            ready, _, _ = select.select([handler.connection], [], [], seconds)
            if ready:
                handler.server.gone.append(time.monotonic())
            handler.close_connection = True

        return act

    def bodies(self, path: str) -> list[Any]:
        """Return what was sent to *path*."""
        return [body for asked, body in self.asked if asked == path]


@pytest.fixture
def script() -> Iterator[Script]:
    """Start a scripted server."""
    server = Script()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
