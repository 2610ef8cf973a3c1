"""Saying no to an evolution, with the setting that says so and what would help."""

from __future__ import annotations

from pipeline.detect import DetectDecision
from pipeline.domain import Ending, Role
from pipeline.errors import Refused
from pipeline.rules import Rules
from workers.host_config import HostConfig
from workers.llm.tags import normal

FORCEABLE = (Ending.COOLDOWN, Ending.POOR_CANDIDATE)


def refuse(finding: DetectDecision, skill: str, config: HostConfig, *, force: bool, run: int | None = None) -> None:
    """Turn a finding that stands against an evolution into an error that says what would help.

    Args:
        finding: of the look that a drift check would take.
        skill: its name.
        config: says which line holds the setting that says so.
        force: a person overrides cooldown, poor candidate and too little feedback.
        run: the open evolution.
    """
    if finding.next is Ending.BUSY:
        why = (
            f"Run r{run} is under way; `evoctl status` says what it does or waits for, `evoctl cancel r{run}` ends it."
        )
        raise Refused(f"{skill} is already evolving.", why=why if run else "", hint=f"evoctl results {skill}")
    if finding.next is Ending.DISABLED:
        raise Refused(f"{finding.reason}.", why=f"enabled: false ({config.where('enabled')})")
    if finding.next is Ending.TOO_FEW_SAMPLES and "right answer" in finding.reason and not force:
        raise Refused(
            f"Too little feedback: {finding.reason}.",
            why="Without right answers no prompt can be measured; with --force patterns, judge and votes decide.",
            hint=f"evoctl feedback import {skill} FILE.jsonl",
        )
    if finding.next in FORCEABLE and not force:
        key = "triggers.cooldown_h" if finding.next is Ending.COOLDOWN else f"skills.{skill}.poor_candidate"
        raise Refused(
            f"{skill} is left alone: {finding.reason}.",
            why=f"{key} ({config.where(key)})",
            hint=f"evoctl enqueue {skill} --force",
        )


def uses_foreground(rules: Rules) -> tuple[Role, ...]:
    """Return the roles that the user's own model plays, by its name; by another name of it only the server can tell."""
    theirs = normal(rules.settings.foreground.model)
    return tuple(role for role in Role if normal(rules.tag(role)) == theirs)


def refuse_without_options(rules: Rules, config: HostConfig) -> None:
    """Refuse a run that would use the user's own model while nobody has said with which load options the host does.

    Raises:
        Refused: names the file, the setting and what to write.
    """
    roles = uses_foreground(rules)
    if not roles or rules.settings.foreground.options is not None:
        return
    tag = rules.settings.foreground.model
    raise Refused(
        f"prompt_evolution.foreground.options is not set, and {tag} is your own model and evolution's {' and '.join(roles)}.",
        why="Other load options than your application's would make Ollama load it anew each time.",
        hint=f"In {config.path} write under prompt_evolution: 'foreground: {{options: {{}}}}' when your application sends no "
        "load options, else the same ones, such as 'foreground: {options: {num_ctx: 4096}}'.",
    )
