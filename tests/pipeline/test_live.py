"""The live mode: who is drawn for a task."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np

from pipeline.decision import INCUMBENT, Arm, Tally
from pipeline.domain import VariantId
from pipeline.live import draw_arm

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def tally(in_use: tuple[int, int], *arms: tuple[int, int]) -> Tally:
    """Successes and outcomes of the prompt in use and of challengers 1, 2, ..."""
    return Tally(
        arms=tuple(
            Arm(variant=VariantId(i), name=f"variant_{i}", instruction="", wins=0, losses=0, picks=ok, shown=n)
            for i, (ok, n) in enumerate(arms, start=1)
        ),
        votes=0, since=NOW, picks=in_use[0], shown=in_use[1],
    )  # fmt: skip


def drawn(counted: Tally, given: dict[int, int], dropped: tuple[VariantId, ...] = ()) -> Counter[int]:
    """Draw 1,000 times."""
    rng = np.random.default_rng(5)
    return Counter(int(draw_arm(counted, dropped, given, rng)) for _ in range(1000))


def test_a_better_challenger_is_drawn_until_it_is_ahead_by_one() -> None:
    """It gets the next task while it has no more than the prompt in use, and then the prompt in use does."""
    good = tally((5, 20), (19, 20))

    assert drawn(good, {0: 20, 1: 20})[1] > 950
    assert drawn(good, {0: 20, 1: 21}) == {0: 1000}


def test_a_bad_challenger_soon_meets_hardly_any_task() -> None:
    """After many failures it is drawn in few of a thousand tasks."""
    assert drawn(tally((18, 20), (4, 20)), {0: 20, 1: 20})[1] < 20


def test_a_dropped_challenger_meets_none() -> None:
    """Whatever its record."""
    assert drawn(tally((5, 20), (19, 20)), {0: 20, 1: 20}, (VariantId(1),)) == {INCUMBENT: 1000}


def test_before_any_outcome_everybody_has_a_chance() -> None:
    """Nobody knows anything: all three are drawn."""
    assert set(drawn(tally((0, 0), (0, 0), (0, 0)), {})) == {0, 1, 2}
