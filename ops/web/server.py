"""Serving the page: one process, few threads, the loopback interface only."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path

import click
from waitress.server import create_server

from ops.web.app import BODY_BYTES, create_app
from ops.web.guard import new_token
from pipeline.errors import Unreachable
from workers.home import Home, write_private
from workers.lock import PROBED_S, WEB_LOCK, Lock

PORT = 9182
LOOPBACK = "127.0.0.1"
THREADS = 4
CONNECTIONS = 50
HEADER_BYTES = 16 * 1024
WEB_URL = "web.url"  # in the home: the address that signs the next browser in
ADDRESS_S = 5.0  # in which a page that has just started writes its address
WAITING_STEP_S = 1.0  # between looks whether the page that runs has ended


def serve(home: Home, port: int = PORT, *, open_page: bool = False, wait: bool = False) -> None:
    """Serve the page until SIGTERM or Ctrl-C; where the home's page runs already, tell its address instead.

    The address to open, which works once, is printed and kept in `web.url` of the home; after each use a new one is.

    Args:
        home: whose page it is.
        port: 0 for any free one; a taken one is replaced by a free one, and that is said.
        open_page: open the address in the person's browser.
        wait: begin when the page that runs has ended, instead of telling its address.

    Raises:
        EvolutionError: the page cannot be made safe, or the one that runs tells no address.
        OSError: there is no port to listen on.
    """
    lock = Lock(home.ensure().locks / WEB_LOCK)
    while not lock.take(PROBED_S):
        if not wait:
            _tell_of_running(home, open_page=open_page)
            return
        time.sleep(WAITING_STEP_S)
    with lock:
        _serve(home, port, open_page=open_page)


def _serve(home: Home, port: int, *, open_page: bool) -> None:
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
        book.remove()


def _tell_of_running(home: Home, *, open_page: bool) -> None:
    """Tell, or open, the address that the running page wrote down; a page that has just started needs a moment for it."""
    path, end = home.root / WEB_URL, time.monotonic() + ADDRESS_S
    address = ""
    while not address and time.monotonic() < end:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            address = path.read_text(encoding="utf-8").strip()
        time.sleep(0 if address else PROBED_S)
    if not address:
        raise Unreachable(
            "The page of this home runs already, and its address is not known.",
            why=f"The file {path} is missing or empty.",
            hint="End that page (`evoctl down`, or Ctrl-C where it runs) and start it again.",
        )
    click.echo("The page of this home runs already.")
    click.echo(f"Open {address} (works once; the next one will be in {path})")
    if open_page:
        webbrowser.open(address)


def _announce(book: AddressBook, token: str, wanted: int) -> None:
    if wanted not in (0, book.port):
        click.echo(f"Port {wanted} is taken; the page is on {book.port}.")
    click.echo(f"Open {book.address(token)} (works once; the next one will be in {book.path})")


class AddressBook:
    """The file that holds the address to open, readable by its owner only."""

    def __init__(self, home: Home, port: int) -> None:
        self.path: Path = home.ensure().root / WEB_URL
        self.port = port
        self._written = ""

    def address(self, token: str) -> str:
        """Return the address that signs a browser in."""
        return f"http://{LOOPBACK}:{self.port}/?token={token}"

    def write(self, token: str) -> None:
        """Write the next address down."""
        self._written = f"{self.address(token)}\n"
        write_private(self.path, self._written)

    def remove(self) -> None:
        """Take the address away, unless another page has written its own."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if self.path.read_text(encoding="utf-8") == self._written:
                self.path.unlink()


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
