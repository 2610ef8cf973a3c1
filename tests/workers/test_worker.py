"""Jobs that somebody else left in Redis: what our worker does with them, and what a stock one does."""

from __future__ import annotations

import io
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.logutils import colorizer
from rq.serializers import DefaultSerializer

from models.work_tables import StepRow
from ops.cli.setup import WORKER_CLASS
from pipeline.algorithms.invisible import is_hidden
from pipeline.domain import Stage, StepState
from pipeline.errors import BadInput
from tests.corpus import Case, cases, counted
from workers import jobs
from workers.plain_data import PlainPickle
from workers.queues import FUNCTIONS, QUEUE
from workers.worker import log_harmlessly

JOBS = cases("jobs")
NOTHING = "stale: nothing to do"
RQ = str(Path(sys.executable).with_name("rq"))


def content(case: Case, marker: Path) -> bytes:
    """Return what stands in the field `data` of a job's hash."""
    more = case.more
    if "raw" in more:
        return bytes(more["raw"].encode())
    if "data" in more:
        return zlib.compress(more["data"].replace("{marker}", str(marker)).encode())
    call = [_marked(part, marker) for part in more["call"]] if isinstance(more["call"], list) else more["call"]
    if case.times > 1:
        call[2][0] *= case.times
    return zlib.compress(pickle.dumps(call))


def plant(redis: Redis, case: Case, marker: Path) -> str:
    """Leave one job of the corpus in the queue; returns its id."""
    meta = {"meta": case.more["meta"].replace("{marker}", str(marker))} if "meta" in case.more else {}
    fields = {"created_at": "2026-11-20T10:00:00.000000Z", "origin": QUEUE, "status": "queued", "timeout": "-1"}
    fields |= {"data": content(case, marker), "description": case.name} | meta | case.more.get("fields", {})
    redis.hset(f"rq:job:{case.name}", mapping=fields)
    redis.rpush(f"rq:queue:{QUEUE}", case.name)
    return case.name


