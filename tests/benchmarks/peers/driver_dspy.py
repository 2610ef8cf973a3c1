"""DSPy's SIMBA, with rules alone: it samples trajectories, and appends advice drawn from the best and the worst of them."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else a price list is fetched from the network on import

import dspy
from driving import Found, Job, drive
from model_calls import META_MODEL, TASK_MODEL, BudgetReached, Models

BATCH, CANDIDATES = 32, 6  # SIMBA's defaults
ANSWER = "result"  # DSPy's name for the field that the task model fills
LAST, SCANT_LAST = 100, 45  # items to train on, all of which SIMBA asks of each of its last programs
SCANT = 1500  # requests below which the smaller number leaves room for a second step


class Counted(dspy.BaseLM):
    """One of the two models, behind DSPy's interface."""

    def __init__(self, models: Models, model: str, temperature: float, **kwargs: Any) -> None:
        super().__init__(model, temperature=temperature, max_tokens=2000, cache=False, **kwargs)
        self.models = models

    def copy(self, **kwargs: Any) -> Counted:
        """Copy with other settings; the counter stays the same one."""
        settings = {**self.kwargs, **kwargs}
        return Counted(self.models, self.model, settings["temperature"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Counted:
        return self

    def forward(self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any) -> Any:
        """Make one request and give the reply in OpenAI's shape."""
        turns = messages or [{"role": "user", "content": prompt}]
        warmth = kwargs.get("temperature", self.kwargs["temperature"])
        text = self.models.say(self.model, turns, temperature=float(warmth))
        choice = SimpleNamespace(message=SimpleNamespace(content=text, tool_calls=None), finish_reason="stop")
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return SimpleNamespace(choices=[choice], usage=usage, model=self.model)


def search(job: Job) -> Found:
    """Run SIMBA with as many steps as the budget allows."""
    logging.disable(logging.WARNING)
    dspy.configure(lm=Counted(job.models, TASK_MODEL, 0.0), disable_history=True)
    fields = tuple(job.samples[0].fields)
    program = dspy.Predict(dspy.Signature(f"{', '.join(fields)} -> {ANSWER}", job.template.instruction))
    best = Found(job.template.instruction, None, "stopped before the comparison of the last programs")

    def metric(example: dspy.Example, prediction: Any, _trace: Any = None) -> Any:
        value, feedback = job.judged(
            getattr(prediction, ANSWER, None) or "", samples[tuple(example[field] for field in fields)]
        )
        return dspy.Prediction(score=value, feedback=feedback)

    samples = {tuple(sample.fields.values()): sample for sample in job.samples}
    train = [dspy.Example(**sample.fields, **{ANSWER: sample.expected}).with_inputs(*fields) for sample in job.samples]
    last = LAST if job.models.left >= SCANT else SCANT_LAST
    simba = dspy.SIMBA(
        metric=metric, bsize=BATCH, num_candidates=CANDIDATES, max_steps=steps(job.models.left, last), max_demos=0,
        prompt_model=Counted(job.models, META_MODEL, 1.0), num_threads=1,
    )  # fmt: skip
    try:
        done = simba.compile(program, trainset=train[:last], seed=job.seed % 2**32)
    except BudgetReached:
        return best
    return Found(done.signature.instructions, float(done.candidate_programs[0]["score"]))


def steps(budget: int, last: int) -> int:
    """Count the steps after which the last comparison still fits into the budget."""
    each = BATCH * CANDIDATES + (CANDIDATES + 1) * (BATCH + 2)  # trajectories, then advice and a batch per candidate
    count = 1
    while (count + 1) * each + min(count + 2, CANDIDATES + 1) * last <= budget:
        count += 1
    return count


if __name__ == "__main__":
    drive(search)
