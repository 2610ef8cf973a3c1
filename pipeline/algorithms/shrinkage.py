"""What the best of several noisy means is worth: the winner's curse, and its cure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def shrunk(means: Sequence[float], variance: float) -> tuple[float, ...]:
    """Pull means towards their common mean by the share of their spread that noise explains (James-Stein, A5).

    The factor is tau^2 / (tau^2 + variance); tau^2, the spread of the true values, is what the sample variance of the
    means exceeds *variance* by. A single mean stays as it is: nothing was selected.

    Args:
        means: in [0, 1].
        variance: of the noise of one mean.

    >>> [round(m, 3) for m in shrunk((0.9, 0.7, 0.8), 0.005)]
    [0.85, 0.75, 0.8]
    """
    if len(means) < 2:  # noqa: PLR2004 - a spread needs two
        return tuple(means)
    centre = sum(means) / len(means)
    spread = sum((m - centre) ** 2 for m in means) / (len(means) - 1)
    factor = max(0.0, spread - variance) / spread if spread > 0 else 0.0
    return tuple(centre + factor * (m - centre) for m in means)


def wilson(correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion.

    Args:
        correct: 0 to *n*.
        n: trials; 0 gives (0, 1).
        z: normal quantile; the default is for 95 %.

    >>> tuple(round(x, 3) for x in wilson(8, 10))
    (0.49, 0.943)
    """
    if n == 0:
        return 0.0, 1.0
    p, w = correct / n, z * z / n
    centre, half = p + w / 2, z * math.sqrt(p * (1 - p) / n + w / (4 * n))
    return max(0.0, (centre - half) / (1 + w)), min(1.0, (centre + half) / (1 + w))
