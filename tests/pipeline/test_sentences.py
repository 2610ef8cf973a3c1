"""Instructions cut into sentences and put together again: lists, code, other languages, and texts that nobody would write."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sentences import added, graft, same, sentences, spans, swapped, without

WORDS = (
    "name files letters short hyphen colour river stone market window garden paper yellow seven music bridge winter copper "
    "Straße größe naïve red-bus"
)
VOCABULARY = WORDS.split()
NUMBERS = ("60", "3.11", "v2")
MARKS = re.compile(r"[\d.)*\u2022\s-]*")
PROSE = st.tuples(st.sampled_from(VOCABULARY), st.lists(st.sampled_from((*VOCABULARY, *NUMBERS)), max_size=5)).map(
    lambda parts: " ".join([parts[0], *parts[1]])
)
ENDED = st.tuples(PROSE, st.sampled_from((".", "!", "?", "...", '."', ".)"))).map("".join)
SENTENCE = st.one_of(ENDED, PROSE.map(lambda text: f"{text} please"))
LINE = st.tuples(
    st.sampled_from(("", "", "- ", "* ", "1. ", "12) ", "  - ")),
    st.lists(ENDED, max_size=2),
    st.one_of(ENDED, SENTENCE),
)
TEXT = st.lists(st.tuples(LINE, st.sampled_from(("\n", "\n", "\n\n"))), min_size=1, max_size=5)
Built = list[tuple[tuple[str, list[str], str], str]]

HOSTILE = (
    "", " ", "\n\n", "-", "- ", "1.", "1. ", "1. 2. 3.", "...", "!!!", "a" * 20_000, "a. " * 6_000, "- a\n" * 5_000, "```",
    "```\na. b\n```", "```json\n{" * 800, "\x00\x1b[31m. x", "\u2028a.\u2029b", "e.g. i.e. etc. ", "a.\r\nb.\r\n", "\ufeffName it.",
    "{{x}}. {{y}}", "Name it.\n---\nText: {{text}}", "Examples:\n- a\n- b", "名前を付けてください。短く。", "." * 5_000 + " " * 5_000,
)  # fmt: skip


def text_of(built: Built) -> tuple[str, list[str]]:
    """Write lines down, and list the sentences they were made of."""
    text = "".join(f"{mark}{' '.join([*before, last])}{end}" for (mark, before, last), end in built)
    return text.strip(), [part for (_, before, last), _ in built for part in (*before, last)]


BUILT = TEXT.map(text_of)


@given(BUILT)
@settings(deadline=None)
def test_a_text_is_cut_into_the_sentences_it_was_made_of(built: tuple[str, list[str]]) -> None:
    """Prose, list lines with and without a closing mark, paragraphs and quotations are all found, without list marks."""
    text, parts = built

    assert sentences(text) == parts


@given(BUILT, st.data())
@settings(deadline=None)
def test_without_removes_exactly_one_sentence(built: tuple[str, list[str]], data: st.DataObject) -> None:
    """Every other sentence stays as it was and where it was."""
    text, parts = built
    index = data.draw(st.integers(0, len(parts) - 1))

    assert sentences(without(text, index)) == parts[:index] + parts[index + 1 :]


@given(BUILT, st.data())
@settings(deadline=None)
def test_swapped_exchanges_exactly_two_sentences(built: tuple[str, list[str]], data: st.DataObject) -> None:
    """The two stand in one another's place, and no sentence runs into another."""
    text, parts = built
    one, other = (data.draw(st.integers(0, len(parts) - 1)) for _ in range(2))
    expected = list(parts)
    expected[one], expected[other] = parts[other], parts[one]

    assert sentences(swapped(text, one, other)) == expected


@given(BUILT, st.lists(SENTENCE, max_size=4))
@settings(deadline=None)
def test_a_graft_is_the_parent_word_for_word_and_then_the_new_sentences(
    built: tuple[str, list[str]], fresh: list[str]
) -> None:
    """The parent is the beginning of the child, so that a cache knows it, and each new sentence stands alone."""
    text, parts = built

    child = graft(text, fresh)

    assert child.startswith(text)
    assert sentences(child) == parts + fresh


@given(BUILT, BUILT)
@settings(deadline=None)
def test_what_was_added_is_not_added_again(one: tuple[str, list[str]], other: tuple[str, list[str]]) -> None:
    """After its new sentences are grafted, a reply says nothing new, and a text says nothing new to itself."""
    parent, reply = one[0], other[0]

    assert added(parent, parent) == []
    assert added(reply, graft(parent, added(reply, parent))) == []


@given(BUILT, BUILT)
@settings(deadline=None)
def test_only_whole_sentences_of_the_reply_are_added(one: tuple[str, list[str]], other: tuple[str, list[str]]) -> None:
    """Each has at least three words, is one of the reply's own, and is said once."""
    fresh = added(other[0], one[0])

    assert [part for part in fresh if part not in other[1]] == []
    assert len(fresh) == len(set(fresh))
    assert all(len(re.findall(r"[^\W_]+", part)) >= 3 for part in fresh)


