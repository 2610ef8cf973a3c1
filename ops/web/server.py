"""Serving the page: one process, few threads, the loopback interface only."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import webbrowser
from pathlib import Path

import click
from waitress.server import create_server

from ops.web.app import BODY_BYTES, create_app
from ops.web.guard import new_token
from workers.home import PRIVATE_FILE, Home

PORT = 9182
LOOPBACK = "127.0.0.1"
THREADS = 4
CONNECTIONS = 50
HEADER_BYTES = 16 * 1024


def serve(home: Home, port: int = PORT, open_page: bool = False) -> None:  # noqa: FBT001, FBT002 - the command's own flag
    """Serve the page until SIGTERM or Ctrl-C.

    The address to open, which works once, is printed and kept in `web.url` of the home; after each use a new one is.

    Args:
        home: whose page it is.
        port: 0 for any free one; a taken one is replaced by a free one, and that is said.
        open_page: open the address in the person's browser.

    Raises:
        EvolutionError: the page cannot be made safe.
        OSError: there is no port to listen on.
    """
    listener = bind(port)
    book = AddressBook(home, listener.getsockname()[1])
    token = new_token()
    server = create_server(
        create_app(home, token, book.write), sockets=[listener], threads=THREADS, connection_limit=CONNECTIONS,
        ident="", max_request_body_size=BODY_BYTES, max_request_header_size=HEADER_BYTES,
    )  # fmt: skip
    _stop_on_sigterm()
    try:
        book.write(token)
        _announce(book, token, port)
        if open_page:
            threading.Thread(target=webbrowser.open, args=(book.address(token),), daemon=True).start()
        server.run()  # returns on SystemExit and KeyboardInterrupt
    finally:
        server.close()
        book.path.unlink(missing_ok=True)


def _announce(book: AddressBook, token: str, wanted: int) -> None:
    if wanted not in (0, book.port):
        click.echo(f"Port {wanted} is taken; the page is on {book.port}.")
    click.echo(f"Open {book.address(token)} (works once; the next one will be in {book.path})")


class AddressBook:
    """The file that holds the address to open, readable by its owner only."""

    def __init__(self, home: Home, port: int) -> None:
        self.path: Path = home.ensure().root / "web.url"
        self.port = port

    def address(self, token: str) -> str:
        """Return the address that signs a browser in."""
        return f"http://{LOOPBACK}:{self.port}/?token={token}"

    def write(self, token: str) -> None:
        """Write the next address down."""
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self.address(token) + "\n")
        draft.replace(self.path)


def bind(port: int) -> socket.socket:
    """Take a port of the loopback interface, or a free one when that is taken."""
    for wanted in (port, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, wanted))
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or wanted == 0:
                raise
        else:
            return listener
    raise AssertionError("unreachable")


def _stop_on_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
