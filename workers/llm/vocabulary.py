"""The model's own vocabulary, for exact counts: from the file that Ollama keeps on this machine, or asked of its server.

Both are read within limits, and whatever is wrong with them means only that there is no exact count.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from pipeline.algorithms.bpe import Vocabulary, vocabulary
from pipeline.algorithms.gguf import read_tokenizer
from pipeline.errors import EvolutionError
from workers.llm.bounded import PLAIN, bounded, refuse_compressed
from workers.llm.light_http import other_machine
from workers.llm.ollama import OllamaClient
from workers.llm.replies import parsed
from workers.llm.retry import Transient

MOST_BYTES = 32 * 1024 * 1024  # of a file's metadata, or of a server's answer; the largest known ones have 15
ANSWER_S = 30.0  # for the server's whole answer
MOST_MANIFEST = 1024 * 1024  # bytes
MODEL_LAYER = "application/vnd.ollama.image.model"
HOST, NAMESPACE = "registry.ollama.ai", "library"  # of a tag that names none
FOLDERS = ("~/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models")

_PART = re.compile(r"\w[\w.-]{0,100}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class ExactCounter:
    """Counts by the vocabulary of one model, which is looked for at the first count and dropped with this object.

    Args:
        client: the server that runs it.
        tag: the model.
        folder: where Ollama keeps its models; None looks at OLLAMA_MODELS and the usual places.
    """

    def __init__(self, client: OllamaClient, tag: str, *, folder: Path | None = None) -> None:
        self._client, self._tag, self._folder = client, tag, folder
        self._vocabulary: Vocabulary | None = None
        self._looked = False
        self._counts: dict[str, int] = {}

    def __call__(self, text: str) -> int | None:
        """Return the tokens of *text* without any chat template; None where the vocabulary cannot be read."""
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        if key not in self._counts:
            if not self._looked:
                self._looked, self._vocabulary = True, find(self._client, self._tag, folder=self._folder)
            if self._vocabulary is None:
                return None
            try:
                self._counts[key] = self._vocabulary.count(text)
            except ValueError:  # too long a text to be counted is too long a prompt
                return None
        return self._counts[key]


def find(client: OllamaClient, tag: str, *, folder: Path | None = None) -> Vocabulary | None:
    """Find the vocabulary of *tag*: in the files of a server on this machine first, which costs the server nothing."""
    found = None
    if not other_machine(client.url):
        places = [folder] if folder is not None else _folders()
        for place in places:
            found = found or _quietly(partial(from_files, client, tag, place))
    return found or _quietly(partial(from_server, client, tag))


def from_files(client: OllamaClient, tag: str, folder: Path) -> Vocabulary | None:
    """Read the vocabulary from Ollama's own files.

    The manifest must be the very one that the server lists for the tag: its digest is the hash of the file.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError, LookupError, TypeError, AttributeError: it is not what Ollama writes.
        EvolutionError, Transient: the server does not say what the tag is.
    """
    with (folder / "manifests" / _place(client.resolve(tag))).open("rb") as file:
        manifest = file.read(MOST_MANIFEST)
    if hashlib.sha256(manifest).hexdigest() != client.digest(tag).removeprefix("sha256:"):
        return None
    layers = parsed(manifest)["layers"]
    digest = next(_DIGEST.fullmatch(str(layer["digest"])) for layer in layers if layer["mediaType"] == MODEL_LAYER)
    if digest is None:
        return None
    with (folder / "blobs" / f"sha256-{digest[1]}").open("rb") as file:
        found = read_tokenizer(file.read(MOST_BYTES))
    words, lists = found.words, found.lists
    return vocabulary(words["model"], words["pre"], lists["tokens"], lists["merges"])


def from_server(client: OllamaClient, tag: str) -> Vocabulary | None:
    """Ask the server for the vocabulary.

    Raises:
        httpx.HTTPError: it does not answer, or with more than `MOST_BYTES`.
        ValueError, LookupError, TypeError, AttributeError: it answers something else.
        EvolutionError, Transient: it does not say what the tag is.
    """
    with httpx.Client(
        base_url=client.url, timeout=ANSWER_S, trust_env=False, follow_redirects=False, headers=PLAIN,
        event_hooks={"response": [refuse_compressed]},
        transport=bounded(verify=client.url.startswith("https:"), reply_s=ANSWER_S, most=MOST_BYTES),
    ) as server:  # fmt: skip
        reply = server.post("/api/show", json={"model": client.resolve(tag), "verbose": True})
    info: Any = parsed(reply.raise_for_status().content)["model_info"]
    model, pre, tokens, merges = (info[f"tokenizer.ggml.{name}"] for name in ("model", "pre", "tokens", "merges"))
    if not all(isinstance(one, str) for one in (model, pre, *tokens, *merges)):
        return None
    return vocabulary(model, pre, tokens, merges)


def _quietly(look: Callable[[], Vocabulary | None]) -> Vocabulary | None:
    with suppress(OSError, httpx.HTTPError, Transient, EvolutionError, ValueError, LookupError, TypeError, AttributeError,
                  StopIteration):  # fmt: skip
        return look()
    return None


def _folders() -> list[Path]:
    named = os.environ.get("OLLAMA_MODELS")
    return [Path(named)] if named else [Path(folder).expanduser() for folder in FOLDERS]


def _place(name: str) -> Path:
    """Return a manifest's path below the manifests' folder.

    Raises:
        ValueError: the name is no name of a model.

    >>> _place("smollm2:360m").as_posix()
    'registry.ollama.ai/library/smollm2/360m'
    """
    name = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    path, _, version = name.rpartition(":")
    parts = path.split("/")
    parts = [*[HOST, NAMESPACE][: max(0, 3 - len(parts))], *parts, version]
    if not all(_PART.fullmatch(part) for part in parts):
        raise ValueError("it is no name of a model")
    return Path(*parts)
