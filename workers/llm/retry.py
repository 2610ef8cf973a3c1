"""Try again where that helps: the one place that says which trouble is retried, how often and how long.

A client raises `Transient` or `RunnerCrashed`; a flow never sees either. What is left after the last attempt is
`Unreachable` (the step waits and tries later) or a `Failed` reply (the flow counts it and goes on).
"""

from __future__ import annotations

from typing import cast

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_fixed, wait_random

from pipeline.errors import Unreachable
from pipeline.flow import Answerer, Failed, FailureKind, Reply, Request

TRANSPORT_ATTEMPTS = 3
FIRST_WAIT_S = 0.2  # before the second attempt; doubles
LONGEST_WAIT_S = 2.0
JITTER_S = 0.2
CRASH_ATTEMPTS = 2
CRASH_WAIT_S = 0.2  # a crashed runner is started anew by the server at the next request


class Transient(Exception):
    """The server could not be talked to, or was too busy; the same request may well work in a moment.

    Attributes:
        what: one sentence saying what happened.
        why: the reason as the client library gave it.
        hint: what to try when it lasts.
    """

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.hint = what, why, hint


class RunnerCrashed(Exception):
    """The server answers, but the process that runs the model failed on this request."""


def retrying(answer: Answerer) -> Answerer:
    """Wrap *answer* in the retry policies.

    The waits between attempts end at once when a signal handler raises.

    Raises:
        Unreachable: from the wrapped call, when the server did not answer after the last attempt.
    """
    transport = Retrying(
        retry=retry_if_exception_type(Transient),
        stop=stop_after_attempt(TRANSPORT_ATTEMPTS),
        wait=wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S) + wait_random(0, JITTER_S),
        reraise=True,
    )
    crash = Retrying(
        retry=retry_if_exception_type(RunnerCrashed),
        stop=stop_after_attempt(CRASH_ATTEMPTS),
        wait=wait_fixed(CRASH_WAIT_S),
        reraise=True,
    )

    def answered(request: Request) -> Reply:
        try:
            return cast("Reply", crash(transport, answer, request))
        except Transient as trouble:
            raise Unreachable(trouble.what, why=trouble.why, hint=trouble.hint) from trouble
        except RunnerCrashed as crashed:
            return Failed(kind=FailureKind.CRASHED, message=str(crashed))

    return answered
