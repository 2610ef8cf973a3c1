"""The research notes' own rule, for comparison: stop when one prompt is probably the best, else the most votes win.

Simulated beside ours (docs/decisions.md): it promotes something in three of four tests in which all prompts are equal. It
is here because it was asked for, and because a figure that nobody can reproduce convinces nobody.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.algorithms.beta import probability_best
from pipeline.decision import Arm, Tally, Verdict
from pipeline.domain import Ending, Next, Stage, VariantId, Waiting
from pipeline.rules import Rules


def by_seeds(rules: Rules, tally: Tally, now: datetime) -> Verdict:
    """Judge the votes as the notes do: P(best) at `seeds_confidence`, at the cap or the days votes times accuracy.

    A vote is a success of the picked prompt and a failure of the others on the ballot; accuracies are those measured on
    samples that nothing was selected on, 1 where nothing was measured. The incumbent stays where the winner's measured
    gain is below `seeds_improvement`.
    """
    voting = rules.settings.voting

    def verdict(to: Next, reason: str, winner: VariantId | None = None, due: datetime | None = None) -> Verdict:
        evidence = tuple(1.0 for _ in tally.arms)
        return Verdict(next=to, winner=winner, evidence=evidence, dropped=(), reason=reason, due=due)

    if not tally.arms:
        return verdict(Ending.KEPT_INCUMBENT, "there is no challenger")
    chances = best_chances(tally)
    top = max(range(len(chances)), key=lambda i: (chances[i], -i))
    end = None if tally.since is None else tally.since + timedelta(days=voting.max_days)
    over = tally.votes >= voting.max_votes or (end is not None and now >= end)
    if chances[top] >= voting.seeds_confidence and tally.votes:
        why = f"is the best with probability {chances[top]:.2f}"
    elif over and tally.votes:
        top, why = _most_votes(tally), f"has the highest votes times accuracy after {tally.votes} votes"
    elif over:
        return verdict(Ending.KEPT_INCUMBENT, f"{voting.max_days:g} days brought no vote")
    else:
        needed = f"the best chance is {chances[top]:.2f} of {voting.seeds_confidence:g} after {tally.votes} votes"
        return verdict(Waiting.FOR_VOTES, needed, due=end)
    if top == 0:
        return verdict(Ending.KEPT_INCUMBENT, f"the prompt in use {why}")
    winner = tally.arms[top - 1]
    gain = measured_gain(winner)
    if gain is not None and gain < voting.seeds_improvement:
        wanted = f"a measured gain of {gain:+.2f}, less than {voting.seeds_improvement:+.2f}"
        return verdict(Ending.KEPT_INCUMBENT, f"{winner.name} {why}, with {wanted}")
    return verdict(Stage.PROMOTE, f"{winner.name} {why}", winner.variant)


def best_chances(tally: Tally) -> tuple[float, ...]:
    """Return the chance that each prompt has the highest share of picks, the incumbent's first, from uniform priors."""
    counts = [(tally.picks, tally.shown), *((arm.picks, arm.shown) for arm in tally.arms)]
    return probability_best([(1 + picks, 1 + shown - picks) for picks, shown in counts])


def measured_gain(arm: Arm) -> float | None:
    """Return how much more accurate a challenger was on samples that nothing was selected on; None without any."""
    return (arm.flags.challenger - arm.flags.incumbent) / arm.flags.n if arm.flags.n else None


def _most_votes(tally: Tally) -> int:
    """Return the place of the highest votes times accuracy; the incumbent's is 0, and the first of equals wins."""
    flags = tally.arms[0].flags
    in_use = (flags.both + flags.incumbent) / flags.n if flags.n else 1.0
    worth = [tally.picks * in_use]
    for arm in tally.arms:
        accuracy = (arm.flags.both + arm.flags.challenger) / arm.flags.n if arm.flags.n else 1.0
        worth.append(arm.picks * accuracy)
    return max(range(len(worth)), key=lambda i: (worth[i], -i))
