"""Sums up runs by method and budget, and writes them as a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from tests.benchmarks.peers.referee import Run

HEAD = (
    "method", "calls", "n", "gain, points", "± s.e.", "of possible", "optimism, points", "worse than incumbent",
    "calls made", "CPU ms per call", "failed",
)  # fmt: skip
EXACT = 1e-9  # points; smaller differences are rounding


def table(runs: Sequence[Run], methods: Sequence[str]) -> str:
    """Write one line per method and budget, in the order of *methods*."""
    lines = [row(HEAD), row(["---"] * len(HEAD))]
    for budget in sorted({run.budget for run in runs}):
        for method in methods:
            group = [run for run in runs if run.budget == budget and run.method == method]
            if group:
                lines.append(row(summary(group)))
    return "\n".join(lines)


def summary(runs: Sequence[Run]) -> list[str]:
    """Sum up the runs of one method and budget."""
    gains = [run.gain for run in runs]
    optimism = [run.optimism for run in runs if run.optimism is not None]
    calls = sum(run.calls for run in runs)
    error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
    return [
        runs[0].method,
        str(runs[0].budget),
        str(len(runs)),
        f"{statistics.fmean(gains):.1f}",
        f"{error:.1f}",
        f"{100 * sum(gains) / sum(run.possible for run in runs):.0f} %",
        f"{statistics.fmean(optimism):+.1f}" if optimism else "-",
        f"{sum(gain < -EXACT for gain in gains)}/{len(runs)}",
        f"{calls / len(runs):.0f}",
        f"{1000 * sum(run.cpu for run in runs) / calls:.2f}" if calls else "-",
        str(sum(bool(run.failed) for run in runs)),
    ]


def row(cells: Sequence[str]) -> str:
    """Write one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
