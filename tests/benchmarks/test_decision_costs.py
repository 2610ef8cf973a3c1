"""What a decision's numerics cost. Figures are printed (`make bench`); only ratios within one run are asserted."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from pipeline.algorithms.beta import probability_best
from pipeline.algorithms.duel import evidence_rows, outlook
from pipeline.algorithms.eprocess import _exact_rounded, e_value
from pipeline.algorithms.paired_drop import paired_drop
from pipeline.decision_settings import Voting
from pipeline.power import ASSUMED_TIES, live_pairs, power, smallest_gain, stopping, stopping_live

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

ROUNDS = 200
JEFFREYS = {
    "even": [(39.5, 11.5), (41.5, 9.5), (43.5, 7.5), (45.5, 5.5)],
    "no_failure": [(50.5, 0.5)] * 4,
    "uneven": [(150.5, 30.5), (10.5, 0.5), (5.5, 3.5), (0.5, 0.5)],
    "no_vote": [(0.5, 0.5)] * 4,
}


def cpu_us(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median CPU time of *work*, in microseconds."""
    figures = []
    for _ in range(rounds):
        began = time.process_time_ns()
        work()
        figures.append((time.process_time_ns() - began) / 1000)
    return statistics.median(figures)


def show(title: str, **figures: float) -> None:
    """Print one line of figures."""
    told = ", ".join(f"{name} {value:.0f}" if value >= 10 else f"{name} {value:.2g}" for name, value in figures.items())
    print(f"\n{title}: {told}")  # noqa: T201 - a benchmark reports


def test_probability_best() -> None:
    """Four arms and 200 votes with Jeffreys priors cost far less than 100,000 draws, which are right to 0.0015."""
    rng = np.random.default_rng(1)

    def sampled() -> None:
        draws = np.stack([rng.beta(a, b, 100_000) for a, b in JEFFREYS["even"]])
        np.bincount(draws.argmax(axis=0), minlength=4)

    costs = {name: cpu_us(partial(probability_best, arms)) for name, arms in JEFFREYS.items()}
    drawn = cpu_us(sampled, 5)
    show("P(best), 4 arms, 200 votes, CPU us", **costs, drawn=drawn)

    assert max(costs.values()) < drawn / 10


def test_evidence_of_a_vote() -> None:
    """An update of the e-process costs little, and next to nothing when its counts were met before."""
    counts = [(wins, losses) for wins in range(61) for losses in range(61 - wins)]

    def fresh() -> None:
        _exact_rounded.cache_clear()
        for wins, losses in counts:
            e_value(wins, losses)

    first = cpu_us(fresh, 5) / len(counts)
    again = cpu_us(lambda: [e_value(wins, losses) for wins, losses in counts], 5) / len(counts)
    show("e-value up to 60 comparisons, CPU us", first=first, again=again)

    assert again < first


def test_outlook_of_a_test() -> None:
    """What is to come of a test with a cap of 30 costs less than one with a cap of 200."""

    def fresh() -> None:
        _exact_rounded.cache_clear()
        evidence_rows.cache_clear()
        outlook(0.65, 30, start=3.0)

    costs = {
        "cap30": cpu_us(lambda: outlook(0.65, 30, start=3.0)),
        "cap30_first": cpu_us(fresh, 20),
        "cap30_ties": cpu_us(lambda: outlook(0.65, 30, start=3.0, ties=0.3)),
        "cap30_ties_least5": cpu_us(lambda: outlook(0.65, 30, start=3.0, ties=0.3, least=5)),
        "cap200_ties_least5": cpu_us(lambda: outlook(0.65, 200, start=3.0, ties=0.3, least=5), 10),
    }
    show("outlook, CPU us", **costs)

    assert costs["cap30_ties_least5"] < costs["cap200_ties_least5"]


def test_paired_drop() -> None:
    """The guard on accuracy costs less within a vote's transaction than the import that it does without."""
    costs = {
        str(sum(cells)): cpu_us(partial(paired_drop, *cells, 0.05))
        for cells in ((14, 3, 2, 1), (70, 8, 2, 20), (140, 15, 20, 25), (200, 60, 60, 80), (1000, 300, 300, 400))
    }
    nothing, loaded = (
        statistics.median(_import_ms(f"import numpy{more}") for _ in range(3)) for more in ("", ", scipy.special")
    )
    show("paired drop by number of samples, CPU us", **costs, scipy_import=(loaded - nothing) * 1000)

    assert max(costs.values()) < (loaded - nothing) * 1000


def test_power_of_a_skill() -> None:
    """One cell of the table costs less than looking for the smallest gain, which asks for ten."""
    voting = Voting()
    rule, live = stopping(voting), stopping_live(voting)
    telling, rate = live_pairs(0.8, 0.1) or (0.0, 0.5)
    cell = cpu_us(lambda: power(200, 0.2, 0.1, ties=ASSUMED_TIES, rule=rule), 10)
    in_live = cpu_us(lambda: power(200, 0.2, 0.1, ties=1 - telling, vote_rate=rate, rule=live), 3)
    smallest = cpu_us(lambda: smallest_gain(200, 0.2, ties=ASSUMED_TIES, rule=rule), 3)
    show("power after 200 tasks, CPU us", ballots=cell, live=in_live, smallest_gain=smallest)

    assert cell < smallest


def _import_ms(code: str) -> float:
    script = f"import time\nbegan = time.process_time()\n{code}\nprint((time.process_time() - began) * 1000)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout)
