"""Runs begin once: checks by timer and feedback, evolutions one per skill at a time, promotions by a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from models import checks, prompts, runs, steps
from models.runs import become_evolution, cancel
from models.stages.detect import detect_case, load_detect, save_detect
from models.tables import SkillRow, VariantRow
from models.work_tables import EvolutionRow, ModelCallRow, RunRow, StepRow
from pipeline.detect import detect
from pipeline.domain import Ending, Fate, Label, RunKind, Stage, StepState
from pipeline.errors import BadInput
from pipeline.flow import drive

TEXT = "Name the file.\n---\nDescription: {{description}}\n"


def due(memory: Any, hours: float) -> Any:
    """Look at the timer so many hours later."""
    with memory.write() as session:
        return checks.start_due(session, memory.rules, TEXT, memory.now + timedelta(hours=hours))


def drifted(memory: Any, right: int = 2) -> None:
    """Bring in a history with hardly any right answer, under the version in use."""
    with memory.write() as session:
        prompts.note_version(session, memory.rules.skill, TEXT, memory.now)
    memory.history(60, right=right)


def count(memory: Any, kind: type = RunRow) -> int:
    """Count rows."""
    with memory.maker() as session:
        return session.scalar(select(func.count()).select_from(kind))


def test_the_first_timed_check_is_one_period_away(memory: Any) -> None:
    """A skill that was just met is not checked at once; a day later it is, and once only."""
    assert due(memory, 0) is None
    assert due(memory, 23.9) is None
    assert due(memory, 24).stage is Stage.DETECT
    assert due(memory, 24) is None
    assert count(memory) == 1


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.CANCELLED])
def test_a_check_that_came_to_nothing_is_not_repeated_at_once(memory: Any, ending: Ending) -> None:
    """A timed check that failed or was cancelled waits for its next period, as a finished one does."""
    due(memory, 0)
    bell = due(memory, 24)
    with memory.write() as session:
        run = session.get_one(RunRow, bell.run)
        cancel(session, run, "stop", memory.now)
        run.ending = ending

    assert due(memory, 24.01) is None
    assert due(memory, 48) is not None


@pytest.mark.parametrize("off", ["enabled", "skill"])
def test_nothing_is_timed_while_switched_off(memory: Any, off: str) -> None:
    """Neither the master switch nor the skill's own lets a timer start anything."""
    rules = memory.rules
    memory.rules = (
        replace(rules, settings=replace(rules.settings, enabled=False))
        if off == "enabled"
        else replace(rules, skill=replace(rules.skill, enabled=False))
    )

    assert (due(memory, 0), due(memory, 99)) == (None, None)


def test_feedback_starts_a_check_only_when_it_would_find_something(memory: Any) -> None:
    """A healthy skill's samples make no run; drift makes one, and while it is open no second one."""

    def worth() -> Any:
        with memory.write() as session:
            return checks.start_if_worth(session, memory.rules, TEXT, memory.now)

    memory.history(60, right=60)
    assert worth() is None
    with memory.write() as session:
        prompts.note_version(session, memory.rules.skill, TEXT, memory.now)
    for i in range(30):
        memory.tell(f"n{i}", output="bad now", expected="good", version=1, now=memory.now + timedelta(hours=1))

    assert worth().stage is Stage.DETECT
    assert worth() is None


def test_a_check_looks_at_the_version_in_use_alone(memory: Any) -> None:
    """Samples of another version, of a test's variant, without output or label are not in the window."""
    drifted(memory)
    memory.tell("other", output="x", expected="y", version=7, history=True)
    memory.tell("unlabelled", output="x")
    memory.tell("no-output", label=Label.BAD)
    with memory.write() as session:
        found = detect_case(session, memory.rules, memory.now)

    assert len(found.window) == memory.rules.settings.triggers.sample_size
    with memory.write() as session:
        wide = replace(
            memory.rules,
            settings=replace(memory.rules.settings, triggers=replace(memory.rules.settings.triggers, sample_size=1000)),
        )
        assert len(detect_case(session, wide, memory.now).window) == 60


def test_drift_turns_the_check_into_an_evolution(memory: Any) -> None:
    """The same run goes on to breeding, with the accuracy that started it and the samples known by then."""
    drifted(memory)
    bell = memory.check()
    mine = memory.claim(bell)
    with memory.write() as session:
        decision = drive(detect(load_detect(session, mine, memory.now)), lambda _: pytest.fail("asked"))
        save_detect(session, mine, decision, memory.now)
        steps.advance(session, mine, decision.next, memory.now)

    run = memory.run_row(bell)
    assert (decision.next, run.kind, run.horizon) == (Stage.MUTATE, RunKind.EVOLUTION, 60)
    with memory.maker() as session:
        assert session.get_one(EvolutionRow, bell.run).accuracy_before == decision.accuracy
        assert session.get_one(SkillRow, "file-naming").checked_at == memory.now


def test_the_cooldown_counts_evolutions_only(memory: Any) -> None:
    """A check that found nothing does not keep the next evolution waiting; an evolution does, also a cancelled one."""
    drifted(memory)
    bell = memory.check()
    with memory.write() as session:
        cancel(session, session.get_one(RunRow, bell.run), "stop", memory.now)
    with memory.write() as session:
        assert checks.examine(session, memory.rules, memory.now).next is Stage.MUTATE
    with memory.write() as session:
        started = checks.start_manual(session, memory.rules, TEXT, ("Another one.",), memory.now, "r")
    with memory.write() as session:
        cancel(session, session.get_one(RunRow, started.run), "stop", memory.now)

    with memory.write() as session:
        assert checks.examine(session, memory.rules, memory.now + timedelta(hours=167)).next is Ending.COOLDOWN
        assert checks.examine(session, memory.rules, memory.now + timedelta(hours=168)).next is Stage.MUTATE


