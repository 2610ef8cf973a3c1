"""Which trouble is tried again, how often, and what is left of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from pipeline.errors import Unreachable
from pipeline.flow import Embed, Embedded, Failed, FailureKind, Reply, Request
from workers.llm import retry
from workers.llm.retry import RunnerCrashed, Transient, retrying

ASKED = Embed(texts=("a",))
ANSWERED = Embedded(vectors=((1.0,),), profile="p")


class Stop(BaseException):
    """What a signal handler raises."""


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count attempts without the waits between them."""
    for name in ("FIRST_WAIT_S", "JITTER_S", "CRASH_WAIT_S"):
        monkeypatch.setattr(retry, name, 0.0)


def failing(*troubles: BaseException) -> tuple[Callable[[Request], Reply], list[Request]]:
    """Return an answerer that raises each of *troubles* in turn and then answers, and the list of its calls."""
    calls: list[Request] = []
    left = list(troubles)

    def answer(request: Request) -> Reply:
        calls.append(request)
        if left:
            raise left.pop(0)
        return ANSWERED

    return answer, calls


def test_two_troubles_are_survived() -> None:
    """The third attempt may still answer; the waits grow from 0.2 s."""
    answer, calls = failing(Transient("gone"), Transient("gone"))
    started = time.monotonic()

    assert retrying(answer)(ASKED) is ANSWERED

    assert calls == [ASKED] * 3
    assert 0.6 <= time.monotonic() - started < 1.6


def test_a_third_trouble_is_unreachable(hurried: None) -> None:
    """What the client knew is kept."""
    answer, calls = failing(*[Transient("gone", why="refused", hint="ollama serve")] * 3)

    with pytest.raises(Unreachable) as caught:
        retrying(answer)(ASKED)

    assert (caught.value.what, caught.value.why, caught.value.hint) == ("gone", "refused", "ollama serve")
    assert len(calls) == 3


def test_one_crash_is_survived(hurried: None) -> None:
    """The server starts the runner anew."""
    answer, calls = failing(RunnerCrashed("oom"))

    assert retrying(answer)(ASKED) is ANSWERED
    assert len(calls) == 2


def test_a_second_crash_fails_the_request(hurried: None) -> None:
    """A request that kills its runner twice would do so again; the flow goes on without it."""
    answer, calls = failing(RunnerCrashed("oom"), RunnerCrashed("oom"))

    assert retrying(answer)(ASKED) == Failed(kind=FailureKind.CRASHED, message="oom")
    assert len(calls) == 2


def test_a_crash_and_a_trouble_are_counted_apart(hurried: None) -> None:
    """After a crash the transport has its three attempts again."""
    answer, calls = failing(Transient("gone"), RunnerCrashed("oom"), Transient("gone"), Transient("gone"))

    assert retrying(answer)(ASKED) is ANSWERED
    assert len(calls) == 5


def test_other_errors_pass_at_once() -> None:
    """A bug is not tried again."""
    answer, calls = failing(KeyError("x"))

    with pytest.raises(KeyError):
        retrying(answer)(ASKED)
    assert len(calls) == 1


def test_replies_that_failed_are_not_tried_again() -> None:
    """A `Failed` reply is an answer."""
    failed = Failed(kind=FailureKind.REJECTED)

    assert retrying(lambda _: failed)(ASKED) is failed


def test_a_signal_ends_the_wait_between_attempts() -> None:
    """An exception raised by a handler leaves the wait at once."""
    answer, calls = failing(Transient("gone"))

    def boom(*_: object) -> None:
        raise Stop

    old = signal.signal(signal.SIGALRM, boom)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    started = time.monotonic()
    try:
        with pytest.raises(Stop):
            retrying(answer)(ASKED)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)

    assert time.monotonic() - started < 0.15
    assert len(calls) == 1
