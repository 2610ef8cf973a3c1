"""A simulated judge of set rates: seeded, in process, and no model's figure."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from models.judge_checks import canaries
from pipeline.flow import Generate, Generated, Reply, Request
from pipeline.judge_texts import DIMENSIONS, QUESTIONS

SERVED_BY = "simulated:1b abc123 0.12.11"


@dataclass
class SimulatedJudge:
    """Passes good canaries with chance *tpr* and catches bad ones with chance *tnr*.

    Attributes:
        logprobs: whether the server gives any.
        asked: every request, in order.
    """

    tpr: float
    tnr: float
    seed: int
    logprobs: bool = True
    served_by: str = SERVED_BY
    mumbles: Callable[[Generate], bool] = lambda _: False
    asked: list[Generate] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        """Answer by the canary that stands in the prompt; any other text counts as a good one."""
        assert isinstance(request, Generate)
        self.asked.append(request)
        canary = next((one for one in CANARIES if one[1] in request.prompt), ("other", "", True))
        draw = random.Random(f"{self.seed} {canary[0]}")  # noqa: S311 - a simulation
        favourable = (draw.random() < self.tpr) if canary[2] else (draw.random() >= self.tnr)
        share = draw.uniform(0.75, 0.95) if favourable else draw.uniform(0.05, 0.25)
        question = next((one for one in QUESTIONS if one.text in request.prompt), None)
        if question is None:
            return self._reply(json.dumps(dict.fromkeys(DIMENSIONS, round(100 * share)) | {"reasoning": "x"}))
        yes = share if question.good == "Yes" else 1 - share
        word = "Yes" if yes >= 0.5 else "No"
        if request.schema:
            return self._reply(json.dumps({"answer": word}))
        if self.mumbles(request):
            return self._reply("The", (("The", -0.01), ("Yes", -12.0)))
        listed = ((word, math.log(max(yes, 1 - yes))), ("No" if word == "Yes" else "Yes", math.log(min(yes, 1 - yes))))
        return self._reply(word, listed if self.logprobs else ())

    def _reply(self, text: str, alternatives: tuple[tuple[str, float], ...] = ()) -> Generated:
        return Generated(
            text=text, done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.1, served_by=self.served_by,
            alternatives=alternatives,
        )  # fmt: skip


CANARIES = sorted(
    ((one.id, f"\n{one.subject.instruction}\n", one.good) for one in canaries()), key=lambda one: -len(one[1])
)
