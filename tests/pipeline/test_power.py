"""What tests can show is what the decision study measured, what enumeration gives, and what simulated tests do."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.algorithms.duel import outlook, size_and_power
from pipeline.algorithms.eprocess import e_value
from pipeline.decision_settings import Voting
from pipeline.power import (
    ASSUMED_DISCORDANCE,
    ASSUMED_TIES,
    FOUND,
    MOST_GAIN,
    Stopping,
    comparisons_needed,
    live_pairs,
    power,
    replay,
    smallest_gain,
    smallest_gain_live,
    stopping,
    stopping_live,
    tasks_needed_live,
    votes_needed,
    win_rate,
)

NORMAL = NormalDist()
NO_VOTES = Stopping(votes=0)
USER = Stopping(least=5)
RUNS = 4000


def cells(first: float, second: float, common: float = 0.5, error: float = 0.0) -> tuple[float, float]:
    """Shares of tasks that only the second, and only the first prompt is seen to do right, in the study's latent model.

    A prompt is right when m + sqrt(common) z + sqrt(1 - common) e is positive, z the task's own; z is integrated out by
    Gauss-Hermite quadrature. Each of the two results is misjudged with chance *error*, independently.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)

    def right(accuracy: float) -> np.ndarray:
        ease = NORMAL.inv_cdf(accuracy) + math.sqrt(common) * nodes
        return np.array([NORMAL.cdf(float(one) / math.sqrt(1 - common)) for one in ease])

    a, b, share = right(first), right(second), weights / weights.sum()
    only_second, only_first = float(share @ ((1 - a) * b)), float(share @ (a * (1 - b)))
    alike = 1 - only_second - only_first
    one, both = error * (1 - error), error * error
    return (
        only_second * (1 - error) ** 2 + only_first * both + alike * one,
        only_first * (1 - error) ** 2 + only_second * both + alike * one,
    )


@pytest.mark.parametrize(
    ("better", "n", "error", "published"),
    [
        (0.91, 100, 0.0, 0.62), (0.91, 200, 0.0, 0.95), (0.91, 100, 0.1, 0.22), (0.91, 200, 0.1, 0.48),
        (0.91, 400, 0.1, 0.82), (0.88, 200, 0.0, 0.69), (0.83, 400, 0.0, 0.26),
    ],
)  # fmt: skip
def test_the_replay_alone_has_the_published_power(better: float, n: int, error: float, published: float) -> None:
    """Against .78, with and without a metric that errs: the figures of the decision study, to their last digit."""
    won, lost = cells(0.78, better, error=error)

    found = power(n, won + lost, won - lost, rule=NO_VOTES)

    assert found.promote == pytest.approx(published, abs=0.0055)
    assert found.promote == pytest.approx(found.by_replay, abs=1e-12)


@pytest.mark.parametrize("n", [100, 200])
@pytest.mark.parametrize("better", [0.83, 0.88, 0.91])
def test_the_assumed_ties_stand_for_the_studys_voter(n: int, better: float) -> None:
    """Who picks the higher of two noisy qualities promotes as often as the assumed votes do, within 0.02.

    The voter sees each quality with noise of 0.5, says tie within 0.3, and clicks the first result in 10 % of the votes.
    """
    won, lost = cells(0.78, better)
    lead, spread = NORMAL.inv_cdf(better) - NORMAL.inv_cdf(0.78), math.sqrt(2 * 0.5 + 2 * 0.5**2)
    up, down = 1 - NORMAL.cdf((0.3 - lead) / spread), NORMAL.cdf((-0.3 - lead) / spread)
    ties = 0.9 * (1 - up - down)
    rate = (0.9 * up + 0.1 / 2) / (0.9 * (up + down) + 0.1)

    seen = power(n, won + lost, won - lost, ties=ties, vote_rate=rate).promote
    assumed = power(n, won + lost, won - lost, ties=ASSUMED_TIES).promote

    assert assumed == pytest.approx(seen, abs=0.02)


