"""The corpus of bad input at the door of the page: raw requests over sockets, and texts in a real browser."""

from __future__ import annotations

import base64
import pickle
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.corpus import Case, cases, counted, each
from tests.ops.web.browser import CHROMIUM, Browser, browser
from workers.queues import QUEUE

XSS = cases("xss")
NOW = "2026-11-20T10:00:00.000000Z"
GHOST = "no-such-job"  # `compact` takes it out of the queue: a change that can be seen
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")


def raw(port: int, request: bytes) -> bytes:
    """Send bytes that no HTTP library would, and return the whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))
        except OSError:  # the server has hung up on a request before its end
            return b""


@each("hosts")
def test_a_request_is_answered_only_under_our_own_names(page: Any, case: Case) -> None:
    """Whatever the bytes, the health check is answered under an exact name of this machine alone."""
    answer = raw(page.port, case.encoded(port=page.port))

    assert (b'"ok"' in answer) is case.more["allowed"], answer[:300]
    assert answer.startswith(b"HTTP/1.") or not answer
    assert b"Traceback" not in answer
    counted("hosts", "HTTP")


@each("origins")
def test_only_our_own_page_changes_anything(page: Any, case: Case) -> None:
    """A signed-in browser's request from elsewhere, or by another method than POST, leaves the queue as it is."""
    with Redis.from_url(page.home.redis_url) as redis:
        redis.lrem(f"rq:queue:{QUEUE}", 0, GHOST)
        redis.rpush(f"rq:queue:{QUEUE}", GHOST)
        body = case.filled().encode()
        head = [
            f"{case.more['method']} /rq/queue/{QUEUE}/compact HTTP/1.1", f"Host: 127.0.0.1:{page.port}",
            f"Cookie: {page.cookie}", f"Content-Length: {len(body)}", "Connection: close",
        ]  # fmt: skip
        head += [line.replace("{port}", str(page.port)) for line in case.more["headers"]]

        answer = raw(page.port, "\r\n".join([*head, "", ""]).encode() + body)

        changed = GHOST.encode() not in redis.lrange(f"rq:queue:{QUEUE}", 0, -1)
    assert changed is case.more["allowed"], answer[:300]
    assert b"Traceback" not in answer
    counted("origins", "HTTP")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_no_address_changes_anything_but_by_post(page: Any, jobs: dict[str, str], method: str) -> None:
    """Each address of the page that upstream changes something by is asked by another method: nothing changes."""
    with Redis.from_url(page.home.redis_url) as redis:
        before = sorted(redis.keys("rq:*")), redis.lrange(f"rq:queue:{QUEUE}", 0, -1)
        paths = [f"requeue/{QUEUE}", f"queue/{QUEUE}/compact", f"queue/{QUEUE}/failed/empty"]
        paths += [f"job/{jobs['failed']}/{verb}" for verb in ("requeue", "delete")]

        answers = [page.ask(f"/rq/{path}", method).status for path in paths]

        assert (sorted(redis.keys("rq:*")), redis.lrange(f"rq:queue:{QUEUE}", 0, -1)) == before
    assert [status for status in answers if status < 400] == []


@each("names")
def test_odd_names_in_an_address_are_not_found(page: Any, case: Case) -> None:
    """A name in the place of a job or a queue, in every spelling, is an answer of ours and no file."""
    spelt = "".join(f"%{byte:02x}" for byte in case.encoded(marker="/tmp/marker")[:4000])  # noqa: S108 - never written
    for path in (f"/rq/0/view/job/{spelt}", f"/rq/static/{spelt}", f"/static/{spelt}", f"/?token=x&next={spelt}"):
        request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nCookie: {page.cookie}\r\nConnection: close\r\n\r\n"
        )

        answer = raw(page.port, request.encode())

        assert answer.split(b" ")[1:2] in ([b"200"], [b"308"], [b"400"], [b"404"], [b"431"]), answer[:200]
        assert b"root:" not in answer
        assert b"Traceback" not in answer
    counted("names", "HTTP")


@pytest.fixture(name="planted", scope="module")
def _planted(page: Any) -> Iterator[list[str]]:
    """Leave every text of the class in every place that a page shows; returns the ids of the jobs."""
    with Redis.from_url(page.home.redis_url) as redis:
        yield [_plant(redis, number, case.filled()) for number, case in enumerate(XSS)]