@given(st.one_of(st.text(max_size=300), st.sampled_from(HOSTILE)), BUILT)
@settings(deadline=None)
def test_any_text_at_all_can_be_edited(text: str, built: tuple[str, list[str]]) -> None:
    """Whatever stands in it: the pieces are in order, hold every character but marks, and no edit loses another's text."""
    text = text[:2_000]
    found = spans(text)[:40]
    edges = [edge for span in found for edge in span]
    between = [text[b:a] for b, a in zip([0, *edges[1::2]], [*edges[::2], edges[-1] if edges else 0], strict=True)]

    assert edges == sorted(edges)
    assert all(MARKS.fullmatch(gap) for gap in between)
    assert graft(text, added(built[0], text)).startswith(text.rstrip())
    for index in range(min(3, len(found))):
        assert len(without(text, index)) <= len(text)
        moved = swapped(text, 0, index)
        assert sorted("".join(moved.split())) == sorted("".join(text.split()))


@pytest.mark.parametrize("reply", HOSTILE)
def test_a_reply_of_any_shape_is_read(reply: str) -> None:
    """Also 20,000 characters without a full stop, bare list marks and open code blocks; only what it says is taken."""
    fresh = added(reply, "Name the picture well.")

    assert all(part in reply for part in fresh)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1. Name it.\n2. Be brief.", ["Name it.", "Be brief."]),
        ("Use short names, e.g. red-bus. Keep it.", ["Use short names, e.g. red-bus.", "Keep it."]),
        (
            "Benenne die Datei z.B. nach dem Inhalt, d.h. kurz. Keine Umlaute!",
            ["Benenne die Datei z.B. nach dem Inhalt, d.h. kurz.", "Keine Umlaute!"],
        ),
        ("Say \u201cno.\u201d Then stop.", ["Say \u201cno.\u201d", "Then stop."]),
        ("Use Python 3.11. Limit it to 60. Then stop.", ["Use Python 3.11.", "Limit it to 60.", "Then stop."]),
        ('Answer as:\n```json\n{"a. b": 1}\n```\nNo more.', ["Answer as:", '```json\n{"a. b": 1}\n```', "No more."]),
        ("name the file after what it shows", ["name the file after what it shows"]),
        ("Name it.\r\nBe brief.\r\n", ["Name it.", "Be brief."]),
        (" \n ", []),
    ],
)
def test_what_looks_like_an_end_but_is_none_cuts_nothing(text: str, parts: list[str]) -> None:
    """List numbers, abbreviations and versions do not end a sentence; a code block is one piece."""
    assert sentences(text) == parts


def test_deleting_in_a_list_leaves_no_empty_line() -> None:
    """The line goes with its mark; where another sentence stands on it, the mark stays."""
    text = "Rules:\n- Name it.\n- Be brief. Be kind.\n- Stop."

    assert without(text, 1) == "Rules:\n- Be brief. Be kind.\n- Stop."
    assert without(text, 2) == "Rules:\n- Name it.\n- Be kind.\n- Stop."
    assert without(text, 4) == "Rules:\n- Name it.\n- Be brief. Be kind."


def test_deleting_the_only_sentence_leaves_nothing() -> None:
    """One giant line without a full stop is one sentence."""
    assert without("name the file after what it shows", 0) == ""


def test_swapping_in_a_numbered_list_keeps_the_numbers_in_order() -> None:
    """Only what is said changes places."""
    assert swapped("1. Name it.\n2. Be brief.\n3. Stop.", 0, 2) == "1. Stop.\n2. Be brief.\n3. Name it."


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("Name it.", "Name it. Use no dots."),
        ("name it", "name it\nUse no dots."),
        ("Rules:\n- Name it", "Rules:\n- Name it\n- Use no dots."),
        ("Rules:\n1) Name it.\n2) Be brief.", "Rules:\n1) Name it.\n2) Be brief.\n3) Use no dots."),
        ("As:\n```\na.\n```", "As:\n```\na.\n```\nUse no dots."),
        ("Name it, e.g.", "Name it, e.g.\nUse no dots."),
        ("", "Use no dots."),
    ],
)
def test_a_graft_takes_the_parents_form(parent: str, child: str) -> None:
    """A list goes on as a list; after code, or words without an end, a line of its own begins."""
    assert graft(parent, ["Use no dots."]) == child


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Use 3 words.", "Use 5 words."),
        ("Use at most three words here.", "Use at most five words here."),
        ("Use upper case letters.", "Use lower case letters."),
        ("You can use dots.", "You cannot use dots."),
        ("Put dots in the name.", "Don't put dots in the name."),
        ("Keep the extension of the file.", "Drop the extension of the file."),
        ("Answer with the first word only.", "Answer with the last word only."),
        ("Verwende Punkte im Namen.", "Verwende keine Punkte im Namen."),
    ],
)
def test_sentences_that_differ_in_what_matters_do_not_say_the_same(one: str, other: str) -> None:
    """A number, a denial or an opposite turns a rule round, however many words are shared."""
    assert not same(one, other)
    assert not same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Use lower case letters.", "Use lower-case letters only."),
        ("Name the file!", "name the  FILE!"),
        ("Join the words by hyphens.", "Join words by hyphens."),
        ("", ""),
    ],
)
def test_the_same_in_other_words_is_the_same(one: str, other: str) -> None:
    """Case, white space, plurals and a small word more or less do not count."""
    assert same(one, other)


def test_a_torn_off_last_sentence_is_left_out() -> None:
    """A reply that ends within a sentence ended at its limit; a list without any full stop did not."""
    assert added("Use no dots here. Put the colour into the na", "Name it.") == ["Use no dots here."]
    assert added("- use no dots here\n- put the colour first", "Name it.") == [
        "use no dots here",
        "put the colour first",
    ]


def test_a_lone_sentence_without_an_end_is_kept() -> None:
    """There is nothing else to take."""
    assert added("put the colour first", "Name it.") == ["put the colour first"]
