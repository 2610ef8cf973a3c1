"""Names of models: spellings that mean the same, tags that are no local model, and what a server says it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ModelMissing, Refused
from workers.llm.wire import storable

LONGEST_VERSION, LONGEST_DIGEST = 64, 128  # characters that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What an Ollama server says of itself.

    Attributes:
        simulated: whether it is the simulator; every figure made with it says so.
        digests: by `normal` tag, 64 hexadecimal digits.
        spellings: by `normal` tag, the spelling that the server stores.
        remote: `normal` tags of models that run elsewhere.
    """

    version: str
    simulated: bool
    digests: Mapping[str, str]
    spellings: Mapping[str, str]
    remote: frozenset[str]

    def same(self, one: str, other: str) -> bool:
        """Tell whether two tags are one model; `qwen2.5-coder:3b` and its long name share a digest, and one runner."""
        one, other = normal(one), normal(other)
        return one == other or (one in self.digests and self.digests[one] == self.digests.get(other))


def normal(tag: str) -> str:
    """Bring a tag into the form in which tags are compared.

    >>> normal("SmolLM2")
    'smollm2:latest'
    >>> normal("hf.co/Org/Repo:Q4_K_M")
    'hf.co/org/repo:q4_k_m'
    """
    tag = tag.strip().lower()
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def is_cloud(tag: str) -> bool:
    """Tell by its name whether a model runs in a cloud.

    >>> is_cloud("gpt-oss:120b-cloud"), is_cloud("kimi:cloud"), is_cloud("cloud:1b")
    (True, True, False)
    """
    return normal(tag).rpartition(":")[2].endswith("cloud")


def leaving(host: str) -> str:
    """Warn that texts go to another machine."""
    return f"prompts, inputs and answers of your tasks leave this machine for {host}"


def pull_hint(tags: Iterable[str]) -> str:
    """Write the commands that install *tags*.

    >>> pull_hint(["a:1b", "b:2b"])
    'ollama pull a:1b && ollama pull b:2b'
    """
    return " && ".join(f"ollama pull {tag}" for tag in tags)


def read_facts(version: Any, tags: Any) -> ServerFacts:
    """Read the answers of `/api/version` and `/api/tags`.

    Raises:
        LookupError, TypeError: they are not what Ollama sends.
    """
    number = storable(str(version["version"]))[:LONGEST_VERSION]
    models = [(str(entry["name"]), entry) for entry in tags["models"] or ()]
    return ServerFacts(
        version=number,
        simulated="simulated" in number,
        digests={normal(name): storable(str(entry.get("digest", "")))[:LONGEST_DIGEST] for name, entry in models},
        spellings={normal(name): name for name, _ in models},
        remote=frozenset(normal(name) for name, entry in models if is_remote(entry)),
    )


def is_remote(entry: Mapping[str, object]) -> bool:
    """Tell whether an entry of a list, an answer on one model, or a reply names a host that is not the server.

    >>> is_remote({"name": "mine:1b", "remote_host": "https://ollama.com:443"}), is_remote({"name": "mine:1b"})
    (True, False)
    """
    return bool(entry.get("remote_host") or entry.get("remote_model"))


def refuse_cloud(tag: str, facts: ServerFacts) -> None:
    """Refuse a model that runs in a cloud.

    Raises:
        Refused: it does.
    """
    if is_cloud(tag) or normal(tag) in facts.remote:
        raise hosted(tag)


def not_installed(tags: list[str], url: str) -> ModelMissing:
    """Return the error that names models which are not installed."""
    names = ", ".join(tags)
    verb = "is" if len(tags) == 1 else "are"
    return ModelMissing(
        f"{names} {verb} not installed.", why=f"Ollama at {url} does not list it.", hint=pull_hint(tags)
    )


def hosted(tag: str) -> Refused:
    """Return the error that refuses a model in a cloud."""
    return Refused(
        f"The model {tag} runs in a cloud.",
        why="Texts sent to it would leave this machine.",
        hint="Name a local model in prompt_evolution.models, and start Ollama with OLLAMA_NO_CLOUD=1.",
    )
