"""How a job ends without having finished its step, and without that being a failure."""

from __future__ import annotations


class StepAside(Exception):
    """The job must end here; the step stays ready and is rung again.

    Attributes:
        reason: one stable word; `detail`: the same for people.
        waited_s: how long the gate was waited for.
        preempted: a running call was cut off.
        again_s: seconds until it is worth trying again; 0 rings a fresh job at once.
    """

    def __init__(
        self, reason: str, detail: str, *, waited_s: float = 0.0, preempted: bool = False, again_s: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.waited_s, self.preempted = reason, detail, waited_s, preempted
        self.again_s = again_s


class RunOver(Exception):
    """The run can never go on under the configuration as it is; the text says why, and what to do."""


class StepFailed(Exception):
    """The step's own code failed; what it said stands in the step's row, `evoctl show RUN` prints it."""
