"""The rules of one run, frozen when it starts: settings and skill as they were then."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.domain import Role
from pipeline.setting import from_data, to_data
from pipeline.settings import Settings
from pipeline.skills import SkillSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a run goes by, whatever happens to the configuration meanwhile."""

    settings: Settings
    skill: SkillSpec

    def tag(self, role: Role) -> str:
        """Return the model tag that plays *role*."""
        models = self.settings.models
        tags = {
            Role.GENERATOR: models.generator, Role.JUDGE: models.judge, Role.EMBEDDER: models.embedder,
            Role.SECOND_JUDGE: self.settings.judging.escalate_to,
        }  # fmt: skip
        return tags.get(role, self.skill.task_model)

    @property
    def own_tags(self) -> tuple[str, ...]:
        """The models that only evolution asks; the skill's own model is asked by its host too."""
        return own_tags((self,))

    def to_json(self) -> str:
        """Return canonical JSON text for the run's row."""
        return json.dumps(to_data(self), sort_keys=True, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Rules:
        """Read `to_json`'s text; names of other releases are passed over."""
        return from_data(cls, json.loads(text))


def own_tags(rules: Iterable[Rules]) -> tuple[str, ...]:
    """Return the models that only evolution asks under any of *rules*."""
    every = tuple(rules)
    tags = (one.tag(role) for one in every for role in Role if role is not Role.TASK)
    theirs = {one.skill.task_model for one in every}
    return tuple(tag for tag in dict.fromkeys(tags) if tag and tag not in theirs)
