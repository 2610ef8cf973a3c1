"""What a small model writes around, before and inside an instruction, and what a hostile one would like to leave in it."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.meta_prompt import clip, fenced, lenient_json, plain, read_instruction

WANTED = "Name the file after what the picture shows. Keep the ending."

WRAPPED = {
    "plain": WANTED,
    "quoted": f'"{WANTED}"',
    "curly quotes": f"\u201c{WANTED}\u201d",
    "bold": f"**{WANTED}**",
    "fence": f"<<<PROMPT\n{WANTED}\nPROMPT>>>\nAnything after it.",
    "open fence": f"<<<PROMPT\n{WANTED}",
    "code": f"```\n{WANTED}\n```",
    "code with a language and chatter": f"Sure:\n```text\n{WANTED}\n```\nLet me know!",
    "open code": f"```\n{WANTED}",
    "JSON": json.dumps({"prompt": WANTED, "why": "shorter"}),
    "JSON, other key": json.dumps({"reasoning": 'say "why"', "new_instruction": WANTED}),
    "JSON in code": f'```json\n{{"instruction": "{WANTED}"}}\n```',
    "JSON after chatter": f'Sure! {{"prompt": "{WANTED}"}}',
    "JSON in JSON": json.dumps({"data": {"prompt": WANTED}}),
    "lead": f"Here is the new instruction:\n\n{WANTED}",
    "lead on the line": f"The revised instruction is as follows: {WANTED}",
    "label": f"INSTRUCTION MUTANT: {WANTED}",
    "heading": f"### Instruction:\n{WANTED}",
    "first of a list": f"1. {WANTED}",
    "bullets": "- Name the file after what the picture shows.\n- Keep the ending.",
    "tail": f"{WANTED}\nLet me know if you need more.",
    "reasons in a paragraph": f"{WANTED}\n\nThis instruction is better because it is short.",
    "ChatML": f"<|im_start|>assistant\n{WANTED}<|im_end|>",
    "Llama 2": f"<s>[INST] {WANTED} [/INST]</s>",
    "Llama 3": f"<|start_header_id|>assistant<|end_header_id|>\n{WANTED}<|eot_id|>",
    "Gemma": f"<start_of_turn>model {WANTED}<end_of_turn>",
    "terminal colours": f"\x1b[1;31m{WANTED}\x1b[0m",
    "controls": WANTED.replace(" the ", " \x00\x07the "),
    "invisible": WANTED.replace("file", "f\u200bi\u202ele"),
    "tabs and carriage returns": WANTED.replace(" the ", "\tthe\t") + "\r",
}


@pytest.mark.parametrize("reply", WRAPPED.values(), ids=WRAPPED.keys())
def test_the_instruction_is_found_in_its_wrapping(reply: str) -> None:
    """Whatever a model puts around it, the instruction itself comes out, and nothing else."""
    assert read_instruction(reply, cut_off=False, max_words=50) == WANTED


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"prompt": "Name the file well. Keep the en', "Name the file well."),
        ('```json\n{"prompt": "Name the \\"big\\" file. Ke', 'Name the "big" file.'),
        ("Name the file. Use the ending .pn", "Name the file."),
        ("Name the file in version 1.5 of the", "Name the file in version 1.5 of the"),
        ("Keep it under 3.5 words! And the", "Keep it under 3.5 words!"),
        ("no sentence at all here", "no sentence at all here"),
    ],
)
def test_a_reply_that_was_cut_off_ends_with_its_last_whole_sentence(reply: str, expected: str) -> None:
    """A point inside a number or a file's ending is no sentence's end, and torn JSON leaves no braces behind."""
    assert read_instruction(reply, cut_off=True, max_words=50) == expected


@pytest.mark.parametrize(
    "reply",
    [
        'Answer as JSON such as {"text": "hello"} and nothing else.',
        "Prompt the user: be brief and kind.",
        "OK files stay.",
    ],
)
def test_an_instruction_that_looks_like_wrapping_stays_whole(reply: str) -> None:
    """An example in braces, or a verb that is also a label, is part of the instruction."""
    assert read_instruction(reply, cut_off=False, max_words=50) == reply


@pytest.mark.parametrize(
    "piece",
    [
        "a ",
        "[",
        '{"a":',
        "<<<PROMPT\n",
        "<|",
        "`",
        '{"prompt": "x',
        '{"reasoning":"',
        "Sure ",
        ". ",
        "\n",
        "1. ",
        "\\",
        "<<<",
    ],
)
def test_a_megabyte_of_anything_is_read_in_no_time(piece: str) -> None:
    """No repetition makes reading slow: half a second at most for a reply, its JSON and its plain text together."""
    text, began = piece * (1_000_000 // len(piece)), time.process_time()

    found = read_instruction(text, cut_off=True, max_words=50)
    lenient_json(text)
    plain(text)

    assert time.process_time() - began < 1.5
    assert len(found.split()) <= 50


@given(st.text(max_size=300), st.booleans(), st.integers(1, 60))
def test_no_reply_is_an_error(text: str, cut_off: bool, max_words: int) -> None:  # noqa: FBT001 - drawn
    """Any text gives one line of at most the set number of words, without marks and invisible characters."""
    found = read_instruction(text, cut_off=cut_off, max_words=max_words)

    assert "\n" not in found
    assert len(found.split()) <= max_words
    assert plain(found) == found


HOSTILE = (
    "PROMPT>>>",
    "<<<PROMPT",
    "<|im_end|>",
    "<|x|>",
    "[/INST]",
    "P",
    "<",
    ">",
    "|",
    "<<",
    ">>",
    "ROMPT",
    "T>>>",
    " ",
)


@given(st.lists(st.sampled_from(HOSTILE), max_size=12).map("".join))
def test_no_text_closes_the_fence_it_stands_in(text: str) -> None:
    """However marks are nested in one another, taking them out leaves none: the fence has one end, the last line."""
    inside = fenced("PROMPT", text)

    assert inside.count("PROMPT>>>") == 1
    assert inside.count("<<<PROMPT") == 1
    assert inside.endswith("\nPROMPT>>>")


def test_an_example_is_one_line_of_limited_length() -> None:
    """What a sample shows to the generator is short, however long and however broken into lines it was."""
    assert clip("a\n\n b\tc " * 500, limit=20) == "a b c a b c a b c a…"
    assert clip("short") == "short"
