"""Feedback: a person's word holds, nothing is judged twice or in the future, and undo restores exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import feedback
from models.feedback import Feedback
from models.tables import BallotRow, LabelEventRow, SampleRow
from pipeline.domain import Label, LabelSource
from pipeline.errors import BadInput

COLUMNS = [column.key for column in SampleRow.__table__.columns]


def samples(memory: Any) -> list[dict[str, Any]]:
    """Read every sample, column by column."""
    with memory.maker() as session:
        rows = session.scalars(select(SampleRow).order_by(SampleRow.id))
        return [{name: getattr(row, name) for name in COLUMNS} for row in rows]


def undo(memory: Any, skill: str = "file-naming") -> tuple[str, int]:
    """Take the newest batch back."""
    with memory.write() as session:
        spec = replace(memory.rules.skill, name=skill)
        return feedback.undo(session, replace(memory.rules, skill=spec), memory.now)


def test_a_scorer_judges_where_the_right_answer_is_known(memory: Any) -> None:
    """Output and correction together give a label by the scorer; either alone gives none."""
    right = memory.tell("t1", output="a", expected="a")
    wrong = memory.tell("t2", output="b", expected="a")
    unknown = [memory.tell("t3", output="a"), memory.tell("t4", expected="a")]

    assert (right.label, right.source) == (Label.OK, LabelSource.SCORER)
    assert (wrong.label, wrong.source) == (Label.BAD, LabelSource.SCORER)
    assert {(noted.label, noted.source) for noted in unknown} == {(None, None)}


def test_a_person_outranks_the_scorer(memory: Any) -> None:
    """A person's ok on an answer that the scorer would refuse stays, also when the right answer is told later."""
    memory.tell("t1", output="b", label=Label.OK)

    later = memory.tell("t1", expected="a")

    assert (later.new, later.label, later.source) == (False, Label.OK, LabelSource.PERSON)


def test_a_verdict_is_about_the_answer_it_was_given_on(memory: Any) -> None:
    """Another answer of the same task is judged anew: what a person said of the first does not hold for it."""
    memory.tell("t1", output="b", label=Label.BAD)

    scored = memory.tell("t1", output="a", expected="a")
    same = memory.tell("t1", output="a", label=Label.BAD)
    again = memory.tell("t1", output="a")

    assert (scored.label, scored.source) == (Label.OK, LabelSource.SCORER)
    assert (same.label, again.label, again.source) == (Label.BAD, Label.BAD, LabelSource.PERSON)


def test_the_same_task_twice_is_one_sample(memory: Any) -> None:
    """An import that is repeated changes the sample it made, and keeps its split and its birth."""
    first = memory.tell("t1", output="a", expected="a")
    before = samples(memory)[0]

    second = memory.tell("t1", output="a", expected="a", batch="b2", now=memory.now + timedelta(hours=1))

    after = samples(memory)[0]
    assert (first.new, second.new, first.sample) == (True, False, second.sample)
    assert (after["split"], after["created_at"], after["batch"]) == (before["split"], before["created_at"], "b2")


@pytest.mark.parametrize(("ahead", "refused"), [(0, False), (5, False), (6, True), (60 * 24 * 365, True)])
def test_nothing_is_judged_in_the_future(memory: Any, ahead: int, refused: bool) -> None:  # noqa: FBT001 - a table
    """Five minutes of a wrong clock are allowed; a later time is refused, and nothing of it is written."""
    at = memory.now + timedelta(minutes=ahead)
    if refused:
        with pytest.raises(BadInput, match="future"):
            memory.tell("t1", output="a", label=Label.OK, at=at)
    else:
        memory.tell("t1", output="a", label=Label.OK, at=at)

    assert len(samples(memory)) == (not refused)


def test_an_older_time_is_kept(memory: Any) -> None:
    """A history that is imported keeps the times at which it was judged."""
    at = memory.now - timedelta(days=300)
    memory.tell("t1", output="a", label=Label.OK, at=at)

    assert samples(memory)[0]["judged_at"] == at


def test_an_unknown_task_needs_its_input(memory: Any) -> None:
    """A label for a task that nobody brought in is refused."""
    with pytest.raises(BadInput, match="not known"):
        memory.tell("t1", fields=(), label=Label.OK)

    assert samples(memory) == []


@pytest.mark.parametrize("task_id", ["", "x" * 201])
def test_a_task_id_that_cannot_be_kept_is_refused(memory: Any, task_id: str) -> None:
    """The same on every database, before anything is written."""
    with pytest.raises(BadInput, match="1 to 200"):
        memory.tell(task_id, output="a")


@pytest.mark.parametrize("text", ["", "ünïcödé 🎉", "'; DROP TABLE samples; --", "a\nb\t\u202e", "x" * 100_000])
def test_any_text_comes_back_as_it_was(memory: Any, text: str) -> None:
    """Input and answers are texts like any other to the tables."""
    memory.tell("t1", output=text, expected=text, fields=(("description", text),))

    row = samples(memory)[0]
    assert (row["output"], row["expected"]) == (text, text)


