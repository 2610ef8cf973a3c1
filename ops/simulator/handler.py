"""Takes requests off the sockets, finds the path's function, and turns refusals into replies."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

from ops.simulator import api, control, disk, v1
from ops.simulator.cancel import Cancelled
from ops.simulator.core import Core, Visit
from ops.simulator.errors import ServerError
from ops.simulator.exchange import TEXT, Exchange

Route = Callable[[Visit], None]
ROUTES: Mapping[str, Mapping[str, Route]] = {
    "/": {"GET": disk.root, "HEAD": disk.root},
    "/api/version": {"GET": disk.version, "HEAD": disk.version},
    "/api/ps": {"GET": disk.ps},
    "/api/tags": {"GET": disk.tags, "HEAD": disk.tags},
    "/api/show": {"POST": disk.show},
    "/api/pull": {"POST": disk.pull},
    "/api/delete": {"DELETE": disk.delete},
    "/api/generate": {"POST": api.generate},
    "/api/chat": {"POST": api.chat},
    "/api/embed": {"POST": api.embed},
    "/api/embeddings": {"POST": api.embeddings},
    "/v1/chat/completions": {"POST": v1.completions},
    "/v1/models": {"GET": v1.models},
    "/_simulator/requests": {"GET": control.requests},
    "/_simulator/counts": {"GET": control.counts},
    "/_simulator/knobs": {"GET": control.show_knobs, "POST": control.turn_knobs},
    "/_simulator/fail": {"POST": control.fail},
}
UNCOUNTED = "/_simulator/"
GONE = 499  # the status Ollama logs for a client that went away


class Handler(BaseHTTPRequestHandler):
    """One connection; `core` is set on a subclass by the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every small reply waits some 40 ms
    core: ClassVar[Core]

    def do_GET(self) -> None:
        """Answer GET."""
        self._serve()

    def do_HEAD(self) -> None:
        """Answer HEAD."""
        self._serve()

    def do_POST(self) -> None:
        """Answer POST."""
        self._serve()

    def do_PUT(self) -> None:
        """Answer PUT, which no path knows."""
        self._serve()

    def do_DELETE(self) -> None:
        """Answer DELETE."""
        self._serve()

    def version_string(self) -> str:
        """Name the server in its replies."""
        return "simulated-ollama"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Stay silent: the request log tells more."""

    def _serve(self) -> None:
        exchange = Exchange(self, self.core.watcher)
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        visit = Visit(
            core=self.core, exchange=exchange, method=self.command, path=url.path,
            query=dict(parse_qsl(url.query)), raw=raw,
        )  # fmt: skip
        counted = not url.path.startswith(UNCOUNTED)
        if counted:
            exchange.before_last = visit.end
        try:
            self._dispatch(visit)
        except Cancelled:
            visit.outcome = "failed" if exchange.reset_by_us else "cancelled"
            exchange.status = exchange.status or GONE
            self.close_connection = True
        finally:
            if counted:
                visit.end()
            exchange.close()

    def _dispatch(self, visit: Visit) -> None:
        if not host_is_local(self.headers.get("Host", "")):
            visit.outcome = "failed"
            visit.exchange.reply(403, b"", "")
            return
        verbs = ROUTES.get(visit.path)
        if verbs is None or visit.method not in verbs:
            status, text = (404, b"404 page not found") if verbs is None else (405, b"405 method not allowed")
            visit.outcome = "failed"
            visit.exchange.reply(status, text, TEXT)
            return
        try:
            verbs[visit.method](visit)
        except ServerError as error:
            visit.outcome = "failed"
            refuse(visit, error)


def refuse(visit: Visit, error: ServerError) -> None:
    """Send a refusal: with its status, or as a line when the stream has begun."""
    if visit.exchange.streaming:
        visit.exchange.send({"error": error.text})
        visit.exchange.end_stream()
    elif visit.path.startswith("/v1/"):
        visit.exchange.reply_json(v1.error_body(error.status, error.text), error.status)
    else:
        visit.exchange.reply_json({"error": error.text}, error.status)


def host_is_local(host: str) -> bool:
    """Tell whether a `Host` header names this machine or a private network.

    >>> host_is_local("127.0.0.1:11434"), host_is_local("evil.example")
    (True, False)
    """
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    name = name.strip("[]").lower()
    if name in ("", "localhost") or name.endswith((".localhost", ".local", ".internal")):
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(name)
        return address.is_private or address.is_loopback or address.is_unspecified
    return False
