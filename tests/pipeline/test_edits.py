"""Children that need no model: what they change, what they keep, and when there is nothing to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import examples
from pipeline.algorithms.streams import stream
from pipeline.domain import MutationType, SampleId
from pipeline.edits import complement, crossed, edited, shuffled, with_pattern
from pipeline.fitness import Item
from pipeline.patterns import PATTERNS, Pattern
from pipeline.population import Draft, Member, Outcome
from pipeline.sentences import added, sentences
from pipeline.skills import PromptTemplate

RULES = "Name the picture well. Keep the colour of the thing. Leave out all small words."
BULLETS = "Name the picture well\n- Keep the colour of the thing\n- Leave out all small words"
RELATIVE = "Name the picture well. Join the words by hyphens."
FRAME = PromptTemplate("Name it.", "Text: {{text}}")
ITEMS = tuple(
    Item(sample=SampleId(i), fields=(("text", f"picture {i}"),), expected=f"picture-{i}" if i % 4 else "")
    for i in range(24)
)
DRAWS = 400


def member(ordinal: int, *values: float) -> Member:
    """A member with a score on the first samples."""
    outcomes = tuple(Outcome(sample=SampleId(i), value=v, correct=v == 1) for i, v in enumerate(values))
    draft = Draft(instruction=f"Member {ordinal} says this.", kind=MutationType.FIRST_ORDER, reasoning="")
    return Member(
        ordinal=ordinal, slot=0, generation=0, parent=None, second_parent=None, mutation=0, draft=draft, outcomes=outcomes,
        n=len(values),
    )  # fmt: skip


@pytest.mark.parametrize("rules", [RULES, BULLETS])
def test_an_edit_deletes_swaps_or_puts_back_one_sentence(rules: str) -> None:
    """Over many draws all three happen, and each leaves every other sentence as it was."""
    before, done = sentences(rules), set()
    for seed in range(60):
        text, why = edited(rules, [RELATIVE], stream(seed, "edit"))
        after = sentences(text)
        done.add(why)
        if why == "one sentence deleted":
            assert len(after) == len(before) - 1
            assert set(after) < set(before)
        elif why == "two sentences changed places":
            assert after != before
            assert sorted(after) == sorted(before)
        else:
            assert after == [*before, "Join the words by hyphens."]

    assert done == {"one sentence deleted", "two sentences changed places", "one sentence of a relative put back"}


def test_an_only_sentence_is_never_deleted() -> None:
    """One giant line without a full stop stays, unless a relative has something to put to it."""
    line = "name the picture after what it shows " * 30
    for seed in range(20):
        assert edited(line, [], stream(seed, "edit")) == (line, "nothing to edit")
        assert edited(line, [RELATIVE], stream(seed, "edit"))[0].startswith(line.rstrip())


@given(st.text(max_size=200), st.text(max_size=200), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_any_rules_can_be_edited_and_crossed(rules: str, other: str, seed: int) -> None:
    """No text breaks an edit, and a cross keeps the first parent word for word."""
    edited(rules, [other], np.random.default_rng(seed))

    assert crossed(rules, other).startswith(rules.rstrip())


def test_a_cross_has_all_rules_of_both_once() -> None:
    """What both say stands once, and crossing again adds nothing."""
    child = crossed(RULES, RELATIVE)

    assert sentences(child) == [*sentences(RULES), "Join the words by hyphens."]
    assert crossed(child, RELATIVE) == child


def test_a_pattern_is_put_to_the_rules_until_none_is_left() -> None:
    """Each time one that is not in yet; then nothing."""
    library, rules = PATTERNS[:6], RULES
    names = []
    for seed in range(6):
        rules, name = with_pattern(rules, library, stream(seed, "pattern"))
        names.append(name)

    assert set(names) == {pattern.name for pattern in library}
    assert rules.startswith(RULES)
    assert with_pattern(rules, library, stream(1, "pattern")) == ("", "")
    assert with_pattern(RULES, (), stream(1, "pattern")) == ("", "")


def test_of_a_pattern_only_what_is_new_is_put_to_the_rules() -> None:
    """A pattern of two rules, one of which stands there already, brings the other."""
    both = Pattern(name="both", sentence="Keep the colour of the thing. Join the words by hyphens.")

    assert with_pattern(RULES, (both,), stream(1, "pattern")) == (f"{RULES} Join the words by hyphens.", "both")


def test_earlier_patterns_are_drawn_more_often() -> None:
    """Each 0.7 times as often as the one before it, within 5 sd."""
    names = Counter(with_pattern(RULES, PATTERNS[:4], stream(seed, "pattern"))[1] for seed in range(DRAWS))
    weights = 0.7 ** np.arange(4)

    for pattern, share in zip(PATTERNS[:4], weights / weights.sum(), strict=True):
        assert abs(names[pattern.name] - DRAWS * share) <= 5 * (DRAWS * share * (1 - share)) ** 0.5


def test_a_mate_is_right_where_the_parent_is_wrong() -> None:
    """Drawn in proportion to what it does better, within 5 sd; one that is better nowhere is never drawn."""
    parent = member(0, 0, 0, 0, 1)
    mates = [member(1, 1, 0, 0, 0), member(2, 1, 1, 1, 0), member(3, 0, 0, 0, 1)]
    drawn = Counter(found.ordinal for s in range(DRAWS) if (found := complement(parent, mates, stream(s, "mate"))))

    assert set(drawn) == {1, 2}
    assert abs(drawn[2] - 0.75 * DRAWS) <= 5 * (DRAWS * 0.75 * 0.25) ** 0.5


@pytest.mark.parametrize("mates", [[], [member(1)], [member(1, 0, 0)], [member(1, 0.5, 0.5)]])
def test_without_a_better_mate_there_is_no_mate(mates: list[Member]) -> None:
    """Nobody else, one that was not run, or one that is better nowhere: also when all scores are equal or 0."""
    assert complement(member(0, 0.5, 0.5), mates, stream(1, "mate")) is None


Shuffle = Callable[[str, int, int], str]


@pytest.fixture(name="shuffle")
def _shuffle() -> Shuffle:
    """Return a function that shuffles a prompt's examples."""

    def shuffle(instruction: str, most: int, seed: int) -> str:
        return shuffled(FRAME, instruction, ITEMS, most, stream(seed, "shuffle"))

    return shuffle


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_shuffling_changes_examples_only(shuffle: Shuffle, most: int) -> None:
    """Rules stay, there are at most so many examples, all different, each a labelled sample, and none is empty."""
    known = {examples.example(FRAME, item) for item in ITEMS if item.expected}
    instruction = RULES
    for seed in range(50):
        after = shuffle(instruction, most, seed)
        rules, carried = examples.split(after)

        assert rules == RULES
        assert 1 <= len(carried) <= most
        assert len(set(carried)) == len(carried)
        assert set(carried) <= known
        assert after != instruction
        instruction = after


