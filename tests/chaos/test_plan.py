"""The plan of faults: what its seed fixes."""

from __future__ import annotations

from itertools import islice

from tests.chaos.faults import FAILURES, Faults
from tests.chaos.plan import KINDS, plan


def test_a_seed_replays_its_plan() -> None:
    """The same seed gives the same faults with the same moments and strengths; another one gives others."""
    assert list(islice(plan(7), 200)) == list(islice(plan(7), 200))
    assert list(islice(plan(7), 200)) != list(islice(plan(8), 200))


def test_a_short_run_meets_every_kind() -> None:
    """The first faults are one of each kind, so that the short run of `make test` leaves none out."""
    first = {fault.kind for fault in islice(plan(3), len(KINDS))}

    assert first == set(KINDS)


def test_every_kind_of_the_plan_can_be_done() -> None:
    """Each kind has what does it, and each moment is one that the kind allows."""
    undone = {kind for kind in KINDS if not hasattr(Faults, "_" + kind.replace("-", "_"))}

    assert undone == {*FAILURES, "valkey-down-1s", "valkey-down-5s"}
    assert all(fault.moment in KINDS[fault.kind][1] for fault in islice(plan(5), 300))
