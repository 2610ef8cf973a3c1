"""The served page over real sockets: who is let in, and what the dashboard shows of real jobs."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from rq import Queue
from sqlalchemy import insert

from models.base import make_engine
from models.tables import SkillRow
from models.work_tables import RunRow, StepRow
from ops.web.server import AddressBook
from pipeline.domain import RunKind
from workers.clock import now
from workers.home import Home

EVIL_HOSTS = (
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example",
    "127.0.0.1.evil.example:{port}",
    "localhost.evil.com",
    "127.0.0.1@evil.com",
    "127.0.0.1:{port}@evil.com",
    "0.0.0.0",  # noqa: S104 - a name that is refused
    "",
    "localhost.",
    "LOCALHOST",
    "127.1",
    "2130706433",
    "[::ffff:127.0.0.1]",
    "[::1]:{port}",
    "::1",
    "127.0.0.1:port",
    "evil.localhost:{port}",
    "127.0.0.1:{port}, evil.example",
)
EVIL_ORIGINS = (
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost:{port}"},
    {"Origin": "https://127.0.0.1:{port}"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": " same-origin2"},
    {"Sec_Fetch_Site": "SAME-ORIGIN"},
    {"Sec_Fetch_Site": "same-origin", "Origin": "http://evil.example"},
)
PAGES = ("/", "/rq/", "/rq/0/view/workers", "/rq/0/view/jobs", "/rq/0/view/job/{job}")
DATA = ("/rq/0/data/queues.json", "/rq/0/data/workers.json", "/rq/0/data/job/{job}.json")


class Bomb:
    """Unpickles into a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Name the call."""
        return os.system, (self.command,)


def raw(port: int, request: str) -> str:
    """Send bytes that no HTTP library would, and return the answer's first line."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode())
        return connection.makefile("rb").readline().decode().strip()


def test_without_signing_in_nothing_is_shown(page: Any) -> None:
    """Every address but the health check answers 401, whatever cookie or token is tried."""
    for path in (
        "/",
        "/?token=",
        "/?token=guess",
        "/rq/",
        "/rq/0/data/queues.json",
        "/nothing",
        "/rq/static/css/main.css",
    ):
        for cookie in ("", f"evoctl-{page.port}=guess", page.cookie.replace(str(page.port), "1")):
            answer = page.ask(path, cookie=cookie)

            assert (answer.status, "rq-dashboard" in answer.text) == (401, False), path
    assert page.ask("/healthz", cookie="").status == 200


def test_an_address_works_once_and_leads_to_a_strict_cookie(page: Any) -> None:
    """The token is exchanged for a cookie that scripts cannot read and other sites cannot send; then it is another one."""
    used = page.address.partition(str(page.port))[2]

    answer = page.ask(used, cookie="")

    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(answer.headers["Set-Cookie"].split("; "))
    assert page.ask(used, cookie="").status == 401
    assert page.ask(used, cookie=answer.headers["Set-Cookie"].partition(";")[0]).status == 200
    assert page.address.partition(str(page.port))[2] != used


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/%5Cevil.example", "http://evil.example", "/a//b", "/%0d%0aX:1", "/@"]
)
def test_signing_in_leads_to_this_page_only(page: Any, wanted: str) -> None:
    """`next` may name a path of the page; anything else leads to its start."""
    token = page.address.partition(str(page.port))[2]

    assert page.ask(f"{token}&next={wanted}", cookie="").headers["Location"] == "/"


@pytest.mark.parametrize("wanted", ["/" + "a" * 60 + "!", "/" + "a/" * 400 + "!", "/" + "a" * 5000 + "%0a"])
def test_a_long_path_after_signing_in_is_read_at_once(page: Any, wanted: str) -> None:
    """However many ways there are to part it, the page looks at it once."""
    token, began = page.address.partition(str(page.port))[2], time.monotonic()

    assert page.ask(f"{token}&next={wanted}", cookie="").headers["Location"] == "/"
    assert time.monotonic() - began < 5


def test_the_address_is_for_the_owner_only(page: Any) -> None:
    """The file with the token is readable by nobody else."""
    assert stat.S_IMODE((page.home.root / "web.url").stat().st_mode) == 0o600


