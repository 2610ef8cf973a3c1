"""Mishaps of the machine and of people in the middle of a whole evolution: nothing lost, nothing twice, no repair."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry

from ops.demo.scene import environment, tool
from ops.supervise import Process
from tests.ports import free_port, listens

SMALL_DISK = "EVOCTL_TEST_SMALL_DISK"  # names a small file system that the test is run again on
SMALL_MB = 96
SLEEP_S, LONG_SLEEP_S = 4.0, 95.0  # RQ takes a job for abandoned after 90 s
FULL_S = 4.0  # with the disk full
ROOM = """
prompt_evolution:
  triggers: {{check_every_h: 1, cooldown_h: 0}}
  search: {{generations: 2, population: 4, fitness_samples: 8, patience: 9, budget_calls: 600}}
  judging: {{protocol: rubric, pairwise: false, check_every_d: 0}}
  voting: {{promote_e: 6, min_votes: 2}}
  promotion: {{max_drop_probability: 1}}
  gate: {{start_idle_min: 0, resume_idle_s: 0, wait_s: 3}}
  work: {{tick_s: 0.5, unreachable_retry_s: 1, min_free_mb: WANTED}}
{models}"""


def at_once(journey: Any) -> int:
    """Return the most inference requests that the server ever worked on at the same time."""
    now = most = 0
    for line in journey.scene.requests.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["inference"]:
            now += 1 if entry["event"] == "begin" else -1
            most = max(most, now)
    return most


def reached(journey: Any, stage: str, visit: int = 1) -> Callable[[], bool]:
    """Return whether a step is there."""
    return lambda: any(step.stage == stage and step.visit >= visit for step in journey.steps())


def assert_nothing_happened(journey: Any, reference: Any, extra: int) -> None:
    """Compare with the calm run: the same ending, one promotion, at most *extra* calls paid again, never two at once."""
    expected, calm = reference
    again = journey.paid() - calm
    assert journey.outcome() == expected
    assert sum(again.values()) <= extra, again
    assert len(journey.inodes) == 2, "config.yaml is replaced once, by the one promotion"
    assert at_once(journey) == 1
    assert [step.error for step in journey.steps() if step.state == "failed"] == []


# --- sleep ------------------------------------------------------------------------------------------------------------


def sleepers(journey: Any) -> list[psutil.Process]:
    """Return tick, the worker and its horse."""
    children = [process.child for process in journey.scene.workers.processes]
    found = [psutil.Process(child.pid) for child in children if child is not None]
    return found + [one for process in found for one in process.children(recursive=True)]


def _sleep(journey: Any, wake: Callable[[Redis], None], seconds: float) -> None:
    """Stop everything of ours as a sleeping machine does, let RQ look at it, and go on."""
    assert journey.horse() is not None
    frozen: list[psutil.Process] = []
    while more := [process for process in sleepers(journey) if process not in frozen]:  # a stopped worker starts no job
        for process in more:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        frozen += more
    time.sleep(seconds)
    with Redis.from_url(journey.scene.home.redis_url) as redis:
        wake(redis)
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def _give_up_and_requeue(redis: Redis) -> None:
    """Do what `rq info` does after a long sleep, and what a person then presses: the running job is queued again."""
    queue = Queue("evolution", connection=redis)
    StartedJobRegistry(queue=queue).cleanup(timestamp=time.time() + 3600)
    failed = FailedJobRegistry(queue=queue)
    for job_id in failed.get_job_ids():
        failed.requeue(job_id)


@pytest.mark.chaos
@pytest.mark.timeout(240)
def test_a_sleeping_machine_loses_nothing(start_journey: Any, reference: Any) -> None:
    """Three sleeps, after each of which RQ has given the running job up and queued it again: no second one at once."""
    with start_journey() as journey:
        journey.begin()
        for stage, visit in (("mutate", 1), ("mutate", 3), ("judge", 1)):
            journey.until(reached(journey, stage, visit), stage)
            _sleep(journey, _give_up_and_requeue, SLEEP_S / 3)
        journey.until(lambda: journey.run().ended_at is not None, "the end")

        assert_nothing_happened(journey, reference, extra=3)


@pytest.mark.chaos
@pytest.mark.timeout(400)
def test_a_night_of_sleep_loses_nothing(start_journey: Any, reference: Any) -> None:
    """The machine sleeps for 95 seconds and `rq info` is the first to wake: RQ gives the running job up by itself."""
    with start_journey() as journey:

        def info(_redis: Redis) -> None:
            url = journey.scene.home.redis_url
            subprocess.run([str(tool("rq")), "info", "-u", url], check=True, capture_output=True)

        journey.begin()
        journey.until(reached(journey, "mutate", 1), "mutate")
        _sleep(journey, info, LONG_SLEEP_S)
        journey.until(lambda: journey.run().ended_at is not None, "the end")

        assert_nothing_happened(journey, reference, extra=1)


# --- the dashboard and the command line of RQ --------------------------------------------------------------------------


class Buttons:
    """What a person can press around a queue: our page, a stock rq-dashboard, and `rq`."""

    def __init__(self, journey: Any, folder: Path) -> None:
        self._home, self._folder = journey.scene.home, folder
        self._url, self._stack = journey.scene.home.redis_url, contextlib.ExitStack()
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Start both pages."""
        env = environment(self._home, self._url)
        self._stock, port = free_port(), str(free_port())
        web = Process("web", [sys.executable, "-m", "ops.cli", "web", "--port", port], self._folder / "web.log", env)
        stock = [str(tool("rq-dashboard")), "-b", "127.0.0.1", "-p", str(self._stock), "-u", self._url]
        for process in (web, Process("stock", stock, self._folder / "stock.log", env)):
            process.start()
            self._stack.callback(process.stop, 1)
        self._ours, self._cookie = int(port), ""
        _until(lambda: (self._home.root / "web.url").exists() and listens(self._stock) and listens(self._ours))
        sign_in = (self._home.root / "web.url").read_text(encoding="utf-8").strip().partition(port)[2]
        _, headers, _ = self._ask(self._ours, sign_in, "GET")
        self._cookie = headers["Set-Cookie"].partition(";")[0]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them."""
        self._stack.close()

    def ours(self, path: str) -> str:
        """Press a button of our page."""
        return self._press("ours", self._ours, f"/rq{path}")

    def stock(self, path: str) -> str:
        """Press a button of the stock page."""
        return self._press("stock", self._stock, path)

    def rq(self, *words: str) -> None:
        """Give a command of RQ's."""
        done = subprocess.run([str(tool("rq")), *words, "-u", self._url], capture_output=True, text=True, check=False)
        self.answers[f"rq {words[0]} {done.returncode}"] += 1

    def _press(self, who: str, port: int, path: str) -> str:
        status, _, text = self._ask(port, path, "POST")
        self.answers[f"{who} {path.rpartition('/')[2]} {status}"] += 1
        return text

    def _ask(self, port: int, path: str, method: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Cookie": self._cookie} if port == self._ours else {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode()


def _until(fact: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.timeout(240)
def test_buttons_pressed_at_any_time_change_nothing(start_journey: Any, reference: Any, tmp_path: Path) -> None:
    """Requeue all, empty and delete, by our page, a stock rq-dashboard and `rq`, all through an evolution."""
    with start_journey() as journey, Buttons(journey, tmp_path) as buttons:
        journey.begin()
        for stage, visit in (("detect", 1), ("mutate", 1), ("mutate", 2), ("mutate", 3), ("judge", 1), ("bandit", 1)):
            journey.until(reached(journey, stage, visit), stage)
            disabled = buttons.ours("/queue/evolution/queued/empty")
            buttons.ours("/requeue/evolution")
            buttons.stock("/queue/evolution/queued/empty")
            for registry in ("finished", "failed", "started"):
                buttons.stock(f"/queue/evolution/{registry}/empty")
            _delete_newest(journey, buttons)
            buttons.stock("/requeue/evolution")
            _fail_what_is_over(journey)
            buttons.ours("/requeue/evolution")
        buttons.rq("requeue", "--queue", "evolution", "--all")
        buttons.rq("empty", "evolution")
        journey.until(lambda: journey.run().ended_at is not None, "the end")

        assert disabled.strip() == '{"status":"DISABLED"}'
        assert {name.rpartition(" ")[2] for name in buttons.answers} <= {"200", "0"}, buttons.answers
        assert_nothing_happened(journey, reference, extra=0)


def _delete_newest(journey: Any, buttons: Buttons) -> None:
    """Delete the newest step's job in the stock page, running or not."""
    step = journey.steps()[-1]
    job_id = f"r{step.run_id}-{step.stage}-{step.visit}-a{step.attempt}"
    with Redis.from_url(journey.scene.home.redis_url) as redis:
        if Job.exists(job_id, connection=redis):
            buttons.stock(f"/job/{job_id}/delete")


def _fail_what_is_over(journey: Any) -> None:
    """Put finished jobs among the failed ones, so that "requeue all" has something stale to deliver again."""
    with Redis.from_url(journey.scene.home.redis_url) as redis:
        queue = Queue("evolution", connection=redis)
        for step in journey.steps():
            with contextlib.suppress(Exception):
                job = Job.fetch(f"r{step.run_id}-{step.stage}-{step.visit}-a{step.attempt}", connection=redis)
                if job.get_status() == "finished":
                    FailedJobRegistry(queue=queue).add(job, ttl=60, exc_string="a test")


# --- two workers ------------------------------------------------------------------------------------------------------


@pytest.mark.chaos
@pytest.mark.timeout(240)
def test_three_workers_and_two_ticks_work_as_one(start_journey: Any, reference: Any) -> None:
    """More of each than there should be: one job works at a time, and the outcome is that of one worker and one tick."""
    with start_journey() as journey, contextlib.ExitStack() as more:
        home = journey.scene.home
        env = environment(home, home.redis_url)
        commands = [[str(tool("rq")), "worker", "evolution"]] * 2 + [[sys.executable, "-m", "workers.tick"]]
        for number, command in enumerate(commands):
            process = Process(f"more-{number}", command, home.log_dir / f"more-{number}.log", env)
            process.start()
            more.callback(process.stop, 2)
        journey.begin()
        journey.until(lambda: journey.run().ended_at is not None, "the end")

        assert_nothing_happened(journey, reference, extra=0)


# --- a full disk ------------------------------------------------------------------------------------------------------


def may_mount() -> bool:
    """Tell whether an ordinary user may have a small file system of their own here: Linux with user namespaces."""
    if not shutil.which("unshare"):
        return False
    words = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture(name="small_disk")
def _small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder on a small file system; where there is none yet, the test is run again on one, and is done."""
    if os.environ.get(SMALL_DISK):
        return Path(os.environ[SMALL_DISK])
    if not may_mount():
        pytest.skip("no small file system can be mounted here")
    folder = tmp_path / "small"
    folder.mkdir()
    again = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "chaos or not chaos",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path}/again",
        request.node.nodeid,
    ]
    mount = f'mount -t tmpfs -o size={SMALL_MB}m none "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount, "sh", str(folder), *again],
        capture_output=True, text=True, check=False, env={**os.environ, SMALL_DISK: str(folder)},
        cwd=request.config.rootpath,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def ballast(folder: Path, leave_mb: float) -> Path:
    """Fill the file system but for so many MB."""
    path, chunk = folder / "ballast", b"x" * 65536
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while shutil.disk_usage(folder).free > leave_mb * 1_000_000:
            file.write(chunk)
        while leave_mb == 0:
            file.write(b"x" * 512)
    return path


def evoctl(journey: Any, *words: str) -> str:
    """Return what a command prints."""
    home = journey.scene.home
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", *words], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **environment(home, home.redis_url)},
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        pytest.param(0, 0.0, id="to the last byte", marks=pytest.mark.chaos),
        pytest.param(32, 16.0, id="below the setting", marks=pytest.mark.chaos),
    ],
)
def test_a_full_disk_in_the_middle_loses_nothing(
    small_disk: Path, start_journey: Any, tmp_path: Path, wanted: int, left: float
) -> None:
    """Database, Valkey's file, logs and the gate's notes all meet it: work waits, says so, and goes on by itself."""
    if not os.environ.get(SMALL_DISK):
        return  # it was run there, and passed
    (small_disk / "home").mkdir()
    (tmp_path / "j0").mkdir()
    (tmp_path / "j0" / "home").symlink_to(small_disk / "home")  # the simulator and its log keep their room
    with start_journey(settings=ROOM.replace("WANTED", str(wanted))) as journey:
        journey.begin()
        journey.until(reached(journey, "mutate", 2), "the second generation")
        heavy = ballast(small_disk, left)
        time.sleep(FULL_S)
        said, doctor = evoctl(journey, "status"), evoctl(journey, "doctor")
        stopped = len(journey.requests())
        time.sleep(1.5)
        still = len(journey.requests())
        heavy.unlink()
        journey.until(lambda: journey.run().ended_at is not None, "the end")

        assert "disk is full" in said, said
        assert "BAD   disk" in doctor, doctor
        assert still == stopped
        assert journey.run().ending == "promoted", journey.run().ending_reason
        assert max(step.crashes for step in journey.steps()) == 0
        assert max(journey.paid().values()) <= 2
        assert sum(count - 1 for count in journey.paid().values()) <= 1 + calm_repeats(journey)
        assert len(journey.inodes) == 2


def calm_repeats(journey: Any) -> int:
    """Count the requests that a stage makes more than once by itself: their replies stand in the ledger apart."""
    from sqlalchemy import text  # noqa: PLC0415 - only here

    with journey.evolution.database.read() as session:
        rows = session.execute(text("SELECT count(*) - count(DISTINCT request_sha) FROM model_calls"))
        return int(rows.scalar_one())