def test_the_assumed_discordance_is_that_of_the_studys_prompts() -> None:
    """Prompts of .78 and .88 whose successes have half in common differ on about as many tasks."""
    assert sum(cells(0.78, 0.88)) == pytest.approx(ASSUMED_DISCORDANCE, abs=0.02)


@pytest.mark.parametrize(("ties", "least"), [(0.0, 0), (0.4, 3)])
def test_a_short_replay_equals_the_sum_over_all_its_courses(ties: float, least: int) -> None:
    """Every course of four tasks, each a win, a loss or none, followed by its own votes."""
    shares = {1: 0.35, -1: 0.1, 0: 0.55}
    rule = Stopping(votes=12, mark=6.0, futility=0.5, a=4.0, b=2.0, least=least)
    promote = votes = 0.0
    for course in itertools.product(shares, repeat=4):
        chance = math.prod(shares[task] for task in course)
        evidence = e_value(course.count(1), course.count(-1), 4.0, 2.0)
        one = outlook(35 / 45, 12, 6.0, 0.5, 4.0, 2.0, start=evidence, ties=ties, least=least)
        promote, votes = promote + chance * one.promote, votes + chance * one.mean_votes

    found = power(4, 0.45, 0.25, ties=ties, rule=rule)

    assert (found.promote, found.mean_votes) == pytest.approx((promote, votes), abs=1e-6)
    assert found.promote + found.keep == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("n", "gain"), [(42, 0.1), (100, 0.05)])
def test_simulated_tests_agree(n: int, gain: float) -> None:
    """4000 seeded tests, task by task and vote by vote, agree within four standard errors."""
    rng = np.random.default_rng(20260803 + n)
    exact = power(n, 0.2, gain, ties=0.6, rule=USER)

    ends = [_test(rng, n, gain) for _ in range(RUNS)]

    votes = np.array([count for _, count in ends])
    error = math.sqrt(exact.promote * exact.keep / RUNS)
    assert float(np.mean([up for up, _ in ends])) == pytest.approx(exact.promote, abs=4 * error)
    assert votes.mean() == pytest.approx(exact.mean_votes, abs=4 * votes.std() / math.sqrt(RUNS))


def _test(rng: np.random.Generator, n: int, gain: float) -> tuple[bool, int]:
    """One test with a discordance of 0.2 and 0.6 of ties: whether it promotes, and after how many votes."""
    _, won, lost = rng.multinomial(n, [0.8, 0.1 + gain / 2, 0.1 - gain / 2]).tolist()
    start, wins, losses = e_value(won, lost), 0, 0
    for votes in range(31):
        evidence = start * e_value(wins, losses)
        if evidence <= 0.2 or (evidence >= 20 and votes >= 5):
            return evidence >= 20, votes
        if rng.random() >= 0.6:
            win = rng.random() < win_rate(0.2, gain)
            wins, losses = wins + int(win), losses + 1 - int(win)
    return False, 30


def test_without_labelled_tasks_votes_decide_alone() -> None:
    """A replay of no task is evidence 1."""
    found, alone = power(0, 0.2, 0.1, ties=0.3), outlook(0.75, 30, ties=0.3)

    assert (found.promote, found.mean_votes, found.quartiles) == (alone.promote, alone.mean_votes, alone.quartiles)
    assert (found.by_replay, found.ended_by_replay) == (0, 0)


@pytest.mark.parametrize("n", [0, 14, 100, 400])
def test_an_equal_challenger_is_promoted_rarely(n: int) -> None:
    """Without a gain the chance is below 1/20 after any replay (Ville), and a worse one has less."""
    equal, worse = (power(n, 0.2, gain, ties=0.3, rule=Stopping(votes=200)).promote for gain in (0.0, -0.05))

    assert worse <= equal <= 1 / 20


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 150), st.floats(0.05, 0.5), st.floats(0, 1), st.floats(0, 0.9))
def test_more_of_anything_that_helps_never_finds_less(n: int, discordance: float, share: float, ties: float) -> None:
    """A larger gain, more votes and fewer ties raise the chance of a promotion."""
    gain = discordance * share
    here = power(n, discordance, gain, ties=ties).promote

    assert power(n, discordance, gain * 0.9, ties=ties).promote <= here + 1e-6
    assert power(n, discordance, gain, ties=ties, rule=Stopping(votes=40)).promote >= here - 1e-6
    assert power(n, discordance, gain, ties=ties / 2).promote >= here - 1e-6


