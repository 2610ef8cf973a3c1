"""Finding a model's vocabulary: in the files of an Ollama on this machine, or over HTTP, both real and both within limits.

The vocabularies are simulated (`tests/vocabularies.py`): real GGUF files and answers in form, of no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import vocabularies
from workers.llm import vocabulary
from workers.llm.ollama import OllamaClient
from workers.llm.vocabulary import ExactCounter, find, from_files, from_server

OWN = "smollm2:360m-instruct-q4_K_M"
PLACE = "manifests/registry.ollama.ai/library/smollm2/360m-instruct-q4_K_M"
TEXT = "Which prompts are kept, and how many tokens do 12 examples have?"


@pytest.fixture(name="client")
def _client(script: Any) -> Iterator[OllamaClient]:
    """Connect to the scripted server."""
    with OllamaClient(script.url, connect_s=1.0, read_s=2.0, reply_s=5.0) as made:
        yield made


@pytest.fixture(name="arrays")
def _arrays() -> tuple[list[str], list[str]]:
    """Return tokens and merges."""
    found: tuple[list[str], list[str]] = vocabularies.arrays(vocabularies.documents())
    return found


def tagged(script: Any, digest: str) -> None:
    """Let the server list the model with *digest*."""
    script.acts["/api/tags"] = [script.say({"models": [{"name": OWN, "digest": digest}]})]


def shown(script: Any, **info: object) -> None:
    """Let the server tell *info* of the tokenizer."""
    body = {"model_info": {f"tokenizer.ggml.{name}": value for name, value in info.items()}}
    script.acts["/api/show"] = [script.say(body)]


@pytest.fixture(name="kept")
def _kept(tmp_path: Path, script: Any, arrays: Any) -> Callable[..., Path]:
    """Return a function that writes a folder as Ollama keeps it, and lets the server list the model."""

    def make(data: bytes | None = None) -> Path:
        blob = vocabularies.gguf(*arrays) if data is None else data
        name = hashlib.sha256(blob).hexdigest()
        layers = [
            {"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{'0' * 64}"},
            {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{name}"},
        ]
        manifest = json.dumps({"schemaVersion": 2, "layers": layers}).encode()
        (tmp_path / PLACE).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / PLACE).write_bytes(manifest)
        (tmp_path / "blobs").mkdir(exist_ok=True)
        (tmp_path / f"blobs/sha256-{name}").write_bytes(blob)
        tagged(script, hashlib.sha256(manifest).hexdigest())
        return tmp_path

    return make


def test_the_vocabulary_is_read_from_ollamas_files(
    client: OllamaClient, kept: Callable[..., Path], script: Any
) -> None:
    """By the manifest of the tag and its blob; the server is asked for nothing but its list."""
    counter = ExactCounter(client, OWN, folder=kept())

    assert counter(TEXT) == vocabularies.simulated().count(TEXT)
    assert counter(TEXT) == counter(TEXT)
    assert "/api/show" not in {path for path, _ in script.asked}


def test_the_server_is_asked_where_there_are_no_files(
    client: OllamaClient, script: Any, tmp_path: Path, arrays: Any
) -> None:
    """Once, for all it knows of the model."""
    shown(script, model="gpt2", pre="smollm", tokens=arrays[0], merges=arrays[1])
    counter = ExactCounter(client, OWN, folder=tmp_path)

    assert counter(TEXT) == vocabularies.simulated().count(TEXT)
    assert counter("another text") is not None
    assert script.bodies("/api/show") == [{"model": OWN, "verbose": True}]


def test_a_file_of_another_model_is_not_believed(client: OllamaClient, kept: Callable[..., Path], script: Any) -> None:
    """The manifest on disk must have the digest that the server lists."""
    folder = kept()
    tagged(script, "b" * 64)

    assert from_files(client, OWN, folder) is None


def test_files_are_not_looked_at_for_a_server_elsewhere(
    kept: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, script: Any
) -> None:
    """What this machine keeps says nothing of another machine's models."""
    folder = kept()
    monkeypatch.setattr(vocabulary, "other_machine", lambda _url: "gpu.lan")
    shown(script, model="gpt2")
    with OllamaClient(script.url, connect_s=1.0, read_s=2.0) as client:
        assert find(client, OWN, folder=folder) is None


@pytest.mark.parametrize("data", [b"", b"GGUF", b"GGUF" + b"\xff" * 60, b"no model at all" * 50])
def test_a_broken_file_gives_no_count(
    client: OllamaClient, kept: Callable[..., Path], data: bytes, script: Any
) -> None:
    """And no error either: the estimate has to do."""
    shown(script, model="gpt2")

    assert ExactCounter(client, OWN, folder=kept(data))(TEXT) is None


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"model": "llama", "pre": "default", "tokens": ["a"], "merges": ["a b"]},
        {"model": "gpt2", "pre": "smollm", "tokens": [], "merges": []},
        {"model": "gpt2", "pre": "smollm", "tokens": [1, 2], "merges": [None]},
        {"model": "gpt2", "pre": "smollm", "tokens": None, "merges": 7},
        {"model": ["gpt2"], "pre": {}, "tokens": "abc", "merges": "abc"},
    ],
)
def test_an_answer_that_is_no_vocabulary_gives_no_count(
    client: OllamaClient, script: Any, tmp_path: Path, info: dict[str, object]
) -> None:
    """An older server leaves the arrays empty; a hostile one sends anything; neither is asked twice."""
    shown(script, **info)
    counter = ExactCounter(client, OWN, folder=tmp_path)

    assert counter(TEXT) is None
    assert counter(TEXT) is None
    assert len(script.bodies("/api/show")) == 1


def test_an_answer_beyond_the_limit_is_cut_off(
    client: OllamaClient, script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: Any
) -> None:
    """No vocabulary is worth more memory than the largest that is known."""
    shown(script, model="gpt2", pre="smollm", tokens=arrays[0], merges=arrays[1])
    assert from_server(client, OWN) is not None
    monkeypatch.setattr(vocabulary, "MOST_BYTES", 10_000)

    assert find(client, OWN, folder=tmp_path) is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../../b:c", "..:..", "/etc/passwd", "a:b/../c", ""])
def test_a_name_cannot_lead_out_of_the_folder(name: str) -> None:
    """A server may list its models by any name."""
    with pytest.raises(ValueError, match="no name of a model"):
        vocabulary._place(name)


def test_a_name_with_host_and_owner_has_its_own_place() -> None:
    """As Ollama lays its folders out."""
    assert vocabulary._place("hf.co/Org/Repo:Q4_K_M").as_posix() == "hf.co/Org/Repo/Q4_K_M"
    assert vocabulary._place("me/mine").as_posix() == "registry.ollama.ai/me/mine/latest"
