"""What programs ask the page for: the foreground lease, and what evolution waits for. JSON in and out.

They sign in with the key in the home's file `web.key`: `Authorization: Bearer KEY`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Blueprint, request
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, TooManyRequests

from ops.cli.output import plain_data
from pipeline.errors import EvolutionError
from workers.home import Home, write_private
from workers.lease import foreground

KEY_FILE = "web.key"
LEAST_S, USUAL_S, MOST_S = 0.1, 30.0, 3600.0  # of one lease
TRY = f"""Send Content-Type: application/json and a body such as {{"ttl_s": {USUAL_S:g}}}, or no body for {USUAL_S:g} s."""
MOST_LEASES = 64  # a host that forgets to give them back must not fill the process with threads


@dataclass(slots=True)
class _Held:
    stack: contextlib.ExitStack
    timer: threading.Timer


@dataclass(slots=True)
class Leases:
    """The foreground leases that were taken over HTTP; each ends by itself when its time is over.

    Attributes:
        root: the home folder, where the lock file lies.
    """

    root: Path
    _held: dict[str, _Held] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, ttl_s: float, name: str = "") -> str:
        """Take a lease for *ttl_s* seconds, or renew the one of this *name*; returns the name.

        Raises:
            KeyError: there is no lease of this name any more.
            OverflowError: too many are held.
        """
        with self._lock:
            if name:
                self._held[name].timer.cancel()
            elif len(self._held) >= MOST_LEASES:
                raise OverflowError
            name = name or secrets.token_urlsafe(16)
            timer = threading.Timer(ttl_s, self.give_back, (name,))
            timer.daemon = True
            stack = self._held[name].stack if name in self._held else contextlib.ExitStack()
            if name not in self._held:
                stack.enter_context(foreground(self.root))
            self._held[name] = _Held(stack, timer)
            timer.start()
        return name

    def give_back(self, name: str) -> bool:
        """End a lease; False when there is none of this name."""
        with self._lock:
            held = self._held.pop(name, None)
        if held is None:
            return False
        held.timer.cancel()
        held.stack.close()
        return True


def blueprint(home: Home) -> Blueprint:
    """Make the addresses under `/api`."""
    api, leases = Blueprint("api", __name__, url_prefix="/api"), Leases(home.ensure().root)

    @api.post("/foreground")
    def take() -> dict[str, object]:
        ttl_s = _ttl_s()
        with _counted():
            return {"lease": leases.take(ttl_s), "ttl_s": ttl_s}

    @api.post("/foreground/<lease>")
    def renew(lease: str) -> dict[str, object]:
        ttl_s = _ttl_s()
        with _counted():
            return {"lease": leases.take(ttl_s, lease), "ttl_s": ttl_s}

    @api.delete("/foreground/<lease>")
    def give_back(lease: str) -> dict[str, object]:
        if not leases.give_back(lease):
            raise NotFound
        return {"lease": lease}

    @api.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[dict[str, object], int]:
        return {"error": error.description}, error.code or BadRequest.code

    @api.get("/waiting")
    def waiting() -> dict[str, object]:
        return _waiting(home)

    return api


def key_of(home: Home) -> str:
    """Return the key that programs sign in with, and make it where there is none."""
    path = home.ensure().root / KEY_FILE
    with contextlib.suppress(OSError, UnicodeDecodeError):
        known = path.read_text(encoding="ascii").strip()
        if known:
            return known
    key = secrets.token_urlsafe(32)
    write_private(path, f"{key}\n")
    return key


def _waiting(home: Home) -> dict[str, Any]:
    """Say what evolution waits for and since when, and what the gate's readings are."""
    from models import reports  # noqa: PLC0415 - a third of the process's memory, wanted here alone
    from workers.overview import Overview  # noqa: PLC0415 - same

    overview = Overview(home)
    try:
        alive = overview.alive()
        with overview.read() as session:
            queue = reports.queue(session, alive=alive)
        return {"queue": plain_data(queue), "gate": plain_data(overview.gate()), "attended": overview.attended()}
    except EvolutionError as error:
        return {"trouble": str(error)}


def _ttl_s() -> float:
    """Read for how long the lease is wanted: the usual time where there is no body, else what the body says.

    Raises:
        BadRequest: there is a body, and it says something else than a time.
    """
    sent = request.get_data()
    ttl_s = _body(sent).get("ttl_s", USUAL_S) if sent else USUAL_S
    known = isinstance(ttl_s, int | float) and not isinstance(ttl_s, bool)
    if not known or not LEAST_S <= ttl_s <= MOST_S:  # compared as it is: a whole number may be too large for a float
        raise BadRequest(
            f"ttl_s is no number of seconds between {LEAST_S:g} and {MOST_S:g}. A lease ends by itself, so that a host that "
            f"dies holds nothing up. {TRY}"
        )
    return float(ttl_s)


def _body(sent: bytes) -> dict[str, Any]:
    if not request.is_json:
        raise BadRequest(
            f"The body is not marked as JSON. What is in it (ttl_s) would be passed over in silence. {TRY}"
        )
    try:
        body = json.loads(sent)
    except (ValueError, RecursionError):
        raise BadRequest(
            f"The body is not JSON that can be read. So nobody knows what ttl_s it asks for. {TRY}"
        ) from None
    if not isinstance(body, dict):
        raise BadRequest(f"The body is no JSON object. So it cannot say what ttl_s it asks for. {TRY}")
    return body


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise NotFound from error
    except OverflowError as error:
        raise TooManyRequests(f"{MOST_LEASES} leases are held already.") from error
