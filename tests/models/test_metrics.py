"""What the metrics are made of, as the tables tell it, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import journal
from models.metrics import figures
from models.runs import Bell, add_step, end_run
from models.tables import PromotionRow, VariantRow
from models.work_tables import EvolutionRow, RunRow
from pipeline.domain import Ending, Fate, MutationType, RunKind, Stage
from pipeline.flow import Generated
from pipeline.metrics import Figures, Spending, Written

Memory = Any  # tests are no package, so the fixture's class cannot be imported

CALL_S = 6.0  # model time of every call here: ten of them are a minute
BY_MODEL = MutationType.REFLECTIVE


def searched(
    memory: Memory, *fates: tuple[MutationType, Fate, str], simulated: bool = False, calls: int = 1, ended: bool = True
) -> Bell:
    """Write an evolution down whose search made *calls* calls and variants that came to *fates*."""
    bell: Bell = memory.run(stage=Stage.MUTATE)
    mine = memory.claim(bell)
    with memory.write() as session:
        session.add(EvolutionRow(run_id=bell.run, started_at=memory.now))
        for number in range(calls):
            reply = Generated(text="x", done_reason="stop", prompt_tokens=1, tokens=1, duration_s=CALL_S)
            key = (f"{number}", 0)
            journal.record(session, mine, key, reply, role="task", tag="t", simulated=simulated, now=memory.now)
        for ordinal, (kind, fate, why) in enumerate(fates):
            session.add(variant(memory, bell, ordinal, mutation_type=kind, fate=fate, fate_reason=why))
        if ended:
            end_run(session.get_one(RunRow, bell.run), Ending.NO_IMPROVEMENT, "", memory.now)
    return bell


def variant(memory: Memory, bell: Bell, ordinal: int, **given: object) -> VariantRow:
    """Return a variant's row."""
    return VariantRow(
        run_id=bell.run, ordinal=ordinal, skill_name=bell.skill, prompt_text="Name it.", text_sha="0", generation=0,
        created_at=memory.now, **given,
    )  # fmt: skip


def promoted(memory: Memory, bell: Bell, *, before: float | None, after: float | None, **given: object) -> None:
    """Write a promotion down."""
    fields: dict[str, object] = {"kind": "promote", "state": "applied", "applied_at": memory.now, **given}
    with memory.write() as session:
        session.add(
            PromotionRow(
                skill_name=bell.skill, run_id=bell.run, from_version=1, to_version=2, accuracy_before=before,
                accuracy_after=after, created_at=memory.now, **fields,
            )
        )  # fmt: skip


@pytest.fixture(name="ask")
def _ask(memory: Memory) -> Callable[..., tuple[Figures, ...]]:
    """Return a function that asks for the figures."""

    def ask(**given: object) -> tuple[Figures, ...]:
        with memory.maker() as session:
            return figures(session, **given)  # type: ignore[arg-type]  # keyword tables of tests

    return ask


def test_an_empty_history_has_figures_of_nothing(ask: Any) -> None:
    """There is always something to show, and it is of real models."""
    assert ask() == (Figures(),)


def test_variants_that_a_model_wrote_are_counted_by_what_became_of_them(memory: Memory, ask: Any) -> None:
    """One of every fate: refused, rejected, unreadable for the judge and redundant are told apart from the rest."""
    searched(memory, *((BY_MODEL, fate, "") for fate in Fate))

    (found,) = ask()

    assert found.written == Written(variants=len(Fate), refused=1, rejected=2, redundant=1)
    assert found.written.useful == len(Fate) - 4


def test_what_no_model_wrote_is_not_counted(memory: Memory, ask: Any) -> None:
    """One variant of every operator: seeds, a person's and those made by hand are left out."""
    without = {
        MutationType.SEED, MutationType.MANUAL, MutationType.EDIT, MutationType.PATTERN, MutationType.UNION,
        MutationType.CROSS_SKILL, MutationType.CROSSOVER, MutationType.CONTEXT_SHUFFLE,
    }  # fmt: skip
    searched(memory, *((kind, Fate.REFUSED, "copy") for kind in MutationType))

    (found,) = ask()

    assert found.written == Written(variants=len(MutationType) - len(without), refused=len(MutationType) - len(without))


def test_a_question_without_an_answer_wrote_nothing(memory: Memory, ask: Any) -> None:
    """A server that crashed says nothing of the generator; a reply that could not be read does."""
    searched(
        memory,
        (BY_MODEL, Fate.REFUSED, "no answer: crashed"),
        (BY_MODEL, Fate.REFUSED, "unparsable"),
        (BY_MODEL, Fate.DROPPED, "no answer: is no reason here"),
    )

    (found,) = ask()

    assert found.written == Written(variants=2, refused=1)


def test_an_evolution_counts_when_its_search_is_over(memory: Memory, ask: Any) -> None:
    """Votes take days, so one whose variants were handed to the judge is not waited for; nothing was paid for any."""
    searched(memory, calls=20)
    bell = searched(memory, calls=8, ended=False)

    (searching,) = ask()
    with memory.write() as session:
        add_step(session, session.get_one(RunRow, bell.run), Stage.JUDGE, memory.now)
    (voting,) = ask()

    assert searching.spending == Spending(evolutions=1, calls=20, minutes=2.0)
    assert voting.spending == replace(Spending(evolutions=2, calls=28), minutes=voting.spending.minutes)
    assert voting.spending.minutes == pytest.approx(2.8)


