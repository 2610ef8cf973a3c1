"""What can be seen of an Ollama server's own processes: its environment, and how large a model's runner has grown.

Only the same user's processes on this machine can be looked into; of others nothing is known, which is said so. On macOS
an environment can be read of processes of the same user, unless the system protects them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

import psutil

from workers.llm.light_http import is_here, split
from workers.sockets import listening_ports

SERVER = "ollama"
RUNNERS = ("llama-server", SERVER)  # since 0.30; before it the server ran itself as `ollama runner`
CACHE_RAM, NUM_PARALLEL, MAX_LOADED = "LLAMA_ARG_CACHE_RAM", "OLLAMA_NUM_PARALLEL", "OLLAMA_MAX_LOADED_MODELS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A running `ollama serve`.

    Attributes:
        cache_ram_mib: bound of each runner's hidden prompt cache; None without one: 8192 then. Negative is no limit.
        num_parallel, max_loaded: None where the variable is not set.
    """

    pid: int
    cache_ram_mib: int | None
    num_parallel: int | None
    max_loaded: int | None


def server_process(url: str) -> ServerProcess | None:
    """Find the server that listens at *url* and read its environment; None when it cannot be seen."""
    if not is_here(url):
        return None
    port = split(url).port
    for process, words in _running(SERVER):
        if "serve" not in words[1:2] or port not in listening_ports(process.pid):
            continue
        with contextlib.suppress(psutil.Error, OSError):
            variables = process.environ()
            return ServerProcess(
                pid=process.pid,
                cache_ram_mib=_number(variables, CACHE_RAM),
                num_parallel=_number(variables, NUM_PARALLEL),
                max_loaded=_number(variables, MAX_LOADED),
            )
    return None


def runner_bytes(blob: str) -> int | None:
    """Return the resident memory of the process that runs the model file *blob*; None when none can be seen.

    Args:
        blob: the file's name, `sha256-` and 64 hexadecimal digits; its folder is not looked at.
    """
    name = PurePath(blob).name
    if not name:
        return None
    for process, words in _running(*RUNNERS):
        if any(word == "--model" and PurePath(value).name == name for word, value in pairwise(words)):
            with contextlib.suppress(psutil.Error):
                return int(process.memory_info().rss)
    return None


def free_bytes() -> int:
    """Return the memory that programs can have without swapping.

    It is psutil's `available`. On macOS that is free plus inactive memory, a little less than what Ollama reckons
    with there (total less active, inactive, wired and compressed, purgeable and file-backed given back).
    """
    return int(psutil.virtual_memory().available)


def total_bytes() -> int:
    """Return the machine's memory."""
    return int(psutil.virtual_memory().total)


def _running(*names: str) -> Iterator[tuple[psutil.Process, list[str]]]:
    """Yield processes whose command has one of *names*, with their command lines; what may not be read is passed over."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name().lower().removesuffix(".exe") in names:
                words = process.cmdline()
                if words:
                    yield process, words


def _number(variables: Mapping[str, str], name: str) -> int | None:
    try:
        return int(variables[name])
    except (LookupError, ValueError):
        return None
