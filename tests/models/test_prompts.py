"""Versions: exactly one is in use, a person's hand edit is followed, and every task keeps the prompt it was given."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import assign, prompts, votes
from models.tables import AssignmentRow, PromotionRow, PromptVersionRow
from pipeline.errors import NotFound

TEXT = "Name the file.\n---\nDescription: {{description}}\n"
OTHER = "Name it in five words.\n---\nDescription: {{description}}\n"


def note(memory: Any, text: str = TEXT, version: int = 1, template: str = "skills/file-naming.md") -> int:
    """Note what the configuration names, as every command does; returns the row's id."""
    spec = replace(memory.rules.skill, version=version, template=template)
    with memory.write() as session:
        return prompts.note_version(session, spec, text, memory.now).id


def rows(memory: Any) -> list[PromptVersionRow]:
    """Read every version."""
    with memory.maker() as session:
        return list(session.scalars(select(PromptVersionRow).order_by(PromptVersionRow.version)))


def assigned(memory: Any, task: str, text: str = TEXT) -> assign.Assigned:
    """Ask for the prompt of a task."""
    with memory.write() as session:
        return assign.assign(session, memory.rules, text, task, memory.now)


def test_noting_the_same_version_again_changes_nothing(memory: Any) -> None:
    """Every command notes the version; the row stays as it is."""
    first = note(memory)
    memory.now += timedelta(hours=1)

    assert note(memory) == first
    (row,) = rows(memory)
    assert (row.active, row.text, row.activated_at) == (True, TEXT, memory.now - timedelta(hours=1))


def test_a_hand_edit_under_the_same_number_is_followed(memory: Any) -> None:
    """A person changed the file and not its number: the row has the new text, so that a rollback brings that back."""
    note(memory)
    note(memory, OTHER, template="skills/moved.md")

    (row,) = rows(memory)
    assert (row.text, row.sha, row.template) == (OTHER, prompts.text_sha(OTHER), "skills/moved.md")


def test_a_switch_to_another_number_moves_the_mark(memory: Any) -> None:
    """Exactly one version is in use, also after going back and forth by hand."""
    for version in (1, 2, 5, 1):
        note(memory, version=version)
        assert [(r.version) for r in rows(memory) if r.active] == [version]

    assert [r.version for r in rows(memory)] == [1, 2, 5]


def test_numbers_are_never_used_twice(memory: Any) -> None:
    """The next number follows the highest ever seen, not the one in use."""
    note(memory, version=5)
    note(memory, version=2)

    with memory.write() as session:
        assert prompts.next_number(session, "file-naming") == 6
        assert prompts.next_number(session, "unknown") == 1


def test_many_processes_note_one_version_at_once(memory: Any) -> None:
    """The first commands of a new home, at the same moment, make one skill and one version, and none of them fails."""
    results = memory.at_once(
        *[lambda s: prompts.note_version(s, memory.rules.skill, TEXT, memory.now).version for _ in range(5)]
    )

    assert results == [1] * 5
    assert len(rows(memory)) == 1


def test_an_unknown_version_is_not_found(memory: Any) -> None:
    """The error names the skill and the number."""
    with memory.write() as session, pytest.raises(NotFound, match="file-naming has no prompt version 3"):
        prompts.version(session, "file-naming", 3)


def test_the_version_before_is_that_of_the_last_applied_promotion(memory: Any) -> None:
    """Refused and intended promotions are no way back, a rollback is none either."""
    for version in (1, 2, 3):
        note(memory, version=version)
    bell = memory.check()
    with memory.write() as session:
        for number, (kind, state, before) in enumerate(
            [
                ("promote", "refused", 2),
                ("promote", "applied", 1),
                ("promote", "intended", 2),
                ("rollback", "applied", 2),
            ]
        ):
            session.add(
                PromotionRow(
                    skill_name="file-naming", run_id=bell.run, kind=kind, from_version=before,
                    to_version=3 if number == 1 else 30 + number, state=state, created_at=memory.now,
                )
            )  # fmt: skip
    with memory.write() as session:
        assert prompts.previous(session, "file-naming", 3).version == 1
        assert prompts.previous(session, "file-naming", 1) is None


