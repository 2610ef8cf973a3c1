"""A job's turn: it waits where waiting is cheap, works alone, and leaves nothing to chance when it cannot."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from pipeline.domain import Stage, StepState
from workers import turn
from workers.lease import foreground
from workers.llm.gate import Gate
from workers.lock import LOCK, WAITING, Lock, held
from workers.turn import OTHER_JOB, take_turn

HEAVY = ("sqlalchemy", "numpy", "ollama", "httpx", "alembic", "scipy")


def test_a_second_job_finds_the_lock_held(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers: the second one's job waits its time, makes room, and has not touched the step."""
    monkeypatch.setattr(turn, "LOCK_WAIT_S", 0.2)
    bell, lock = site.judging(1), Lock(site.home.locks / LOCK)
    assert lock.take()

    with lock:
        words = take_turn(Stage.JUDGE, bell.step, 1, site.home)

    assert words == OTHER_JOB
    assert (site.step(bell).state, site.step(bell).attempt, site.paid()) == (StepState.READY, 1, 0)


def test_the_lock_is_free_after_every_end(site: Any) -> None:
    """After work, a stale duplicate and a step aside nobody holds the machine."""
    bell = site.judging(1)
    for attempt in (1, 1):
        take_turn(Stage.JUDGE, bell.step, attempt, site.home)
        assert not held(site.home.locks / LOCK)
    second = site.judging(1)
    with foreground(site.home.root):
        take_turn(Stage.JUDGE, second.step, 1, site.home)

    assert not held(site.home.locks / LOCK)


def test_a_turn_rings_the_stage_after_it(site: Any) -> None:
    """The next stage's job is in the queue when this one's is over, and nothing else."""
    bell = site.judging(1)

    take_turn(Stage.JUDGE, bell.step, 1, site.home)

    assert site.queued() == ["r1-dedupe-1-a1"]


def hold(site: Any, wait_s: float = 20.0, quiet_s: float = 0.0) -> dict[str, Any]:
    """What a held job is told."""
    settings = site.rules.settings
    Gate(site.home.root, settings.gate, settings.foreground.model, settings.models.ollama_url).look()  # as tick does
    return {
        "settings": {"wait_s": wait_s, "poll_s": 0.02, "ps_poll_s": 0.2, "ps_timeout_s": 0.5},
        "wish": {"quiet_s": quiet_s},
        "tag": settings.foreground.model,
    }


def test_a_held_job_waits_until_the_user_is_done(site: Any) -> None:
    """It ends its wait as soon as the gate opens, and is told that it may work."""
    busy = threading.Event()

    def user() -> None:
        with foreground(site.home.root):
            busy.set()
            time.sleep(0.3)

    thread = threading.Thread(target=user)
    thread.start()
    busy.wait()
    began = time.monotonic()
    shut = turn._wait_quietly(site.home, hold(site))
    took = time.monotonic() - began
    thread.join()

    assert not shut
    assert 0.1 < took < 3
    assert not held(site.home.locks / WAITING)


def test_a_held_job_gives_up_after_its_time(site: Any) -> None:
    """With the user still at work it says so, and the job goes on only to make room."""
    with foreground(site.home.root):
        began = time.monotonic()
        assert turn._wait_quietly(site.home, hold(site, wait_s=0.2))

    assert 0.2 <= time.monotonic() - began < 2


def test_a_held_job_makes_way_for_a_decision(site: Any) -> None:
    """While the only worker waits for the user, a promotion at the head of the queue ends the wait at once."""
    site.relay(replace(site.judging(1), stage=Stage.PROMOTE, run=9))
    with foreground(site.home.root):
        began = time.monotonic()
        assert turn._wait_quietly(site.home, hold(site))

    assert time.monotonic() - began < 2


def test_a_wait_survives_an_absent_redis(site: Any, store: Any) -> None:
    """Without a doorbell nobody can be waiting in the queue: the wait goes on to its end."""
    store.kill()
    try:
        with foreground(site.home.root):
            assert turn._wait_quietly(site.home, hold(site, wait_s=0.3))
    finally:
        store.start()


def test_waiting_loads_nothing_heavy() -> None:
    """A job that must wait for the gate has neither database, numerics nor model client in memory."""
    code = "import sys, workers.jobs, workers.llm.gate; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not set(HEAVY) & set(loaded)


def test_a_hold_asks_no_address_that_it_names(site: Any) -> None:
    """Whoever writes to Redis cannot make a waiting job ask an address of theirs: only what tick watches is asked."""
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        told = hold(site, wait_s=0.2) | {"url": f"http://127.0.0.1:{theirs.getsockname()[1]}"}
        with foreground(site.home.root):
            assert turn._wait_quietly(site.home, told)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.accept()


def test_a_hold_that_names_another_model_is_not_waited_for(site: Any) -> None:
    """What Redis says is not what tick watches: the job itself asks, by its own rules."""
    told = hold(site) | {"tag": "other:1b"}
    with foreground(site.home.root):
        began = time.monotonic()
        assert not turn._wait_quietly(site.home, told)

    assert time.monotonic() - began < 2