def test_shuffling_without_room_or_samples_changes_nothing(shuffle: Shuffle) -> None:
    """No example is allowed, there is no sample, or the only one is carried already."""
    one = (ITEMS[1],)
    carrying = shuffled(FRAME, RULES, one, 2, stream(1, "shuffle"))

    assert shuffle(RULES, 0, 1) == RULES
    assert shuffled(FRAME, RULES, (), 2, stream(1, "shuffle")) == RULES
    assert shuffled(FRAME, RULES, (ITEMS[0],), 2, stream(1, "shuffle")) == RULES
    assert shuffled(FRAME, carrying, one, 2, stream(2, "shuffle")) == carrying


def test_two_samples_of_the_same_text_give_one_example() -> None:
    """A sample that was logged twice does not stand in the prompt twice."""
    twins = tuple(Item(sample=SampleId(i), fields=(("text", "a red bus"),), expected="red-bus") for i in range(8))
    carried = [examples.split(shuffled(FRAME, RULES, twins, 4, stream(seed, "shuffle")))[1] for seed in range(60)]

    assert {len(texts) for texts in carried} == {1}


def test_about_one_in_ten_prompts_draws_all_examples_anew(shuffle: Shuffle) -> None:
    """As in the paper, within 5 sd: then none of the two that were carried need be left."""
    full = shuffle(shuffle(RULES, 2, 1), 2, 2)
    kept = set(examples.split(full)[1])
    anew = sum(not kept & set(examples.split(shuffle(full, 2, seed))[1]) for seed in range(DRAWS))

    assert len(kept) == 2
    assert abs(anew - 0.10 * DRAWS) <= 5 * (DRAWS * 0.09) ** 0.5


def test_the_same_draws_give_the_same_child() -> None:
    """Nothing but the arguments goes in."""
    for seed in range(10):
        assert edited(RULES, [RELATIVE], stream(seed, "a")) == edited(RULES, [RELATIVE], stream(seed, "a"))
        assert added(crossed(RULES, RELATIVE), RULES) == ["Join the words by hyphens."]