# --- assignments ----------------------------------------------------------------------------------------------------


def test_a_task_keeps_its_prompt(memory: Any) -> None:
    """Asking again gives the same answer, also after another version came into use."""
    first = assigned(memory, "t1")
    memory.rules = replace(memory.rules, skill=replace(memory.rules.skill, version=2))

    again, other = assigned(memory, "t1", OTHER), assigned(memory, "t2", OTHER)

    assert (first.text, again.text, again.version) == (TEXT, TEXT, 1)
    assert (other.text, other.version, other.arm) == (OTHER, 2, "current")


def test_a_hand_edit_is_assigned_at_once(memory: Any) -> None:
    """A person's change of the file reaches the next task, although its number stayed."""
    assigned(memory, "t1")

    assert assigned(memory, "t2", OTHER).text == OTHER


def test_one_task_asked_for_at_once_has_one_prompt(memory: Any) -> None:
    """Several processes that ask for the same task at the same moment are told the same, and none of them fails."""
    memory.test(arms=3)

    results = memory.at_once(*[lambda s: assign.assign(s, memory.rules, TEXT, "t1", memory.now)] * 6)

    assert len({(r.arm, r.text, r.ballot) for r in results}) == 1
    with memory.maker() as session:
        assert len(session.scalars(select(AssignmentRow)).all()) == 1


def test_during_a_test_by_ballots_only_the_prompt_in_use_is_assigned(memory: Any) -> None:
    """The user's own tasks meet no challenger: those are compared on ballots."""
    memory.test(arms=2)

    assert {assigned(memory, f"t{i}").arm for i in range(60)} == {"current"}


def test_during_a_live_test_every_prompt_is_assigned(memory: Any) -> None:
    """Before any outcome the incumbent and each variant meet tasks, under the whole template of each."""
    memory.voting(mode="live")
    memory.test(arms=2)
    told = [assigned(memory, f"t{i}") for i in range(60)]

    assert {one.arm for one in told} == {"current", "variant_a", "variant_b"}
    for one in told:
        assert one.text.endswith("\n---\nDescription: {{description}}\n")
        assert ("style" in one.text) == (one.variant is not None)


def test_after_the_test_only_the_prompt_in_use_is_assigned(memory: Any) -> None:
    """A test that is over gives its variants no more tasks."""
    memory.voting(max_votes=1)
    test = memory.test(arms=2)
    with memory.write() as session:
        votes.record_vote(
            session, test.ballots[0], votes.Choice.TIE, position=None, voter="", took_ms=None, now=memory.now
        )

    assert {assigned(memory, f"n{i}").arm for i in range(30)} == {"current"}


def test_a_bad_variant_soon_meets_hardly_any_task(memory: Any) -> None:
    """After many failures beside successes of the prompt in use, a variant is given a few tasks in a hundred at most."""
    memory.voting(mode="live")
    test = memory.test(arms=1)
    with memory.write() as session:
        for i in range(24):
            session.add(
                AssignmentRow(
                    skill_name="file-naming", task_id=f"o{i}", run_id=test.bell.run, version=1, created_at=memory.now,
                    variant_id=test.variants[0] if i % 2 else None, outcome="bad" if i % 2 else "ok", outcome_at=memory.now,
                )
            )  # fmt: skip
    drawn = [assigned(memory, f"n{i}").arm for i in range(200)]

    assert drawn.count("variant_a") < 20


def test_an_outcome_needs_an_assignment(memory: Any) -> None:
    """A task that was never asked for has no outcome to record."""
    with memory.write() as session, pytest.raises(NotFound, match="No prompt was assigned"):
        assign.outcome(session, "file-naming", "t1")