def test_the_page_listens_on_the_loopback_interface_only(page: Any) -> None:
    """No other machine can even connect."""
    listening = [c.laddr for c in psutil.Process(page.process.pid).net_connections() if c.status == psutil.CONN_LISTEN]

    assert [(a.ip, a.port) for a in listening] == [("127.0.0.1", page.port)]


@pytest.mark.parametrize("host", EVIL_HOSTS)
@pytest.mark.parametrize("path", ["/", "/rq/", "/healthz"])
def test_a_foreign_host_is_refused(page: Any, host: str, path: str) -> None:
    """Only this machine's own names are answered, and the refusal names the host and the setting."""
    host = host.format(port=page.port)

    answer = page.ask(path, Host=host)

    assert answer.status == 400
    assert "EVOCTL_WEB_HOSTS" in answer.text
    assert repr(host).strip("'") in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{port}", "localhost", "localhost:{port}"])
def test_our_own_names_are_answered(page: Any, host: str) -> None:
    """Both names of the loopback interface work, with and without the port."""
    assert page.ask("/", Host=host.format(port=page.port)).status == 200


def test_odd_requests_do_not_get_round_the_host_check(page: Any) -> None:
    """Two Host headers, an absolute request line, a proxy's header and a split header name no other host."""
    ours, cookie = f"127.0.0.1:{page.port}", f"Cookie: {page.cookie}\r\n\r\n"

    assert " 400 " in raw(page.port, f"GET / HTTP/1.1\r\nHost: {ours}\r\nHost: evil.example\r\n{cookie}")
    assert " 400 " in raw(page.port, f"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n{cookie}")
    assert " 400 " in raw(page.port, f"GET / HTTP/1.1\r\nX: y\r\n{cookie}")
    assert page.ask("/", X_Forwarded_Host="evil.example").status == 200
    assert "evil" not in page.ask("/rq/", X_Forwarded_Host="evil.example").text


def test_a_further_name_can_be_allowed(tmp_path: Path, serve: Any) -> None:
    """The setting named by the refusal does what the refusal says."""
    with serve(
        Home(tmp_path / "home", tmp_path / "config.yaml"), EVOCTL_WEB_HOSTS="evolution.test, other.test"
    ) as page:
        assert page.ask("/healthz", Host=f"evolution.test:{page.port}").status == 200
        assert page.ask("/healthz", Host="evil.example").status == 400


@pytest.mark.parametrize("headers", EVIL_ORIGINS)
@pytest.mark.parametrize(
    "path", ["/rq/requeue/evolution", "/rq/job/job-failed/requeue", "/rq/queue/evolution/compact", "/"]
)
def test_another_sites_post_is_refused(page: Any, headers: dict[str, str], path: str) -> None:
    """A request that changes something counts only when it comes from the page itself."""
    headers = {name: value.format(port=page.port) for name, value in headers.items()}

    assert page.ask(path, "POST", **headers).status == 403


def test_only_post_requeues(page: Any, jobs: dict[str, str]) -> None:
    """Upstream requeues by GET too, which a mere image could ask for; here that is refused, even from the page itself."""
    for method in ("GET", "HEAD"):
        for headers in ({}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "cross-site"}):
            assert page.ask("/rq/requeue/evolution", method, **headers).status == 405

    assert json.loads(page.ask(f"/rq/0/data/job/{jobs['failed']}.json").text)["status"] == "failed"


def test_large_bodies_are_refused(page: Any) -> None:
    """No form is larger than 64 KiB."""
    assert page.ask("/rq/queue/evolution/compact", "POST", body=b"x" * 70_000).status == 413


def test_every_page_answers_with_jobs_in_every_state(page: Any, jobs: dict[str, str]) -> None:
    """Pages and data answer 200 with queued, started, failed and finished jobs in the store."""
    for job in jobs.values():
        for path in (*PAGES, *DATA):
            assert page.ask(path.format(job=job)).status == 200, path
    for state, job in jobs.items():
        listed = json.loads(page.ask(f"/rq/0/data/jobs/evolution/{state}/8/asc/1.json").text)

        assert page.ask(f"/rq/0/view/jobs/evolution/{state}/8/asc/1").status == 200
        assert [one["id"] for one in listed["jobs"]] == [job]
    assert page.ask("/rq/static/js/underscore-umd-min.js").status == 200


