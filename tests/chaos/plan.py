"""Which fault comes when: everything about a run of the suite that its seed decides."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# Where a fault bites: during a model call, while the job wants to commit, right after a step's hand-off was committed (so
# before its bell is rung), while the job waits for the gate, while nobody works, or at once.
CALL, COMMIT, HANDOFF, GATE, IDLE, NOW = "call", "commit", "hand-off", "gate", "idle", "now"
EVERYWHERE = (CALL, COMMIT, HANDOFF, GATE, IDLE)
WORKING = (CALL, COMMIT, HANDOFF, GATE)
KINDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "kill-horse": (6, WORKING),
    "kill-worker": (5, EVERYWHERE),
    "kill-both": (6, WORKING),
    "term-once": (2, (CALL, GATE, IDLE)),
    "term-twice": (3, (CALL, GATE)),
    "stop-job": (3, (CALL, GATE)),
    "kill-horse-command": (3, (CALL, GATE)),
    "valkey-kill": (5, EVERYWHERE),
    "valkey-flush": (5, EVERYWHERE),
    "valkey-down-1s": (2, (CALL, HANDOFF)),
    "valkey-down-5s": (1, (CALL, HANDOFF)),
    "valkey-full": (2, (CALL, HANDOFF)),
    "tick-kill": (3, (CALL, HANDOFF, IDLE)),
    "two-ticks": (2, (NOW,)),
    "second-worker": (2, (CALL, IDLE)),
    "duplicate-job": (3, (CALL, GATE, IDLE)),
    "stale-job": (3, (CALL, IDLE)),
    "poison-job": (2, (NOW,)),
    "freeze": (1, (CALL, GATE)),
    "lease": (4, (CALL, NOW)),
    "lease-flaps": (2, (CALL,)),
    "database-locked": (2, (CALL, HANDOFF)),
    "model-hangs": (2, (CALL,)),
    "model-server-kill": (3, (CALL, IDLE)),
    "model-500": (2, (CALL,)),
    "model-error-line": (2, (CALL,)),
    "model-reset": (2, (CALL,)),
    "model-no-done": (2, (CALL,)),
    "person-votes": (2, (NOW,)),
    "person-undoes": (1, (NOW,)),
    "person-enqueues": (1, (NOW,)),
    "person-looks": (1, (NOW,)),
    "person-cancels": (1, (NOW,)),
    "person-rolls-back": (1, (NOW,)),
}
"""Weight of each fault, and the moments at which it is tried."""

LONGEST_GAP_S = 1.0  # between two faults; the half of it on the average
SALVO = 0.4  # share of faults that the next one follows without waiting for the pipeline to go on


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the plan.

    Attributes:
        number: counted from 1.
        moment: where it bites.
        gap_s: quiet before it.
        strength: from 0 to 1; what lasts, lasts longer.
        salvo: the next one follows at once.
    """

    number: int
    kind: str
    moment: str
    gap_s: float
    strength: float
    salvo: bool


def plan(seed: int) -> Iterator[Fault]:
    """Draw faults without end: in each round of the pack every kind comes as often as its weight says."""
    rng = random.Random(seed)  # noqa: S311 - a plan that can be replayed, no secret
    number = 0
    while True:
        first = list(KINDS)  # a short run shall meet every kind, so the rare ones do not wait for the common ones
        rest = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight - 1)]
        rng.shuffle(first)
        rng.shuffle(rest)
        for kind in first + rest:
            number += 1
            moment = rng.choice(KINDS[kind][1])
            yield Fault(number, kind, moment, rng.uniform(0.0, LONGEST_GAP_S), rng.random(), salvo=rng.random() < SALVO)
