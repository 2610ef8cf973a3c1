"""What programs ask the page for: the foreground lease over HTTP, and what evolution waits for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ops.demo.scene import write_host
from workers.home import Home
from workers.lease import lease_held


@pytest.fixture(name="call")
def _call(page: Any, place: Home) -> Any:
    """Return a function that asks as a program does, with the key and without a cookie."""
    key = (place.root / "web.key").read_text(encoding="ascii").strip()

    def call(method: str, path: str, body: object = None, **headers: str) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
        answer = page.ask(path, method, cookie="", body=sent, **given)
        return answer.status, json.loads(answer.text)

    return call


def soon(fact: Any, seconds: float = 5.0) -> bool:
    """Wait until *fact* holds."""
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(fact())


def test_a_lease_is_taken_renewed_and_given_back(call: Any, place: Home) -> None:
    """The lock file is held meanwhile, so every evolution of this home steps aside."""
    status, taken = call("POST", "/api/foreground", {"ttl_s": 20})
    assert (status, taken["ttl_s"]) == (200, 20.0)
    assert lease_held(place.root)
    assert call("POST", f"/api/foreground/{taken['lease']}", {"ttl_s": 30})[0] == 200

    assert call("DELETE", f"/api/foreground/{taken['lease']}")[0] == 200
    assert not lease_held(place.root)
    assert call("DELETE", f"/api/foreground/{taken['lease']}")[0] == 404
    assert call("POST", f"/api/foreground/{taken['lease']}", {})[0] == 404


def test_a_lease_ends_by_itself(call: Any, place: Home) -> None:
    """A host that dies does not hold evolution up for ever."""
    call("POST", "/api/foreground", {"ttl_s": 0.3})

    assert lease_held(place.root)
    assert soon(lambda: not lease_held(place.root))


def test_the_number_of_leases_is_bounded(call: Any, place: Home) -> None:
    """A host that never gives them back fills nothing."""
    found = [call("POST", "/api/foreground", {"ttl_s": 1.5})[0] for _ in range(70)]

    assert found.count(200) == 64
    assert set(found) == {200, 429}
    assert soon(lambda: not lease_held(place.root), 10)


@pytest.mark.parametrize(
    "body", [[], 7, {"ttl_s": "30"}, {"ttl_s": True}, {"ttl_s": 0}, {"ttl_s": -1}, {"ttl_s": 1e9}, {"ttl_s": None}]
)
def test_a_bad_body_is_refused_in_words(call: Any, place: Home, body: object) -> None:
    """And nothing is held."""
    status, said = call("POST", "/api/foreground", body)

    assert status == 400
    assert "ttl_s" in said["error"]
    assert not lease_held(place.root)


@pytest.mark.parametrize(
    "body", [b"[" * 3000, b'{"ttl_s": ' + b"9" * 400 + b"}", b'{"ttl_s": ' + b"9" * 9000 + b"}", b'{"ttl_s": 1e999}', b"{", b"\xff"],
    ids=["deep", "400 digits", "9000 digits", "infinite", "cut off", "no text"],
)  # fmt: skip
def test_a_body_that_breaks_a_reader_is_refused_in_words(page: Any, place: Home, body: bytes) -> None:
    """What is too deep, too large or no JSON at all is the sender's mistake, and says what to send."""
    key = (place.root / "web.key").read_text(encoding="ascii").strip()
    head = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    answer = page.ask("/api/foreground", "POST", cookie="", body=body, **head)

    assert answer.status == 400
    assert 'such as {"ttl_s": 30}' in json.loads(answer.text)["error"]
    assert not lease_held(place.root)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_marked_as_json_is_refused(page: Any, place: Home, kind: str) -> None:
    """It is not passed over for a lease of the usual time."""
    key = (place.root / "web.key").read_text(encoding="ascii").strip()
    head = {"Authorization": f"Bearer {key}"} | ({"Content-Type": kind} if kind else {})

    for body in (b'{"ttl_s": "x"}', b'{"ttl_s": 5}'):
        answer = page.ask("/api/foreground", "POST", cookie="", body=body, **head)

        assert (answer.status, "marked as JSON" in answer.text) == (400, True)
    assert not lease_held(place.root)


def test_no_body_is_the_usual_time(page: Any, call: Any, place: Home) -> None:
    """Whoever sends nothing gets thirty seconds."""
    key = (place.root / "web.key").read_text(encoding="ascii").strip()

    taken = json.loads(page.ask("/api/foreground", "POST", cookie="", Authorization=f"Bearer {key}").text)

    assert taken["ttl_s"] == 30
    assert call("DELETE", f"/api/foreground/{taken['lease']}")[0] == 200


def test_nan_is_no_number_of_seconds(page: Any, place: Home) -> None:
    """Though Python's JSON reads it."""
    key = (place.root / "web.key").read_text(encoding="ascii").strip()
    head = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answer = page.ask("/api/foreground", "POST", cookie="", body=b'{"ttl_s": NaN}', **head)

    assert answer.status == 400


def test_what_evolution_waits_for(call: Any, place: Home) -> None:
    """The queue and each reading of the gate; without a configuration, why nothing is known."""
    assert "trouble" in call("GET", "/api/waiting")[1]
    write_host(place.config.parent, "")
    try:
        status, said = call("GET", "/api/waiting")
    finally:
        place.config.unlink()

    assert (status, said["queue"]) == (200, [])
    assert {one["signal"] for one in said["gate"]["readings"]} >= {"lease", "model-list"}


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key}x"])
def test_without_the_key_nobody_is_told_anything(page: Any, place: Home, authorization: str) -> None:
    """Neither shown nor changed."""
    key = (place.root / "web.key").read_text(encoding="ascii").strip()
    given = {"Authorization": authorization.format(key=key)} if authorization else {}

    assert page.ask("/api/waiting", cookie="", **given).status == 401
    assert page.ask("/api/foreground", "POST", cookie="", body=b"{}", **given).status == 401
    assert not lease_held(place.root)


def test_the_key_opens_nothing_else(page: Any, place: Home) -> None:
    """The pages are for signed-in browsers."""
    key = (place.root / "web.key").read_text(encoding="ascii").strip()

    assert page.ask("/", cookie="", Authorization=f"Bearer {key}").status == 401
    assert page.ask("/rq/", cookie="", Authorization=f"Bearer {key}").status == 401


def test_another_website_cannot_take_a_lease(call: Any, place: Home) -> None:
    """Not even with the key, and by no other name of this machine."""
    assert call("GET", "/api/waiting")[0] == 200
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert _status(call, headers) in (400, 403), headers
    assert not lease_held(place.root)


def _status(call: Any, headers: dict[str, str]) -> int:
    try:
        found: tuple[int, object] = call("POST", "/api/foreground", {}, **headers)
    except json.JSONDecodeError as refused:  # the guard's page is HTML
        return 403 if "Another page" in refused.doc else 400
    return found[0]


def test_the_key_is_for_its_owner_only(place: Home) -> None:
    """Mode 0600, and it stays when the page is started again."""
    path = Path(place.root / "web.key")

    assert path.stat().st_mode & 0o777 == 0o600
