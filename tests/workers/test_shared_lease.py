"""The foreground lease in Redis: held, lapsed, pushed, and never in the way of the user's own work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.gate import Reason, Signal, Wish
from pipeline.machine_settings import GateSettings
from workers.llm.gate import Gate
from workers.llm.preempt import Preempted, preemptible
from workers.shared_lease import KEY, LAST, Ear, SharedLease, shared_foreground

THEIRS, OWN = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M"
NOWHERE = "http://127.0.0.1:9"  # nobody listens: Ollama is down, and used by nobody


@pytest.fixture(name="lease")
def _lease(store: Any) -> Any:
    made = SharedLease(store.url)
    made._door.delete(KEY, LAST)
    yield made
    made.close()


def gate_at(root: Path, lease: SharedLease | None) -> Gate:
    """Return a gate that asks the lease."""
    return Gate(root, GateSettings(poll_s=0.02), THEIRS, NOWHERE, shared=lease)


def test_it_is_held_while_anyone_holds_it(store: Any, lease: SharedLease) -> None:
    """Any number may; the time since the last use counts from the last one's end."""
    assert lease() is None
    with shared_foreground(store.url):
        with shared_foreground(store.url):
            assert lease() == 0
        assert lease() == 0

    assert 0 < (lease() or 0) < 1


def test_a_holder_that_dies_stops_counting(store: Any, lease: SharedLease) -> None:
    """After its time; and the last use is the moment at which it lapsed."""
    lease.take("gone", 0.2)
    assert lease() == 0
    time.sleep(0.5)

    assert 0.1 < (lease() or 0) < 0.5


def test_a_long_use_is_renewed(store: Any, lease: SharedLease) -> None:
    """Three times as long as one promise."""
    with shared_foreground(store.url, lease_s=0.3):
        time.sleep(0.9)
        assert lease() == 0
    assert lease() != 0


def test_a_host_in_another_language_needs_three_commands(store: Any, lease: SharedLease) -> None:
    """ZADD, PUBLISH, ZREM, as the module says."""
    door = lease._door
    door.zadd(KEY, {"my-host": (time.time() + 30) * 1000})
    door.publish(KEY, "my-host")
    assert lease() == 0

    door.zrem(KEY, "my-host")
    assert lease() is None


def test_a_redis_that_is_away_does_not_stop_the_user(tmp_path: Path) -> None:
    """The work is done, and the reason told."""
    told: list[str] = []
    with shared_foreground(f"unix://{tmp_path}/nothing.sock", told=told.append):
        done = True

    assert done
    assert "Redis" in told[0]


def test_the_gate_is_shut_while_it_is_held_and_for_the_quiet_time(
    store: Any, lease: SharedLease, tmp_path: Path
) -> None:
    """As for the lock file."""
    with shared_foreground(store.url):
        assert gate_at(tmp_path, lease).ask(Wish()).reason is Reason.LEASE

    assert gate_at(tmp_path, lease).ask(Wish(quiet_s=60)).reason is Reason.RECENT
    assert gate_at(tmp_path, lease).ask(Wish()).open


def test_a_use_that_nobody_saw_counts_too(store: Any, lease: SharedLease, tmp_path: Path) -> None:
    """Taken and given back between two looks."""
    with shared_foreground(store.url):
        pass

    assert gate_at(tmp_path, lease).ask(Wish(quiet_s=60)).reason is Reason.RECENT


def test_a_lease_that_cannot_be_read_keeps_the_gate_shut(store: Any, lease: SharedLease, tmp_path: Path) -> None:
    """Redis answered before and does not now, so a host may hold it; when it is back, so is the gate."""
    assert gate_at(tmp_path, lease).ask(Wish()).open
    store.kill()
    shut = gate_at(tmp_path, lease).ask(Wish())
    store.start()

    assert shut.reason is Reason.UNKNOWN
    assert "Redis" in shut.detail
    assert gate_at(tmp_path, lease).ask(Wish()).open


def test_who_has_no_redis_believes_a_fresh_reading_of_others(store: Any, lease: SharedLease, tmp_path: Path) -> None:
    """`evoctl status` shows what tick has read."""
    with shared_foreground(store.url):
        gate_at(tmp_path, lease).ask(Wish())
        shown = gate_at(tmp_path, None).ask(Wish())

    assert shown.reason is Reason.LEASE
    assert {one.signal for one in shown.readings} == {Signal.LEASE, Signal.SHARED_LEASE}


def test_a_taken_lease_is_heard_at_once(store: Any, tmp_path: Path) -> None:
    """A call in flight is given up within a fraction of the time between two looks."""
    ear, gate = Ear(store.url), gate_at(tmp_path, None)
    ear.start()
    taken: list[float] = []

    def host() -> None:
        time.sleep(0.5)
        taken.append(time.monotonic())
        with shared_foreground(store.url):
            time.sleep(0.3)

    thread = threading.Thread(target=host)
    thread.start()
    try:
        with pytest.raises(Preempted) as caught, preemptible(gate, OWN) as watcher, ear.telling(watcher.came):
            time.sleep(10)
    finally:
        heard = time.monotonic()
        ear.close()
        thread.join()

    assert caught.value.reason is Reason.LEASE
    assert heard - taken[0] < 0.9


def test_an_ear_hears_again_after_redis_was_away(store: Any, tmp_path: Path) -> None:
    """It connects anew, and sees a lease that was taken meanwhile."""
    heard = threading.Event()
    ear = Ear(store.url)
    ear.start()
    with ear.telling(heard.set):
        store.kill()
        time.sleep(0.2)
        store.start()
        with shared_foreground(store.url):
            assert heard.wait(5)
    ear.close()


def test_evoctl_foreground_holds_both_leases(store: Any, lease: SharedLease, tmp_path: Path) -> None:
    """With --shared the lease in Redis too, and it is given back when the command is killed."""
    home = tmp_path / "home"
    words = [sys.executable, "-m", "ops.cli", "--home", str(home), "foreground", "--shared", "--", "sleep", "30"]
    with subprocess.Popen(words, env={**os.environ, "RQ_REDIS_URL": store.url}) as child:
        end = time.monotonic() + 20
        while lease() != 0 and time.monotonic() < end:
            time.sleep(0.02)
        held = lease()
        child.send_signal(signal.SIGTERM)
        child.wait(10)

    assert held == 0
    assert lease() != 0