def test_the_busy_worker_is_shown(page: Any, jobs: dict[str, str]) -> None:
    """The list of workers has the stock worker with its current job."""
    (worker,) = json.loads(page.ask("/rq/0/data/workers.json").text)["workers"]

    assert (worker["state"], worker["current_job"]["job_id"]) == ("busy", jobs["started"])


def test_nothing_can_be_deleted(page: Any, jobs: dict[str, str]) -> None:
    """The dashboard's delete and empty are off: what is in the queue is the pipeline's."""
    for path in (f"/rq/job/{jobs['queued']}/delete", "/rq/queue/evolution/queued/empty"):
        page.ask(path, "POST", Sec_Fetch_Site="same-origin")

    assert json.loads(page.ask(f"/rq/0/data/job/{jobs['queued']}.json").text)["status"] == "queued"


def test_a_poisoned_job_runs_nothing(page: Any, valkey: str, tmp_path: Path) -> None:
    """A job, a result and a meta that would run a command on being read are refused, and the command is not run."""
    trace = tmp_path / "ran"
    bomb = pickle.dumps(Bomb(f"touch {trace}"))
    with Redis.from_url(valkey) as redis:
        Queue("poisoned", connection=redis).enqueue("builtins.str", job_id="job-bomb")
        redis.hset("rq:job:job-bomb", mapping={"data": zlib.compress(bomb), "meta": bomb, "result": bomb})

    shown = [page.ask(path.format(job="job-bomb")).status for path in (*PAGES, *DATA)]

    assert set(shown) <= {200, 422}
    assert not trace.exists()
    pickle.loads(bomb)  # noqa: S301 - the proof that it would have run
    assert trace.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/rq/1/view/queues",
        "/rq/0/view/job/nothing",
        "/rq/0/view/job/%3Cscript%3E",
        "/rq/0/view/jobs/');alert(1)/queued/8/asc/1",
        "/rq/0/view/jobs/%5C/queued/8/asc/1",
        "/rq/0/view/jobs/evolution/other/8/asc/1",
        "/rq/0/data/jobs/evolution/queued/x/asc/1.json",
        "/rq/0/data/jobs/evolution/queued/8/asc/0.json",
        "/rq/static/../app.py",
        "/static/../app.py",
        "/rq/static/%2e%2e/web.py",
    ],
)
def test_odd_addresses_are_not_found(page: Any, path: str) -> None:
    """What stands in an address of the dashboard reaches neither its scripts nor the file system nor another Redis."""
    assert page.ask(path).status == 404


def test_every_answer_carries_the_headers(page: Any, jobs: dict[str, str]) -> None:
    """Pages, data, files, refusals and errors alike: no sniffing, no referrer, no frames, no cache."""
    for path, cookie in (
        ("/", None),
        ("/rq/", None),
        ("/rq/0/data/workers.json", None),
        ("/nothing", None),
        ("/", "none"),
    ):
        headers = page.ask(path, cookie=cookie).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "'unsafe-inline'" not in headers["Content-Security-Policy"].partition("script-src")[2].partition(";")[0]
        assert "Server" not in headers
    assert jobs


def test_our_own_pages_may_run_no_script(page: Any) -> None:
    """Only the dashboard's part has a policy with scripts in it."""
    assert "script-src" not in page.ask("/").headers["Content-Security-Policy"]
    assert "<script" not in page.ask("/").text
    assert "script-src 'nonce-" in page.ask("/rq/").headers["Content-Security-Policy"]


def test_the_start_page_says_what_is_simulated(page: Any) -> None:
    """One run on a simulated server is enough for the word to stand there."""
    before = page.ask("/").text
    engine = make_engine(page.home.database_url)
    run = {"skill_name": "s", "kind": RunKind.EVOLUTION, "trigger": "person", "seed": 1, "rules": "{}", "version": 1}
    with engine.begin() as connection:
        connection.execute(insert(SkillRow).values(name="s", created_at=now()))
        connection.execute(insert(RunRow).values(**run, simulated=True, created_at=now()))
    engine.dispose()

    assert "Simulated" not in before
    assert "Simulated" in page.ask("/").text


