"""A clock that jumps by an hour or a day, both ways: no timer is lost, no gate opens wrongly or stays shut for ever.

The jumps are made at the two seams of the shell: `workers.clock.now` for everything in the database, and `time.time` for
the gate's notes. Times of files are moved as well. libfaketime is not needed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import checks, steps
from models.tables import SkillRow
from models.work_tables import RunRow, StepRow
from pipeline.domain import Stage, StepState, Waiting
from pipeline.gate import Wish
from pipeline.machine_settings import GateSettings
from workers.lease import LEASE, foreground
from workers.llm.gate import Gate
from workers.tick import CONFIG_EVERY, Tick

JUMPS = {"-1 h": -3600.0, "+1 h": 3600.0, "-1 day": -86400.0, "+1 day": 86400.0}
BOTH_WAYS = pytest.mark.parametrize("jump_s", JUMPS.values(), ids=JUMPS.keys())
BACK = pytest.mark.parametrize("jump_s", [-3600.0, -86400.0, -20 * 365 * 86400.0], ids=["1 h", "1 day", "20 years"])
NOW = (
    "workers.stage.now", "workers.tick.now", "workers.relay.now", "workers.answer.now", "workers.live.now",
    "workers.effects.now", "workers.client.now",
)  # fmt: skip


@pytest.fixture(name="jump")
def _jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the clock; the monotonic one goes on."""

    def jump(seconds: float) -> None:
        by, real = timedelta(seconds=seconds), time.time
        for name in NOW:
            monkeypatch.setattr(name, lambda: datetime.now(UTC) + by)
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return jump


# --- timers -----------------------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_a_step_that_waits_for_a_server_is_tried_again_soon(
    site: Any, jump: Any, jump_s: float, until: Callable[..., None]
) -> None:
    """Due in 5 s, and the clock jumps: it is rung within those seconds, whichever way."""
    bell = site.judging()
    with site.opened.write() as session:
        mine = steps.claim(session, bell.step, 1, datetime.now(UTC))
        due = datetime.now(UTC) + timedelta(seconds=2)
        steps.release(session, mine, datetime.now(UTC), waiting_for="Ollama", due=due)
    jump(jump_s)

    until(lambda: site.reconcile() or site.queued(), 5)

    assert site.queued() == ["r1-judge-1-a2"]


@BACK
def test_a_step_that_died_twice_is_tried_again_soon(site: Any, jump: Any, jump_s: float) -> None:
    """Its pause of half a second does not become a day."""
    bell = site.judging()
    for attempt in (1, 2):
        with site.opened.write() as session:
            steps.claim(session, bell.step, attempt, datetime.now(UTC))
        site.reconcile()
    assert site.step(bell).due_at is not None
    jump(jump_s)

    site.reconcile()

    assert "r1-judge-1-a3" in site.queued()


@BACK
def test_a_calendar_that_lies_ahead_is_looked_at_again(site: Any, jump: Any, jump_s: float) -> None:
    """A wait for votes whose timer was set by a wrong clock is woken once, and then not again before its time."""
    bell = site.judging()
    with site.opened.write() as session:
        mine = steps.claim(session, bell.step, 1, datetime.now(UTC))
        steps.advance(session, mine, Waiting.FOR_VOTES, datetime.now(UTC), due=datetime.now(UTC) + timedelta(days=7))
    jump(jump_s)

    site.reconcile()
    woken = (site.step(bell).state, site.queued())
    at = datetime.now(UTC) + timedelta(seconds=jump_s)
    with site.opened.write() as session:
        mine = steps.claim(session, bell.step, 2, at)
        steps.advance(session, mine, Waiting.FOR_VOTES, at, due=at + timedelta(days=7))

    assert woken == (StepState.READY, ["r1-judge-1-a2"])
    assert site.reconcile() == 0
    assert site.step(bell).state == StepState.WAITING


def test_clocks_that_differ_by_seconds_wake_nobody(site: Any, jump: Any) -> None:
    """Two hosts on one database: half a minute between their clocks is no clock that was put back."""
    bell = site.judging()
    with site.opened.write() as session:
        mine = steps.claim(session, bell.step, 1, datetime.now(UTC))
        due = datetime.now(UTC) + timedelta(days=1)
        steps.advance(session, mine, Waiting.FOR_VOTES, datetime.now(UTC), due=due)
    jump(-30.0)

    assert site.reconcile() == 0


