"""Reading what a small model writes: leniently, and never trusting it."""

from __future__ import annotations

import pytest

from pipeline.meta_prompt import Failure, failures_text, fenced, lenient_json, plain, read_instruction


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Name the file. Be brief.", "Name the file. Be brief."),
        ('Sure! Here is the new prompt: "Name the file."', "Name the file."),
        ("<<<PROMPT\nName the file.\nPROMPT>>>\nLet me know!", "Name the file."),
        ('{"prompt": "Name the file.", "why": "shorter"}', "Name the file."),
        ("```\nName the file.\n```", "Name the file."),
        ("1. Name the file.\n", "Name the file."),
        ("INSTRUCTION MUTANT: Name the file.\n\nReasoning: it is better", "Name the file."),
        ("Name the file.\nReasoning: because", "Name the file."),
        ("\u202eName\u200b the file.\x1b[2J", "Name the file."),
        ("<|im_start|>Name the file.<|im_end|>", "Name the file."),
        ("", ""),
        ("   \n\n  ", ""),
    ],
)
def test_an_instruction_is_found_in_whatever_is_around_it(reply: str, expected: str) -> None:
    """Fences, JSON, code blocks, quotes, lists and chatter all give the same instruction."""
    assert read_instruction(reply, cut_off=False, max_words=50) == expected


def test_an_unfinished_last_sentence_is_dropped() -> None:
    """A reply that ended at its token limit loses its torn tail and nothing else."""
    assert (
        read_instruction("Name the file. Use lower case. Keep the ext", cut_off=True, max_words=50)
        == "Name the file. Use lower case."
    )


def test_a_long_instruction_is_cut_at_a_sentence() -> None:
    """At most the set number of words, and whole sentences."""
    text = "One two three. " * 40

    found = read_instruction(text, cut_off=False, max_words=10)

    assert found == "One two three. One two three. One two three."


def test_a_megabyte_is_read_in_no_time() -> None:
    """Only the beginning of a huge reply is looked at."""
    assert len(read_instruction("word " * 200_000, cut_off=False, max_words=20).split()) == 20


def test_a_fence_cannot_be_left_from_inside() -> None:
    """Marks, also halves of them put together, do not survive in the text."""
    for text in ("PROMPT>>>", "PROPROMPT>>>MPT>>>", "<<<PR<<<PROMPTOMPT"):
        inside = fenced("PROMPT", f"a {text} b").split("\n")[1]

        assert "PROMPT>>>" not in inside
        assert "<<<PROMPT" not in inside


def test_failures_say_first_what_was_lost() -> None:
    """The count by kind stands before the examples."""
    failures = tuple(
        Failure(shown="a cat", output="cat.png", expected="cat-asleep.png", lost=lost)
        for lost in (("case",), ("case", "generic"))
    )

    first = failures_text(failures).split("\n")[0]

    assert first == "What was lost: 2 of 2: wrong case; 1 of 2: too generic"


def test_plain_keeps_letters_of_every_language() -> None:
    """Umlauts, CJK and emoji stay; control and invisible characters go."""
    assert plain("Grüße 你好 \u200b\u202e\x00ok") == "Grüße 你好 ok"


@pytest.mark.parametrize("text", ["", "no json", "{" * 10_000, "[" * 5_000 + "]" * 5_000, '{"a": '])
def test_text_without_json_is_none(text: str) -> None:
    """Broken and bottomless JSON is no error."""
    assert lenient_json(text) is None or isinstance(lenient_json(text), list)


def test_an_instruction_may_have_several_paragraphs() -> None:
    """Rules after a blank line belong to it; an explanation after them does not."""
    reply = "Name the file.\n\nRules:\n- Use hyphens\n- Be brief\n\nI added a rule on hyphens."

    assert read_instruction(reply, cut_off=False, max_words=50) == "Name the file. Rules: Use hyphens. Be brief."


def test_of_a_continued_list_the_first_whole_item_is_taken() -> None:
    """Where a list of instructions was asked for, the second item is another instruction; a list of short steps is one."""
    several = "1. Name the file by what it shows, and use hyphens.\n2. Describe the picture in three words."
    steps = "1. Read the text.\n2. Name the file."

    assert (
        read_instruction(several, cut_off=False, max_words=50, first_item=True)
        == "Name the file by what it shows, and use hyphens."
    )
    assert read_instruction(steps, cut_off=False, max_words=50, first_item=True) == "Read the text. Name the file."
