"""What the ledger's counts teach of the generator's tokens: only its own, of one digest, and the same on a replay."""

from __future__ import annotations

from typing import Any

import pytest

from models import journal
from models.gauges import generator_gauge
from models.steps import Claim
from pipeline.algorithms.tokens import UNTAUGHT, Gauge
from pipeline.domain import RunKind, Stage
from pipeline.flow import Failed, FailureKind, Generated, Reply

Memory = Any  # tests are no package, so the fixture's class cannot be imported


@pytest.fixture(name="mine")
def _mine(memory: Memory) -> Claim:
    """Return a claim on the first visit of a search."""
    claim: Claim = memory.claim(memory.run(Stage.MUTATE))
    return claim


def said(count: int, digest: str = "d1") -> Generated:
    """A reply to a prompt of *count* tokens."""
    return Generated(
        text="x", done_reason="stop", prompt_tokens=count, tokens=3, duration_s=1.0, served_by=f"tag {digest} 0.33.0"
    )


def call(memory: Memory, mine: Claim, estimate: float, reply: Reply, *, role: str = "generator", key: int = 0) -> None:
    """Enter one call."""
    tag = memory.rules.settings.models.generator
    with memory.write() as session:
        sha = f"{key}-{estimate}-{role}"
        journal.record(
            session, mine, (sha, 0), reply, role=role, tag=tag, simulated=False, now=memory.now, estimate=estimate
        )


def gauge(memory: Memory, mine: Claim) -> Gauge:
    """Read the gauge as a visit does."""
    with memory.maker() as session:
        return generator_gauge(session, mine)


def test_without_calls_nothing_is_taught(memory: Memory, mine: Claim) -> None:
    """The prior stands."""
    assert gauge(memory, mine) == UNTAUGHT


def test_calls_of_earlier_visits_teach(memory: Memory, mine: Claim) -> None:
    """Forty counts of twice the estimate and 30 tokens of template."""
    other = memory.claim(memory.run(Stage.MUTATE, RunKind.PROMOTION))
    for n in range(40):
        call(memory, other, 50.0 + n, said(30 + 2 * (50 + n)), key=n)
    found = gauge(memory, mine)

    assert found.calls == 40
    assert abs(found.expected(100.0) - 230) < 12


def test_calls_of_the_visit_itself_do_not(memory: Memory, mine: Claim) -> None:
    """A visit that is made again after a crash asks the same questions."""
    other = memory.claim(memory.run(Stage.MUTATE, RunKind.PROMOTION))
    call(memory, other, 100.0, said(150))
    before = gauge(memory, mine)
    call(memory, mine, 100.0, said(900), key=1)
    call(memory, other, 100.0, said(900), key=2)

    assert gauge(memory, mine) == before
    assert before.calls == 1


def test_only_the_model_that_answered_last_teaches(memory: Memory, mine: Claim) -> None:
    """Counts of another digest, role, failed calls and calls without an estimate or a count are left out."""
    other = memory.claim(memory.run(Stage.MUTATE, RunKind.PROMOTION))
    call(memory, other, 100.0, said(900, "old"), key=1)
    call(memory, other, 0.0, said(900), key=2)
    call(memory, other, 100.0, said(0), key=3)
    call(memory, other, 100.0, said(900), role="task", key=4)
    call(memory, other, 100.0, Failed(kind=FailureKind.TOO_LONG), key=5)
    call(memory, other, 100.0, said(130), key=6)

    assert gauge(memory, mine).calls == 1