def test_calls_that_were_cut_off_count_and_replies_of_no_model_do_not(memory: Memory, ask: Any) -> None:
    """A cut-off call cost time; a scorer's reply is in the same ledger and asked no model."""
    bell = memory.run(stage=Stage.MUTATE)
    mine = memory.claim(bell)
    reply = Generated(text="x", done_reason="stop", prompt_tokens=1, tokens=1, duration_s=CALL_S)
    with memory.write() as session:
        journal.record(session, mine, ("1", 0), reply, role="scorer", tag="", simulated=False, now=memory.now)
        journal.record_cancelled(session, mine, role="task", tag="t", duration_s=12.0, now=memory.now)
        end_run(session.get_one(RunRow, bell.run), Ending.CANCELLED, "", memory.now)

    (found,) = ask()

    assert (found.spending.evolutions, found.spending.calls) == (1, 1)
    assert found.spending.minutes == pytest.approx(0.2)


def test_neither_a_persons_test_nor_a_run_without_a_call_is_an_evolution(memory: Memory, ask: Any) -> None:
    """The first runs prompts for its ballots but bred none; the second was stopped before it began."""
    searched(memory, calls=0)
    mine = memory.claim(memory.run(stage=Stage.BANDIT))
    reply = Generated(text="x", done_reason="stop", prompt_tokens=1, tokens=1, duration_s=CALL_S)
    with memory.write() as session:
        journal.record(session, mine, ("1", 0), reply, role="task", tag="t", simulated=False, now=memory.now)
        end_run(session.get_one(RunRow, mine.run), Ending.KEPT_INCUMBENT, "", memory.now)

    assert ask() == (Figures(),)


def test_promotions_count_when_applied_and_gain_where_measured(memory: Memory, ask: Any) -> None:
    """Neither a refused one, nor one under way, nor a rollback; a pair of which one is missing has no gain."""
    bells = [searched(memory) for _ in range(6)]
    promoted(memory, bells[0], before=0.75, after=0.875)
    promoted(memory, bells[1], before=0.5, after=None)
    promoted(memory, bells[2], before=None, after=None)
    promoted(memory, bells[3], before=0.5, after=0.25, state="refused")
    promoted(memory, bells[4], before=0.5, after=0.25, state="intended", applied_at=None)
    promoted(memory, bells[5], before=0.5, after=0.25, kind="rollback")

    (found,) = ask()

    assert (found.promotions, found.gains) == (3, (0.125,))


def test_real_and_simulated_runs_are_never_mixed(memory: Memory, ask: Any) -> None:
    """Each has figures of its own, the real ones first; where there is only one kind there is one."""
    fake = searched(memory, (BY_MODEL, Fate.REFUSED, "copy"), simulated=True, calls=5)
    promoted(memory, fake, before=0.5, after=1.0)
    only = ask()
    real = searched(memory, (BY_MODEL, Fate.DROPPED, ""), (BY_MODEL, Fate.ALIVE, ""), calls=3)
    promoted(memory, real, before=0.5, after=0.625)
    both = ask()

    assert [one.simulated for one in only] == [True]
    assert [one.simulated for one in both] == [False, True]
    assert [(one.written.variants, one.written.useful) for one in both] == [(2, 2), (1, 0)]
    assert [(one.spending.evolutions, one.spending.calls) for one in both] == [(1, 3), (1, 5)]
    assert [one.gains for one in both] == [(0.125,), (0.5,)]
    assert both[1] == only[0]


def test_a_persons_promotion_is_as_real_as_the_run_its_prompt_comes_from(memory: Memory, ask: Any) -> None:
    """It asks no model itself, so its own run never says that it is simulated."""
    fake = searched(memory, (BY_MODEL, Fate.UNDECIDED, ""), simulated=True)
    order = memory.run(stage=Stage.PROMOTE, kind=RunKind.PROMOTION)
    with memory.write() as session:
        chosen = session.scalars(select(VariantRow.variant_id).where(VariantRow.run_id == fake.run)).one()
        session.get_one(RunRow, order.run).target_variant_id = chosen
    promoted(memory, order, before=0.5, after=1.0)

    assert [(one.simulated, one.promotions) for one in ask()] == [(True, 1)]


def test_one_skill_can_be_asked_for(memory: Memory, ask: Any) -> None:
    """Variants, evolutions and promotions of another one are left out, and are in the figures of all."""
    promoted(memory, searched(memory, (BY_MODEL, Fate.ALIVE, ""), calls=2), before=0.5, after=0.75)
    skill = memory.rules.skill
    memory.rules = replace(memory.rules, skill=replace(skill, name="other"))
    promoted(memory, searched(memory, (BY_MODEL, Fate.REFUSED, "copy"), calls=3), before=0.5, after=0.25)

    mine, other, every = ask(skill=skill.name)[0], ask(skill="other")[0], ask()[0]

    assert (mine.written.useful, mine.spending.calls, mine.gains) == (1, 2, (0.25,))
    assert (other.written.useful, other.spending.calls, other.gains) == (0, 3, (-0.25,))
    assert (every.written.variants, every.spending.calls, every.promotions) == (2, 5, 2)
    assert ask(skill="none of them") == (Figures(),)


def test_what_is_older_can_be_left_out(memory: Memory, ask: Any) -> None:
    """A moment counts from itself on, for variants, runs and promotions."""
    promoted(memory, searched(memory, (BY_MODEL, Fate.ALIVE, "")), before=0.5, after=0.75)

    assert ask(since=memory.now) == ask()
    assert ask(since=memory.now + timedelta(seconds=1)) == (Figures(),)