@BACK
def test_drift_checks_go_on(site: Any, jump: Any, jump_s: float) -> None:
    """A last check that lies in the future keeps no other one away: the next is started at once, and then in its time."""
    tick = Tick(site.home)
    tick.once(site.opened, site.bells)  # notes the first check as of now
    jump(jump_s)

    for _ in range(2 * CONFIG_EVERY):
        tick.once(site.opened, site.bells)

    with site.opened.read() as session:
        runs = list(session.scalars(select(RunRow).where(RunRow.skill_name == "file-naming")))
        checked = session.get_one(SkillRow, "file-naming").checked_at
    assert [run.trigger for run in runs] == ["timer"]
    assert checked is not None
    assert abs((checked - datetime.now(UTC)).total_seconds() - jump_s) < 60


@pytest.mark.parametrize(
    ("ahead_h", "left_h"), [(0.0, 10.0), (-4.0, 6.0), (-11.0, None), (1.0, 11.0), (10.0, 20.0), (24.0 * 365, None)]
)
def test_a_cooldown_is_never_longer_than_twice_its_time(site: Any, ahead_h: float, left_h: float | None) -> None:
    """An evolution that began ahead of the clock: the cooldown ends in bounded time, also after a year of a wrong clock."""
    from pipeline.detect import _cooled_down  # noqa: PLC0415 - the rule itself

    site.change(triggers={"cooldown_h": 10.0})
    at = datetime.now(UTC)
    with site.opened.write() as session:
        case = checks.detect_case(session, site.rules, at, forced=False)
    object.__setattr__(case, "last_evolution", at + timedelta(hours=ahead_h))

    ready = _cooled_down(case)

    assert ready == (None if left_h is None else at + timedelta(hours=left_h))


@BOTH_WAYS
def test_a_whole_step_is_worked_on_across_a_jump(site: Any, jump: Any, jump_s: float) -> None:
    """Slices, journal and hand-over need no clock that goes forward."""
    site.change(work={"slice_s": 0.0001})
    bell = site.judging(2)
    bell = site.work(bell).bells[0]
    jump(jump_s)

    site.relay(bell)
    assert site.work(bell).words == "done: judge visit 1"

    assert site.server.counts().paid_twice == {}
    assert site.steps()[-1].stage == Stage.DEDUPE


@BOTH_WAYS
def test_jobs_are_rung_across_a_jump(site: Any, jump: Any, jump_s: float) -> None:
    """A lost bell is noticed by the monotonic clock."""
    bell = site.judging()
    site.relay(bell)
    site.redis.delete("rq:queue:evolution")
    site.reconcile()
    jump(jump_s)
    time.sleep(0.4)

    assert site.reconcile() == 1
    with site.opened.read() as session:
        assert session.get_one(StepRow, bell.step).attempt == 2


# --- the gate ---------------------------------------------------------------------------------------------------------


def gate_of(site: Any) -> Gate:
    """Return a gate with short waits."""
    settings = GateSettings(ps_poll_s=0.2, poll_s=0.02)
    return Gate(site.home.root, settings, "qwen2.5-coder:3b", site.server.url)


@BOTH_WAYS
def test_the_gate_opens_after_a_jump(site: Any, jump: Any, jump_s: float) -> None:
    """Whatever the jump: after the quiet period by the new clock it is open; at worst that period begins anew."""
    gate = gate_of(site)
    with foreground(site.home.root):
        assert not gate.ask(Wish(quiet_s=1.0)).open
    jump(jump_s)
    first = gate.ask(Wish(quiet_s=1.0))
    end = time.monotonic() + 4.0
    while not (reading := gate.ask(Wish(quiet_s=1.0))).open and time.monotonic() < end:
        time.sleep(0.1)

    assert reading.open, reading
    assert first.open or (first.waits_s or 0.0) <= 1.0


@BOTH_WAYS
def test_a_lease_keeps_the_gate_shut_across_a_jump(site: Any, jump: Any, jump_s: float) -> None:
    """A user at work is seen by a kernel lock, not by a time; what they used just before the jump backwards counts too."""
    gate = gate_of(site)
    with foreground(site.home.root):
        jump(jump_s)
        assert gate.ask(Wish(quiet_s=0.0)).reason == "lease"
    after = gate.ask(Wish(quiet_s=60.0))

    assert not after.open


@pytest.mark.parametrize("ahead_s", [3600.0, 86400.0, 20 * 365 * 86400.0])
def test_a_lease_file_of_the_future_shuts_the_gate_once(site: Any, ahead_s: float) -> None:
    """Its time counts as now, one quiet period long."""
    gate = gate_of(site)
    with foreground(site.home.root):
        pass
    os.utime(site.home.root / LEASE, (time.time() + ahead_s,) * 2)
    first = gate.ask(Wish(quiet_s=0.5))
    time.sleep(0.8)

    assert not first.open
    assert gate.ask(Wish(quiet_s=0.5)).open