@pytest.mark.parametrize("text", ["a\x00b", "half \ud83d of a pair"])
def test_text_that_some_database_refuses_is_refused_by_all(memory: Any, text: str) -> None:
    """A zero byte or half a character is an error with the task's name, wherever it stands, and nothing is written."""
    for given in (
        {"output": text},
        {"expected": text},
        {"fields": (("description", text),)},
        {"fields": ((text, "x"),)},
    ):
        with pytest.raises(BadInput, match="surrogate"):
            memory.tell("t1", **given)

    assert samples(memory) == []


def test_undo_removes_what_was_new(memory: Any) -> None:
    """A batch of new samples is gone, the one before stays."""
    memory.tell("t1", output="a", batch="b1")
    before = samples(memory)
    memory.tell("t2", output="a", batch="b2")
    memory.tell("t3", output="a", batch="b2")

    assert undo(memory) == ("b2", 2)
    assert samples(memory) == before


def test_undo_restores_every_column(memory: Any) -> None:
    """Whatever a batch changed of a known sample is as it was, times and all."""
    memory.tell("t1", output="a", expected="b", batch="b1", version=1)
    with memory.write() as session:
        session.scalars(select(SampleRow)).one().ballot_wanted = False
    before = samples(memory)
    with memory.write() as session:
        said = Feedback(
            task_id="t1", fields=(("description", "another"),), output="c", expected="c", label=Label.OK, version=2
        )
        feedback.note(session, memory.rules, said, batch="b2", now=memory.now + timedelta(hours=2), ballot=True)
        session.scalars(select(SampleRow)).one().variant_id = None
    assert samples(memory) != before

    assert undo(memory) == ("b2", 1)
    assert samples(memory) == before


def test_undo_of_a_batch_that_met_a_task_twice(memory: Any) -> None:
    """A file that names a task twice is taken back whole: the sample is gone, or as it was before the first."""
    memory.tell("t0", output="a", expected="a", batch="b1")
    before = samples(memory)
    for output in ("b", "c"):
        memory.tell("t0", output=output, batch="b2")
        memory.tell("t1", output=output, batch="b2")

    assert undo(memory) == ("b2", 4)
    assert samples(memory) == before


def test_batches_are_taken_back_one_by_one_until_none_is_left(memory: Any) -> None:
    """Each undo takes the newest batch that is left; then there is nothing, and saying so is no error."""
    for batch in ("b1", "b2", "b3"):
        memory.tell("t1", output=batch, batch=batch)

    assert [undo(memory)[0] for _ in range(4)] == ["b3", "b2", "b1", ""]
    assert samples(memory) == []


def test_undo_is_of_one_skill(memory: Any) -> None:
    """Another skill's newest batch is not touched."""
    memory.tell("t1", output="a")

    assert undo(memory, "another-skill") == ("", 0)
    assert len(samples(memory)) == 1


def test_a_sample_on_a_ballot_stays_without_its_label(memory: Any) -> None:
    """What people vote on cannot vanish: the sample only loses what was said of it."""
    test = memory.test(ballots=1)
    with memory.maker() as session:
        sample = session.get_one(BallotRow, test.ballots[0]).sample_id

    undo(memory)

    (row,) = samples(memory)
    assert (row["id"], row["label"], row["judged_at"]) == (sample, None, None)


def test_an_undone_batch_is_kept_in_the_history(memory: Any) -> None:
    """Events are marked, not deleted."""
    memory.tell("t1", output="a")
    undo(memory)

    with memory.maker() as session:
        assert [event.undone for event in session.scalars(select(LabelEventRow))] == [True]


def test_silence_matures_to_an_implicit_ok(memory: Any) -> None:
    """After a day without a word an answer counts as ok, marked as implicit; a judged or corrected one is left alone."""
    memory.tell("t1", output="a")
    memory.tell("t2", output="a", label=Label.BAD)
    memory.tell("t3", expected="a")
    memory.tell("t4", output="a", now=memory.now + timedelta(hours=2))

    with memory.write() as session:
        early = feedback.mature(session, memory.rules, memory.now + timedelta(hours=24))
        matured = feedback.mature(session, memory.rules, memory.now + timedelta(hours=25))

    assert (early, matured) == (0, 1)
    assert [row["label"] for row in samples(memory)] == ["ok", "bad", None, None]
    assert samples(memory)[0]["label_source"] == LabelSource.IMPLICIT


def test_a_word_after_the_silence_replaces_it(memory: Any) -> None:
    """An implicit ok gives way to a person and to the scorer."""
    memory.tell("t1", output="a")
    memory.tell("t2", output="a")
    with memory.write() as session:
        feedback.mature(session, memory.rules, memory.now + timedelta(hours=25))

    person, scorer = memory.tell("t1", label=Label.BAD), memory.tell("t2", expected="b")

    assert (person.label, person.source) == (Label.BAD, LabelSource.PERSON)
    assert (scorer.label, scorer.source) == (Label.BAD, LabelSource.SCORER)


def test_two_imports_at_once_are_both_whole(memory: Any) -> None:
    """Two processes that bring in a skill's first samples at the same moment lose nothing and break nothing."""

    def bring(prefix: str) -> Any:
        def work(session: Any) -> int:
            for i in range(5):
                said = Feedback(task_id=f"{prefix}{i}", fields=(("description", "x"),), output="a")
                feedback.note(session, memory.rules, said, batch=prefix, now=memory.now)
            return 5

        return work

    assert memory.at_once(bring("a"), bring("b"), bring("c")) == [5, 5, 5]
    assert len(samples(memory)) == 15
