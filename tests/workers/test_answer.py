"""The answerer: journal first, within the budget, and effects outside the database exactly once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from models import journal, steps
from models.prompts import note_version
from models.runs import become_evolution, start_run
from models.work_tables import ModelCallRow, RunRow
from pipeline.algorithms.tokens import estimate
from pipeline.domain import Role, RunKind, Stage
from pipeline.errors import Unreachable
from pipeline.flow import Failed, FailureKind, Generate, Generated, Sampling, Scored, ScoreOutside
from workers.answer import Answering
from workers.host_config import read_template
from workers.stepping import RunOver

CLOCK = "command:sh -c 'date +0.%N'"


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


def test_the_ledger_keeps_what_a_prompt_was_guessed_to_measure(site: Any) -> None:
    """Beside the server's count and the digest that answered: what estimates are calibrated by."""
    mine = searching(site)
    with answering(site, mine) as live:
        reply = live(replace(ask(), role=Role.GENERATOR))
    with site.opened.read() as session:
        row = session.scalars(select(ModelCallRow).where(ModelCallRow.role == "generator")).one()

    assert row.estimate == estimate(ask().prompt) > 0
    assert (row.prompt_tokens, row.digest) == (reply.prompt_tokens, reply.served_by.split(" ")[1])
    assert len(row.digest) == 64


def test_a_search_looks_for_the_vocabulary_once_where_its_questions_are_long(site: Any) -> None:
    """In a narrow room each question is counted; the simulated server tells no vocabulary, and is asked for it once."""
    asked: list[int] = []
    for seed, room in enumerate((7000, 300)):
        site.change(models={"generator_prompt_tokens": room, "generator_example_tokens": 64})
        with site.opened.write() as session:
            at, text = datetime.now(UTC), read_template(site.home.config, site.rules.skill.template)
            note_version(session, site.rules.skill, text, at)
            bell = start_run(
                session, rules=site.rules, kind=RunKind.EVOLUTION, trigger="person", stage=Stage.MUTATE, version=1, seed=seed,
                now=at,
            )  # fmt: skip
            become_evolution(session, session.get_one(RunRow, bell.run), at, 0.5, 0)
        known = len(shows(site))
        site.work(bell)
        asked.append(len(shows(site)) - known)
        with site.opened.write() as session:
            session.get_one(RunRow, bell.run).ended_at = at

    assert asked[1] == asked[0] + 1


def shows(site: Any) -> list[Any]:
    """Return the requests that asked the server about one model."""
    return [entry for entry in site.server.requests() if entry.path == "/api/show"]


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


def test_a_score_from_outside_is_asked_once(site: Any) -> None:
    """A scorer's answer is journaled like a model's, and costs no call of the budget."""
    site.configure("scorer: file-naming", f"scorer: {CLOCK}")
    mine = searching(site)
    request = ScoreOutside(scorer=CLOCK, output="a", expected="b", fields=())
    with answering(site, mine) as live:
        first = live(request)
    with answering(site, mine) as replayed:
        again = replayed(request)

    assert isinstance(first, Scored)
    assert first == again
    with site.opened.read() as session:
        assert journal.spent(session, mine.run).calls == 0


@pytest.mark.parametrize("scorer", ["command:touch ran", "python:ran:score", f"{CLOCK} "])
def test_a_program_that_the_configuration_does_not_name_is_not_run(site: Any, scorer: str) -> None:
    """A run's own rules are a text in the database: whatever they name, only config.yaml says what runs here."""
    site.configure("scorer: file-naming", f"scorer: {CLOCK}")
    (site.home.config.parent / "ran.py").write_text("open('ran', 'w')\ndef score(*_): return 1\n", "utf-8")
    request = ScoreOutside(scorer=scorer, output="a", expected="b", fields=())
    site.settle()

    with (
        answering(site, searching(site)) as live,
        pytest.raises(RunOver, match=r"config\.yaml names scorer command:sh"),
    ):
        live(request)

    assert not (site.home.config.parent / "ran").exists()


@pytest.mark.parametrize("half", ["", "skills:\n", "all but the scorer"])
def test_a_configuration_that_is_just_being_saved_ends_no_run(site: Any, half: str) -> None:
    """An editor that writes in place shows a file without its end: the step waits, and goes on when it is whole."""
    site.configure("scorer: file-naming", f"scorer: {CLOCK}")
    whole = site.home.config.read_text("utf-8")
    site.home.config.write_text(
        half if half != "all but the scorer" else whole.replace(f"scorer: {CLOCK}", ""), "utf-8"
    )
    request = ScoreOutside(scorer=CLOCK, output="a", expected="b", fields=())

    with answering(site, searching(site)) as live:
        with pytest.raises(Unreachable):
            live(request)
        site.home.config.write_text(whole, "utf-8")
        assert isinstance(live(request), Scored)


def ended(process: psutil.Process) -> bool:
    """Tell whether a process is gone, or dead and not yet waited for."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_scorer_s_process_ends_with_its_job(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    """One process scores all answers of a job by a function, and is gone when the job is done."""
    (tmp_path / "telling.py").write_text(
        'import os\ndef score(output, expected, fields): return {"value": 1, "lost": [str(os.getpid())]}\n', "utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    site.configure("scorer: file-naming", "scorer: python:telling:score")
    requests = [ScoreOutside(scorer="python:telling:score", output=name, expected="b", fields=()) for name in "abc"]
    with answering(site, searching(site)) as live:
        replies = [live(request) for request in requests]
        assert isinstance(replies[0], Scored)
        process = psutil.Process(int(replies[0].lost[0]))

    assert len(set(replies)) == 1
    until(lambda: ended(process))
