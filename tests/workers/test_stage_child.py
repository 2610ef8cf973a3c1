"""A stage in a process of its own, as on macOS: real workers, and whatever is killed, one stage runs at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from rq.command import send_stop_job_command

from pipeline.domain import StepState
from workers import stage_child
from workers.lease import foreground
from workers.lock import LOCK, Lock, held

SLOW, FAST = {"tokens_per_second": 8.0}, {"tokens_per_second": 0.0}  # a slow reply is long enough to be killed in
START_S = 30.0


@pytest.fixture(name="worker")
def _worker(site: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """Run the stock worker, told to give stages a process of their own, and end it and its children after the test."""
    monkeypatch.setenv(stage_child.SWITCH, "1")
    log = site.home.log_dir / "worker.log"
    rq = [str(Path(sys.executable).with_name("rq")), "worker", "evolution", "--logging_level", "WARNING"]
    with log.open("wb") as out, subprocess.Popen(rq, stdout=out, stderr=out, start_new_session=True) as process:
        yield process
        everything = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for pid in _stages(site):
            everything.append(psutil.Process(pid))
        for one in everything:
            if one.is_running():
                one.kill()


def _stages(site: Any) -> list[int]:
    """List the processes that work on a stage of this home."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = any(word.endswith("stage_child.py") for word in process.cmdline())
            if ours and process.environ().get("EVOCTL_HOME") == str(site.home.root):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _in_call(site: Any, until: Callable[..., None], calls: int = 1) -> tuple[psutil.Process, psutil.Process]:
    """Wait until a stage asks a model; return the job's process and the stage's."""
    until(lambda: site.paid() >= calls and len(_stages(site)) == 1, START_S)
    child = psutil.Process(_stages(site)[0])
    parent = child.parent()
    assert parent is not None
    return parent, child


def test_the_switch_follows_the_platform_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage gets its own process on macOS alone; 1 and 0 decide everywhere."""
    monkeypatch.delenv(stage_child.SWITCH, raising=False)
    chosen = []
    for platform in ("darwin", "linux"):
        monkeypatch.setattr(sys, "platform", platform)
        chosen.append(stage_child.wanted())
        for value in ("0", "1"):
            monkeypatch.setenv(stage_child.SWITCH, value)
            chosen.append(stage_child.wanted())
        monkeypatch.delenv(stage_child.SWITCH)

    assert chosen == [True, False, True, False, False, True]


def test_a_killed_job_leaves_its_stage_alone_at_work(site: Any, worker: object, until: Any) -> None:
    """SIGKILL of the job alone: the child keeps the lock, nothing is taken for dead, and the stage is paid once."""
    site.server.turn(SLOW)
    bell = site.judging(1)
    site.relay(bell)
    horse, child = _in_call(site, until)

    horse.kill()
    until(lambda: site.job(bell).get_status() == "failed")
    rescued = [site.reconcile() for _ in range(3)]
    alone, locked = _stages(site), held(site.home.locks / LOCK)
    site.server.turn(FAST)
    until(lambda: site.step(bell).state == StepState.DONE, START_S)

    assert (alone, locked, rescued) == ([child.pid], True, [0, 0, 0])
    assert (site.step(bell).attempt, site.paid()) == (1, 1)


def test_a_killed_stage_is_a_crash_and_is_tried_again(site: Any, worker: object, until: Any) -> None:
    """SIGKILL of the child: the job fails, the lock is free at once, and the next attempt's child does the whole stage."""
    site.server.turn(SLOW)
    bell = site.judging(1)
    site.relay(bell)
    _, child = _in_call(site, until)
    site.server.turn(FAST)

    child.kill()
    until(lambda: site.job(bell).get_status() == "failed")
    until(lambda: site.reconcile() or site.step(bell).attempt == 2)
    again = replace(bell, attempt=2)
    until(lambda: site.job(again).get_status() == "finished", START_S)

    assert "signal 9" in (site.job(bell).latest_result().exc_string or "")
    assert (site.step(bell).attempt, site.step(bell).state) == (2, StepState.DONE)
    assert site.job(again).return_value() == "done: judge visit 1"
    assert not held(site.home.locks / LOCK)
    assert [step.stage for step in site.steps()] == ["judge", "dedupe"]


@pytest.mark.chaos
def test_a_stopped_job_ends_with_its_stage(site: Any, worker: object, until: Any) -> None:
    """RQ's stop reaches both processes, and the lock is free."""
    site.server.turn(SLOW)
    bell = site.judging(1)
    site.relay(bell)
    horse, child = _in_call(site, until)

    send_stop_job_command(site.redis, bell.job_id)

    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in (horse, child)))
    until(lambda: not held(site.home.locks / LOCK))


@pytest.mark.chaos
def test_sigterm_of_the_job_ends_its_stage(site: Any, worker: object, until: Any) -> None:
    """Who ends the job means the stage: the child gets the signal too."""
    site.server.turn(SLOW)
    bell = site.judging(1)
    site.relay(bell)
    horse, child = _in_call(site, until)

    os.kill(horse.pid, signal.SIGTERM)

    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in (horse, child)))


@pytest.mark.chaos
def test_the_user_preempts_a_stage_in_its_own_process(site: Any, worker: object, until: Any) -> None:
    """The lease ends the call in flight, the step is ready again, and the job has not failed."""
    site.server.turn(SLOW)
    bell = site.judging(1)
    site.relay(bell)
    _in_call(site, until)

    with foreground(site.home.root):
        until(lambda: site.job(bell).get_status() == "finished")

    assert site.job(bell).return_value().startswith("made room: ")
    assert site.step(bell).attempt == 2


@pytest.mark.chaos
def test_a_stage_in_its_own_process_tells_what_it_waits_for(site: Any, worker: object, until: Any) -> None:
    """The dashboard's word is written by the child as well."""
    site.change(gate={"wait_s": 20.0})
    with foreground(site.home.root):
        bell = site.judging(1)
        site.relay(bell)
        until(lambda: site.job(bell).get_meta().get("waiting_for") == "lease", START_S)
    until(lambda: site.step(bell).state == StepState.DONE, START_S)


def test_a_failed_start_frees_the_lock(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no process can be started, the error is told and nobody holds the machine."""
    monkeypatch.setattr(sys, "executable", str(site.home.root / "missing"))
    bell, lock = site.judging(1), Lock(site.home.locks / LOCK)
    assert lock.take()

    with pytest.raises(FileNotFoundError), lock:
        stage_child.run(site.home, lock, bell.stage, bell.step, 1, waited=False)

    assert not held(site.home.locks / LOCK)
