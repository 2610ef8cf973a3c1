"""A real page: Valkey, a worker with jobs in every state, and the server as its own process."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job

from migrations.run import upgrade
from models.base import make_engine
from ops.supervise import Process, answers
from ops.valkey import prepare
from workers.home import Home
from workers.queues import QUEUE

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
SERVE = "import sys; from pathlib import Path; from ops.web.server import serve; from workers.home import Home; "
SERVE += "serve(Home(Path(sys.argv[1]), Path(sys.argv[2])), int(sys.argv[3]))"
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the page."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(slots=True)
class Page:
    """A running page.

    Attributes:
        cookie: of a signed-in browser.
    """

    home: Home
    port: int
    process: subprocess.Popen[str]
    first_lines: list[str]
    cookie: str = ""

    @property
    def address(self) -> str:
        """The address that signs the next browser in."""
        return (self.home.root / "web.url").read_text(encoding="utf-8").strip()

    def ask(
        self, path: str, method: str = "GET", *, cookie: str | None = None, body: bytes | None = None, **headers: str
    ) -> Answer:
        """Send one request; underscores in the names of headers stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        signed = self.cookie if cookie is None else cookie
        if signed:
            given["Cookie"] = signed
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host="Host" in given)
        for name, value in given.items():
            connection.putheader(name, value)
        if method == "POST":
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        with connection.getresponse() as response:
            answer = Answer(response.status, dict(response.getheaders()), response.read().decode())
        connection.close()
        return answer

    def sign_in(self) -> None:
        """Exchange the token of the current address for a cookie."""
        answer = self.ask(self.address.partition(str(self.port))[2], cookie="")
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]


@contextmanager
def running(command: list[str], **kwargs: object) -> Iterator[subprocess.Popen[str]]:
    """Run a process for the length of the block."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **kwargs)  # type: ignore[call-overload]  # passed through
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextmanager
def serving(home: Home, port: int = 0, **env: str) -> Iterator[Page]:
    """Serve the page of *home*, not signed in."""
    command = [sys.executable, "-c", SERVE, str(home.root), str(home.config), str(port)]
    with running(command, env={**os.environ, **env}) as process:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            found = re.match(r"Open http://127\.0\.0\.1:(\d+)/", line)
            if found:
                yield Page(home, int(found[1]), process, lines)
                return
        pytest.fail(f"the page did not start: {lines}")


def until(fact: Callable[[], bool], what: str) -> None:
    """Wait for *fact*."""
    end = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.05)


def fill(url: str) -> dict[str, str]:
    """Enqueue one job for each state, with hostile words in every place; returns their ids."""
    with Redis.from_url(url) as redis:
        queue = Queue(QUEUE, connection=redis)
        facts = {"description": HOSTILE, "meta": {"note": HOSTILE}, "result_ttl": 500}
        jobs = {
            "finished": queue.enqueue("builtins.str", HOSTILE, job_id="job-finished", **facts),
            "failed": queue.enqueue("builtins.int", HOSTILE, job_id="job-failed", **facts),
            "started": queue.enqueue(
                "subprocess.call", ["sh", "-c", "sleep 600", HOSTILE], job_id="job-started", **facts
            ),
            "queued": queue.enqueue("builtins.str", 1, job_id="job-queued", **facts),
        }
        return {state: job.id for state, job in jobs.items()}


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a migrated home for the tests of one file."""
    folder = tmp_path_factory.mktemp("web")
    home = Home(folder / "home", folder / "config.yaml").ensure()
    engine = make_engine(home.database_url)
    upgrade(engine)
    engine.dispose()
    return home


@pytest.fixture(name="valkey", scope="module")
def _valkey(place: Home) -> Iterator[str]:
    """Start the embedded Valkey of the home and return its URL."""
    url, command = prepare(place)
    with running(command):
        until(lambda: answers(url), "Valkey's start")
        yield url


@pytest.fixture(name="jobs", scope="module")
def _jobs(place: Home, valkey: str) -> Iterator[dict[str, str]]:
    """Return the ids of jobs in every state, under the plain stock worker."""
    ids = fill(valkey)
    command = [str(Path(sys.executable).with_name("rq")), "worker", QUEUE, "--url", valkey, "--quiet"]
    worker = Process("worker", command, log=place.log_dir / "worker.log", env={"RQ_WORKER_CLASS": "rq.worker.Worker"})
    worker.start()
    with Redis.from_url(valkey) as redis:
        until(lambda: Job.fetch(ids["started"], connection=redis).get_status() == "started", "the third job's start")
        yield ids
    worker.stop(1)  # with its horse and the horse's sleep


@pytest.fixture(name="page", scope="module")
def _page(place: Home, valkey: str) -> Iterator[Page]:
    """Return a served page, signed in."""
    assert valkey
    with serving(place) as page:
        page.sign_in()
        yield page


@pytest.fixture(name="serve")
def _serve() -> Callable[..., object]:
    """Return a context manager that serves the page of a home."""
    return serving
