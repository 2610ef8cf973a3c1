"""promptolution's EvoPromptGA and CAPO, on instructions alone: a population of ten, of which nine are variations."""

from __future__ import annotations

import random
from contextlib import suppress

import numpy as np
import pandas as pd
from driving import Found, Job, drive
from model_calls import BudgetReached, Models
from promptolution.llms.base_llm import BaseLLM
from promptolution.optimizers.base_optimizer import BaseOptimizer
from promptolution.optimizers.capo import CAPO
from promptolution.optimizers.evoprompt_ga import EvoPromptGA
from promptolution.predictors.base_predictor import BasePredictor
from promptolution.tasks.reward_tasks import RewardTask
from promptolution.utils.prompt_creation import create_prompt_variation

POPULATION = 10  # as in the papers on EvoPrompt and CAPO
ITEMS = 30  # promptolution's default number of subsamples, and the block size of CAPO's paper
MANY = 100_000  # steps; the budget ends the run before


class Counted(BaseLLM):
    """One of the two models, behind promptolution's interface."""

    def __init__(self, models: Models, *, meta: bool) -> None:
        super().__init__()
        self._models, self._meta = models, meta

    def _get_response(self, prompts: list[str], system_prompts: list[str]) -> list[str]:
        del system_prompts  # always promptolution's "You are a helpful assistant."
        if self._meta:
            return [self._models.meta([{"role": "user", "content": prompt}]) for prompt in prompts]
        return [self._models.task(prompt) for prompt in prompts]


class Whole(BasePredictor):
    """Takes the whole answer as the prediction."""

    def _extract_preds(self, preds: list[str]) -> list[str]:
        return preds


def search(job: Job) -> Found:
    """Run one of the two until the budget is reached."""
    random.seed(job.seed)
    np.random.seed(job.seed % 2**32)  # noqa: NPY002 - promptolution draws from the global generator
    try:
        optimizer = made(job)
    except BudgetReached:
        return Found(job.template.instruction, None)
    with suppress(BudgetReached):
        optimizer.optimize(MANY)
    scores = list(optimizer.scores)
    if not scores:
        return Found(job.template.instruction, None, "no step was finished")
    return Found(optimizer.prompts[0].instruction, float(scores[0]))


def made(job: Job) -> BaseOptimizer:
    """Make the optimiser; the calls for its first population count."""
    meta, task = Counted(job.models, meta=True), Counted(job.models, meta=False)
    first = job.template.instruction
    prompts = [first, *create_prompt_variation([first] * (POPULATION - 1), meta)]
    if job.options["optimizer"] == "capo":
        rewards = reward_task(job, len(job.samples), "sequential_block")
        return CAPO(Whole(task), rewards, meta, prompts, upper_shots=0, create_fs_reasoning=False)
    return EvoPromptGA(Whole(task), reward_task(job, ITEMS, "full"), meta, prompts)


def reward_task(job: Job, count: int, strategy: str) -> RewardTask:
    """Make the task from the first *count* samples."""
    by_answer = {sample.expected: sample for sample in job.samples}
    rows = [{"x": job.shown(sample), "wanted": sample.expected} for sample in job.samples[:count]]
    return RewardTask(
        pd.DataFrame(rows), lambda pred, wanted: job.judged(pred, by_answer[wanted])[0], "x", "wanted", ["wanted"],
        task_description=job.world.about(), n_subsamples=ITEMS, eval_strategy=strategy, seed=job.seed,
    )  # fmt: skip


if __name__ == "__main__":
    drive(search)
