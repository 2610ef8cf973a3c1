"""The load options of each model: evolution's own, and the host's for the user's."""

from __future__ import annotations

from pipeline.domain import Role
from pipeline.rules import Rules
from pipeline.settings import Foreground
from workers.llm.tags import normal


def own_options(rules: Rules, tag: str) -> dict[str, int]:
    """Return the load options of one of evolution's own models.

    Roles that share a model share its largest context: two contexts in turn would reload it at every call.
    """
    models = rules.settings.models
    contexts = {
        Role.GENERATOR: models.generator_num_ctx,
        Role.JUDGE: models.judge_num_ctx,
        Role.SECOND_JUDGE: models.judge_num_ctx,
        Role.EMBEDDER: models.embedder_num_ctx,
        Role.TASK: models.task_num_ctx,
    }
    return {"num_ctx": max(size for role, size in contexts.items() if normal(rules.tag(role)) == normal(tag))}


def foreground_options(foreground: Foreground) -> dict[str, int]:
    """Return the host's own load options for its model, only those that the configuration names."""
    return dict(foreground.options or ())


def used_tags(rules: Rules) -> tuple[str, ...]:
    """Return every tag that a run under *rules* may ask, each once, in the order of the roles."""
    return tuple(tag for tag in dict.fromkeys(rules.tag(role) for role in Role) if tag)
