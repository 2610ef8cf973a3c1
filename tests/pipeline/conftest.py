"""What the tests of the pure stages begin with: rules, and a generator and a task model made of plain functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipeline.domain import Role, SkillName
from pipeline.flow import Failed, FailureKind, Generate, Generated, Reply, Request
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import SkillSpec


def said(text: str, *, done: str = "stop") -> Generated:
    """A model's answer."""
    return Generated(text=text, done_reason=done, prompt_tokens=10, tokens=5, duration_s=0.1)


@dataclass
class Models:
    """Answers a search: the generator by one function, the task model by another; remembers every request.

    Attributes:
        write: what the generator says to a request, by its number from 0.
        works: whether the task model answers right under an instruction.
        budget: calls after which only BUDGET is answered.
    """

    write: Callable[[Generate, int], Reply | str]
    works: Callable[[str], float]
    budget: int = 10**9
    asked: list[Generate] = field(default_factory=list)
    calls: int = 0

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        assert isinstance(request, Generate)
        if self.calls >= self.budget:
            return Failed(kind=FailureKind.BUDGET)
        self.calls += 1
        if request.role is Role.GENERATOR:
            self.asked.append(request)
            reply = self.write(request, len(self.asked) - 1)
            return said(reply) if isinstance(reply, str) else reply
        instruction, _, rest = request.prompt.partition("\n---\n")
        number = int(rest.rpartition(" ")[2])
        return said(f"name-{number}" if number < 10 * self.works(instruction) else "wrong")


@pytest.fixture(name="models")
def _models() -> type[Models]:
    """Return the class of the answering functions."""
    return Models


@pytest.fixture(name="say")
def _say() -> Callable[..., Generated]:
    """Return a maker of answers."""
    return said


@pytest.fixture(name="rules_with")
def _rules_with() -> Callable[..., Rules]:
    """Return a maker of rules: settings by section, and a skill that is right when the answer equals the wanted one."""

    def make(**sections: dict[str, Any]) -> Rules:
        settings = Settings()
        parts = {name: replace(getattr(settings, name), **values) for name, values in sections.items()}
        skill = SkillSpec(name=SkillName("naming"), template="skills/naming.md", about="Name pictures.")
        return Rules(settings=replace(settings, **parts), skill=skill)

    return make