@pytest.fixture(name="tab", scope="module")
def _tab(page: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser that is signed in."""
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.go(page.address, "document.title === 'tinyArms evolution'")
        yield tab


@needs_chromium
@pytest.mark.timeout(300)
def test_hostile_texts_are_inert_on_every_page(page: Any, planted: list[str], tab: Browser) -> None:
    """Descriptions, arguments, meta, results, tracebacks, queue and worker names: no script, no request, no window."""
    site = f"http://127.0.0.1:{page.port}"
    rows = f"document.querySelectorAll('tbody tr:not([data-role=loading-placeholder])').length >= {len(XSS)}"
    views = [(f"view/jobs/xss/{registry}/200/asc/1", rows) for registry in ("queued", "failed")]
    views += [("view/queues", rows), ("view/workers", rows)]
    views += [(f"view/job/{job}", "document.querySelector('.exc_info')") for job in planted]
    for path, settled in views:
        tab.go(f"{site}/rq/0/{path}", settled)

        assert tab.value("document.title") == "RQ dashboard", path
        assert _odd_elements(tab) == [], path
        shown = tab.value("document.querySelector('.description-scroll, .description, td').textContent.trim().length")
        assert shown > 3, path

    assert [address for address in tab.requests if not address.startswith((f"{site}/", "data:", "about:"))] == []
    assert tab.dialogs == []
    counted("xss", "the page in Chromium", len(XSS))


@needs_chromium
def test_hostile_texts_on_our_own_pages_are_inert(page: Any, tab: Browser) -> None:
    """An address with a text of the class, and what answers it."""
    site = f"http://127.0.0.1:{page.port}"
    for case in XSS[::3]:
        spelt = "".join(f"%{byte:02x}" for byte in case.encoded())
        for path in (
            f"/{spelt}",
            f"/rq/0/view/job/{spelt}",
            f"/?next={spelt}",
            f"/rq/0/view/jobs/{spelt}/queued/8/asc/1",
        ):
            tab.go(f"{site}{path}", "true")

            assert tab.value("document.title") != "owned"
            assert _odd_elements(tab) == []
    assert [address for address in tab.requests if not address.startswith((f"{site}/", "data:", "about:"))] == []
    counted("xss", "addresses in Chromium", len(XSS[::3]))


@needs_chromium
def test_the_browser_would_notice_a_script(tab: Browser) -> None:
    """The check can fail: on a page without a policy the same texts run."""
    ran = 0
    for case in XSS[:20]:
        tab.go("data:text/html;base64," + base64.b64encode(f"<main>{case.filled()}</main>".encode()).decode(), "true")
        ran += tab.value("document.title") == "owned"
    tab.requests.clear()

    assert ran >= 6


def _odd_elements(tab: Browser) -> list[str]:
    """Name the elements and attributes that no page of ours or of rq-dashboard's has."""
    return list(
        tab.value(
            "[...document.body.querySelectorAll('*')].filter(e => /^(img|svg|iframe|object|embed|base|meta|style|video|"
            "details|math|noscript|form|mglyph)$/i.test(e.localName) || [...e.attributes].some(a => /^on/i.test(a.name) ||"
            " /href|src|action/i.test(a.name) && /^\\s*javascript:/i.test(a.value))).map(e => e.outerHTML.slice(0, 100))"
        )
        or []
    )


def _plant(redis: Any, number: int, text: str) -> str:
    name = f"xss-{number}"
    call = pickle.dumps((text, None, (text,), {text: text}))
    fields = {
        "created_at": NOW, "enqueued_at": NOW, "started_at": NOW, "ended_at": NOW, "origin": text, "status": "failed",
        "description": text, "data": zlib.compress(call), "meta": pickle.dumps({"note": text}), "timeout": "-1",
        "exc_info": zlib.compress(text.encode()),
    }  # fmt: skip
    exc = base64.b64encode(zlib.compress(text.encode())).decode()
    for job, kind, result in (
        (name, "1", {"return_value": base64.b64encode(pickle.dumps(text)).decode()}),
        (f"{name}-f", "2", {"exc_string": exc}),
    ):
        redis.hset(f"rq:job:{job}", mapping=fields)
        redis.xadd(f"rq:results:{job}", {"created_at": "1763632800.0", "type": kind} | result)
    redis.hset(f"rq:job:{name}-f", "origin", "xss")  # the lists show a queue's own jobs only
    redis.rpush("rq:queue:xss", f"{name}-f")
    redis.zadd("rq:failed:xss", {f"{name}-f": 9999999999})
    redis.sadd("rq:queues", "rq:queue:xss", f"rq:queue:{text}")
    worker = {"state": text, "queues": text, "birth": NOW, "last_heartbeat": NOW, "version": text, "python_version": text,
              "hostname": text, "ip_address": text, "pid": "1", "current_job": name}  # fmt: skip
    redis.hset(f"rq:worker:{text}", mapping=worker)
    redis.sadd("rq:workers", f"rq:worker:{text}")
    return name
