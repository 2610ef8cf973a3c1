"""Replay: who goes on, what the held-out tasks say, and that the promise of the mark pays for the choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.algorithms.eprocess import e_value
from pipeline.algorithms.streams import stream
from pipeline.decision import INCUMBENT, Paired
from pipeline.domain import SampleId, SkillName, VariantId
from pipeline.fitness import Item
from pipeline.flow import Failed, FailureKind, Generate, Generated, Reply, Request, drive
from pipeline.population import Outcome
from pipeline.replay import ENOUGH_TO_STOP, SHARE, Replay, ReplayCase, choose, replay, starts
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import PromptTemplate, SkillSpec

RULES = Rules(settings=Settings(), skill=SkillSpec(name=SkillName("s"), template="s.md", scorer="exact"))
FRAME = PromptTemplate("Style 0.", "Text: {{text}}")


def items(start: int, count: int) -> tuple[Item, ...]:
    """Tasks whose right answer is their own text."""
    return tuple(
        Item(sample=SampleId(i), fields=(("text", f"w{i}"),), expected=f"w{i}") for i in range(start, start + count)
    )


def case(prompts: int = 2, **changes: object) -> ReplayCase:
    """The prompt in use and some challengers, on 60, 100 and 10 tasks."""
    templates = {VariantId(i): FRAME.with_instruction(f"Style {i}.") for i in range(prompts + 1)}
    base = ReplayCase(
        rules=RULES, seed=3, templates=templates, select=items(0, 60), confirm=items(100, 100), report=items(300, 10),
        known={}, challengers=1,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # a test's table


class Model:
    """Answers rightly with a share of tasks that depends on the prompt's style."""

    def __init__(self, *shares: float, served_by: tuple[str, ...] = ("m 1",)) -> None:
        self.shares, self.served_by, self.asked = shares, served_by, 0

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        assert isinstance(request, Generate)
        self.asked += 1
        style = int(request.prompt.partition(".")[0].removeprefix("Style "))
        word = request.prompt.rpartition("Text: ")[2]
        right = stream(1, "model", word).random() < self.shares[style]
        by = self.served_by[(self.asked * len(self.served_by)) // 500 % len(self.served_by)]
        return Generated(
            text=word if right else "?", done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.1, served_by=by
        )


def test_the_challenger_that_beats_the_prompt_in_use_most_goes_on() -> None:
    """Of two better ones the better is kept, and only it and the prompt in use meet the held-out tasks."""
    model = Model(0.5, 0.6, 0.9)

    found = drive(replay(case()), model)

    assert found.kept == (2,)
    assert {int(p.variant): (len(p.select), len(p.confirm), len(p.report)) for p in found.prompts} == {
        0: (60, 100, 10), 1: (60, 0, 0), 2: (60, 100, 10),
    }  # fmt: skip
    assert model.asked == 3 * 60 + 2 * 110


def test_when_none_is_better_on_enough_tasks_nobody_goes_on() -> None:
    """Forty logged tasks or more end the test without a vote, and without the held-out tasks."""
    model = Model(0.8, 0.5, 0.8)

    found = drive(replay(case()), model)

    assert (found.kept, model.asked) == ((), 180)
    assert "60 logged tasks" in found.reason


def test_on_few_tasks_the_best_goes_on_even_if_it_is_not_better() -> None:
    """Fewer than forty tasks choose among several, and leave it to the votes whether it is better."""
    found = drive(replay(case(select=items(0, ENOUGH_TO_STOP - 1))), Model(0.9, 0.3, 0.6))

    assert (found.kept, found.reason) == ((2,), "")


def test_without_logged_tasks_the_first_challenger_goes_on_and_nobody_is_asked() -> None:
    """A skill without known answers has no replay: its votes start from nothing."""
    model = Model(0.9, 0.3, 0.6)

    found = drive(replay(case(select=(), confirm=(), report=())), model)

    assert (found.kept, model.asked, found.wins_losses(VariantId(1))) == ((1,), 0, (0, 0))


def test_the_counts_are_those_of_the_held_out_tasks() -> None:
    """Wins and losses by hand: tasks on which exactly one of the two is right."""
    found = drive(replay(case()), Model(0.5, 0.1, 0.8))

    right = {int(p.variant): [o.correct for o in p.confirm] for p in found.prompts}
    wins = sum(b and not a for a, b in zip(right[0], right[2], strict=True))
    losses = sum(a and not b for a, b in zip(right[0], right[2], strict=True))
    assert found.wins_losses(VariantId(2)) == (wins, losses)
    assert wins > losses


def test_flags_pair_the_held_out_tasks_and_the_report() -> None:
    """Right and wrong of both prompts on 110 samples that nothing was selected on."""
    found = drive(replay(case()), Model(0.5, 0.1, 0.8))

    flags = found.flags(VariantId(2))
    assert flags.n == 110
    assert flags.incumbent == 0  # the better one is right wherever the other is, in this model
    assert flags.challenger > 20


def test_what_the_search_measured_is_not_run_again() -> None:
    """Outcomes of the same run on the same tasks are taken as they are."""
    known = {
        INCUMBENT: tuple(Outcome(sample=SampleId(i), value=0.0, correct=False) for i in range(60)),
        VariantId(2): tuple(Outcome(sample=SampleId(i), value=1.0, correct=True) for i in range(60)),
    }
    model = Model(0.9, 0.1, 0.1)

    found = drive(replay(case(known=known)), model)

    assert found.kept == (2,)
    assert model.asked == 60 + 2 * 110


def test_a_failed_call_is_a_wrong_answer_of_that_prompt_alone() -> None:
    """A prompt that makes the model fail loses the task; the other keeps its answer."""

    def answer(request: Request) -> Reply:
        assert isinstance(request, Generate)
        if request.prompt.startswith("Style 1"):
            return Failed(kind=FailureKind.UNFINISHED)
        return Model(0.9, 0.9)(request)

    found = drive(replay(case(1, select=())), answer)

    wins, losses = found.wins_losses(VariantId(1))
    assert wins == 0
    assert losses > 70


def test_everybody_who_answered_is_named() -> None:
    """A model that changes on the way is seen."""
    found = drive(replay(case()), Model(0.5, 0.6, 0.9, served_by=("m 1", "m 2")))

    assert found.served_by == ("m 1", "m 2")


def chosen(
    rng: np.random.Generator, challengers: int, kept: int
) -> tuple[ReplayCase, dict[VariantId, tuple[Outcome, ...]]]:
    """Draw a select part in which every challenger is as good as the prompt in use."""
    data = {
        VariantId(v): tuple(
            Outcome(sample=SampleId(i), value=float(ok), correct=bool(ok)) for i, ok in enumerate(rng.random(60) < 0.8)
        )
        for v in range(challengers + 1)
    }
    return case(challengers, challengers=kept, unseen=True), data


@pytest.mark.parametrize(("challengers", "kept"), [(1, 1), (3, 1), (3, 2), (6, 3)])
def test_the_choice_is_paid_for(challengers: int, kept: int) -> None:
    """Over 4,000 choices among equal prompts the kept ones' starts sum to at most `kept` on average, within 4 s.e."""
    rng = np.random.default_rng(20260504)
    sums = []
    for _ in range(4000):
        here, data = chosen(rng, challengers, kept)
        goes_on, _ = choose(here, data)
        sums.append(sum(value for _, value in starts(here, data, goes_on)))

    error = float(np.std(sums)) / len(sums) ** 0.5
    assert float(np.mean(sums)) <= kept + 4 * error


def test_a_start_is_half_certain_and_half_the_evidence_of_the_choice() -> None:
    """Of three challengers compared, one kept: one half, and a sixth of its e-value."""
    here, data = chosen(np.random.default_rng(1), 3, 1)
    data[VariantId(2)] = tuple(Outcome(sample=SampleId(i), value=1.0, correct=True) for i in range(60))
    losses = sum(not o.correct for o in data[INCUMBENT])

    ((variant, value),) = starts(here, data, (VariantId(2),))

    assert variant == 2
    assert value == pytest.approx(1 - SHARE + SHARE * e_value(losses, 0) / 3)


def test_after_a_search_the_choice_is_no_evidence() -> None:
    """A search has chosen by these tasks among more prompts than stand here."""
    here, data = chosen(np.random.default_rng(1), 3, 1)

    assert starts(replace(here, unseen=False), data, (VariantId(1),)) == ()
    assert Replay(prompts=(), kept=(), served_by=()).start(VariantId(1)) == 1.0


def test_no_flags_are_no_pairs() -> None:
    """Without outcomes nothing is paired."""
    assert Replay(prompts=(), kept=(), served_by=()).flags(VariantId(1)) == Paired()
