"""What a skill is: a prompt, a model that runs it, and a way to tell whether its answer is right."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.domain import SkillName
from pipeline.errors import BadInput

NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
PLACEHOLDER = re.compile(r"\{\{\s*([a-z][a-z0-9_]{0,40})\s*\}\}")
RULE = "---"  # the line between the instruction, which evolves, and the frame, which never does


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillSpec:
    """One entry of `skills:` in config.yaml.

    Attributes:
        template: path of the prompt template, relative to the configuration's folder.
        version: `prompt_version`, counted from 1.
        task_model: tag of the model that runs the prompt.
        scorer: `file-naming`, `json-schema`, `set-f1`, `exact`, `python:module:function` or `command:...`.
        about: the problem description that the generator reads.
        poor_candidate: reason why prompts cannot help this skill; empty when they can.
        schema: JSON schema of the answer as text, for the `json-schema` scorer and as Ollama's `format`; may be empty.
        num_predict: most tokens of one answer.
        labels: whose verdicts count towards accuracy: `person`, `scorer`, `implicit` (silence).
        temperature: of the task model; 0 makes runs comparable.
    """

    name: SkillName
    template: str
    version: int = 1
    task_model: str = "qwen2.5-coder:3b"
    scorer: str = "exact"
    about: str = ""
    enabled: bool = True
    poor_candidate: str = ""
    schema: str = ""
    num_predict: int = 64
    labels: tuple[str, ...] = ("person", "scorer", "implicit")
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A template file in its two parts: the instruction evolves, the frame carries the input's fields."""

    instruction: str
    frame: str

    @property
    def text(self) -> str:
        """The file's content."""
        return f"{self.instruction.strip()}\n{RULE}\n{self.frame.strip()}\n"

    @property
    def reads(self) -> tuple[str, ...]:
        """The input's fields that the frame carries, in its order."""
        return tuple(dict.fromkeys(PLACEHOLDER.findall(self.frame)))

    def with_instruction(self, instruction: str) -> PromptTemplate:
        """Return the same frame under another instruction."""
        return PromptTemplate(instruction.strip(), self.frame)


def parse_template(text: str) -> PromptTemplate:
    r"""Split a template file at its first line that is only `---`, else before the first line with a placeholder.

    Raises:
        BadInput: the file has no placeholder, or no instruction.

    >>> parse_template("Name the file.\n---\nDescription: {{description}}").instruction
    'Name the file.'
    """
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").split("\n")
    cut = next((i for i, line in enumerate(lines) if line.strip() == RULE), None)
    skip = 1
    if cut is None:
        cut, skip = next((i for i, line in enumerate(lines) if PLACEHOLDER.search(line)), len(lines)), 0
    instruction, frame = "\n".join(lines[:cut]).strip(), "\n".join(lines[cut + skip :]).strip()
    if not PLACEHOLDER.search(frame):
        raise BadInput(
            "The prompt template has no {{field}} below its instruction.",
            hint="Put a line '---' and then lines such as 'Description: {{description}}'.",
        )
    if not instruction:
        raise BadInput("The prompt template has no instruction above its first {{field}}.")
    return PromptTemplate(instruction, frame)


def render(template: PromptTemplate, values: dict[str, str]) -> str:
    r"""Fill the frame's placeholders; a field that the sample lacks becomes empty. Values are never expanded again.

    >>> render(PromptTemplate("Name it.", "Text: {{text}}"), {"text": "a {{b}}"})
    'Name it.\n---\nText: a {{b}}'
    """
    frame = PLACEHOLDER.sub(lambda match: values.get(match.group(1), ""), template.frame)
    return f"{template.instruction.strip()}\n{RULE}\n{frame.strip()}"


def check_name(name: str) -> SkillName:
    """Return *name* as a skill's name.

    Raises:
        BadInput: it is not lower-case letters, digits and hyphens, at most 64, beginning with a letter.
    """
    if not NAME.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} cannot be a skill's name.",
            why="Names are lower-case letters, digits and hyphens, at most 64.",
        )
    return SkillName(name)


def next_template(template: str, version: int) -> str:
    """Name the file of a new version beside the old one.

    >>> next_template("skills/file-naming.md", 2), next_template("skills/file-naming-v2.md", 3)
    ('skills/file-naming-v2.md', 'skills/file-naming-v3.md')
    """
    stem = re.sub(r"(-v\d+)?\.md$", "", template)
    return f"{stem}-v{version}.md"
