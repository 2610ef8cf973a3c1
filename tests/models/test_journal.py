"""The journal: replies come back as they were, under the claim's fence, and the ledger outlives them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from models import journal, steps
from models.runs import end_run
from models.steps import Fenced
from models.work_tables import RunRow
from pipeline.domain import Ending, Role, RunKind, Stage
from pipeline.flow import Embed, Embedded, Failed, FailureKind, Generate, Generated, Published, Sampling, Scored

REPLIES = (
    Generated(
        text="a\x00\ud83d\u2028 'x'", done_reason="stop", prompt_tokens=7, tokens=3, duration_s=1.5, mean_logprob=-0.25
    ),
    Embedded(vectors=((0.6, 0.8),), profile="digest|prefix|2", duration_s=0.5),
    Scored(value=0.5, lost=("case",)),
    Published(ok=True, template="t.md"),
    Failed(kind=FailureKind.TOO_LONG, message="too long"),
)


def ask(prompt: str = "p", **sampling: Any) -> Generate:
    """A request."""
    options = {"temperature": 0.0, "seed": 1, "num_predict": 8} | sampling
    return Generate(role=Role.TASK, prompt=prompt, sampling=Sampling(**options))


def write(memory: Any, mine: Any, key: journal.Key, reply: Any, role: str = "task") -> None:
    """Record one reply."""
    with memory.write() as session:
        journal.record(session, mine, key, reply, role=role, tag="m:1", simulated=True, now=memory.now)


def test_every_kind_of_reply_comes_back_as_it_was(memory: Any) -> None:
    """Text with zero bytes and torn characters, vectors, scores and failures: a replay sees exactly the same."""
    mine = memory.claim(memory.run())
    for index, reply in enumerate(REPLIES):
        write(memory, mine, ("sha", index), reply)

    with memory.write() as session:
        found = journal.load_replies(session, mine)

    assert found == {("sha", index): reply for index, reply in enumerate(REPLIES)}
    assert type(found["sha", 4].kind) is FailureKind
    assert memory.run_row(mine).simulated


def test_a_replay_sees_its_own_visit_only(memory: Any) -> None:
    """Another visit, stage or run has a journal of its own, whatever the requests."""
    mine = memory.claim(memory.run(Stage.MUTATE))
    write(memory, mine, ("sha", 0), REPLIES[0])
    with memory.write() as session:
        (after,) = steps.advance(session, mine, Stage.MUTATE, memory.now)
    second = memory.claim(after)

    with memory.write() as session:
        assert journal.load_replies(session, second) == {}


def test_only_the_newest_claim_may_write(memory: Any) -> None:
    """The reply of a process that was taken over is refused, and costs nothing."""
    bell = memory.run()
    old = memory.claim(bell)
    memory.claim(bell)

    with pytest.raises(Fenced):
        write(memory, old, ("sha", 0), REPLIES[0])

    with memory.write() as session:
        assert journal.spent(session, bell.run).calls == 0


def test_a_request_is_answered_once(memory: Any) -> None:
    """The table itself refuses a second reply to the same occurrence of a request."""
    mine = memory.claim(memory.run())
    write(memory, mine, ("sha", 0), REPLIES[0])

    with pytest.raises(IntegrityError):
        write(memory, mine, ("sha", 0), REPLIES[0])


def test_the_ledger_counts_model_calls_and_lost_ones(memory: Any) -> None:
    """Effects cost nothing; a call that was cut off counts with the time it took; the visit at work can be left out."""
    mine = memory.claim(memory.run(Stage.MUTATE))
    write(memory, mine, ("a", 0), REPLIES[0])
    write(memory, mine, ("b", 0), REPLIES[2], role="ScoreOutside")
    with memory.write() as session:
        journal.record_cancelled(session, mine, role="task", tag="m:1", duration_s=30, now=memory.now)

    with memory.write() as session:
        whole = journal.spent(session, mine.run)
        before = journal.spent(session, mine.run, before_visit=(mine.stage, mine.visit))
    assert whole == journal.Spent(calls=2, minutes=pytest.approx(0.525))
    assert before == journal.Spent(calls=0, minutes=0.0)
    assert whole.plus(REPLIES[0]).calls == 3


def test_old_replies_are_dropped_and_their_cost_is_kept(memory: Any) -> None:
    """Texts of runs that ended before the set time are gone; open runs and later ends keep theirs."""
    ended, still_open = memory.claim(memory.run(kind=RunKind.DRIFT_CHECK)), memory.claim(memory.run())
    for mine in (ended, still_open):
        write(memory, mine, ("sha", 0), REPLIES[0])
    with memory.write() as session:
        end_run(session.get_one(RunRow, ended.run), Ending.HEALTHY, "", memory.now)

    with memory.write() as session:
        assert journal.prune(session, memory.now) == 0
        assert journal.prune(session, memory.now + timedelta(seconds=1)) == 1
        assert journal.prune(session, memory.now + timedelta(seconds=1)) == 0
        assert journal.load_replies(session, ended) == {}
        assert len(journal.load_replies(session, still_open)) == 1
        assert journal.spent(session, ended.run).calls == 1


def test_a_request_is_named_by_everything_that_shapes_its_answer() -> None:
    """Prompt, options, kind and who serves it: a change of any is another request."""
    names = {
        journal.request_sha(request, served)
        for request in (ask(), ask("q"), ask(seed=2), ask(temperature=0.1), ask(stop=("x",)), Embed(texts=("p",)))
        for served in ("m:1 digest 0.33", "m:1 other 0.33", "m:1 digest 0.34")
    }

    assert len(names) == 18
    assert journal.request_sha(ask(), "m") == journal.request_sha(ask(), "m")


@given(st.lists(st.text(max_size=8), min_size=2, max_size=4), st.lists(st.text(max_size=8), min_size=2, max_size=4))
def test_two_lists_of_texts_have_one_name_only_when_equal(one: list[str], other: list[str]) -> None:
    """Texts do not run into one another, whatever is in them."""
    names = {journal.request_sha(Embed(texts=tuple(texts)), "") for texts in (one, other)}

    assert (len(names) == 1) == (one == other)
