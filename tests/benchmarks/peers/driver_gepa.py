"""GEPA: reflective mutation on minibatches, full validation of what was accepted, a Pareto frontier of validation items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import gepa
from driving import Found, Job, drive
from gepa.core.adapter import EvaluationBatch
from model_calls import BudgetReached

from ops.simulator.skill_world import Sample

NAME = "instruction"


class Silent:
    """A logger that keeps quiet."""

    def log(self, message: str) -> None:
        """Drop a message."""


class Adapter:
    """Runs prompts, and remembers the best of the fully validated ones, since a hard stop ends the run anywhere."""

    propose_new_texts = None

    def __init__(self, job: Job) -> None:
        self._job = job
        self.valset = job.training if job.options.get("valset") == "none" else job.validation
        self._validation = tuple(sample.id for sample in self.valset)
        self.best = Found(job.template.instruction, None)

    def evaluate(
        self,
        batch: list[Sample],
        candidate: dict[str, str],
        capture_traces: bool = False,  # noqa: FBT001, FBT002 - GEPA's signature
    ) -> EvaluationBatch[Any, str]:
        """Answer and score a batch."""
        rows = []
        for sample in batch:
            output = self._job.models.task(self._job.prompt(candidate[NAME], sample))
            rows.append((output, *self._job.judged(output, sample), sample))
        scores = [value for _, value, _, _ in rows]
        mean = sum(scores) / len(scores)
        if tuple(sample.id for sample in batch) == self._validation and (
            self.best.claimed is None or mean > self.best.claimed
        ):
            self.best = Found(candidate[NAME], mean)
        return EvaluationBatch(
            outputs=[output for output, *_ in rows], scores=scores, trajectories=rows if capture_traces else None
        )

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: EvaluationBatch[Any, str], components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Show what GEPA's own default adapter shows: input, output, feedback."""
        del candidate
        items = [
            {"Inputs": self._job.shown(sample), "Generated Outputs": output, "Feedback": feedback}
            for output, _, feedback, sample in eval_batch.trajectories or ()
        ]
        return dict.fromkeys(components_to_update, items)


def search(job: Job) -> Found:
    """Run GEPA with its defaults but for the minibatch until the budget is reached."""
    adapter = Adapter(job)
    with suppress(BudgetReached):
        gepa.optimize(
            seed_candidate={NAME: job.template.instruction}, trainset=job.training, valset=None if adapter.valset is job.training else adapter.valset, adapter=adapter,
            reflection_lm=lambda prompt: job.models.meta([{"role": "user", "content": str(prompt)}]),
            reflection_minibatch_size=int(job.options["minibatch"]), stop_callbacks=lambda _: job.models.left <= 0,
            seed=job.seed, logger=Silent(),
        )  # fmt: skip
    return adapter.best


if __name__ == "__main__":
    drive(search)
