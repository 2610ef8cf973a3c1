"""Measured speeds: of real calls of this machine, lately, and assumed where there are too few; on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from models import journal, speeds
from models.runs import Bell
from models.speeds import RECENT, Speed
from models.work_tables import RunRow
from pipeline.costs import ASSUMED_S, MIN_CALLS
from pipeline.domain import Role, RunKind, Stage
from pipeline.flow import Failed, FailureKind, Generated, Reply

Memory = Any  # tests are no package, so the fixture's class cannot be imported
TAG = "qwen2.5-coder:3b"


def answered(seconds: float) -> Generated:
    """A reply that took *seconds*."""
    return Generated(text="x", done_reason="stop", tokens=3, prompt_tokens=5, duration_s=seconds)


def make_calls(
    memory: Memory, count: int, reply: Reply, *, role: str = "task", tag: str = TAG, simulated: bool = False
) -> Bell:
    """Make *count* calls in a run of their own."""
    bell: Bell = memory.run(stage=Stage.MUTATE, kind=RunKind.PROMOTION)
    mine = memory.claim(bell)
    with memory.write() as session:
        for number in range(count):
            journal.record(
                session, mine, (f"{number}", 0), reply, role=role, tag=tag, simulated=simulated, now=memory.now
            )
    return bell


def speed_of(memory: Memory, role: Role = Role.TASK) -> Speed:
    """Return the speed of one role."""
    with memory.maker() as session:
        (found,) = (one for one in speeds.speeds(session, memory.rules) if one.role == role)
    return found


def test_a_machine_without_calls_has_assumed_speeds(memory: Memory) -> None:
    """Every role that is played is listed with its tag, and nothing is said to be measured."""
    with memory.maker() as session:
        found = speeds.speeds(session, memory.rules)

    assert [one.role for one in found] == [role for role in Role if role is not Role.SECOND_JUDGE]
    assert {one.role: one.tag for one in found} == {
        role: memory.rules.tag(role) for role in Role if role is not Role.SECOND_JUDGE
    }
    assert all(one.seconds == ASSUMED_S[Role(one.role)] and not one.measured for one in found)


def test_ten_calls_are_a_measurement(memory: Memory) -> None:
    """From then on their mean is the speed; the other roles stay assumed."""
    make_calls(memory, MIN_CALLS - 5, answered(1.0))
    make_calls(memory, 5, answered(2.0))

    found = speed_of(memory)

    assert (found.seconds, found.calls, found.measured) == (pytest.approx(1.5), MIN_CALLS, True)
    assert not speed_of(memory, Role.JUDGE).measured


def test_nine_calls_are_none(memory: Memory) -> None:
    """One call fewer, and the speed is assumed."""
    make_calls(memory, MIN_CALLS - 1, answered(1.0))

    assert speed_of(memory) == Speed(role="task", tag=TAG, seconds=ASSUMED_S[Role.TASK], calls=0)


def test_only_the_newest_calls_count(memory: Memory) -> None:
    """A machine that got faster is as fast as it is now."""
    make_calls(memory, 30, answered(9.0))
    make_calls(memory, RECENT, answered(1.0))

    found = speed_of(memory)

    assert (found.seconds, found.calls) == (pytest.approx(1.0), RECENT)


def test_calls_that_failed_are_left_out(memory: Memory) -> None:
    """A refusal takes no time and says nothing of an answer."""
    make_calls(memory, 20, answered(1.0))
    make_calls(memory, 20, Failed(kind=FailureKind.REJECTED, message="no"))

    assert (speed_of(memory).seconds, speed_of(memory).calls) == (pytest.approx(1.0), 20)


def test_simulated_runs_are_left_out(memory: Memory) -> None:
    """One simulated reply makes its whole run say nothing of a real model."""
    make_calls(memory, 20, answered(2.0))
    make_calls(memory, 20, answered(0.001), simulated=True)
    partly = make_calls(memory, 20, answered(0.001))
    with memory.write() as session:
        session.get_one(RunRow, partly.run).simulated = True

    assert (speed_of(memory).seconds, speed_of(memory).calls) == (pytest.approx(2.0), 20)


def test_roles_and_tags_are_told_apart(memory: Memory) -> None:
    """The same model judges more slowly than it answers, and another model is another speed."""
    make_calls(memory, 20, answered(1.0))
    make_calls(memory, 20, answered(4.0), role="judge")
    make_calls(memory, 20, answered(9.0), tag="other:7b")

    assert speed_of(memory).seconds == pytest.approx(1.0)
    assert speed_of(memory, Role.JUDGE).seconds == pytest.approx(4.0)


def test_calls_of_long_ago_are_not_looked_at(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the ledger is, only its newest rows are read."""
    monkeypatch.setattr(speeds, "LOOKED_AT", 15)
    make_calls(memory, 20, answered(1.0))
    make_calls(memory, 10, answered(4.0), role="judge")

    assert not speed_of(memory).measured
    assert speed_of(memory, Role.JUDGE).calls == 10