def test_the_start_page_says_what_runs_wait_for(page: Any) -> None:
    """A step that waits stands there with its reason, whose own words are shown and not obeyed; one that made room does not."""
    engine = make_engine(page.home.database_url)
    run = {"skill_name": "w", "kind": RunKind.EVOLUTION, "trigger": "person", "seed": 1, "rules": "{}", "version": 1}
    step = {"visit": 1, "state": "ready", "created_at": now(), "updated_at": now()}
    with engine.begin() as connection:
        connection.execute(insert(SkillRow).values(name="w", created_at=now()))
        (number,) = connection.execute(insert(RunRow).values(**run, created_at=now())).inserted_primary_key
        for stage, words in (("mutate", "<b>a foreground command</b>"), ("judge", "its slice is over")):
            connection.execute(insert(StepRow).values(**step, run_id=number, stage=stage, waiting_for=words))
    engine.dispose()

    text = page.ask("/").text

    assert f"<li>r{number} mutate: &lt;b&gt;a foreground command&lt;/b&gt;</li>" in text
    assert "its slice is over" not in text


def test_a_home_without_database_or_redis_says_so(tmp_path: Path, serve: Any) -> None:
    """Before the first `evoctl up` the page answers in sentences, not in tracebacks."""
    with serve(Home(tmp_path / "new", tmp_path / "config.yaml"), RQ_REDIS_URL="redis://127.0.0.1:1/0") as page:
        page.sign_in()

        assert "evoctl" in page.ask("/").text
        assert page.ask("/rq/0/data/queues.json").status == 503


def test_a_taken_port_is_replaced_and_said(tmp_path: Path, serve: Any) -> None:
    """The page starts all the same, on a free port, and says which."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with serve(Home(tmp_path / "home", tmp_path / "config.yaml"), taken) as page:
            assert page.port != taken
            assert page.first_lines[0] == f"Port {taken} is taken; the page is on {page.port}.\n"


def web(home: Home, *words: str) -> list[str]:
    """Return the command line of `evoctl web` for *home*."""
    return [
        sys.executable, "-m", "ops.cli", "--home", str(home.root), "--config", str(home.config), "web", *words,
    ]  # fmt: skip


def test_a_second_page_tells_the_address_of_the_first(tmp_path: Path, serve: Any) -> None:
    """It takes neither the file nor the sign-in away, whether it wants a browser or another port."""
    home = Home(tmp_path / "home", tmp_path / "config.yaml")
    with serve(home) as page:
        for more in ((), ("--open", "--port", "0")):
            said = subprocess.run(
                web(home, *more),
                env={**os.environ, "BROWSER": "true"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

            assert said.returncode == 0, said.stderr
            assert f"Open {page.address} (works once" in said.stdout
        page.sign_in()

        assert page.ask("/").status == 200
        assert page.address


def test_a_page_that_waits_takes_over(tmp_path: Path, serve: Any) -> None:
    """As that of `evoctl up` does, while one that a person started runs."""
    home = Home(tmp_path / "home", tmp_path / "config.yaml")
    words = web(home, "--wait", "--port", "0")
    with serve(home) as page:
        first = page.address
        waiting = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        time.sleep(1.5)
        assert page.address == first
    try:
        end = time.monotonic() + 20
        while not (home.root / "web.url").exists():
            assert time.monotonic() < end, "the second page did not start"
            time.sleep(0.05)
        assert page.address != first
    finally:
        waiting.terminate()
        waiting.wait(15)

    assert not (home.root / "web.url").exists()


def test_a_page_takes_only_its_own_address_away(tmp_path: Path) -> None:
    """What another one has written there stays."""
    home = Home(tmp_path / "home", tmp_path / "config.yaml")
    one, other = AddressBook(home, 1), AddressBook(home, 2)
    one.write("a")
    other.write("b")

    one.remove()
    assert other.path.read_text() == "http://127.0.0.1:2/?token=b\n"

    other.remove()
    other.remove()
    assert not other.path.exists()


def test_sigterm_ends_the_page_and_its_address(tmp_path: Path, serve: Any) -> None:
    """A stopped page ends with status 0 and takes its address along."""
    with serve(Home(tmp_path / "home", tmp_path / "config.yaml")) as page:
        assert (page.home.root / "web.url").exists()
        os.kill(page.process.pid, signal.SIGTERM)

        assert page.process.wait(15) == 0
        assert not (page.home.root / "web.url").exists()
