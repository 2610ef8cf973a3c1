"""A world whose skill is known exactly: what a search for better prompts claims can be held against the truth.

Write one of your own to measure a search on a task like yours: a class with the methods below whose constructor takes
`seed` and `profile` (how able its generator is: `small` or `strong`), named as `--world module:Class`. The search may use
the samples, the scorer and the models behind the server; `accuracy`, `floor` and `ceiling` are for the referee only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ops.simulator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled task.

    Attributes:
        id: the same for the same task, unique within a world.
        fields: a value for each placeholder of the template.
        expected: the right answer.
    """

    id: str
    fields: Mapping[str, str]
    expected: str


class SkillWorld(World, Protocol):
    """A world with one skill; every method is pure, and equal seeds and profiles give equal worlds."""

    def about(self) -> str:
        """Describe the problem as a user would, without giving away how to solve it."""
        ...

    def template(self) -> str:
        """Give the incumbent's prompt file: an instruction, a line `---`, and a frame with `{{field}}` placeholders."""
        ...

    def samples(self, count: int, seed: int) -> Sequence[Sample]:
        """Draw *count* different tasks with their labels; equal seeds draw the same ones."""
        ...

    def score(self, output: str, expected: str, fields: Mapping[str, str]) -> tuple[float, tuple[str, ...]]:
        """Rate an answer from 0 to 1, and say in words of a closed set what it lost."""
        ...

    def accuracy(self, instruction: str) -> float:
        """Give the exact mean score of an instruction over all tasks of the world, at temperature 0."""
        ...

    def floor(self) -> float:
        """Give the incumbent's accuracy."""
        ...

    def ceiling(self) -> float:
        """Give the best accuracy that any instruction can have."""
        ...
