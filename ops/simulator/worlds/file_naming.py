"""The world of the demonstration: a model that names files, one that rewrites instructions, one that judges them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ops.simulator.world import STANDARD_MODELS, Answer, Ask, ModelCard
from ops.simulator.worlds.embedding import hashed_vector
from ops.simulator.worlds.frames import taken_apart
from ops.simulator.worlds.general_mind import GeneralMind
from ops.simulator.worlds.generator_mind import GeneratorMind, Rates
from ops.simulator.worlds.judge_mind import DIMENSIONS, JudgeMind
from ops.simulator.worlds.naming_mind import Habits, Naming
from ops.simulator.worlds.requests import TASK
from ops.simulator.worlds.speech import spoken

GENERATOR_TAGS = re.compile(r"smollm|tinyllama|:0\.5b|:135m|:360m", re.IGNORECASE)
NAMING_INPUT = re.compile(
    r"^\s*(?:new |current |original )?(?:file ?names?|names?)\b[^:\n]{0,20}:", re.IGNORECASE | re.MULTILINE
)
REWRITING = re.compile(r"^<<<(?:PROMPT|MUTATION)(?:-[0-9a-f]+)?\s*$", re.MULTILINE)


class FileNamingWorld:
    """Plays three models; equal seeds give equal worlds.

    Args:
        seed: of all draws.
        rates: what the generator does how often.
        habits: how the naming model behaves where it is told nothing.
        tpr, tnr: how often the judge is right about good and about bad instructions.
    """

    def __init__(
        self,
        seed: int = 7,
        *,
        rates: Rates | None = None,
        habits: Habits | None = None,
        tpr: float = 0.9,
        tnr: float = 0.8,
    ) -> None:
        self._seed = seed
        self._habits = habits or Habits()
        self._generator = GeneratorMind(seed, rates or Rates())
        self._judge = JudgeMind(seed, tpr, tnr)
        self._general = GeneralMind(seed)

    def models(self) -> Sequence[ModelCard]:
        """List the models of the default configuration."""
        return STANDARD_MODELS

    def mind(self, ask: Ask) -> str:
        """Tell who answers: the request's own `TASK:` line first, then its schema, then the model's name."""
        line = TASK.search(ask.text)
        if line is not None:
            return "judge" if line[1].strip().lower() == "judge" else "generator"
        if (ask.schema and set(DIMENSIONS) <= properties(ask.schema)) or "<scoring_rubric>" in ask.text:
            return "judge"
        if REWRITING.search(ask.text):
            return "generator"
        if "\n---\n" in ask.text or NAMING_INPUT.search(ask.text):
            return "task"
        return "generator" if GENERATOR_TAGS.search(ask.tag) else "task"

    def answer(self, ask: Ask) -> Answer:
        """Let the right mind write."""
        mind = self.mind(ask)
        if mind == "judge":
            return self._judge.answer(ask)
        if mind == "generator":
            return self._generator.answer(ask)
        if ask.schema or ask.json_mode or not NAMING_INPUT.search(ask.text):
            return self._general.answer(ask)
        return self._named(ask)

    def embed(self, tag: str, text: str, dims: int) -> Sequence[float]:
        """Embed by hashed words and character n-grams; the same for every tag."""
        del tag
        return hashed_vector(text, dims)

    def _named(self, ask: Ask) -> Answer:
        noise = None if ask.temperature == 0 else ask.seed
        key = (self._seed, ask.tag, noise)
        text = Naming(taken_apart(ask.text), self._habits, key).answer()
        return Answer(mind="task", tokens=spoken(text, *key))


def properties(schema: str) -> set[str]:
    """Name the properties of a JSON schema."""
    value = json.loads(schema)
    found = value.get("properties") if isinstance(value, dict) else None
    return set(found) if isinstance(found, dict) else set()
