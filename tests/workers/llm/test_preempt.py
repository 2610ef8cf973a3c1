"""Preemption: the user comes, and the connection to the model is closed within a fraction of a second."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.domain import Role
from pipeline.flow import Generate, Sampling
from pipeline.gate import Wish
from pipeline.machine_settings import GateSettings
from workers.lease import LEASE, foreground, lease_held
from workers.llm.gate import Gate
from workers.llm.ollama import OllamaClient
from workers.llm.preempt import Preempted, preemptible
from workers.llm.retry import Transient, retrying

OWN, THEIRS = "smollm2:360m-instruct-q4_K_M", "qwen2.5-coder:3b"
ASKED = Generate(role=Role.GENERATOR, prompt="Rename", sampling=Sampling(temperature=0, seed=1, num_predict=8))
PARTS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
WORD = {"model": OWN, "response": "a", "done": False}

USER = """
import os, pathlib, sys, time
from workers.lease import foreground
for line in sys.stdin:
    with foreground(pathlib.Path(sys.argv[1])):
        print(time.monotonic(), flush=True)
        time.sleep(0.15)
"""


@pytest.fixture
def gate(tmp_path: Path, script: Any) -> Gate:
    """Watch the user's model on the scripted server."""
    return Gate(tmp_path, GateSettings(poll_s=0.02, ps_poll_s=0.2, ps_timeout_s=0.3), THEIRS, script.url)


@pytest.fixture
def client(script: Any) -> Iterator[OllamaClient]:
    """Connect to the scripted server, which stalls in the middle of every reply."""
    script.acts["/api/generate"] = [script.stall(WORD)]
    with OllamaClient(script.url, connect_s=1.0, read_s=5.0) as made:
        made.facts()
        yield made


@pytest.fixture(autouse=True)
def old_handler() -> Iterator[list[int]]:
    """Own SIGUSR1 as a host would, and see that it is given back."""
    calls: list[int] = []

    def handle(signum: int, _: object) -> None:
        calls.append(signum)

    before = signal.signal(signal.SIGUSR1, handle)
    yield calls
    assert signal.getsignal(signal.SIGUSR1) is handle
    signal.signal(signal.SIGUSR1, before)


def ask(client: OllamaClient) -> object:
    """Make the request that stalls."""
    return client.generate(OWN, ASKED, load_options={}, keep_alive=None)


