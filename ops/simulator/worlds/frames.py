"""Takes a skill's prompt apart: the instruction above the last `---` line, the input frame below it."""

from __future__ import annotations

import re
from dataclasses import dataclass

LABELLED = re.compile(r"^\s*([A-Za-z][A-Za-z _-]{0,40}?)\s*:\s*(.*)$")
DESCRIPTION = (
    "description",
    "visual description",
    "image description",
    "caption",
    "content",
    "visual content",
    "alt text",
    "text",
    "transcript",
)
ORIGINAL = (
    "original name",
    "original file name",
    "original filename",
    "original_name",
    "file",
    "current name",
    "original",
    "name",
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A prompt taken apart; the fields keep the labels of the prompt in lower case, `body` the input as it is."""

    instruction: str
    fields: tuple[tuple[str, str], ...]
    body: str = ""

    def find(self, labels: tuple[str, ...]) -> str:
        """Give the first field that has one of *labels*, in the order of the labels."""
        for label in labels:
            for name, value in self.fields:
                if name == label:
                    return value
        return ""

    @property
    def description(self) -> str:
        """Give what the input says of the picture; without a known label the longest field."""
        return self.find(DESCRIPTION) or max((value for _, value in self.fields), key=len, default="")

    @property
    def original_name(self) -> str:
        """Give the file's name before renaming."""
        return self.find(ORIGINAL)


def taken_apart(prompt: str) -> Frame:
    r"""Find the instruction and the input fields; without a `---` line the first labelled line begins the input.

    >>> taken_apart("Name it.\n---\nDescription: a red bus\nOriginal name: IMG_1.png\n\nNew file name:").original_name
    'IMG_1.png'
    """
    instruction, mark, rest = prompt.rpartition("\n---\n")
    if not mark:
        instruction, rest = without_mark(prompt)
    fields: list[tuple[str, str]] = []
    for line in rest.splitlines():
        match = LABELLED.match(line)
        if match is not None:
            fields.append((match[1].lower(), match[2].strip()))
        elif fields and line.strip():
            label, value = fields[-1]
            fields[-1] = (label, f"{value} {line.strip()}".strip())
    return Frame(instruction.strip(), tuple((label, value) for label, value in fields if value), rest)


def without_mark(prompt: str) -> tuple[str, str]:
    """Split before the first line whose label is a known one."""
    lines = prompt.splitlines()
    for index, line in enumerate(lines):
        match = LABELLED.match(line)
        if match is not None and match[1].lower() in DESCRIPTION + ORIGINAL:
            return "\n".join(lines[:index]), "\n".join(lines[index:])
    return prompt, ""
