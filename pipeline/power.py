"""What the tests of one skill can show: the chance to find a gain of a given size, and what finding it costs.

Two prompts differ on a share of the tasks, the discordance; only there one of them wins. A gain is the difference of their
accuracies, so that a challenger wins (1 + gain / discordance) / 2 of the tasks on which they differ. The replay on labelled
tasks gives a first evidence, which that of the votes multiplies. Everything is summed exactly; nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.algorithms.duel import binomials, evidence_rows, outlook
from pipeline.decision_settings import Voting

FOUND = 0.8  # chance from which a gain counts as found; convention of power analysis
MOST_GAIN = 0.3  # largest gain that is looked for
ASSUMED_DISCORDANCE = 0.20  # share of tasks; the study's prompts of .78 and .88 differ on 0.21
ASSUMED_TIES = 0.6  # share of votes; after 100 or 200 tasks the study's voter finds a gain as often, within 0.02
ASSUMED_ACCURACY = 0.80  # where nothing was judged; ours
MOST_COMPARISONS = 1000  # that are computed, of a replay or until a gain is found
_PRUNED = 1e-7  # chance of the rarest replays that are left out together
_FINE = 0.0005  # to which a smallest gain is found
_DIGITS = 12  # of a sum of two shares, so that 0.9 and 0.1 are 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """When a test ends.

    Attributes:
        votes: after which the incumbent is kept.
        mark: evidence that promotes.
        futility: evidence at which the test gives up.
        a, b: the mixture Beta(a, b) of the e-process.
        least: votes before any promotion.
    """

    votes: int = 30
    mark: float = 20.0
    futility: float = 0.2
    a: float = 12.0
    b: float = 6.0
    least: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What becomes of one challenger.

    Attributes:
        promote: chance that it is promoted, in [0, 1].
        keep: chance that it is not.
        mean_votes: expected number of votes, none where the replay gives up.
        quartiles: votes within which the test has ended with chances 0.25, 0.5 and 0.75.
        by_replay: chance that the replay's evidence reaches the mark before any vote.
        ended_by_replay: chance that the replay's evidence gives up.
    """

    promote: float
    keep: float
    mean_votes: float
    quartiles: tuple[int, int, int]
    by_replay: float
    ended_by_replay: float


USUAL = Stopping()


def stopping(voting: Voting, votes: int | None = None) -> Stopping:
    """Return the settings' rule for a challenger on ballots, with another cap when *votes* is given.

    The votes that must come before a promotion are not more than the cap: time takes their place.
    """
    cap = voting.max_votes if votes is None else votes
    return Stopping(
        votes=cap,
        mark=voting.promote_e * voting.challengers,
        futility=voting.futility_e,
        a=voting.prior_wins,
        b=voting.prior_losses,
        least=min(voting.min_votes, cap),
    )