def test_more_labelled_tasks_find_smaller_gains() -> None:
    """The smallest gain falls with the number of tasks, and is the one at which the power passes the mark."""
    tasks = (0, 42, 100, 200, 400)
    found = [smallest_gain(n, 0.2, ties=ASSUMED_TIES, rule=USER) or 0.0 for n in tasks]

    assert found == sorted(found, reverse=True)
    for n, gain in zip(tasks, found, strict=True):
        assert gain > 0
        assert power(n, 0.2, gain, ties=ASSUMED_TIES, rule=USER).promote >= FOUND
        assert power(n, 0.2, gain - 0.001, ties=ASSUMED_TIES, rule=USER).promote < FOUND


def test_what_cannot_be_found_is_not_named() -> None:
    """Without tasks and with four votes no gain is found; beyond the discordance a prompt always wins."""
    assert smallest_gain(0, 0.2, rule=Stopping(votes=4)) is None
    beyond = smallest_gain(60, 0.05, rule=NO_VOTES)

    assert beyond is not None
    assert 0.05 < beyond <= MOST_GAIN
    assert power(60, beyond, beyond, rule=NO_VOTES).promote >= FOUND


def test_the_smallest_gain_in_live_mode_keeps_accuracy_below_one() -> None:
    """Pairs of tasks find it where the power says so, and none is found where there is too little to gain."""
    rule = Stopping(votes=200, least=3)
    found = smallest_gain_live(100, 0.2, 0.7, rule=rule)

    assert found is not None
    telling, rate = live_pairs(0.7, found) or (0.0, 0.0)
    assert power(100, 0.2, found, ties=1 - telling, vote_rate=rate, rule=rule).promote >= FOUND
    assert smallest_gain_live(0, 0.2, 0.98, rule=rule) is None


@pytest.mark.parametrize("rate", [0.6, 0.75, 0.9, 1.0])
def test_the_comparisons_needed_are_those_of_the_shortest_test_that_finds_it(rate: float) -> None:
    """The first cap at which the rule without giving up promotes in 8 of 10 tests, and its mean length."""
    cap = next(cap for cap in range(1, 1000) if size_and_power(rate, cap, futility=0.0).promote >= FOUND)

    assert comparisons_needed(rate) == pytest.approx(size_and_power(rate, cap, futility=0.0).mean_votes, abs=1e-9)


def test_half_of_the_comparisons_won_are_never_enough() -> None:
    """At and near one half a thousand comparisons do not do."""
    assert comparisons_needed(0.5) is None
    assert votes_needed(0.2, 0.005) is None
    assert tasks_needed_live(0.8, 0.01) is None
    assert votes_needed(0.2, 0.1, ties=1.0) is None


def test_ties_lengthen_a_test_by_their_share() -> None:
    """With half of the votes ties it takes twice as many."""
    plain, tied = votes_needed(0.2, 0.1), votes_needed(0.2, 0.1, ties=0.5)

    assert plain == comparisons_needed(0.75)
    assert tied == pytest.approx(2 * (plain or 0))


def test_simulated_live_tests_take_the_computed_number_of_tasks() -> None:
    """2000 seeded tests from .70 to .90, outcome against outcome, agree within four standard errors."""
    rng = np.random.default_rng(20260804)
    won, lost = 0.9 * 0.3, 0.7 * 0.1
    cap = next(c for c in range(1, 1000) if size_and_power(won / (won + lost), c, futility=0.0).promote >= FOUND)
    tasks = []
    for _ in range(2000):
        wins = losses = pairs = 0
        while wins + losses < cap and e_value(wins, losses) < 20:
            old, new = rng.random(2) < (0.7, 0.9)
            wins, losses, pairs = wins + int(new and not old), losses + int(old and not new), pairs + 1
        tasks.append(2 * pairs)

    error = np.std(tasks) / math.sqrt(len(tasks))
    assert tasks_needed_live(0.7, 0.2) == pytest.approx(float(np.mean(tasks)), abs=4 * float(error))


