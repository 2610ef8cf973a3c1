"""Agreement: the same figures as other programs and closed forms give."""

from __future__ import annotations

import random

import pytest
from scipy import stats

from pipeline.algorithms.agreement import auc, kappa, rate, spearman, youden


def test_the_published_bounds_come_out() -> None:
    """28 of 28 caught say at least .88, 25 of 28 .72 to .98, 20 of 20 at least .83."""
    ends = [(one.low or 0, one.high or 0) for one in (rate(28, 28), rate(25, 28), rate(20, 20))]

    assert ends[0] == pytest.approx((0.88, 1.0), abs=0.005)
    assert ends[1] == pytest.approx((0.72, 0.98), abs=0.005)
    assert ends[2] == pytest.approx((0.83, 1.0), abs=0.005)


def test_rank_correlation_and_auc_equal_scipys() -> None:
    """On values with ties."""
    rng = random.Random(4)  # noqa: S311 - test data
    one = [rng.randrange(10) for _ in range(40)]
    other = [value + rng.randrange(8) for value in one]
    area = stats.mannwhitneyu(other, one).statistic / (40 * 40)

    assert spearman(one, other).value == pytest.approx(stats.spearmanr(one, other).statistic)
    assert auc(one, other).value == pytest.approx(area)


def test_kappa_is_zero_by_chance_and_one_in_full_agreement() -> None:
    """A judge who passes everything agrees by chance only."""
    assert kappa(0, 28, 12, 12).value == pytest.approx(0.0)
    assert kappa(28, 28, 12, 12).value == pytest.approx(1.0)
    assert youden(14, 28, 12, 12).value == pytest.approx(0.5)


def test_nothing_is_said_of_nothing() -> None:
    """No canaries, no votes, or votes that are all alike."""
    assert rate(0, 0).value is None
    assert auc([], [1.0]).value is None
    assert spearman([1, 1, 1], [1, 2, 3]).value is None
    assert youden(0, 0, 1, 2).value is None
