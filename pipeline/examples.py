"""Few-shot examples as a gene of their own: they stand below the rules, fenced, and come from the search split only.

The rules evolve and are held to the gates against copied data; an example is data, and is meant to be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.fitness import Item
from pipeline.meta_prompt import clip, plain, suspicions
from pipeline.skills import PLACEHOLDER, RULE, PromptTemplate

HEADING = "Examples:"
MAX_INPUT, MAX_ANSWER = 240, 160  # characters of an example's fields and answer
_BLOCK = re.compile(r"\n*^Examples:\n(?=<<<EXAMPLE$)", re.MULTILINE)
_ONE = re.compile(r"^<<<EXAMPLE\n(.*?)\nEXAMPLE>>>$", re.MULTILINE | re.DOTALL)


def split(instruction: str) -> tuple[str, tuple[str, ...]]:
    r"""Part an instruction into its rules and its examples.

    >>> split(join("Name it.", ("Text: a red bus\\nName: red-bus",)))
    ('Name it.', ('Text: a red bus\\nName: red-bus',))
    """
    match = _BLOCK.search(instruction)
    if match is None:
        return instruction.strip(), ()
    below = instruction[match.end() :]
    # What a person wrote below the examples is a rule all the same.
    rest = re.sub(r"\n{2,}", "\n", _ONE.sub("", below)).strip()
    return f"{instruction[: match.start()].strip()}\n{rest}".strip(), tuple(_ONE.findall(below))


def join(rules: str, examples: Sequence[str]) -> str:
    """Put examples below the rules."""
    if not examples:
        return rules.strip()
    blocks = "\n".join(f"<<<EXAMPLE\n{example}\nEXAMPLE>>>" for example in examples)
    return f"{rules.strip()}\n\n{HEADING}\n{blocks}"


def rules_of(instruction: str) -> str:
    """Return an instruction without its examples."""
    return split(instruction)[0]


def example(template: PromptTemplate, item: Item) -> str:
    """Write one sample as an example, in the form of the skill's own frame; empty when it must not stand in a prompt."""
    if not item.expected.strip():
        return ""
    values = {name: clip(text, MAX_INPUT) for name, text in item.fields}
    frame = PLACEHOLDER.sub(lambda match: values.get(match.group(1), ""), template.frame)
    text = plain(f"{frame.strip()} {clip(item.expected, MAX_ANSWER)}")
    lines = [line for line in text.splitlines() if line.strip()]
    text = "\n".join(lines)
    cuts = RULE in map(str.strip, lines)  # a line that is only `---` would end the instruction in the file
    return "" if cuts or PLACEHOLDER.search(text) or "{{" in text or suspicions(text, ()) else text


def unseen(template: PromptTemplate, instruction: str, items: Sequence[Item]) -> tuple[Item, ...]:
    """Leave out the items that *instruction* carries as examples: their answers are given away."""
    carried = set(split(instruction)[1])
    return tuple(item for item in items if not carried or example(template, item) not in carried)
