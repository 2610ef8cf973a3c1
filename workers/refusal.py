"""Saying no to an evolution, with the setting that says so and what would help."""

from __future__ import annotations

from pipeline.detect import DetectDecision
from pipeline.domain import Ending
from pipeline.errors import Refused
from workers.host_config import HostConfig

FORCEABLE = (Ending.COOLDOWN, Ending.POOR_CANDIDATE)


def refuse(finding: DetectDecision, skill: str, config: HostConfig, *, force: bool) -> None:
    """Turn a finding that stands against an evolution into an error that says what would help."""
    if finding.next is Ending.BUSY:
        raise Refused(f"{skill} is already evolving.", hint=f"evoctl results {skill}")
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
