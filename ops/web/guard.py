"""Who may ask what of the page: Host, origin, sign-in, and the headers of every answer.

A page on the loopback interface is open to every website a person visits and to every user of the machine. So a request
must name this machine exactly (a rebound DNS name does not), must come from our own page if it changes anything, and
must carry the cookie that the one-time address printed at the start was exchanged for.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from flask import Flask, Request, Response, g, redirect, render_template, request
from werkzeug.exceptions import NotFound as PageNotFound
from werkzeug.wrappers import Response as AnyResponse

HOSTS_SETTING = "EVOCTL_WEB_HOSTS"
HOSTS = ("127.0.0.1", "localhost")
READING = frozenset(("GET", "HEAD", "OPTIONS"))
OPEN_PATHS = frozenset(("/healthz", "/static/page.css"))  # asked without signing in; they tell nothing
WORKERS_PATH, API_PATH = "/rq", "/api/"
JSON_HEAD = {"Content-Type": "application/json", "WWW-Authenticate": "Bearer"}
# Where a sign-in may lead: a path of this page, no other host. Each part ends with its slash, so that there is one way to match.
OWN_PATH = re.compile(r"/(?:[A-Za-z0-9_.-]+/)*[A-Za-z0-9_.-]*")
ONLY_BY_POST = frozenset(("rq_dashboard.requeue_all",))  # upstream also changes state by GET here
# What may stand in rq-dashboard's addresses: it writes a queue's name into a script.
ARGUMENTS = {
    "job_id": re.compile(r"[A-Za-z0-9_-]{1,200}"),
    "queue_name": re.compile(r"[A-Za-z0-9_.:-]{1,100}"),
    "registry_name": re.compile(r"queued|failed|deferred|started|finished|scheduled|canceled"),
    "order": re.compile(r"asc|dsc"),
    "per_page": re.compile(r"[1-9][0-9]{0,2}"),
    "page": re.compile(r"[1-9][0-9]{0,8}"),
    "instance_number": re.compile(r"0"),  # we show one Redis
    "lease": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    "filename": re.compile(r"[A-Za-z0-9_./-]{1,100}"),
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ANY_POLICY = "default-src 'none'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
OWN_POLICY = f"{ANY_POLICY}; style-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
# rq-dashboard: its scripts stand in the page (each gets the nonce) and make functions of its templates (eval).
RQ_POLICY = (
    "{any}; script-src 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; connect-src 'self'"
    "; font-src 'self'"
)


@dataclass(slots=True)
class Door:
    """The one-time token and the sessions that came in by it.

    Attributes:
        token: of the address that signs the next browser in.
        renew: called with each next token, so that it can be written down.
        key: what programs sign in with, under `/api` alone; empty lets none in.
    """

    token: str
    renew: Callable[[str], None] = lambda _: None
    key: str = ""
    _sessions: set[bytes] = field(default_factory=set)  # digests, so that looking one up tells nothing by its time
    _lock: Lock = field(default_factory=Lock)

    def enter(self, token: str) -> str | None:
        """Exchange a token for a session, once; None when it is not the one."""
        with self._lock:
            if not hmac.compare_digest(_digest(token), _digest(self.token)):
                return None
            self.token = new_token()
            self.renew(self.token)
            session = new_token()
            self._sessions.add(_digest(session))
            return session

    def admits(self, authorization: str) -> bool:
        """Tell whether a program gave the key."""
        kind, _, given = authorization.partition(" ")
        return bool(self.key) and kind.lower() == "bearer" and hmac.compare_digest(_digest(given), _digest(self.key))

    def knows(self, session: str) -> bool:
        """Tell whether a cookie is of a session."""
        return _digest(session) in self._sessions


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def new_token() -> str:
    """Draw a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def install(app: Flask, door: Door) -> None:
    """Put the guard before and behind every request of *app*."""

    def before() -> AnyResponse | None:
        return _refuse_host() or _enter(door) or _refuse_stranger(door) or _refuse_origin() or _refuse_argument()

    app.before_request(before)
    app.after_request(_headers)
    app.jinja_env.globals["csp_nonce"] = csp_nonce