def test_live_mode_needs_several_times_as_many_tasks_as_ballots_need_votes() -> None:
    """From .80 to .90, where two prompts differ on a fifth of the tasks and 6 of 10 votes are ties: about 300 and 60."""
    votes, tasks = votes_needed(0.2, 0.1, ties=ASSUMED_TIES), tasks_needed_live(0.8, 0.1)

    assert votes == pytest.approx(60, abs=1)
    assert tasks == pytest.approx(296, abs=1)


def test_pairs_of_outcomes_say_something_when_they_differ() -> None:
    """The formula over both outcomes; accuracies beyond 1, and two prompts that never differ, say nothing."""
    assert live_pairs(0.8, 0.1) == pytest.approx((0.8 * 0.1 + 0.9 * 0.2, 0.18 / 0.26))
    assert live_pairs(0.9, 0.1) == pytest.approx((0.1, 1.0))
    assert (live_pairs(0.9, 0.11), live_pairs(1.0, 0.0), live_pairs(0.0, 0.0)) == (None, None, None)
    assert tasks_needed_live(0.95, 0.1) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 50), st.floats(0, 1), st.floats(-1, 1))
def test_the_evidence_of_a_replay_is_the_trinomial_one(n: int, discordance: float, share: float) -> None:
    """Wins, losses and tasks without a difference, summed with their multinomial coefficients.

    Evidence is cut at 100, so that the rare replays that are left out, of chance 1e-7 together, weigh below 1e-5.
    """
    gain = discordance * share
    won, lost = (discordance + gain) / 2, (discordance - gain) / 2
    expected = 0.0
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            ways = math.comb(n, wins) * math.comb(n - wins, losses)
            chance = ways * won**wins * lost**losses * (1 - discordance) ** (n - wins - losses)
            expected += chance * min(100.0, e_value(wins, losses))

    found = replay(n, discordance, gain)

    assert sum(chance for _, chance in found) == pytest.approx(1, abs=1e-9)
    assert sum(min(100.0, evidence) * chance for evidence, chance in found) == pytest.approx(expected, abs=2e-5)


def test_the_rule_is_that_of_the_settings() -> None:
    """Cap, mark for all challengers, futility, prior and least votes; in live mode pairs of tasks."""
    voting = replace(Voting(), challengers=2, max_votes=45, min_votes=5, live_max_tasks=301, futility_e=0.1)

    assert stopping(voting) == Stopping(votes=45, mark=40.0, futility=0.1, a=12.0, b=6.0, least=5)
    assert stopping(voting, 60).votes == 60
    assert stopping(voting, 2).least == 2
    assert stopping_live(voting) == Stopping(votes=150, mark=40.0, futility=0.1, a=12.0, b=6.0, least=3)
    assert stopping_live(replace(voting, live_max_tasks=100_000)).votes == 1000


def test_impossible_questions_are_refused() -> None:
    """A gain beyond the discordance, shares outside [0, 1] and replays that cannot be computed raise."""
    with pytest.raises(ValueError, match="at most the discordance"):
        power(10, 0.1, 0.2)
    with pytest.raises(ValueError, match="at most 1"):
        win_rate(1.2, 0.2)
    with pytest.raises(ValueError, match="0 to 1000"):
        power(1001, 0.2, 0.1)
    with pytest.raises(ValueError, match="ties"):
        votes_needed(0.2, 0.1, ties=1.5)
    with pytest.raises(ValueError, match="accuracy"):
        live_pairs(1.1, 0.0)
    assert win_rate(0.0, 0.0) == 0.5
