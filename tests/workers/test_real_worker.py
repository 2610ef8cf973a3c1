"""Steps under a stock `rq worker` and a tick in processes of their own, which sleep and which are killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest
from rq import Queue
from rq.registry import FailedJobRegistry, StartedJobRegistry

from ops.demo.scene import environment, tool
from ops.supervise import Process
from pipeline.domain import Ending, StepState

PATIENCE_S = 60.0
OTHER = "audio-actions"


class Crew:
    """Workers and ticks of one site."""

    def __init__(self, site: Any) -> None:
        self._site, self._env = site, environment(site.home, site.bells.url)
        self.processes: list[Process] = []

    def worker(self) -> Process:
        """Start a stock worker."""
        return self._start([str(tool("rq")), "worker", "evolution"])

    def tick(self) -> Process:
        """Start a tick."""
        return self._start([sys.executable, "-m", "workers.tick"])

    def horses(self) -> list[psutil.Process]:
        """Return the processes that run jobs."""
        found: list[psutil.Process] = []
        for process in self.processes:
            with contextlib.suppress(psutil.Error):
                found += psutil.Process(process.child.pid).children(recursive=True) if process.child else []
        return found

    def everyone(self) -> list[psutil.Process]:
        """Return every process, horses last."""
        return [psutil.Process(process.child.pid) for process in self.processes if process.child] + self.horses()

    def stop(self) -> None:
        """Stop them."""
        for process in self.processes:
            process.stop(1)

    def _start(self, command: list[str]) -> Process:
        log = self._site.home.log_dir / f"crew-{len(self.processes)}.log"
        process = Process(command[-1], command, log=log, env=self._env)
        process.start()
        self.processes.append(process)
        return process


@pytest.fixture(name="crew")
def _crew(site: Any) -> Iterator[Crew]:
    """Return the site's workers and ticks, none at first."""
    crew = Crew(site)
    yield crew
    crew.stop()


def test_a_sleeping_machine_works_once(site: Any, crew: Crew, until: Callable[..., None]) -> None:
    """Everything stops in the middle of a call; RQ gives the job up, it is queued again, and a second worker takes it.

    The sleeper holds the lock, so the other one waits; the sleeper ends its step, nothing is asked or written twice.
    """
    site.change(judging={"pass_mark": 100.0})
    site.server.turn({"tokens_per_second": 100.0})
    bell = site.judging(6)
    crew.worker()
    crew.tick()
    until(lambda: site.paid() >= 2, PATIENCE_S)
    frozen = crew.everyone()
    for process in frozen:
        process.suspend()
    time.sleep(1.0)
    queue = Queue("evolution", connection=site.redis)
    StartedJobRegistry(queue=queue).cleanup(timestamp=time.time() + 3600)  # as `rq info` after 90 s
    failed = FailedJobRegistry(queue=queue)
    given_up = failed.get_job_ids()
    for job_id in given_up:
        failed.requeue(job_id)
    before = site.paid()
    crew.worker()
    until(lambda: not site.queued(), PATIENCE_S)
    time.sleep(1.0)
    meanwhile = site.paid() - before
    for process in frozen:
        process.resume()
    until(lambda: site.step(bell).state == StepState.DONE, PATIENCE_S)
    until(lambda: not crew.horses(), PATIENCE_S)

    assert (given_up, meanwhile) == ([bell.job_id], 0)
    assert (site.paid(), site.spent(bell).calls, site.server.counts().paid_twice) == (6, 6, {})
    assert (site.step(bell).attempt, site.step(bell).crashes) == (1, 0)


@pytest.mark.parametrize("crashes", [2, pytest.param(5, marks=pytest.mark.chaos)])
def test_a_poisoned_stage_fails_alone_and_is_told(
    site: Any, crew: Crew, until: Callable[..., None], crashes: int
) -> None:
    """A stage that kills its process fails after its tries, with an alert; another skill's run is done in between."""
    site.change(work={"max_crashes": crashes, "ring_grace_s": 0.3}, judging={"pass_mark": 100.0})
    poisoned = site.judging(1)
    rules = site.rules
    site.rules = replace(rules, skill=replace(rules.skill, name=OTHER))
    healthy = site.judging(1)
    site.rules = rules
    ended: dict[int, float] = {}
    stop, killed = threading.Event(), set[int]()

    def poison() -> None:
        while not stop.wait(0.005):
            for bell in (poisoned, healthy):
                if bell.run not in ended and site.run(bell).ended_at is not None:
                    ended[bell.run] = time.monotonic()
            step = site.step(poisoned)
            if step.state == StepState.RUNNING and step.epoch not in killed:
                killed.add(step.epoch)
                for horse in crew.horses():
                    with contextlib.suppress(psutil.Error):
                        horse.kill()

    site.server.turn({"tokens_per_second": 100.0})
    thread = threading.Thread(target=poison)
    thread.start()
    crew.worker()
    crew.tick()
    try:
        until(lambda: len(ended) == 2, PATIENCE_S)
    finally:
        stop.set()
        thread.join()

    run = site.run(poisoned)
    assert (run.ending, site.step(poisoned).crashes) == (Ending.FAILED, crashes + 1)
    assert "its process died" in run.ending_reason
    assert ended[healthy.run] < ended[poisoned.run]
    assert site.run(healthy).ending != Ending.FAILED
    for command in ("status", "stats"):
        said = subprocess.run(
            [sys.executable, "-m", "ops.cli", command], capture_output=True, text=True, check=False, env={**os.environ}
        ).stdout
        assert "alert" in said.lower()
        assert "failed: judge: its process died" in said
        assert f"evoctl show r{poisoned.run}" in said
