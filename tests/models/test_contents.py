"""The same input under many ids is one task: one part of the history, one replayed answer, one ballot."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import select, update

from models import ballot_inputs, contents, golden, samples
from models.assign import assign
from models.ballots import close_ballots
from models.prompts import note_version
from models.runs import become_evolution
from models.tables import AssignmentRow, SampleRow
from models.tallies import tally
from models.work_tables import RunRow
from pipeline.algorithms.beta import clopper_pearson
from pipeline.algorithms.eprocess import e_value
from pipeline.contents import content_of
from pipeline.decision import INCUMBENT
from pipeline.domain import Label, Split, Stage, VariantId
from pipeline.explain import copies_words
from pipeline.population import Outcome
from pipeline.replay import Replay, Replayed
from pipeline.splits import split_of

TEXT = "Name the file.\n---\nDescription: {{description}}\n"
TESTS, BOUND, MARK = 4000, 0.05, 20.0


def tell(memory: Any, content: str, copies: int, **given: object) -> None:
    """Note one input under so many ids."""
    for i in range(copies):
        memory.tell(f"{content}#{i}", fields=(("description", content),), **given)


def split_in(part: Split, count: int) -> list[str]:
    """Return inputs that lie in a part of the history."""
    found = [f"picture {i}" for i in range(2000)]
    return [one for one in found if split_of("file-naming", content_of({"description": one})) is part][:count]


def items(memory: Any, part: Split) -> Any:
    """Draw the samples of a part as a replay does."""
    with memory.maker() as session:
        return samples.items(session, "file-naming", part, horizon=None, limit=200, seed=1)


def open_test(memory: Any) -> Any:
    """Start a test whose history ends here."""
    bell = memory.run(Stage.BANDIT)
    with memory.write() as session:
        become_evolution(
            session, session.get_one(RunRow, bell.run), memory.now, None, samples.horizon(session, "file-naming")
        )
    return bell


def wanted(memory: Any, bell: Any, *replayed: int) -> list[str]:
    """Return the inputs that may become ballots, as task ids."""
    with memory.maker() as session:
        run = session.get_one(RunRow, bell.run)
        rows = ballot_inputs.ballot_tasks(session, run, replayed, from_history=True, limit=60)
        return [row.task_id for row in rows]


@pytest.mark.parametrize("same", ["a cat", "A  CAT", " a\tcat\n"])
def test_case_and_spaces_make_no_other_content(same: str) -> None:
    """Another word does, and so does another field that the prompt reads; one that it does not read is passed over."""
    assert content_of({"description": same}) == content_of({"description": "A cat"})
    assert content_of({"description": same}) != content_of({"description": "A cut"})
    assert content_of({"description": same, "id": "7"}, {"description"}) == content_of({"description": "A cat"})
    assert content_of({"description": same, "id": "7"}) != content_of({"description": "A cat"})


def test_copies_lie_in_one_part_and_are_drawn_once(memory: Any) -> None:
    """Fifty ids of one input are one sample, the newest; a field that the prompt does not read makes no other one."""
    with memory.write() as session:
        note_version(session, memory.rules.skill, TEXT, memory.now)
    for i in range(50):
        memory.tell(f"t{i}", fields=(("description", "A  cat" if i % 2 else "a cat"), ("time", f"{i}")), expected="x")

    with memory.maker() as session:
        rows = session.execute(select(SampleRow.id, SampleRow.split)).all()
        count, newest = samples.known(session, "file-naming"), samples.newest_known(session, "file-naming", 10)
        frozen, left_out = golden.candidates(session, "file-naming", 60, 1), contents.copies(session, "file-naming", 99)
    (part,) = {split for _, split in rows}
    (drawn,) = items(memory, Split(part))
    assert drawn.sample == max(number for number, _ in rows)
    assert (count, len(newest), len(frozen), left_out) == (1, 1, 1, (50, 49))


def test_a_bounded_count_reads_the_newest_samples(memory: Any) -> None:
    """Copies at the beginning of a history do not hide for ever what came after them."""
    first, *others = split_in(Split.SEARCH, 5)
    tell(memory, first, 90, expected="x")
    for content in others:
        tell(memory, content, 1, expected="x")

    with memory.maker() as session:
        assert samples.usable(session, "file-naming", most=4) == 4


def test_copies_that_an_earlier_release_spread_belong_to_the_part_that_is_looked_at_first(memory: Any) -> None:
    """What a search may have seen is not held out, although another id of it lies in the held-out part."""
    tell(memory, "a cat", 2, expected="x")
    tell(memory, "a dog", 1, expected="y")
    with memory.write() as session:
        session.execute(update(SampleRow).values(split=Split.CONFIRM))
        session.execute(update(SampleRow).where(SampleRow.task_id == "a cat#0").values(split=Split.SEARCH))

    held = items(memory, Split.CONFIRM)

    assert [dict(one.fields)["description"] for one in held] == ["a dog"]
    assert len(items(memory, Split.SEARCH)) == 1
    with memory.maker() as session:
        one_reading = contents.by_part(session, "file-naming")
        each = {part: samples.known(session, "file-naming", part) for part in Split}
    assert {part: one_reading[part] for part in Split} == each


def test_another_input_under_a_known_id_is_another_task(memory: Any) -> None:
    """Its part is drawn anew; the same input keeps the part that it has."""
    one, other = split_in(Split.SEARCH, 1)[0], split_in(Split.CONFIRM, 1)[0]
    parts = []
    for told in (one, one.upper(), other):
        memory.tell("t", fields=(("description", told),), expected="x")
        with memory.maker() as session:
            parts.append(session.scalars(select(SampleRow.split)).one())

    assert parts == [Split.SEARCH, Split.SEARCH, Split.CONFIRM]


def test_what_the_generator_reads_has_each_content_once(memory: Any) -> None:
    """Thirty ids of one failure leave room for the others."""
    first, second = split_in(Split.SEARCH, 2)
    tell(memory, second, 1, output="wrong", expected="x", label=Label.BAD)
    tell(memory, first, 30, output="wrong", expected="x", label=Label.BAD)

    with memory.maker() as session:
        found = samples.failures(session, "file-naming", horizon=99, limit=10)

    assert len(found) == 2


def test_no_ballot_is_made_of_a_content_that_was_replayed(memory: Any) -> None:
    """Nor of a second copy, nor of a new copy of what the search saw; a new content is wanted."""
    replayed, free = split_in(Split.CONFIRM, 2)
    (seen,) = split_in(Split.SEARCH, 1)
    tell(memory, replayed, 2, expected="x")
    tell(memory, free, 3, expected="x")
    tell(memory, seen, 1, expected="x")
    bell = open_test(memory)
    for task, content in (("new", "a new one"), ("seen", seen), ("replayed", replayed)):
        memory.tell(task, fields=(("description", content),), output="x")
    with memory.write() as session:
        session.execute(update(SampleRow).where(SampleRow.batch == "b1").values(ballot_wanted=True))

    assert wanted(memory, bell, 1) == ["new", f"{free}#2"]


@pytest.mark.parametrize(("contents_", "copies"), [(10, 5), (40, 6)])
def test_copies_do_not_promote_an_equal_prompt(memory: Any, contents_: int, copies: int) -> None:
    """Replay alone, a fair coin per content: at most 1 in 20 reaches the mark, where every copy counting would promote more."""
    for content in split_in(Split.CONFIRM, contents_):
        tell(memory, content, copies, expected="x")
    drawn, rng = items(memory, Split.CONFIRM), random.Random(20260504)  # noqa: S311 - a simulation
    reached = by_copies = 0
    for _ in range(TESTS):
        wins = [rng.random() < 0.5 for _ in drawn]
        ours = tuple(Outcome(sample=i.sample, value=float(w), correct=w) for i, w in zip(drawn, wins, strict=True))
        theirs = tuple(Outcome(sample=o.sample, value=1 - o.value, correct=not o.correct) for o in ours)
        parts = (Replayed(variant=INCUMBENT, confirm=theirs), Replayed(variant=VariantId(1), confirm=ours))
        w, l = Replay(prompts=parts, kept=(), served_by=()).wins_losses(VariantId(1))  # noqa: E741 - wins and losses
        reached += e_value(w, l, 12, 6) >= MARK
        by_copies += e_value(copies * w, copies * l, 12, 6) >= MARK

    assert len(drawn) == contents_
    assert clopper_pearson(reached, TESTS)[1] <= BOUND
    assert clopper_pearson(by_copies, TESTS)[0] > BOUND


def starving(memory: Any) -> Any:
    """Start a test whose history gives no ballot."""
    memory.voting(from_history=False, show_probability=1.0)
    test = memory.test(ballots=1)
    with memory.write() as session:
        close_ballots(session, test.bell.run, memory.now)
    return test


def why(memory: Any) -> tuple[str, ...]:
    """Return why no ballot comes."""
    with memory.maker() as session:
        return ballot_inputs.all_starved(session, "file-naming")


def test_a_test_without_inputs_says_what_brings_some(memory: Any) -> None:
    """The words name the tasks that are used up, the commands, and the day on which the test ends."""
    starving(memory)

    (words,) = why(memory)

    assert "No inputs are left for ballots: 1 tasks were on ballots." in words
    assert "evoctl feedback add file-naming" in words
    assert "the test ends on 2026-05-11 12:00 UTC" in words


@pytest.mark.parametrize(
    ("told", "assigned", "comes"),
    [
        ({}, False, True),
        ({"label": Label.BAD}, False, False),
        ({"expected": "y"}, False, False),
        ({"label": Label.BAD}, True, True),
    ],
)
def test_an_imported_task_becomes_a_ballot_if_its_failure_did_not_choose_it(
    memory: Any, told: dict[str, Any], *, assigned: bool, comes: bool
) -> None:
    """A task without a verdict does, and one whose prompt was assigned; one that was told with its verdict does not."""
    starving(memory)
    if assigned:
        with memory.write() as session:
            assign(session, memory.rules, TEXT, "new", memory.now)

    memory.tell("new", output="x", history=True, **told)

    assert (why(memory) == ()) is comes


def test_in_the_live_mode_a_content_counts_once_per_prompt(memory: Any) -> None:
    """Fifty ids of one input, which one prompt gets right and the other wrong, are one pair."""
    memory.voting(mode="live")
    test = memory.test()
    for number in range(100):
        ours = number % 2
        with memory.write() as session:
            session.add(
                AssignmentRow(
                    skill_name="file-naming", task_id=f"live{number}", run_id=test.bell.run, version=1,
                    variant_id=test.variants[0] if ours else None, outcome=Label.OK if ours else Label.BAD,
                    created_at=memory.now, outcome_at=memory.now,
                )
            )  # fmt: skip
        memory.tell(f"live{number}", fields=(("description", "one"),), output="x")

    with memory.maker() as session:
        found = tally(session, test.bell.run, memory.now)

    assert (found.arms[0].wins, found.arms[0].losses, found.votes) == (1, 0, 2)


def test_results_count_the_copies_that_were_left_out() -> None:
    """And they say what cannot be recognised; without copies nothing is said."""
    words = copies_words(150, 149)

    assert words.startswith("Of 150 tasks with a known right answer 149 are copies of others")
    assert "Near-copies cannot be recognised" in words
    assert copies_words(150, 0) == ""
