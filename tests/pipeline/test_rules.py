"""The rules of a run are frozen text, and name the model for each role."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.domain import Role
from pipeline.rules import Rules


def test_rules_come_back_as_they_were(rules_with: Callable[..., Any]) -> None:
    """Settings and skill, through the run's row and back."""
    rules = rules_with(voting={"max_votes": 7}, models={"judge": "llama3.2:3b"})
    rules = replace(rules, skill=replace(rules.skill, about="Überschrift „x“", poor_candidate="no"))

    assert Rules.from_json(rules.to_json()) == rules
    assert rules.to_json().isascii()


def test_equal_rules_have_equal_text(rules_with: Callable[..., Any]) -> None:
    """The text is canonical, so that two runs can be compared by it."""
    assert rules_with().to_json() == rules_with().to_json()
    assert list(json.loads(rules_with().to_json())) == ["settings", "skill"]


def test_rules_of_another_release_are_read(rules_with: Callable[..., Any]) -> None:
    """A skill's new property has its default, and an unknown one is passed over."""
    data = json.loads(rules_with().to_json())
    data["skill"]["colour"] = "red"
    data["skill"].pop("num_predict")

    assert Rules.from_json(json.dumps(data)) == rules_with()


@pytest.mark.parametrize(
    ("role", "tag"),
    [(Role.GENERATOR, "g:1"), (Role.JUDGE, "j:1"), (Role.EMBEDDER, "e:1"), (Role.TASK, "qwen2.5-coder:3b")],
)
def test_each_role_has_its_tag(rules_with: Callable[..., Any], role: Role, tag: str) -> None:
    """Three roles are the settings', the task model is the skill's own."""
    rules = rules_with(models={"generator": "g:1", "judge": "j:1", "embedder": "e:1"})

    assert rules.tag(role) == tag