def stopping_live(voting: Voting) -> Stopping:
    """Return the settings' rule for the live mode, where a comparison is a pair of tasks."""
    pairs = min(voting.live_max_tasks // 2, MOST_COMPARISONS)
    return replace(stopping(voting, pairs), least=min(-(-voting.min_votes // 2), pairs))


def win_rate(discordance: float, gain: float) -> float:
    """Return the share that a challenger wins of the tasks on which the two prompts differ.

    Args:
        discordance: share of tasks on which they differ, at least the size of *gain*, in [0, 1].
        gain: how much higher the challenger's accuracy is.

    Raises:
        ValueError: such a pair of prompts cannot be.

    >>> win_rate(0.2, 0.1), win_rate(0.1, -0.1)
    (0.75, 0.0)
    """
    if not abs(gain) <= discordance <= 1:
        raise ValueError(f"a gain is at most the discordance, which is at most 1: {gain}, {discordance}")
    return (1 + gain / discordance) / 2 if discordance else 0.5


def power(
    n_replay: int,
    discordance: float,
    gain: float,
    *,
    ties: float = 0.0,
    vote_rate: float | None = None,
    rule: Stopping = USUAL,
) -> Power:
    """Return what becomes of a challenger that is better by *gain*.

    Args:
        n_replay: labelled tasks on which both prompts are run first, 0 to 1000.
        discordance: share of tasks on which the two differ, at least the size of *gain*.
        gain: true difference of their accuracies, in [-1, 1].
        ties: share of votes that say nothing.
        vote_rate: share of the other votes that the challenger wins; default: as on the tasks where the two differ.
        rule: when the test ends.

    Raises:
        ValueError: a share is none, or *n_replay* is outside its range.
    """
    start = replay(n_replay, discordance, gain, rule.a, rule.b)
    rate = win_rate(discordance, gain) if vote_rate is None else vote_rate
    found = outlook(
        rate, rule.votes, rule.mark, rule.futility, rule.a, rule.b, least=rule.least, start=start, ties=ties
    )  # fmt: skip
    return Power(
        promote=found.promote,
        keep=found.keep,
        mean_votes=found.mean_votes,
        quartiles=found.quartiles,
        by_replay=sum(chance for evidence, chance in start if evidence >= rule.mark),
        ended_by_replay=sum(chance for evidence, chance in start if evidence <= rule.futility),
    )


def replay(n: int, discordance: float, gain: float, a: float = 12.0, b: float = 6.0) -> tuple[tuple[float, float], ...]:
    """Return the distribution of the evidence after *n* labelled tasks, as pairs (evidence, chance) that sum to one.

    Raises:
        ValueError: *n* is outside 0 ... 1000, or such a pair of prompts cannot be.
    """
    rate = win_rate(discordance, gain)
    if not 0 <= n <= MOST_COMPARISONS:
        raise ValueError(f"a replay has 0 to {MOST_COMPARISONS} tasks: {n}")
    differing, wins = binomials(n, discordance)[n], binomials(n, rate)
    chances = np.concatenate([differing[d] * wins[d, : d + 1] for d in range(n + 1)])
    evidence = np.concatenate(evidence_rows(n, a, b))
    order = np.argsort(chances)
    kept = order[np.cumsum(chances[order]) > _PRUNED]
    return tuple(zip(evidence[kept].tolist(), (chances[kept] / chances[kept].sum()).tolist(), strict=True))


def smallest_gain(
    n_replay: int, discordance: float, *, ties: float = 0.0, rule: Stopping = USUAL, chance: float = FOUND
) -> float | None:
    """Return the smallest gain that is found with *chance* on ballots, to 0.0005; None when 0.3 is not.

    A gain beyond the discordance is looked for among prompts that differ on just so many tasks, and always win there.

    Raises:
        ValueError: a share is none, or *n_replay* is outside its range.
    """

    def found(gain: float) -> bool:
        return power(n_replay, max(discordance, gain), gain, ties=ties, rule=rule).promote >= chance

    return _first(found, MOST_GAIN)


def smallest_gain_live(
    n_replay: int, discordance: float, accuracy: float, *, rule: Stopping = USUAL, chance: float = FOUND
) -> float | None:
    """Return the same for the live mode, where *rule* counts pairs of tasks; see `live_pairs`.

    Raises:
        ValueError: a share is none, or *n_replay* is outside its range.
    """

    def found(gain: float) -> bool:
        telling, rate = live_pairs(accuracy, gain) or (0.0, 0.5)
        reached = power(n_replay, max(discordance, gain), gain, ties=1 - telling, vote_rate=rate, rule=rule)
        return reached.promote >= chance

    return _first(found, min(MOST_GAIN, round(1 - accuracy, _DIGITS)))


def votes_needed(
    discordance: float, gain: float, *, ties: float = 0.0, rule: Stopping = USUAL, chance: float = FOUND
) -> float | None:
    """Return the mean votes of a test that finds *gain* with *chance* from votes alone; see `comparisons_needed`.

    Raises:
        ValueError: such a pair of prompts cannot be, or *ties* is not in [0, 1].
    """
    if not 0 <= ties <= 1:
        raise ValueError(f"a share of ties lies between 0 and 1: {ties}")
    telling = comparisons_needed(win_rate(discordance, gain), rule=rule, chance=chance)
    return telling / (1 - ties) if telling is not None and ties < 1 else None


def tasks_needed_live(accuracy: float, gain: float, *, rule: Stopping = USUAL, chance: float = FOUND) -> float | None:
    """Return the mean tasks of a test that finds *gain* with *chance* where each task is done by one prompt only.

    Both prompts are given equally many tasks, and nothing is known from a replay; see `live_pairs` and
    `comparisons_needed`. None as well when the challenger's accuracy would be beyond 1.

    Raises:
        ValueError: *accuracy* is no share.
    """
    pairs = live_pairs(accuracy, gain)
    telling = None if pairs is None else comparisons_needed(pairs[1], rule=rule, chance=chance)
    return None if pairs is None or telling is None else 2 * telling / pairs[0]


def live_pairs(accuracy: float, gain: float) -> tuple[float, float] | None:
    """Return what pairs of outcomes on different tasks say: the share that says anything, and of it what is won.

    The k-th outcome of one prompt is set against the k-th of the other. Such a pair takes two tasks, and since nothing is
    common to them, it says less than two prompts on one task.

    Args:
        accuracy: of the prompt in use, in [0, 1].
        gain: true difference of the accuracies.

    Returns:
        None when the challenger's accuracy would be outside [0, 1], or when no pair says anything.

    Raises:
        ValueError: *accuracy* is no share.
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"an accuracy lies between 0 and 1: {accuracy}")
    better = round(accuracy + gain, _DIGITS)
    if not 0 <= better <= 1:
        return None
    won, lost = better * (1 - accuracy), accuracy * (1 - better)
    return (won + lost, won / (won + lost)) if won + lost else None


def comparisons_needed(rate: float, *, rule: Stopping = USUAL, chance: float = FOUND) -> float | None:
    """Return the mean number of comparisons of a test whose cap is just high enough to promote with *chance*.

    Comparisons that say nothing are left out; where they come independently with a given share, the mean of all is this
    divided by the share of the others (Wald). The test never gives up: giving up saves comparisons, and would keep gains
    of a few points from being found at all, however many there are.

    Args:
        rate: share of comparisons that the challenger wins, in [0, 1].
        rule: its mark and mixture are used.
        chance: of a promotion.

    Returns:
        None when a thousand comparisons are not enough.

    Raises:
        ValueError: *rate* is no probability.
    """
    promoted, cap = _promotions(rate, rule, chance)
    return None if cap is None else float(np.arange(cap) @ promoted[:cap] + cap * (1 - promoted[:cap].sum()))


def _promotions(rate: float, rule: Stopping, chance: float) -> tuple[np.ndarray, int | None]:
    """Return the chance of a promotion at each number of comparisons, and the cap that is just high enough."""
    promoted = np.array(outlook(rate, MOST_COMPARISONS, rule.mark, 0.0, rule.a, rule.b).promote_at)
    reached = np.flatnonzero(np.cumsum(promoted) >= chance)
    return promoted, int(reached[0]) if reached.size else None


def comparisons_cap(rate: float, *, rule: Stopping = USUAL, chance: float = FOUND) -> int | None:
    """Return the comparisons that a test as in `comparisons_needed` must be allowed; None where a thousand are too few."""
    return _promotions(rate, rule, chance)[1]


def _first(found: Callable[[float], bool], most: float) -> float | None:
    """Return by bisection the smallest value up to *most* that is *found*; all larger ones are."""
    if not found(most):
        return None
    low, high = 0.0, most
    while high - low > _FINE:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