def later(delay: float, act: Callable[[], object]) -> threading.Thread:
    """Run *act* in another thread."""

    def run() -> None:
        time.sleep(delay)
        act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def soon(check: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until *check* holds."""
    end = time.monotonic() + seconds
    while not check() and time.monotonic() < end:
        time.sleep(0.002)
    return check()


def listed(expires: float) -> dict[str, object]:
    """Return a list with the user's model."""
    return {"models": [{"name": THEIRS, "expires_at": dt.datetime.fromtimestamp(expires, dt.UTC).isoformat()}]}


def test_the_lease_interrupts_a_stalled_request(tmp_path: Path, script: Any, gate: Gate, client: OllamaClient) -> None:
    """The server sees the client go, and the reason is known."""
    taken: list[float] = []

    def user() -> None:
        with foreground(tmp_path):
            taken.append(time.monotonic())
            time.sleep(0.2)

    thread = later(0.1, user)
    with pytest.raises(Preempted) as caught, preemptible(gate, OWN):
        ask(client)
    thread.join()

    assert caught.value.reason == "lease"
    assert script.gone[0] - taken[0] < 0.5


def test_the_list_interrupts_too(script: Any, gate: Gate, client: OllamaClient) -> None:
    """A host without the lease: the user's model was loaded meanwhile."""
    gate.ask(Wish(quiet_s=0.0))
    later(0.1, lambda: script.acts.update({"/api/ps": [script.say(listed(time.time() + 300))]})).join()

    with pytest.raises(Preempted) as caught, preemptible(gate, OWN):
        ask(client)
    assert caught.value.reason == "recent-use"


def test_our_own_use_of_the_users_model_is_no_reason(script: Any, gate: Gate) -> None:
    """While we call it, what the list shows of it is ours; then and afterwards."""
    script.acts["/api/ps"] = [script.say(listed(time.time() + 300))]
    gate.ask(Wish(quiet_s=0.0))
    with preemptible(gate, THEIRS):
        time.sleep(0.3)
        script.acts["/api/ps"] = [script.say(listed(time.time() + 300))]
        time.sleep(0.3)

    with preemptible(gate, OWN):
        time.sleep(0.3)


def test_the_lease_interrupts_our_use_of_the_users_model(tmp_path: Path, gate: Gate) -> None:
    """And the call is noted as dropped."""
    with pytest.raises(Preempted), foreground(tmp_path), preemptible(gate, THEIRS):
        time.sleep(5)

    (call,) = gate.look().own
    assert call.cancelled
    assert call.ended is not None


def test_a_list_that_hangs_does_not_slow_the_lease(
    tmp_path: Path, script: Any, gate: Gate, client: OllamaClient
) -> None:
    """Both are watched by a thread of their own."""
    script.acts["/api/ps"] = [script.stall()]
    thread = later(0.25, lambda: subprocess.run([sys.executable, "-c", USER, str(tmp_path)], input=b"1\n", check=True))
    started = time.monotonic()

    with pytest.raises(Preempted), preemptible(gate, OWN):
        ask(client)

    assert time.monotonic() - started < 2.0
    thread.join()


def test_a_list_that_hangs_interrupts_nothing(script: Any, gate: Gate) -> None:
    """Ollama's list may be blocked by our own load."""
    script.acts["/api/ps"] = [script.stall()]

    with preemptible(gate, OWN) as watcher:
        time.sleep(0.6)
    assert not watcher.user_came.is_set()


def test_nothing_is_raised_before_and_after_the_request(tmp_path: Path, gate: Gate, old_handler: list[int]) -> None:
    """The handler that was there before is called again."""
    with preemptible(gate, OWN):
        pass
    with foreground(tmp_path):
        time.sleep(0.1)
    signal.raise_signal(signal.SIGUSR1)

    assert old_handler == [signal.SIGUSR1]


def test_a_signal_of_somebody_else_is_not_the_user(gate: Gate) -> None:
    """Only the watcher's own signal raises."""
    with preemptible(gate, OWN):
        signal.raise_signal(signal.SIGUSR1)


def test_results_and_errors_pass_through(gate: Gate) -> None:
    """Without a user the body ends as it would."""
    with preemptible(gate, OWN):
        answer = 1
    with pytest.raises(KeyError), preemptible(gate, OWN):
        raise KeyError(answer)


def test_another_thread_is_only_told(tmp_path: Path, gate: Gate) -> None:
    """No signal can be raised there, so the event is all."""
    told: list[bool] = []

    def work() -> None:
        with preemptible(gate, OWN) as watcher:
            told.append(watcher.user_came.wait(2.0))

    with foreground(tmp_path):
        later(0.0, work).join()
    assert told == [True]


def test_a_swallowed_exception_is_raised_again(tmp_path: Path, gate: Gate) -> None:
    """Python ignores exceptions in some places; a second later the signal comes anew."""
    swallowed: list[str] = []

    def swallow() -> None:
        try:
            time.sleep(5)
        except Preempted as preempted:
            swallowed.append(preempted.reason)
        time.sleep(5)

    started = time.monotonic()
    with pytest.raises(Preempted), foreground(tmp_path), preemptible(gate, OWN):
        swallow()
    assert swallowed == ["lease"]
    assert 0.9 < time.monotonic() - started < 3.0


def test_it_leaves_the_retry_layer_at_once(tmp_path: Path, script: Any, gate: Gate, client: OllamaClient) -> None:
    """Neither an attempt nor a wait between attempts holds it up; nothing is sent again."""

    def answer(_: object) -> Any:
        with preemptible(gate, OWN):
            return ask(client)

    with pytest.raises(Preempted), foreground(tmp_path):
        retrying(answer)(ASKED)
    assert len(script.bodies("/api/generate")) <= 1


def test_no_thread_is_left_behind(gate: Gate) -> None:
    """After many requests there are as many threads as before."""
    before = threading.active_count()
    for _ in range(50):
        with preemptible(gate, OWN):
            pass
    time.sleep(0.5)

    assert threading.active_count() <= before


def test_signals_at_the_very_end_do_no_harm(tmp_path: Path, gate: Gate, old_handler: list[int]) -> None:
    """The user comes just as the request ends: it is left by `Preempted` or ends well, and nothing arrives later."""
    ended = {"well": 0, "preempted": 0}
    for index in range(30):
        with foreground(tmp_path):
            try:
                with preemptible(gate, OWN):
                    time.sleep(0.015 + (index % 20) * 0.0006)
                ended["well"] += 1
            except Preempted:
                ended["preempted"] += 1

    assert sum(ended.values()) == 30
    assert old_handler == []


@pytest.mark.benchmark
def test_the_latency_of_a_preemption(tmp_path: Path, script: Any) -> None:
    """From a lease taken in another process to the server seeing the disconnect, with the default poll of 0.1 s."""
    trials = int(os.environ.get("EVOCTL_PREEMPT_TRIALS", "3"))
    gate = Gate(tmp_path, GateSettings(), THEIRS, script.url)
    script.acts["/api/generate"] = [script.stall(WORD)]
    (tmp_path / LEASE).parent.mkdir()
    seconds: list[float] = []
    with (
        OllamaClient(script.url, connect_s=1.0, read_s=5.0) as client,
        subprocess.Popen([sys.executable, "-c", USER, str(tmp_path)], stdin=-1, stdout=-1, text=True) as user,
    ):
        assert user.stdin is not None
        assert user.stdout is not None
        for index in range(trials):
            assert soon(lambda: not lease_held(tmp_path))

            def come(index: int = index) -> None:
                assert soon(lambda: len(script.bodies("/api/generate")) > index)
                time.sleep(0.05 + 0.1 * (index * 0.618 % 1))  # anywhere between two looks at the lease
                print("1", file=user.stdin, flush=True)

            thread = later(0.0, come)
            with pytest.raises(Preempted), preemptible(gate, OWN):
                ask(client)
            thread.join()
            taken = float(user.stdout.readline())
            assert soon(lambda: len(script.gone) > index)  # noqa: B023 - called before the loop goes on
            seconds.append(script.gone[index] - taken)
        user.stdin.close()
    seconds.sort()
    at = {name: seconds[min(len(seconds) - 1, int(len(seconds) * part))] for name, part in PARTS.items()}
    print("preempt latency, ms:", {name: round(value * 1000, 1) for name, value in at.items()})  # noqa: T201 - `pytest -s` shows it
    assert at["p50"] < 10 * 0.1


def test_transient_trouble_is_not_preemption(gate: Gate, script: Any, client: OllamaClient) -> None:
    """A server that hangs up is left to the retry layer."""
    script.acts["/api/generate"] = [script.stream(WORD, cut=True)]

    with pytest.raises(Transient), preemptible(gate, OWN):
        ask(client)
