"""Whole lives of evolutions under a seeded plan of faults: nothing is lost, nothing is done twice, all come to an end.

`make chaos SEED=7 MINUTES=10` runs it; docs/chaos.md says what is struck and what is looked at.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos import oracle
from tests.chaos.faults import Faults
from tests.chaos.people import People
from tests.chaos.plan import Fault, plan
from tests.chaos.world import World, world

CI_MINUTES, MINUTES = 2.0, 10.0  # with faults; to set up and to come to rest takes another minute at most
PACE_S = 2.2  # between two faults at the longest; a busy machine waits less for moments and measures less
PATIENCE_S, LEAST_PATIENCE_S = 5.0, 0.5  # for a moment to come; the fault strikes all the same when it does not
MEASURED = 4  # every so many-th fault is waited for, however late it is
LAST_BEGIN = 0.65  # share of the time after which no test is begun any more
REST_S = 600.0  # for everything to come to its end when the faults are over
RESUME_S = 3.0  # from the end of a fault to the next sign of life, where work is due
SLOWEST = 5  # of the times to go on, told with their fault
STUCK_S = 60.0  # without a sign of life nothing comes any more
DEADLY = ("kill-", "term-", "stop-job", "valkey-", "freeze", "second-worker")  # those that end a job's process
INTERRUPTING = (*DEADLY, "lease", "database-locked", "model-server-kill")  # the time to go on is measured


@dataclass
class Lived:
    """What came of a run of the suite.

    Attributes:
        lost: everything that was not as it must be at the end.
        struck: faults by kind.
        resumed: seconds to the next sign of life, with the fault's kind and moment.
        load: the machine's highest load for each of its cores while that was measured, 1 at least.
    """

    lost: list[str] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    resumed: list[tuple[float, str]] = field(default_factory=list)
    load: float = 1.0

    def quantile(self, share: float) -> float:
        """Return a quantile of the resume times, in seconds."""
        times = sorted(seconds for seconds, _ in self.resumed)
        return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0


def _run(folder: Path, seed: int, minutes: float, say: Callable[[str], None]) -> Lived:
    """Live for *minutes* under faults, come to rest, look, and report."""
    lived = Lived()
    with world(folder, seed) as made:
        people = People(made, random.Random(seed))  # noqa: S311 - a plan that can be replayed
        faults = Faults(people)
        made.counts["calls of the host"] = len(made.told)
        made.forget_on_death(keeps=False)
        made.kill(made.pid("valkey"))
        began, keeps = time.monotonic(), False
        for fault in plan(seed):
            spent = (time.monotonic() - began) / (minutes * 60)
            if spent >= 1:
                break
            if spent >= 0.5 and not keeps:
                made.forget_on_death(keeps=True)
                keeps = True
            ahead_s = lived.struck.total() * PACE_S - (time.monotonic() - began)
            _live(people, fault.gap_s if ahead_s > 0 else 0.0, begin=spent < LAST_BEGIN)
            made.counts["deadly"] += fault.kind.startswith(DEADLY)
            faults.strike(fault, min(PATIENCE_S, max(LEAST_PATIENCE_S, ahead_s)))
            lived.struck[fault.kind] += 1
            measured = not fault.salvo and (ahead_s > 0 or fault.number % MEASURED == 0)
            if measured and fault.kind.startswith(INTERRUPTING):
                _resume(made, fault, lived)
        made.end_what_is_over(all_of_it=True)
        rest_s = _rest(people)
        lived.lost = oracle.losses(made, lived.struck.total())
        with made.evolution.database.read() as session:
            twice = oracle.paid_twice(session, made)
        say(f"seed {seed}, {minutes:g} min, half of it without persistence of Valkey; came to rest in {rest_s:.0f} s")
        _report(say, made, lived, faults, twice)
    return lived


def _live(people: People, seconds: float, *, begin: bool) -> None:
    """Let people do their part for a while, once at least."""
    end = time.monotonic() + seconds
    while True:
        people.world.end_what_is_over()
        people.world.hear()
        people.live(begin=begin)
        if time.monotonic() >= end:
            return
        time.sleep(0.1)


def _resume(made: World, fault: Fault, lived: Lived) -> None:
    """Measure the time to the next sign of life: a job that takes a step, a model call, or that nothing is due."""
    watch, began = made.watch, time.monotonic()
    claims, calls = watch.claims, watch.calls
    came = watch.wait(lambda: watch.claims > claims or watch.calls > calls or not watch.due, STUCK_S)
    took = time.monotonic() - began
    assert came, f"nothing goes on after fault {fault.number}, {fault.kind} at {fault.moment}: {watch.steps}"
    if watch.claims > claims or watch.calls > calls:
        lived.resumed.append((took, f"{fault.kind} at {fault.moment}"))
        lived.load = max(lived.load, os.getloadavg()[0] / (os.cpu_count() or 1))


def _rest(people: People) -> float:
    """Let everything come to its end without faults; returns the seconds that it took."""
    began = time.monotonic()
    people.world.hear(patience_s=60.0)
    while not people.world.tell_simulator("knobs", tokens_per_second=0):  # nothing needs to be hit any more
        assert time.monotonic() - began < STUCK_S * 2, "the simulated server does not come back"
        time.sleep(0.2)
    while people.world.open_runs():
        assert time.monotonic() - began < REST_S, f"it does not come to rest: {people.world.watch.steps}"
        _live(people, 0.1, begin=False)
    time.sleep(1.0)  # for what a late duplicate might still do
    return time.monotonic() - began


def _report(say: Callable[[str], None], made: World, lived: Lived, faults: Faults, twice: int) -> None:
    say(f"faults: {lived.struck.total()}: {_listed(lived.struck)}")
    say(f"moments met: {_listed(Counter(faults.met))}")
    say(f"evolutions: {_listed(oracle.endings(made))}")
    say(f"people: {_listed(made.counts)}")
    p50, p95, most = (lived.quantile(share) for share in (0.5, 0.95, 1.0))
    say(
        f"resume: {len(lived.resumed)} measured, p50 {p50:.2f} s, p95 {p95:.2f} s, max {most:.2f} s, "
        f"load {lived.load:.1f} a core"
    )
    slowest = sorted(lived.resumed, reverse=True)[:SLOWEST]
    say(f"slowest: {', '.join(f'{seconds:.1f} s after {what}' for seconds, what in slowest)}")
    say(f"answers paid twice: {twice}")
    say(f"losses: {len(lived.lost)}")
    for one in lived.lost:
        say(f"  {one}")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _seed() -> int:
    given = os.environ.get("CHAOS_SEED", "")
    return int(given) if given else secrets.randbelow(10**6)


@pytest.fixture(name="chaos")
def _chaos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> Callable[[float], Lived]:
    """Return what runs the suite for some minutes, in a folder of this test, and prints its seed first."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("DATABASE_URL", "EVOCTL_HOME", "EVOCTL_CONFIG", "RQ_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")  # the fixtures leave processes no stderr

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(line, flush=True)  # noqa: T201 - a report

    def run(minutes: float) -> Lived:
        seed = _seed()
        say(f"\nchaos: make chaos SEED={seed} MINUTES={minutes:g}")
        return _run(tmp_path / "world", seed, minutes, say)

    return run


@pytest.mark.timeout(900)
def test_nothing_is_lost_in_two_minutes_of_faults(
    chaos: Callable[[float], Lived],
) -> None:
    """Fifty faults in two minutes: every evolution ends, and every effect is there exactly once."""
    lived = chaos(CI_MINUTES)

    assert lived.lost == []
    assert lived.struck.total() >= 50
    assert lived.quantile(0.5) <= RESUME_S * 3 * lived.load  # other tests' work comes on top


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_nothing_is_lost_for_as_long_as_wanted(
    chaos: Callable[[float], Lived],
) -> None:
    """The same for MINUTES; half of the times to go on are within the limit, by the load of a core."""
    lived = chaos(float(os.environ.get("CHAOS_MINUTES") or MINUTES))

    assert lived.lost == []
    assert lived.quantile(0.5) <= RESUME_S * lived.load
