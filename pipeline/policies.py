"""Which rule decides a test: ours by evidence, or the research notes'."""

from __future__ import annotations

from datetime import datetime

from pipeline.decision import Tally, Verdict, by_evidence
from pipeline.rules import Rules
from pipeline.seeds_policy import by_seeds

SEEDS = "seeds"


def decide(rules: Rules, tally: Tally, now: datetime) -> Verdict:
    """Judge a test by the rule that it was launched with; called in the transaction of every vote."""
    if rules.settings.voting.policy == SEEDS:
        return by_seeds(rules, tally, now)
    return by_evidence(rules, tally, now)
