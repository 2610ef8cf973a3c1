"""The models on the simulated disk: `/api/tags`, `/api/show`, pull and delete read and change this."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ops.simulator.clock import SECOND, local_text
from ops.simulator.errors import ServerError
from ops.simulator.runner_process import blob_path
from ops.simulator.wire import Body, Json
from ops.simulator.world import ModelCard

ALIAS = "simulated/"
NAME = re.compile(
    r"(?:[A-Za-z0-9_][\w.-]*(?::\d+)?/)?(?:[A-Za-z0-9_][\w.-]*/)?[A-Za-z0-9_][\w.-]*(?::[A-Za-z0-9_][\w.-]*)?"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A name on the disk and the model behind it."""

    name: str
    card: ModelCard
    modified_ns: int


class Store:
    """Which names are on the disk; every model has its tag and the alias `simulated/<tag>`."""

    def __init__(self, cards: Sequence[ModelCard], now_ns: int, absent: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._catalogue = {name.lower(): (name, card) for card in cards for name in (card.tag, ALIAS + card.tag)}
        self._stored = {
            key: Stored(name, card, now_ns - index * SECOND)
            for index, (key, (name, card)) in enumerate(self._catalogue.items())
            if card.tag not in absent
        }

    def find(self, name: str) -> Stored | None:
        """Look a name up, without regard to case; no tag means `latest`.

        Raises:
            ServerError: 400, no model can have this name.
        """
        if not NAME.fullmatch(name):
            raise ServerError(400, "invalid model name")
        with self._lock:
            return self._stored.get(with_tag(name).lower())

    def listed(self) -> list[Stored]:
        """List what is on the disk, newest first."""
        with self._lock:
            return sorted(self._stored.values(), key=lambda stored: stored.modified_ns, reverse=True)

    def known(self, name: str) -> ModelCard | None:
        """Look a name up in the catalogue that models are pulled from."""
        found = self._catalogue.get(with_tag(name).lower())
        return None if found is None else found[1]

    def pull(self, name: str, now_ns: int) -> Stored | None:
        """Put a model of the catalogue on the disk; None when the catalogue has no such name."""
        key = with_tag(name).lower()
        with self._lock:
            if key not in self._catalogue:
                return None
            spelt, card = self._catalogue[key]
            self._stored[key] = Stored(spelt, card, now_ns)
            return self._stored[key]

    def delete(self, name: str) -> bool:
        """Take a name off the disk; False when it was not there."""
        with self._lock:
            return self._stored.pop(with_tag(name).lower(), None) is not None


def with_tag(name: str) -> str:
    """Add `:latest` to a name without a tag.

    >>> with_tag("smollm2"), with_tag("host:5000/a/b")
    ('smollm2:latest', 'host:5000/a/b:latest')
    """
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def details(card: ModelCard) -> Body:
    """Describe a model as `/api/ps` and `/api/show` do; the format says that it is simulated."""
    return {
        "parent_model": "", "format": "simulated", "family": card.family, "families": [card.family],
        "parameter_size": card.parameter_size, "quantization_level": card.quantization,
    }  # fmt: skip


def tag_row(stored: Stored) -> Body:
    """Describe a model as `/api/tags` does."""
    card = stored.card
    lengths: Body = {"context_length": card.context_length, "embedding_length": card.dimensions}
    return {
        "name": stored.name, "model": stored.name, "modified_at": local_text(stored.modified_ns), "size": card.size,
        "digest": card.digest, "details": details(card) | lengths, "capabilities": list(card.capabilities),
    }  # fmt: skip


def shown(stored: Stored) -> Body:
    """Describe a model as `/api/show` does."""
    card = stored.card
    arch = card.family
    info: dict[str, Json] = {
        "general.architecture": arch, "general.file_type": 15, "general.name": "simulated",
        f"{arch}.context_length": card.context_length, f"{arch}.embedding_length": card.dimensions,
        f"{arch}.block_count": card.layers or 32, f"{arch}.attention.head_count": card.heads or 15,
        f"{arch}.attention.head_count_kv": card.kv_heads or 5,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": [],
    }  # fmt: skip
    return {
        "license": "simulated", "modelfile": f"# simulated\nFROM {blob_path(card)}\nTEMPLATE {{{{ .Prompt }}}}",
        "parameters": 'stop                           "<|im_end|>"', "template": "{{ .Prompt }}",
        "details": details(card), "model_info": info, "capabilities": list(card.capabilities),
        "modified_at": local_text(stored.modified_ns),
    }  # fmt: skip
