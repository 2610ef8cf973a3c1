"""Our own search in the comparison: the product's flows, asking the server through the product's own Ollama client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ops.simulator.skill_world import Sample, SkillWorld
from pipeline.domain import Role
from pipeline.flow import Failed, Generate, Generated
from pipeline.settings import Search, Settings
from tests.searching import Answering
from tests.searching import search as whole
from workers.llm.ollama import OllamaClient

TAGS = {Role.TASK: "qwen2.5-coder:3b", Role.GENERATOR: "smollm2:360m-instruct-q4_K_M"}
PAPER_SMALL = {"mode": "promptbreeder", "population": 10, "generations": 200, "patience": 200}
"""The paper's small setting, as far as the budget carries it: population 10, evaluations until the calls are spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search gives back.

    Attributes:
        instruction: the prompt it would put into use.
        claimed: the accuracy it tells of that prompt, in [0, 1]; None when it tells nothing.
        calls: requests to models that it counted itself.
    """

    instruction: str
    claimed: float | None
    calls: int


@dataclass(slots=True)
class Served(Answering):
    """Answers from a server that speaks Ollama's protocol."""

    client: OllamaClient | None = None

    def write(self, request: Generate) -> Generated | Failed:
        """Ask the server."""
        assert self.client is not None
        return self.client.generate(TAGS[request.role], request, load_options={}, keep_alive=None)


def run(
    world: SkillWorld,
    samples: Sequence[Sample],
    budget: int,
    feedback: str,
    seed: int,
    port: int,
    *,
    search: str = "race",
) -> Outcome:
    """Search for a better instruction with at most *budget* requests to the server on *port*.

    Args:
        world: gives the problem, the template and the scorer; its truth is the referee's.
        samples: all labels there are; they are split as the product splits them.
        budget: most requests, of all roles together, those of the report on untouched samples among them.
        feedback: `what` (lost words), `plain` (wanted and got) or `score` (right or wrong).
        seed: of every draw.
        port: of the server on this machine.
        search: `race` or `promptbreeder`.
    """
    with OllamaClient(f"http://127.0.0.1:{port}", connect_s=5, read_s=60) as client:
        here = Served(world, dict(enumerate(samples)), feedback, budget, client=client)
        found = whole(world, list(samples), settings(search, budget), feedback, seed, here)
    return Outcome(instruction=found.instruction, claimed=found.claimed, calls=found.calls)


def settings(mode: str, budget: int) -> Search:
    """Return the default settings of a mode, with the budget."""
    given = PAPER_SMALL if mode == "promptbreeder" else {}
    return replace(Settings().search, budget_calls=budget, **given)  # type: ignore[arg-type]  # a table of settings
