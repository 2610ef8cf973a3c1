"""The rule's size and power are what the decision study measured, and what is to come is the sum over all futures."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.algorithms.duel import (
    QUARTILES,
    binomials,
    evidence_rows,
    outlook,
    size_and_power,
)
from pipeline.algorithms.eprocess import e_value

RUNS = 4000
SHARE = st.floats(0, 1)
COUNT = st.integers(0, 6)
EVIDENCE = st.floats(0.01, 400)


@pytest.mark.parametrize(("cap", "size"), [(30, 0.018), (60, 0.026), (120, 0.032), (200, 0.034)])
def test_the_size_is_exact_and_below_five_per_cent(cap: int, size: float) -> None:
    """An equal challenger is promoted with the published probability, and never more often than Ville allows."""
    result = size_and_power(0.5, cap)

    assert result.promote == pytest.approx(size, abs=5e-4)
    assert result.promote <= 1 / 20


@pytest.mark.parametrize(("p", "power", "votes"), [(0.65, 0.51, 42), (0.70, 0.78, 34), (0.75, 0.95, 26)])
def test_sixty_votes_have_the_published_power(p: float, power: float, votes: float) -> None:
    """Power and mean length at cap 60."""
    result = size_and_power(p, 60)

    assert result.promote == pytest.approx(power, abs=0.01)
    assert result.mean_votes == pytest.approx(votes, abs=1)


def test_the_outcomes_are_complete() -> None:
    """Promoting and keeping sum to one at every win rate and cap."""
    for p in np.linspace(0, 1, 11):
        for cap in (0, 1, 7, 60):
            result = size_and_power(float(p), cap)

            assert result.promote + result.keep == pytest.approx(1, abs=1e-12)
            assert 0 <= result.mean_votes <= cap


def test_power_grows_with_the_win_rate_and_with_the_cap() -> None:
    """A better challenger, or more votes, never promote less."""
    by_rate = [size_and_power(p, 30).promote for p in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
    by_cap = [size_and_power(0.65, cap).promote for cap in (10, 20, 40, 80, 160)]

    assert by_rate == sorted(by_rate)
    assert by_cap == sorted(by_cap)


def test_simulated_duels_agree() -> None:
    """4000 seeded duels at 0.7 agree within five standard errors."""
    rng = np.random.default_rng(20260801)
    exact = size_and_power(0.7, 30)
    promoted = sum(_promotes(rng.random(30) < 0.7) for _ in range(RUNS))

    bound = 5 * math.sqrt(exact.promote * exact.keep / RUNS)
    assert promoted / RUNS == pytest.approx(exact.promote, abs=bound)


def _promotes(outcomes: NDArray[np.bool_]) -> bool:
    wins = losses = 0
    for won in outcomes:
        wins, losses = wins + int(won), losses + 1 - int(won)
        evidence = e_value(wins, losses)
        if evidence >= 20 or evidence <= 0.2:
            return evidence >= 20
    return False


def test_the_chance_from_here_averages_over_the_next_comparison() -> None:
    """The chance at (4, 2) is the mean of those after one more win and one more loss."""
    here = outlook(0.7, 30, wins=4, losses=2).promote
    won, lost = outlook(0.7, 30, wins=5, losses=2).promote, outlook(0.7, 30, wins=4, losses=3).promote

    assert here == pytest.approx(0.7 * won + 0.3 * lost, abs=1e-12)


def test_a_decided_duel_stays_decided() -> None:
    """Counts beyond a mark or the cap give chance one or zero."""
    assert outlook(0.1, 30, wins=20, losses=1).promote == 1.0
    assert outlook(0.9, 30, wins=0, losses=20).promote == 0.0
    assert outlook(0.9, 10, wins=6, losses=5).promote == 0.0


def test_no_votes_can_show_nothing() -> None:
    """With a cap of zero the incumbent stays."""
    assert outlook(0.99, 0).promote == 0.0


def test_impossible_questions_are_refused() -> None:
    """A win rate outside [0, 1], a negative cap and negative counts raise."""
    with pytest.raises(ValueError, match="win rate"):
        size_and_power(1.5, 10)
    with pytest.raises(ValueError, match="cap"):
        size_and_power(0.5, -1)
    with pytest.raises(ValueError, match="counts"):
        outlook(0.5, 10, wins=-1)


def vote_by_vote(
    p: float, cap: int, *, wins: int, losses: int, votes: int, least: int, start: float, ties: float
) -> tuple[list[float], list[float]]:
    """Follow every count through every vote: chances to promote and to keep by the number of further votes."""
    alive = {(wins, losses): 1.0}
    promoted, kept = [0.0] * (max(0, cap - votes) + 1), [0.0] * (max(0, cap - votes) + 1)
    for further in range(len(promoted)):
        after: dict[tuple[int, int], float] = {}
        for (won, lost), chance in alive.items():
            evidence = start * e_value(won, lost)
            if evidence >= 20 and votes + further >= least:
                promoted[further] += chance
            elif evidence <= 0.2 or further == len(promoted) - 1:
                kept[further] += chance
            else:
                for count, share in (
                    ((won, lost), ties),
                    ((won + 1, lost), (1 - ties) * p),
                    ((won, lost + 1), (1 - ties) * (1 - p)),
                ):
                    after[count] = after.get(count, 0.0) + chance * share
        alive = after
    return promoted, kept


@settings(max_examples=150, deadline=None)
@given(SHARE, st.integers(0, 14), COUNT, COUNT, COUNT, st.integers(0, 12), EVIDENCE, SHARE)
def test_the_outlook_is_the_sum_over_all_futures(
    p: float, cap: int, wins: int, losses: int, tied: int, least: int, start: float, ties: float
) -> None:
    """Whatever is known before, however many votes are ties and must come first, following every vote gives the same."""
    votes = wins + losses + tied
    promoted, kept = vote_by_vote(
        p, cap, wins=wins, losses=losses, votes=votes, least=least, start=start, ties=ties
    )  # fmt: skip

    found = outlook(p, cap, wins=wins, losses=losses, votes=votes, least=least, start=start, ties=ties)

    assert found.promote_at == pytest.approx(promoted, abs=1e-12)
    assert found.keep_at == pytest.approx(kept, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(SHARE, st.integers(0, 40), st.integers(0, 10), EVIDENCE, SHARE)
def test_the_figures_are_those_of_the_distribution(p: float, cap: int, least: int, start: float, ties: float) -> None:
    """Chances sum to one, the mean is that of the votes, and each quartile is the first count that reaches its share."""
    found = outlook(p, cap, least=least, start=start, ties=ties)

    at = [up + down for up, down in zip(found.promote_at, found.keep_at, strict=True)]
    assert (found.promote, found.keep) == pytest.approx((sum(found.promote_at), sum(found.keep_at)), abs=1e-12)
    assert sum(at) == pytest.approx(1, abs=1e-12)
    assert found.mean_votes == pytest.approx(sum(n * chance for n, chance in enumerate(at)), abs=1e-9)
    assert 0 <= found.undecided <= found.keep_at[-1] + 1e-15
    for share, votes in zip(QUARTILES, found.quartiles, strict=True):
        assert sum(at[:votes]) < share + 1e-9
        assert sum(at[: votes + 1]) >= share - 1e-9


@settings(max_examples=40, deadline=None)
@given(SHARE, st.lists(st.tuples(EVIDENCE, st.floats(0.01, 1)), min_size=1, max_size=40), st.integers(0, 6), SHARE)
def test_a_distribution_of_evidence_gives_the_mean_outlook(
    p: float, weighted: list[tuple[float, float]], least: int, ties: float
) -> None:
    """Starting from several evidences at once is starting from each, weighted by its chance."""
    whole = sum(weight for _, weight in weighted)
    starts = [(evidence, weight / whole) for evidence, weight in weighted]
    each = [(outlook(p, 12, least=least, start=evidence, ties=ties), chance) for evidence, chance in starts]

    found = outlook(p, 12, least=least, start=starts, ties=ties)

    assert found.promote_at == pytest.approx(np.sum([np.array(o.promote_at) * c for o, c in each], axis=0), abs=1e-12)
    assert found.keep_at == pytest.approx(np.sum([np.array(o.keep_at) * c for o, c in each], axis=0), abs=1e-12)


def test_evidence_from_elsewhere_shortens_a_test_and_never_weakens_it() -> None:
    """More evidence at the start promotes more often, at any share of ties."""
    for ties in (0.0, 0.3, 0.7):
        chances = [outlook(0.65, 30, start=start, ties=ties).promote for start in (0.3, 1, 3, 9, 19)]
        assert chances == sorted(chances)

    assert outlook(0.75, 30, start=10.0).mean_votes < outlook(0.75, 30).mean_votes


def test_decided_evidence_needs_no_vote_unless_some_must_come_first() -> None:
    """At the mark the decision is there at once, or after the least votes; at the futility mark nobody votes."""
    at_once, later = outlook(0.5, 30, start=20.1), outlook(1.0, 30, start=20.1, least=5, ties=0.4)

    assert (at_once.promote, at_once.mean_votes, at_once.quartiles) == (1.0, 0.0, (0, 0, 0))
    assert (later.promote, later.mean_votes) == pytest.approx((1.0, 5.0))
    assert outlook(0.9, 30, start=0.19, least=5).keep_at[0] == 1.0
    assert outlook(1.0, 4, start=400.0, least=5).promote == 0


def test_ties_only_use_votes_up() -> None:
    """Without a cap that is reached, a test with ties takes 1 / (1 - ties) as many votes and decides alike."""
    plain, tied = outlook(0.8, 400), outlook(0.8, 800, ties=0.5)

    assert tied.promote == pytest.approx(plain.promote, abs=1e-9)
    assert tied.mean_votes == pytest.approx(2 * plain.mean_votes, abs=1e-6)
    assert outlook(0.8, 30, ties=1.0).undecided == 1.0


def test_simulated_tests_with_ties_agree() -> None:
    """4000 seeded tests from evidence 4 agree within five standard errors, in their ends and in their length."""
    rng = np.random.default_rng(20260802)
    exact = outlook(0.7, 30, start=4.0, ties=0.35)
    ends = [_ends(rng.random((30, 2)), 4.0, 0.35, 0.7) for _ in range(RUNS)]

    promoted, votes = np.mean([up for up, _ in ends]), np.array([n for _, n in ends])
    assert promoted == pytest.approx(exact.promote, abs=5 * math.sqrt(exact.promote * exact.keep / RUNS))
    assert votes.mean() == pytest.approx(exact.mean_votes, abs=5 * votes.std() / math.sqrt(RUNS))


def _ends(drawn: NDArray[np.float64], start: float, ties: float, p: float) -> tuple[bool, int]:
    wins = losses = 0
    for n, (tie, win) in enumerate(drawn):
        evidence = start * e_value(wins, losses)
        if evidence >= 20 or evidence <= 0.2:
            return evidence >= 20, n
        if tie >= ties:
            wins, losses = wins + int(win < p), losses + int(win >= p)
    return start * e_value(wins, losses) >= 20, len(drawn)


def test_an_equal_challenger_is_promoted_at_most_as_often_as_ville_allows() -> None:
    """From evidence x the mark 20 is reached with probability at most x / 20, with any ties and any cap."""
    for start in (0.5, 1.0, 4.0, 12.0):
        for cap in (10, 60, 200):
            for ties in (0.0, 0.5):
                assert outlook(0.5, cap, start=start, ties=ties, futility=0.0).promote <= start / 20 + 1e-12


@pytest.mark.parametrize(
    ("given_", "word"),
    [
        ({"ties": 1.5}, "ties"), ({"start": 0.0}, "evidence"), ({"start": [(1.0, 0.5)]}, "sum to one"),
        ({"wins": 3, "votes": 2}, "votes"), ({"losses": -1}, "counts"),
    ],
)  # fmt: skip
def test_impossible_outlooks_are_refused(given_: dict[str, object], word: str) -> None:
    """A share of ties outside [0, 1], no evidence, half a distribution and more wins than votes raise."""
    with pytest.raises(ValueError, match=word):
        outlook(0.5, 10, **given_)  # type: ignore[arg-type]  # parametrised


def test_every_row_is_the_mean_of_the_next_and_cannot_be_written_to() -> None:
    """The table of e-values has the exact ones, and is shared, so that nobody may change it."""
    rows = evidence_rows(40)

    for before, after in pairwise(rows):
        assert before == pytest.approx((after[1:] + after[:-1]) / 2, rel=1e-12)
    assert rows[17][12] == pytest.approx(e_value(12, 5), rel=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        rows[3][0] = 1.0
    with pytest.raises(ValueError, match="computed"):
        evidence_rows(1200)


def test_the_table_of_binomials_is_exact() -> None:
    """Row n is the distribution of successes in n trials."""
    table = binomials(9, 0.3)

    assert [table[9, k] for k in range(10)] == pytest.approx(
        [math.comb(9, k) * 0.3**k * 0.7 ** (9 - k) for k in range(10)], rel=1e-12
    )