def run_worker(site: Any, **variables: str) -> str:
    """Run `rq worker evolution` until the queue is empty; return all that it printed."""
    names = {"EVOCTL_HOME": str(site.home.root), "EVOCTL_CONFIG": str(site.home.config), "RQ_REDIS_URL": site.bells.url}
    env = {name: value for name, value in os.environ.items() if name != "RQ_WORKER_CLASS"} | names | variables
    done = subprocess.run([RQ, "worker", QUEUE, "--burst"], env=env, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return (done.stdout + done.stderr).decode()


def rows(site: Any) -> list[str]:
    """Return everything in the database."""
    with sqlite3.connect(site.home.root / "evolution.db") as database:
        return list(database.iterdump())


def ended(site: Any) -> None:
    """Make a step that is over: a ready one would be rung and run by the first stale job."""
    bell = site.judging(1)
    with site.opened.write() as session:
        session.get_one(StepRow, bell.step).state = StepState.DONE


def end_of(redis: Redis, name: str) -> tuple[str, str]:
    """Return a job's status, and the reason of its failure or what it returned."""
    status = (redis.hget(f"rq:job:{name}", "status") or b"").decode()
    ((_, result),) = redis.xrevrange(f"rq:results:{name}", count=1) or ((0, {}),)
    job = Job(name, connection=redis)
    said = (
        job.return_value() if b"return_value" in result else zlib.decompress(_bytes(result.get(b"exc_string"))).decode()
    )
    return status, str(said)


def test_our_worker_runs_none_of_the_planted_jobs(site: Any, tmp_path: Path) -> None:
    """Each job of the corpus is refused in one short line of ours, or is ours in form and finds nothing to do."""
    ended(site)
    marker, before = tmp_path / "marker", rows(site)
    for odd in (b"a:b", b"\xff\xfe", b"x" * 100_000, b"", b"no-such-job"):
        site.redis.rpush(f"rq:queue:{QUEUE}", odd)
    names = [plant(site.redis, case, marker) for case in JOBS]
    site.redis.rpush(f"rq:queue:{QUEUE}", "unknown-step")  # the same id twice

    said = run_worker(site, RQ_WORKER_CLASS=WORKER_CLASS)

    ends = {name: end_of(site.redis, name) for name in names}
    stale = {case.name for case in JOBS if case.more["stale"]}
    assert {name: end for name, end in ends.items() if name in stale and end != ("finished", NOTHING)} == {}
    odd_ends = {name: end for name, end in ends.items() if name not in stale and not _refused(end)}
    assert odd_ends == {}
    assert not marker.exists()
    assert rows(site) == before
    assert site.redis.llen(f"rq:queue:{QUEUE}") == 0
    assert site.redis.lrange(f"rq:queue:{QUEUE}:intermediate", 0, -1) == [b"no-such-job"]  # until RQ's own maintenance
    assert [c for c in said if is_hidden(c) and c != "\n"] == []
    assert "touch" not in said
    assert len(said) < 400 * (len(JOBS) + 20)
    counted("jobs", "our worker class", len(JOBS))


def test_the_check_can_fail_on_a_stock_worker(site: Any, tmp_path: Path) -> None:
    """Documents what RQ itself allows to whoever can write to Redis: these jobs do run on a plain worker."""
    marker = tmp_path / "marker"
    found = []
    for name in ("pickle-reduce", "call-os-system", "call-eval"):
        plant(site.redis, next(case for case in JOBS if case.name == name), marker)
        run_worker(site)
        found.append(marker.exists())
        marker.unlink(missing_ok=True)

    assert found == [True, True, True]


def test_our_functions_refuse_odd_arguments_also_on_a_stock_worker(site: Any, tmp_path: Path) -> None:
    """What a plain worker hands to our six functions is checked there; steps that do not exist are stale."""
    ended(site)
    ours = [
        case for case in JOBS
        if isinstance(case.more.get("call"), list) and case.more["call"][0] in FUNCTIONS.values()
        and case.more["call"][1] is None and set(case.more) == {"call", "stale"} and case.name != "zlib-bomb"
        and len(case.more["call"]) == 4
    ]  # fmt: skip
    marker, before = tmp_path / "marker", rows(site)
    names = [plant(site.redis, case, marker) for case in ours]

    run_worker(site)

    ends = {name: end_of(site.redis, name) for name in names}
    stale = {case.name for case in ours if case.more["stale"]}
    assert {name: status for name, (status, _) in ends.items()} == {
        name: "finished" if name in stale else "failed" for name in names
    }
    assert {ends[name][1] for name in stale} == {NOTHING}
    assert len(ours) >= 14
    assert rows(site) == before
    assert not marker.exists()
    counted("jobs", "our functions under a stock worker", len(ours))


def test_a_bell_of_ours_runs_under_our_worker(site: Any) -> None:
    """The guard lets our own jobs through, and the next stage's bell is rung and run as well."""
    bell = site.judging(1)
    site.relay(bell)

    run_worker(site, RQ_WORKER_CLASS=WORKER_CLASS)

    assert site.job(bell).get_status() == "finished"
    assert site.job(bell).return_value() == "done: judge visit 1"
    assert site.paid() > 0


def test_both_serializers_read_each_other() -> None:
    """What our worker writes a stock worker and the dashboard read, byte for byte."""
    value = ("workers.jobs.detect_drift", None, (1, 2), {"skill": "file-naming", "at": None, "share": 0.5, "b": b"x"})

    assert DefaultSerializer.dumps(value) == PlainPickle.dumps(value)
    assert (
        DefaultSerializer.loads(PlainPickle.dumps(value)) == PlainPickle.loads(DefaultSerializer.dumps(value)) == value
    )


@pytest.fixture(name="written")
def _written() -> Iterator[io.StringIO]:
    """Return what a log like the worker's writes; the process's own log is put back afterwards."""
    factory, colours, text = logging.getLogRecordFactory(), colorizer.notty, io.StringIO()
    handler, log = logging.StreamHandler(text), logging.getLogger("rq.worker.test")
    log.addHandler(handler)
    log_harmlessly()
    yield text
    log.removeHandler(handler)
    logging.setLogRecordFactory(factory)
    colorizer.notty = colours


def test_no_text_of_a_job_reaches_the_terminal_raw(written: io.StringIO) -> None:
    """In a message, an argument or a traceback: it is shown as escapes, and forges no entry of its own."""
    log, texts = logging.getLogger("rq.worker.test"), cases("terminal")
    for case in texts:
        log.error("job %s", case.filled(), exc_info=ValueError(case.filled()))

    said = written.getvalue()
    assert [char for char in said if is_hidden(char) and char != "\n"] == []
    assert sum(not line.startswith("    ") for line in said.splitlines()) <= 2 * len(texts)
    assert "\nError: two" not in said
    counted("terminal", "the worker's log", len(texts))


@pytest.mark.parametrize("numbers", [("1", 1), (1, None), (True, 1), (1.0, 1), (0, 1), (1, -1), (2**31, 1)])
def test_no_job_takes_anything_but_two_numbers(home: Any, numbers: tuple[Any, Any]) -> None:
    """Each of the six functions refuses odd arguments by itself, before it touches anything."""
    for path in FUNCTIONS.values():
        with pytest.raises(BadInput, match="two whole numbers"):
            getattr(jobs, path.rpartition(".")[2])(*numbers)

    assert len(FUNCTIONS) == len(Stage)
    assert not list((home.root).glob("locks/*"))


def test_a_queue_of_another_name_is_served_with_the_same_guard(site: Any, tmp_path: Path) -> None:
    """A worker that is told other classes and serializers on its command line keeps ours."""
    marker = tmp_path / "marker"
    plant(site.redis, JOBS[0], marker)
    env = {**os.environ, "RQ_WORKER_CLASS": WORKER_CLASS, "RQ_JOB_CLASS": "rq.job.Job", "RQ_QUEUE_CLASS": "rq.Queue"}
    command = [RQ, "worker", QUEUE, "--burst", "--url", site.bells.url, "-S", "json"]

    done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0
    assert _refused(end_of(site.redis, JOBS[0].name))
    assert not marker.exists()
    assert Queue(QUEUE, connection=site.redis).failed_job_registry.get_job_ids() == [JOBS[0].name]


def _refused(end: tuple[str, str]) -> bool:
    status, said = end
    return status == "failed" and said.startswith("Refused: ") and len(said) < 100 and "\n" not in said


def _marked(part: Any, marker: Path) -> Any:
    if isinstance(part, list):
        return [_marked(one, marker) for one in part]
    return part.replace("{marker}", str(marker)) if isinstance(part, str) else part


def _bytes(text: bytes | None) -> bytes:
    import base64  # noqa: PLC0415 - how RQ keeps the reason

    return base64.b64decode(text or b"")
