"""What every peer's driver does: read the job from stdin, search, write the outcome to stdout as one JSON line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from model_calls import Models

from ops.simulator.__main__ import load_world
from ops.simulator.skill_world import Sample, SkillWorld
from pipeline.skills import PromptTemplate, parse_template, render

HELD_OUT = 45  # samples for validation; GEPA's documentation asks for a budget of at least 15 to 30 times as many


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One search.

    Attributes:
        world: for its scorer, template and description only.
        samples: all labels there are.
        feedback: `what`, `plain` or `score`.
        options: the driver's own, by name.
    """

    world: SkillWorld
    samples: Sequence[Sample]
    feedback: str
    seed: int
    models: Models
    options: Mapping[str, int | str]

    @property
    def template(self) -> PromptTemplate:
        """Give the incumbent."""
        return parse_template(self.world.template())

    @property
    def training(self) -> list[Sample]:
        """Give the samples from which a search may learn."""
        return list(self.samples[HELD_OUT:])

    @property
    def validation(self) -> list[Sample]:
        """Give the samples by which a search may choose."""
        return list(self.samples[:HELD_OUT])

    def prompt(self, instruction: str, sample: Sample) -> str:
        """Write the task model's prompt as the product does."""
        return render(self.template.with_instruction(instruction), dict(sample.fields))

    def shown(self, sample: Sample) -> str:
        """Write the input alone, without an instruction."""
        return render(PromptTemplate("", self.template.frame), dict(sample.fields)).partition("---\n")[2]

    def judged(self, output: str, sample: Sample) -> tuple[float, str]:
        """Score an answer and write the feedback at the job's level."""
        value, lost = self.world.score(output, sample.expected, sample.fields)
        if self.feedback == "score":
            return value, f"Score: {value:.1f}"
        if value == 1.0:
            return value, "This answer is correct."
        wanted = f"This answer is wrong. The correct answer is: {sample.expected}"
        return value, f"{wanted}\nWhat was lost: {', '.join(lost)}" if self.feedback == "what" else wanted


@dataclass(frozen=True, slots=True)
class Found:
    """What a peer would put into use, and the accuracy it measured for it; None when it measured none."""

    instruction: str
    claimed: float | None
    note: str = ""


def drive(search: Callable[[Job], Found]) -> None:
    """Run a search for the job on stdin; whatever the peer prints goes to stderr."""
    given = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    models = Models(given["port"], given["budget"], given["seed"])
    job = Job(
        world=load_world(given["world"], given["world_seed"]),  # type: ignore[arg-type]  # named as a skill's world
        samples=[Sample(**sample) for sample in given["samples"]],
        feedback=given["feedback"], seed=given["seed"], models=models, options=given["options"],
    )  # fmt: skip
    begin = time.process_time()
    found = search(job)
    cpu = time.process_time() - begin
    answer = {
        "instruction": found.instruction,
        "claimed": found.claimed,
        "note": found.note,
        "calls": models.calls,
        "cpu": cpu,
    }
    out.write(json.dumps(answer) + "\n")
    out.flush()
