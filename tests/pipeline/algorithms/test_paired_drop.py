"""A drop between paired rates agrees with scipy, with sampling, and with itself seen from the other side."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad
from scipy.special import betainc, betaln, xlog1py, xlogy
from scipy.stats import beta

from pipeline.algorithms.paired_drop import paired_drop

COUNT = st.integers(0, 200)
CELLS = st.tuples(COUNT, COUNT, COUNT, COUNT)
MARGIN = st.floats(-1, 1)
DRAWS = 400_000


@settings(max_examples=60, deadline=None)
@given(CELLS, st.floats(0.001, 0.99))
def test_a_drop_agrees_with_gaussian_quadrature(cells: tuple[int, int, int, int], margin: float) -> None:
    """The integral over the share itself, with scipy's incomplete Beta function, gives the same to 1e-10."""
    both, first, second, neither = cells
    a, b = first + second + 2, both + neither + 2
    nodes, weights = np.polynomial.legendre.leggauss(120)

    def integral(low: float, high: float) -> float:
        share = (low + high) / 2 + (high - low) / 2 * nodes
        density = np.exp(xlogy(a - 1, share) + xlog1py(b - 1, -share) - betaln(a, b))
        values = density * betainc(second + 1, first + 1, (share - margin) / (2 * share))
        return float((high - low) / 2 * np.sum(weights * values))

    places = [float(beta.ppf(share, a, b)) for share in (1e-12, 1e-4, 0.1, 0.5, 0.9, 1 - 1e-4, 1 - 1e-12)]
    marks = sorted({margin, 1.0, *(max(margin, place) for place in places)})
    expected = sum(integral(low, high) for low, high in pairwise(marks))

    assert paired_drop(*cells, margin) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("cells", "margin"), [((0, 0, 0, 0), 0.05), ((3, 2, 1, 4), 0.1), ((12, 5, 2, 6), 0.05), ((0, 1, 3, 0), 0.3)]
)
def test_a_drop_is_the_mass_of_the_dirichlet_beyond_the_margin(cells: tuple[int, int, int, int], margin: float) -> None:
    """The double integral over the two cells that differ needs none of the decomposition and gives the same."""
    both, first, second, neither = cells
    rest = both + neither + 2
    log_norm = math.lgamma(first + second + rest + 2) - sum(map(math.lgamma, (first + 1, second + 1, rest)))

    def density(y: float, x: float) -> float:
        return math.exp(log_norm + xlogy(first, x) + xlogy(second, y) + xlogy(rest - 1, max(0.0, 1 - x - y)))

    def most(x: float) -> float:
        return max(0.0, min(x - margin, 1 - x))

    middle = (1 + margin) / 2
    expected = sum(
        dblquad(density, low, high, 0, most, epsabs=1e-11)[0] for low, high in ((margin, middle), (middle, 1.0))
    )

    assert paired_drop(*cells, margin) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("cells", "margin"),
    [((140, 15, 20, 25), 0.05), ((70, 8, 2, 20), 0.05), ((5, 0, 0, 1), 0.05), ((30, 40, 40, 0), -0.02), ((0, 0, 9, 0), 0.0)],
)  # fmt: skip
def test_sampling_agrees(cells: tuple[int, int, int, int], margin: float) -> None:
    """400,000 seeded draws from the Dirichlet posterior agree within four standard errors."""
    draws = np.random.default_rng(11).dirichlet([count + 1 for count in cells], DRAWS)
    exact = paired_drop(*cells, margin)

    share = float(np.mean(draws[:, 1] - draws[:, 2] > margin))

    assert share == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / DRAWS) + 1e-9)


@settings(max_examples=60, deadline=None)
@given(CELLS, MARGIN)
def test_a_drop_and_its_opposite_are_complete(cells: tuple[int, int, int, int], margin: float) -> None:
    """Either the second is more than the margin below the first, or the first is not that far above it."""
    both, first, second, neither = cells

    there, back = paired_drop(*cells, margin), paired_drop(both, second, first, neither, -margin)

    assert there + back == pytest.approx(1, abs=1e-10)
    assert 0 <= there <= 1


@settings(max_examples=40, deadline=None)
@given(CELLS, MARGIN, st.floats(0, 0.5))
def test_a_larger_margin_is_less_likely(cells: tuple[int, int, int, int], margin: float, more: float) -> None:
    """The chance falls as the margin grows, and is certain at either end."""
    assert paired_drop(*cells, min(1.0, margin + more)) <= paired_drop(*cells, margin) + 1e-10
    assert (paired_drop(*cells, -1), paired_drop(*cells, 1)) == (1.0, 0.0)


@settings(max_examples=40, deadline=None)
@given(CELLS, MARGIN)
def test_an_item_that_only_one_solved_speaks_for_it(cells: tuple[int, int, int, int], margin: float) -> None:
    """One item more of the first makes a drop likelier, one more of the second less likely."""
    both, first, second, neither = cells
    here = paired_drop(*cells, margin)

    assert paired_drop(both, first + 1, second, neither, margin) >= here - 1e-10
    assert paired_drop(both, first, second + 1, neither, margin) <= here + 1e-10


@settings(max_examples=40, deadline=None)
@given(CELLS, st.integers(0, 50), MARGIN)
def test_it_does_not_matter_on_what_the_two_agree(cells: tuple[int, int, int, int], moved: int, margin: float) -> None:
    """Items that both solved and items that neither did count alike."""
    both, first, second, neither = cells

    one, other = paired_drop(both + moved, first, second, neither, margin), paired_drop(
        both, first, second, neither + moved, margin
    )  # fmt: skip

    assert one == pytest.approx(other, abs=1e-12)


def test_pairing_tells_more_than_two_samples() -> None:
    """Where the two mostly agree, the same rates are known better than from unpaired samples."""
    draws = np.random.default_rng(3).beta([[81], [83]], [[21], [19]], (2, 100_000))
    paired, unpaired = paired_drop(80, 0, 2, 18, 0.05), float(np.mean(draws[0] - draws[1] > 0.05))

    assert paired < 0.001
    assert unpaired > 0.05


def test_thousands_of_items_neither_fail_nor_lose_digits() -> None:
    """At 40,000 items a drop of two standard errors beyond the margin is as likely as the normal law says."""
    n, differing = 40_000, 8000
    error = math.sqrt(differing / n - 0.05**2) / math.sqrt(n)
    lead = round((0.05 + 2 * error) * n)
    first = (differing + lead) // 2

    found = paired_drop(24_000, first, differing - first, 8000, 0.05)

    assert found == pytest.approx(0.5 * math.erfc(-2 / math.sqrt(2)), abs=2e-3)


@pytest.mark.parametrize(
    "question", [(-1, 0, 0, 0, 0.1), (0, 0, 0, -2, 0.1), (0, 0, 0, 0, 1.1), (0, 0, 0, 0, math.nan)]
)
def test_impossible_drops_are_refused(question: tuple[int, int, int, int, float]) -> None:
    """Negative counts and margins beyond 1."""
    with pytest.raises(ValueError, match="margin"):
        paired_drop(*question)


def test_it_does_not_import_scipy() -> None:
    """It is computed within the transaction of a vote, for which scipy's import is too slow."""
    code = (
        "import sys; from pipeline.algorithms.paired_drop import paired_drop; paired_drop(140, 15, 20, 25, 0.05);"
        "sys.exit(any(name.startswith('scipy') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
