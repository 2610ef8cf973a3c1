"""What stands behind the protocol: a *world* answers requests; the server only carries, paces and counts them.

A world must be deterministic: the same `Ask` gives the same `Answer`, in every process. With temperature 0 the answer may
not depend on `Ask.seed`. The server calls a world from many threads at once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

PIECE = re.compile(r" ?\w{1,6}|[^\w\s]|\s")
"""What counts as one token: up to six letters with the space before them, one sign, or one white-space character."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request for text, freed of its transport.

    Attributes:
        tag: the model's own tag, without the `simulated/` alias.
        messages: the conversation; `/api/generate` gives the system text and the prompt.
        seed: as sent, or None.
        temperature: as sent, or Ollama's default.
        schema: canonical JSON text of the wanted JSON schema; empty without one.
        json_mode: whether any JSON is wanted.
    """

    tag: str
    messages: tuple[Message, ...]
    seed: int | None = None
    temperature: float = 0.8
    schema: str = ""
    json_mode: bool = False

    @property
    def text(self) -> str:
        """Join the contents of all turns with line breaks."""
        return "\n".join(message.content for message in self.messages)

    @property
    def key(self) -> str:
        """Name everything the answer may depend on; at temperature 0 the seed is left out."""
        seed = None if self.temperature == 0 else self.seed
        turns = [(message.role, message.content) for message in self.messages]
        return json.dumps([self.tag, turns, seed, self.temperature, self.schema, self.json_mode], ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of written text and its natural log-probability.

    Attributes:
        alternatives: what might have stood there instead, text and log-probability; empty lets the server invent some.
    """

    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a world writes: the mind that wrote it, and the tokens in order."""

    mind: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What the server tells about one model.

    Attributes:
        tag: name with tag, as a client sends it.
        size: bytes on disk.
        memory: bytes while loaded, for models whose shape is not given.
        capabilities: any of `completion`, `embedding`, `tools`, `insert`, `thinking`.
        dimensions: length of its embeddings.
        layers, heads, kv_heads: its shape, from which the memory of a context follows; 0 where it is not given.
    """

    tag: str
    size: int
    memory: int
    family: str
    parameter_size: str
    quantization: str
    capabilities: tuple[str, ...]
    context_length: int
    dimensions: int
    layers: int = 0
    heads: int = 0
    kv_heads: int = 0

    def loaded_bytes(self, context: int, parallel: int) -> int:
        """Give the memory that it takes with a context, as Ollama predicts it: the file, and two 16-bit caches."""
        if not self.layers:
            return self.memory
        per_token = 2 * self.layers * self.kv_heads * (self.dimensions // self.heads) * 2
        return self.size + per_token * context * (1 if self.embeds_only else parallel)

    @property
    def blob(self) -> str:
        """Give the 64 hex characters of its file, which are not its digest."""
        return hashlib.sha256(f"simulated blob:{self.tag}".encode()).hexdigest()

    @property
    def digest(self) -> str:
        """Give the 64 hex characters that mark the model as simulated: SHA-256 of `simulated:` and the tag."""
        return hashlib.sha256(f"simulated:{self.tag}".encode()).hexdigest()

    @property
    def embeds_only(self) -> bool:
        """Tell whether the model cannot write text."""
        return "completion" not in self.capabilities


class World(Protocol):
    """What the server asks of a world; every method is pure and safe to call from several threads."""

    def models(self) -> Sequence[ModelCard]:
        """List the models this world can play, each with a tag of its own."""
        ...

    def mind(self, ask: Ask) -> str:
        """Name the mind that would answer, for the request log; must be cheap."""
        ...

    def answer(self, ask: Ask) -> Answer:
        """Write the whole answer; the server cuts it at `num_predict` and `stop`, and paces it."""
        ...

    def embed(self, tag: str, text: str, dims: int) -> Sequence[float]:
        """Give a vector of length *dims* and Euclidean norm 1 for *text*."""
        ...


STANDARD_MODELS: tuple[ModelCard, ...] = (
    ModelCard(
        tag="smollm2:360m-instruct-q4_K_M", size=270_898_672, memory=621_000_000, family="llama", parameter_size="361.82M",
        quantization="Q4_K_M", capabilities=("completion", "tools"), context_length=8192, dimensions=960,
        layers=32, heads=15, kv_heads=5,
    ),
    ModelCard(
        tag="qwen2.5-coder:3b", size=1_929_912_432, memory=2_362_232_012, family="qwen2", parameter_size="3.1B",
        quantization="Q4_K_M", capabilities=("completion", "tools", "insert"), context_length=32768, dimensions=2048,
        layers=36, heads=16, kv_heads=2,
    ),
    ModelCard(
        tag="embeddinggemma:300m", size=621_875_917, memory=680_000_000, family="gemma3", parameter_size="307.58M",
        quantization="BF16", capabilities=("embedding",), context_length=2048, dimensions=768,
        layers=24, heads=3, kv_heads=1,
    ),
)  # fmt: skip
"""The models the default configuration names; sizes are those of the real ones, in bytes."""


def pieces(text: str) -> list[str]:
    """Cut *text* into token-sized pieces that join to *text* again.

    >>> pieces("Rename the file.")
    ['Rename', ' the', ' file', '.']
    """
    return PIECE.findall(text)


def canonical(value: Mapping[str, object] | Sequence[object]) -> str:
    """Write *value* as JSON with sorted keys and no spaces, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
