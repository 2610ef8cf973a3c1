"""Few-shot examples as a gene of their own: they stand below the rules, fenced, and come from the search split only.

The rules evolve and are held to the gates against copied data; an example is data, and is meant to be. Addresses, secrets,
random identifiers and orders are kept out of both (`pipeline.leaks`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from pipeline.fitness import Item
from pipeline.leak_kinds import CODE
from pipeline.leaks import Ground, leaks
from pipeline.meta_prompt import clip, plain
from pipeline.skills import PLACEHOLDER, RULE, PromptTemplate

HEADING = "Examples:"
MAX_INPUT, MAX_ANSWER = 240, 400  # characters of an example's fields, which are cut, and of its answer, which is not
# A person may have edited the file: blanks, empty lines and a heading's marks are allowed for.
_BLOCK = re.compile(r"(?<!\n)\n*^(?:#{1,4}[ \t]*)?Examples:?[ \t]*\n\s*(?=<<<EXAMPLE[ \t]*$)", re.MULTILINE)
_ONE = re.compile(r"^<<<EXAMPLE[ \t]*\n(.*?)\n[ \t]*EXAMPLE>>>[ \t]*$", re.MULTILINE | re.DOTALL)
_OPEN = re.compile(r"^<<<EXAMPLE\b(?:(?!EXAMPLE>>>).)*\Z", re.MULTILINE | re.DOTALL)


def split(instruction: str) -> tuple[str, tuple[str, ...]]:
    r"""Part an instruction into its rules and its examples.

    >>> split(join("Name it.", ("Text: a red bus\\nName: red-bus",)))
    ('Name it.', ('Text: a red bus\\nName: red-bus',))
    """
    match = _BLOCK.search(instruction)
    head, below = (instruction[: match.start()], instruction[match.end() :]) if match else (instruction, "")
    # What a person wrote below the examples is a rule all the same; a fence that is not closed hides data, and is none.
    rest = re.sub(r"\n{2,}", "\n", _ONE.sub("", below))
    rules = _OPEN.sub("", f"{head.strip()}\n{rest.strip()}" if match else head)
    return rules.strip(), tuple(_ONE.findall(below))


def join(rules: str, examples: Sequence[str]) -> str:
    """Put examples below the rules."""
    if not examples:
        return rules.strip()
    blocks = "\n".join(f"<<<EXAMPLE\n{example}\nEXAMPLE>>>" for example in examples)
    return f"{rules.strip()}\n\n{HEADING}\n{blocks}"


def rules_of(instruction: str) -> str:
    """Return an instruction without its examples."""
    return split(instruction)[0]


@lru_cache(maxsize=4096)
def example(template: PromptTemplate, item: Item) -> str:
    """Write one sample as an example, in the form of the skill's own frame; empty when it must not stand in a prompt.

    The answer stands as it is, with its line ends: a prompt must not teach another form.
    """
    answer = plain(item.expected).strip()
    if not answer or len(answer) > MAX_ANSWER:
        return ""
    values = {name: clip(text, MAX_INPUT) for name, text in item.fields}
    own = PLACEHOLDER.sub(" ", template.frame)
    frame = PLACEHOLDER.sub(lambda match: values.get(match.group(1), ""), template.frame)
    text = f"{plain(frame).strip()}{chr(10) if chr(10) in answer else ' '}{answer}"
    lines = [line for line in text.splitlines() if line.strip()]
    text = "\n".join(lines)
    found = set(leaks(text, Ground(own=(own,)))) - {
        CODE
    }  # the frame's own labels are the skill's; an answer may be code
    cuts = RULE in map(str.strip, lines)  # a line that is only `---` would end the instruction in the file
    return "" if cuts or PLACEHOLDER.search(text) or "{{" in text or found else text


def unseen(template: PromptTemplate, instruction: str, items: Sequence[Item]) -> tuple[Item, ...]:
    """Leave out the items that *instruction* carries as examples: their answers are given away."""
    carried = set(split(instruction)[1])
    return tuple(item for item in items if not carried or example(template, item) not in carried)
