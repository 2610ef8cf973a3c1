"""The answerer: journal first, within the budget, and effects outside the database exactly once."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from models import journal, steps
from models.runs import start_run
from pipeline.domain import Role, RunKind, Stage
from pipeline.flow import Failed, FailureKind, Generate, Generated, Sampling, Scored, ScoreOutside
from workers.answer import Answering
from workers.effects import score_outside


def ask(number: int = 0) -> Generate:
    """A request to the task model."""
    return Generate(
        role=Role.TASK, prompt=f"Say {number}.\n---\nDescription: a cat", sampling=Sampling(temperature=0, seed=1, num_predict=8)
    )  # fmt: skip


def searching(site: Any, **search: Any) -> Any:
    """Start a search and claim its first step."""
    site.change(search=search)
    with site.opened.write() as session:
        bell = start_run(
            session, rules=site.rules, kind=RunKind.EVOLUTION, trigger="person", stage=Stage.MUTATE, version=1, seed=1,
            now=datetime.now(UTC),
        )  # fmt: skip
        return steps.claim(session, bell.step, 1, datetime.now(UTC))


def answering(site: Any, mine: Any) -> Answering:
    """Open an answerer."""
    return Answering(site.home, site.opened, mine, waited=False)


def test_the_same_request_twice_is_two_calls(site: Any) -> None:
    """A visit may ask the same question more than once: each time is its own call, and a replay gives both again."""
    mine = searching(site)
    with answering(site, mine) as live:
        first = (live(ask()), live(ask()), live(ask(1)))
    with answering(site, mine) as replayed:
        second = (replayed(ask()), replayed(ask()), replayed(ask(1)))

    assert first == second
    assert site.paid() == 3


def test_a_replay_may_stop_earlier_and_go_on(site: Any) -> None:
    """The journal answers what it holds, in any order; only what is new is asked."""
    mine = searching(site)
    with answering(site, mine) as live:
        live(ask(1))
        live(ask(2))
    with answering(site, mine) as replayed:
        replayed(ask(2))
        replayed(ask(3))

    assert site.paid() == 3


def test_the_budget_of_calls_ends_a_search(site: Any) -> None:
    """Its last call is made, the next one is answered with BUDGET, costs nothing, and is not remembered."""
    mine = searching(site, budget_calls=10)
    with answering(site, mine) as live:
        replies = [live(ask(i)) for i in range(12)]
    with answering(site, mine) as replayed:
        again = [replayed(ask(i)) for i in range(12)]

    assert all(isinstance(reply, Generated) for reply in replies[:10])
    assert [reply.kind for reply in replies[10:]] == [FailureKind.BUDGET] * 2
    assert again == replies
    assert (site.paid(), journal_rows(site, mine)) == (10, 10)


def journal_rows(site: Any, mine: Any) -> int:
    """Count the replies that a replay would find."""
    with site.opened.read() as session:
        return len(journal.load_replies(session, mine))


def test_the_budget_of_minutes_ends_a_search(site: Any) -> None:
    """Model time is counted as it is spent, calls that were cut off included."""
    mine = searching(site, budget_min=0.5)
    with site.opened.write() as session:
        journal.record_cancelled(session, mine, role="task", tag="", duration_s=29.9, now=datetime.now(UTC))
    site.server.turn({"tokens_per_second": 40.0})
    with answering(site, mine) as live:
        kinds = [type(live(ask(i))) for i in range(4)]

    assert kinds[0] is Generated
    assert kinds[-1] is Failed


def test_only_the_search_is_held_to_the_budget(site: Any) -> None:
    """A test that has begun is not broken off: ballots are made although the calls are spent."""
    mine = replace(searching(site, budget_calls=10), stage=Stage.BANDIT)
    with answering(site, mine) as live:
        replies = [live(ask(i)) for i in range(12)]

    assert all(isinstance(reply, Generated) for reply in replies)


def scored(site: Any, scorer: str) -> Any:
    """Score one answer outside."""
    request = ScoreOutside(scorer=scorer, output="cat.png", expected="cat.png", fields=(("description", "a cat"),))
    return score_outside(site.home, request)


SCORERS = """
import os, sys
def good(output, expected, fields): return 1 if output == expected else 0
def half(output, expected, fields): return {"value": 0.5, "lost": ["case"] * 20}
def words(output, expected, fields): return "very good"
def nan(output, expected, fields): return float("nan")
def big(output, expected, fields): return 2
def boom(output, expected, fields): raise RuntimeError("boom")
def leave(output, expected, fields): sys.exit(3)
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [("good", Scored(value=1.0)), ("half", Scored(value=0.5, lost=("case",) * 8))]
    + [(name, None) for name in ("words", "nan", "big", "boom", "leave", "missing")],
)
def test_a_python_scorer_never_breaks_a_step(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: Scored | None
) -> None:
    """A number or an object is a score; whatever else happens, an exit included, is a failed one."""
    (tmp_path / "own_scorers.py").write_text(SCORERS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_scorers", raising=False)

    reply = scored(site, f"python:own_scorers:{name}")

    assert reply == expected if expected else isinstance(reply, Failed)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo 0.25", Scored(value=0.25)),
        ("""sh -c 'grep -q cat.png && echo "{\\"value\\": 1}"'""", Scored(value=1.0)),
        ("echo nonsense", None),
        ("false", None),
        ("no-such-program-anywhere", None),
        ("'unbalanced", None),
        ("head -c 100000 /dev/zero", None),
    ],
)
def test_a_command_scores_or_fails_alone(site: Any, command: str, expected: Scored | None) -> None:
    """It gets the sample as JSON on its input; an exit code, a missing program or nonsense is a failed score."""
    reply = scored(site, f"command:{command}")

    assert reply == expected if expected else isinstance(reply, Failed)


def test_a_score_from_outside_is_asked_once(site: Any) -> None:
    """A scorer's answer is journaled like a model's, and costs no call of the budget."""
    mine = searching(site)
    request = ScoreOutside(scorer="command:sh -c 'date +0.%N'", output="a", expected="b", fields=())
    with answering(site, mine) as live:
        first = live(request)
    with answering(site, mine) as replayed:
        again = replayed(request)

    assert isinstance(first, Scored)
    assert first == again
    with site.opened.read() as session:
        assert journal.spent(session, mine.run).calls == 0
