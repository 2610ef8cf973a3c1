"""Whatever is killed, and whenever: the same ending, nothing paid twice but the call in flight, and quick recovery."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

BOUNDARIES = (
    ("detect", 1),
    ("mutate", 1),
    ("mutate", 2),
    ("mutate", 3),
    ("judge", 1),
    ("dedupe", 1),
    ("bandit", 1),
    ("promote", 1),
)
VICTIMS = ("horse", "worker", "both", "valkey", "flushall")
RESUME_S = {"valkey": 5.0}  # from the kill to the next model request; 3 s for everything else
DEFAULT_RESUME_S = 3.0
SECOND_JOB_S = 2.0


def _plan(rotation: int) -> dict[tuple[str, int], str]:
    """Give every boundary a victim; over the rotations each boundary meets each victim."""
    return {boundary: VICTIMS[(index + rotation) % len(VICTIMS)] for index, boundary in enumerate(BOUNDARIES)}


def _survive(
    start_journey: Any,
    reference: tuple[tuple[object, ...], Counter[str]],
    plan: dict[tuple[str, int], str],
    slack: float,
) -> None:
    with start_journey() as journey:
        journey.begin()
        for (stage, visit), victim in plan.items():
            journey.until(
                lambda s=stage, v=visit: any(x.stage == s and x.visit >= v for x in journey.steps()), f"{stage} {visit}"
            )
            journey.kill(victim, stage)
        journey.until(lambda: journey.run().ended_at is not None, "the end")
        time.sleep(0.5)

        expected, calm_paid = reference
        assert expected == journey.outcome()
        extra = journey.paid() - calm_paid
        assert sum(extra.values()) <= len(journey.kills)
        assert max(extra.values(), default=0) <= 1
        assert len(journey.inodes) == 2, "config.yaml is replaced once, by the one promotion"
        slow = _slow_recoveries(journey, slack)
        assert slow == []


def _slow_recoveries(journey: Any, slack: float) -> list[tuple[str, str, float]]:
    """List kills after which the next model request came too late; a kill after the last request has none."""
    begun = sorted(float(entry["begin"]) for entry in journey.requests())
    gaps = [(victim, stage, min((t for t in begun if t > at), default=at) - at) for victim, stage, at in journey.kills]
    print("kill to next model request, s:", [(v, s, round(g, 2)) for v, s, g in gaps])  # noqa: T201 - shown with -s
    return [(victim, stage, gap) for victim, stage, gap in gaps if gap > slack * _limit(victim, stage)]


def _limit(victim: str, stage: str) -> float:
    """Return the seconds allowed; detect asks no model, so the job after it has to start as well."""
    return RESUME_S.get(victim, DEFAULT_RESUME_S) + (SECOND_JOB_S if stage == "detect" else 0.0)


@pytest.mark.timeout(240)
def test_a_kill_at_every_boundary_changes_nothing(start_journey: Any, reference: Any) -> None:
    """Each boundary meets another victim in one journey; ending, variants and configuration are those of a calm run."""
    _survive(
        start_journey, reference, _plan(0), slack=3.0
    )  # the machine may be busy; `make kills` takes the times at their word


@pytest.mark.chaos
@pytest.mark.timeout(240)
@pytest.mark.parametrize("rotation", range(1, len(VICTIMS)))
def test_every_victim_at_every_boundary_changes_nothing(start_journey: Any, reference: Any, rotation: int) -> None:
    """The other four rotations of the same square: every victim at every boundary."""
    _survive(start_journey, reference, _plan(rotation), slack=1.0)
