"""The six RQ jobs, in order: the system's table of contents.

Each takes ids only, may be delivered twice or never, and is enqueued by its predecessor through the step table.
"""

from __future__ import annotations

from pipeline.domain import Stage
from workers.turn import take_turn


def detect_drift(step_id: int, attempt: int) -> str:
    """Stage 1 of 6: look whether a skill's accuracy has fallen, or a promotion has disappointed."""
    return take_turn(Stage.DETECT, step_id, attempt)


def mutate_population(step_id: int, attempt: int) -> str:
    """Stage 2 of 6: breed one generation of prompts."""
    return take_turn(Stage.MUTATE, step_id, attempt)


def judge_variants(step_id: int, attempt: int) -> str:
    """Stage 3 of 6: score the finalists by rubric."""
    return take_turn(Stage.JUDGE, step_id, attempt)


def dedupe_variants(step_id: int, attempt: int) -> str:
    """Stage 4 of 6: drop those that say the same as another."""
    return take_turn(Stage.DEDUPE, step_id, attempt)


def launch_bandit(step_id: int, attempt: int) -> str:
    """Stage 5 of 6: put results on blind ballots until the votes have decided."""
    return take_turn(Stage.BANDIT, step_id, attempt)


def promote_or_rollback(step_id: int, attempt: int) -> str:
    """Stage 6 of 6: point the host's configuration at the winner, or back at the previous prompt."""
    return take_turn(Stage.PROMOTE, step_id, attempt)