def csp_nonce() -> str:
    """Return the nonce of this answer's scripts."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return str(g.csp_nonce)


def allowed_hosts() -> frozenset[str]:
    """Return the names by which this machine may be asked: loopback's, and those of the setting."""
    more = os.environ.get(HOSTS_SETTING, "").split(",")
    return frozenset(HOSTS) | {name.strip() for name in more if name.strip()}


def host_allowed(host: str) -> bool:
    """Tell whether a Host header names this machine, letter for letter; the port does not matter.

    >>> host_allowed("127.0.0.1:9182"), host_allowed("localhost"), host_allowed("localhost.evil.com:9182")
    (True, True, False)
    """
    name, colon, port = host.partition(":")
    return name in allowed_hosts() and (not colon or re.fullmatch(r"[0-9]{1,5}", port) is not None)


def same_origin(asked: Request) -> bool:
    """Tell whether a request that changes state comes from our own page, or from no browser at all."""
    site, origin = asked.headers.get("Sec-Fetch-Site"), asked.headers.get("Origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or origin == f"http://{asked.host}"


def _refuse_host() -> AnyResponse | None:
    host, target = request.environ.get("HTTP_HOST", ""), request.environ.get("REQUEST_URI", "/")
    if host_allowed(host) and target.startswith("/"):
        return None
    if host_allowed(host):
        host = target  # a whole address names its own host, and only a proxy is asked that way
    return _page(
        400,
        "This name is not allowed",
        f"The request was for the host {host[:200]!r}, which is not a name of this page. A website may be behind it that "
        "pretends to be this machine (DNS rebinding).",
        f"Open http://127.0.0.1 with the port instead. Further names: {HOSTS_SETTING}, separated by commas.",
    )


def _cookie_name() -> str:
    # Cookies do not know ports: two pages of one machine would overwrite each other's.
    return f"evoctl-{request.environ.get('SERVER_PORT', '')}"


def _enter(door: Door) -> AnyResponse | None:
    token = request.args.get("token")
    if token is None or request.method != "GET" or request.path != "/":
        return None
    session = door.enter(token)
    if session is None:
        return None  # a used address still works for the browser that used it
    wanted = request.args.get("next", "/")
    answer = redirect(wanted if OWN_PATH.fullmatch(wanted) else "/", 303)
    answer.set_cookie(_cookie_name(), session, httponly=True, samesite="Strict", path="/")
    return answer


def _refuse_stranger(door: Door) -> AnyResponse | None:
    if request.path in OPEN_PATHS or door.knows(request.cookies.get(_cookie_name(), "")):
        return None
    if request.path.startswith(API_PATH):
        if door.admits(request.headers.get("Authorization", "")):
            return None
        return Response('{"error": "Send Authorization: Bearer and the key in the file web.key."}\n', 401, JSON_HEAD)
    return _page(
        401,
        "Sign in first",
        "This page is for the person who started it. Each address it gives out works once.",
        "Open the address in the file web.url of the home folder; `evoctl web --open` does so.",
    )


def _refuse_origin() -> AnyResponse | None:
    if request.endpoint in ONLY_BY_POST and request.method != "POST":
        return _page(405, "Only by POST", "This address changes something.", "Use the button on the page.")
    if request.method in READING or same_origin(request):
        return None
    return _page(
        403,
        "Another page asked for this",
        "The request would change something, and it does not come from this page.",
        "Use the buttons on this page itself, under the same name and port.",
    )


def _refuse_argument() -> AnyResponse | None:
    for name, value in (request.view_args or {}).items():
        pattern = ARGUMENTS.get(name)
        if value is not None and (pattern is None or not pattern.fullmatch(str(value))):
            raise PageNotFound
    return None


def _headers(answer: Response) -> Response:
    for name, value in HEADERS.items():
        answer.headers[name] = value
    ours = not request.path.startswith(f"{WORKERS_PATH}/")
    policy = OWN_POLICY if ours else RQ_POLICY.format(any=ANY_POLICY, nonce=csp_nonce())
    answer.headers["Content-Security-Policy"] = policy
    return answer


def _page(status: int, title: str, what: str, hint: str) -> AnyResponse:
    return Response(render_template("refused.html", title=title, what=what, hint=hint), status=status)
