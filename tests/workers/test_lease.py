"""The foreground lease between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.lease import LEASE, foreground, last_foreground_use, lease_held

HOLDER = """
import pathlib, sys, time
from workers.lease import foreground
with foreground(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(root: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lease; returns when it does."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def soon(check: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait until *check* holds."""
    end = time.monotonic() + seconds
    while not check() and time.monotonic() < end:
        time.sleep(0.005)
    return check()


def test_the_lease_is_held_inside_and_free_outside(tmp_path: Path) -> None:
    """The first holder makes the file."""
    assert not lease_held(tmp_path)
    with foreground(tmp_path):
        assert lease_held(tmp_path)
    assert not lease_held(tmp_path)


def test_asking_makes_no_file(tmp_path: Path) -> None:
    """A home without a host stays as it is."""
    lease_held(tmp_path)

    assert last_foreground_use(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_several_may_hold_it_at_once(tmp_path: Path) -> None:
    """It is free only when the last one is done."""
    with foreground(tmp_path):
        with foreground(tmp_path):
            pass
        assert lease_held(tmp_path)
    assert not lease_held(tmp_path)


def test_an_error_inside_gives_it_back(tmp_path: Path) -> None:
    """A host's failing call does not lock evolution out."""
    with pytest.raises(KeyError), foreground(tmp_path):
        raise KeyError("host")
    assert not lease_held(tmp_path)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_the_lease_ends_with_its_process(tmp_path: Path, kill: signal.Signals) -> None:
    """The kernel gives it back, however the holder dies."""
    with holder(tmp_path) as process:
        assert lease_held(tmp_path)
        process.send_signal(kill)
        assert soon(lambda: not lease_held(tmp_path))


def test_a_forked_child_does_not_keep_it(tmp_path: Path) -> None:
    """A child that outlives the call still has the file open; the lease is free nevertheless."""
    with foreground(tmp_path):
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
    try:
        assert not lease_held(tmp_path)
    finally:
        for process in (pid, child.pid):
            os.kill(process, signal.SIGKILL)
        os.waitpid(pid, 0)
        child.wait()


def test_the_time_of_last_use_is_kept(tmp_path: Path) -> None:
    """Taking the lease and giving it back both count."""
    before = time.time()
    with foreground(tmp_path):
        taken = last_foreground_use(tmp_path)
        os.utime(tmp_path / LEASE, (1.0, 1.0))
    given_back = last_foreground_use(tmp_path)

    assert taken is not None
    assert given_back is not None
    assert before - 0.05 <= taken <= given_back + 0.05 <= time.time() + 0.1


def test_asking_never_makes_a_holder_fail_or_wait(tmp_path: Path) -> None:
    """Holders come and go while another thread asks as fast as it can."""
    stop = threading.Event()
    waits: list[float] = []

    def ask() -> None:
        while not stop.is_set():
            lease_held(tmp_path)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(500):
            started = time.perf_counter()
            with foreground(tmp_path):
                waits.append(time.perf_counter() - started)
    finally:
        stop.set()
        thread.join()

    assert sorted(waits)[len(waits) // 2] < 0.05
    assert max(waits) < 1.0


def test_a_lease_that_cannot_be_asked_is_no_silence(tmp_path: Path) -> None:
    """A folder in the file's place is an error, not "free"."""
    (tmp_path / LEASE).mkdir(parents=True)

    with pytest.raises(OSError, match="directory"):
        lease_held(tmp_path)


def test_a_host_imports_nothing_heavy() -> None:
    """The module needs the standard library only, and little of it."""
    code = "import sys, workers.lease; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    loaded = set(run.stdout.split())
    assert loaded - sys.stdlib_module_names - {"workers", "__mp_main__"} == {
        name for name in loaded if name.startswith(("_", "sitecustomize", "usercustomize"))
    } - sys.stdlib_module_names - {"__mp_main__"}
    assert not {"asyncio", "logging", "socket", "subprocess"} & loaded
