"""A tiny second world: every model answers by one rule, which shows how little a world needs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ops.simulator.world import STANDARD_MODELS, Answer, Ask, ModelCard
from ops.simulator.worlds.embedding import hashed_vector
from ops.simulator.worlds.frames import taken_apart
from ops.simulator.worlds.json_shapes import Json, filled
from ops.simulator.worlds.speech import spoken


class JsonTasksWorld:
    """Fills the wanted JSON schema with the input's words, or returns the input in upper case."""

    def __init__(self, seed: int = 7) -> None:
        self._seed = seed

    def models(self) -> Sequence[ModelCard]:
        """List the standard models."""
        return STANDARD_MODELS

    def mind(self, ask: Ask) -> str:
        """Name the only mind there is."""
        del ask
        return "rule"

    def answer(self, ask: Ask) -> Answer:
        """Fill the schema, or shout the input."""
        words = taken_apart(ask.text).description.split()

        def leaf(path: str, kind: str) -> Json:
            if kind == "array":
                return list[Json](words)
            if kind in ("integer", "number", "choice"):
                return len(words)
            return bool(words) if kind == "boolean" else " ".join(words) or path

        text = json.dumps(filled(json.loads(ask.schema), leaf)) if ask.schema else " ".join(words).upper()
        return Answer(mind="rule", tokens=spoken(text, self._seed, ask.key))

    def embed(self, tag: str, text: str, dims: int) -> Sequence[float]:
        """Embed by hashed words and character n-grams."""
        del tag
        return hashed_vector(text, dims)