def test_only_one_of_many_evolutions_at_once_begins(memory: Any) -> None:
    """However many processes turn a check into an evolution at the same moment, the table lets one through."""
    bells = [memory.check() for _ in range(4)]

    def become(bell: Any) -> Any:
        return lambda session: become_evolution(session, session.get_one(RunRow, bell.run), memory.now, 0.5, 1)

    results = memory.at_once(*map(become, bells))

    assert [isinstance(result, IntegrityError) for result in results].count(False) == 1
    assert count(memory, EvolutionRow) == 1


def test_a_manual_test_beside_an_open_evolution_writes_nothing(memory: Any) -> None:
    """A second evolution of the skill is refused by the table, with everything it had written."""
    with memory.write() as session:
        checks.start_manual(session, memory.rules, TEXT, ("Another one.",), memory.now, "r")

    with pytest.raises(IntegrityError), memory.write() as session:
        checks.start_manual(session, memory.rules, TEXT, ("A third one.",), memory.now, "r")

    assert (count(memory), count(memory, StepRow), count(memory, VariantRow)) == (1, 1, 1)


def test_manual_variants_are_arms_at_once(memory: Any) -> None:
    """Prompts that a person wrote go to the ballots under their letters, in order."""
    with memory.write() as session:
        bell = checks.start_manual(session, memory.rules, TEXT, ("One is this.", "Two is that."), memory.now, "r")

    with memory.maker() as session:
        rows = session.scalars(select(VariantRow).order_by(VariantRow.ordinal)).all()
    assert [(r.name, r.prompt_text, r.fate) for r in rows] == [
        ("variant_a", "One is this.", Fate.ARM),
        ("variant_b", "Two is that.", Fate.ARM),
    ]
    assert (bell.stage, memory.step(bell).state) == (Stage.BANDIT, StepState.READY)


@pytest.mark.parametrize("instruction", ["One\n---\ntwo", "---\nOnly below.", "One\n  ---  \ntwo {{x}}"])
def test_an_instruction_that_would_break_its_template_is_refused(memory: Any, instruction: str) -> None:
    """A line of three hyphens would end the instruction when the file is read again: nothing is started."""
    with pytest.raises(BadInput, match="Variant 2"), memory.write() as session:
        checks.start_manual(session, memory.rules, TEXT, ("Fine.", instruction), memory.now, "r")

    assert count(memory) == 0


def test_each_run_has_a_seed_of_its_own_that_a_replay_would_draw_again(memory: Any) -> None:
    """Seeds differ between runs, and depend on the history alone."""
    seeds = [memory.run_row(memory.check()).seed for _ in range(5)]

    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_rules_are_frozen_in_the_run(memory: Any) -> None:
    """What a run was started with is read back, whatever the settings say by then."""
    bell = memory.check()
    started = memory.rules
    memory.voting(max_votes=1)

    assert memory.claim(bell).rules == started


def evolving(memory: Any, *, trigger: str, waiting_for: str) -> Any:
    """Let an evolution begin, of which the search waits."""
    with memory.write() as session:
        bell = runs.start_run(
            session, rules=memory.rules, kind=RunKind.EVOLUTION, trigger=trigger, stage=Stage.MUTATE, version=1, seed=1,
            now=memory.now,
        )  # fmt: skip
        session.add(EvolutionRow(run_id=bell.run, started_at=memory.now))
        session.get_one(StepRow, bell.step).waiting_for = waiting_for
    return bell


@pytest.mark.parametrize(
    ("trigger", "waiting_for", "called", "replaced"),
    [
        ("feedback", "a quiet half hour", False, True),
        ("feedback", "", False, False),
        ("feedback", "a quiet half hour", True, False),
        ("person", "a quiet half hour", False, False),
    ],
)
def test_an_order_takes_the_place_of_an_evolution_that_has_not_begun(
    memory: Any, trigger: str, waiting_for: str, *, called: bool, replaced: bool
) -> None:
    """Only of one that nobody asked for, that waits, and that has called no model."""
    bell = evolving(memory, trigger=trigger, waiting_for=waiting_for)
    with memory.write() as session:
        if called:
            session.add(
                ModelCallRow(
                    run_id=bell.run, stage=Stage.MUTATE, visit=1, request_sha="a" * 64, occurrence=0, role="task",
                    outcome="answered", at=memory.now,
                )
            )  # fmt: skip
        session.flush()
        found = checks.replace_waiting(session, "file-naming", memory.now)

    assert found == ((bell.run,) if replaced else ())
    assert (memory.run_row(bell).ending == Ending.CANCELLED) is replaced


def test_an_order_within_the_cooldown_finds_it_whatever_the_labels_say(memory: Any) -> None:
    """An evolution that was cancelled before its first call has tried nothing, and begins no cooldown."""
    memory.history(12)
    bell = evolving(memory, trigger="person", waiting_for="")

    def ordered() -> Any:
        with memory.maker() as session:
            return checks.ordered(session, memory.rules, memory.now + timedelta(hours=1))

    while_open = ordered()
    with memory.write() as session:
        runs.end_run(session.get_one(RunRow, bell.run), Ending.CANCELLED, "", memory.now)
    cancelled = ordered()
    with memory.write() as session:
        session.get_one(RunRow, bell.run).ending = Ending.KEPT_INCUMBENT
    over = ordered()

    assert (while_open.next, over.next) == (Ending.BUSY, Ending.COOLDOWN)
    assert cancelled.next is not Ending.COOLDOWN
    assert "the cooldown ends on" in over.reason
