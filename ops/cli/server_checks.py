"""What doctor and `up` look at of the Ollama server's own settings, and of the user's own model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops.cli.checks import Check, State
from pipeline.rules import Rules
from workers.llm.light_http import is_here
from workers.llm.processes import CACHE_RAM, MAX_LOADED, NUM_PARALLEL, ServerProcess, server_process
from workers.refusal import refuse_without_options

if TYPE_CHECKING:
    from pipeline.machine_settings import MemorySettings
    from workers.host_config import HostConfig
    from workers.llm.tags import ServerFacts

CACHE_MIB = 64  # of hidden prompt cache are enough: +80 MB measured after 60 prompts, against +1031 MB without a bound
DEFAULT_CACHE_MIB = 8192  # llama-server's own, for each runner
WANTED = f"{CACHE_RAM}={CACHE_MIB} {NUM_PARALLEL}=1 {MAX_LOADED}=2"
LARGEST_CACHE_MIB, MOST_PARALLEL, FEWEST_LOADED = 512, 1, 2


def how_to_set() -> str:
    """Say how to start the server with what evolution wants, on this kind of machine."""
    if os.uname().sysname == "Darwin":
        words = " && ".join(f"launchctl setenv {one.replace('=', ' ')}" for one in WANTED.split())
        return f"{words}, then quit Ollama and open it again"
    return f"start Ollama with {WANTED} (systemctl edit ollama: Environment=...), then restart it"


def server_checks(url: str, memory: MemorySettings) -> Iterator[Check]:
    """Look at the variables that the running server was started with."""
    if not is_here(url):
        words = "runs on another machine: its variables and its memory cannot be seen from here"
        yield Check("ollama memory", State.NOTE, words, f"there, {how_to_set()}")
        return
    server = server_process(url)
    if server is None:
        words = (
            f"the server's variables cannot be seen (no process `ollama serve` of yours): {CACHE_RAM} may be unset, then "
            f"each runner hides up to {DEFAULT_CACHE_MIB} MiB; evolution loads its own models anew every "
            f"{memory.recycle_prompts} prompts"
        )
        yield Check("ollama memory", State.NOTE, words, how_to_set())
        return
    yield from _seen(server)


def foreground_checks(config: HostConfig, facts: ServerFacts) -> Iterator[Check]:
    """Look whether evolution may use the user's own model: load options that differ from the host's load it anew."""
    tag, options = config.settings.foreground.model, config.settings.foreground.options
    models, skills = config.settings.models, [one for one in config.skills.values() if one.enabled]
    ours = {*(one.task_model for one in skills), models.judge, models.generator, models.embedder}
    if not any(facts.same(tag, one) for one in ours):
        return
    if options is None:
        words = f"prompt_evolution.foreground.options is not set, so evolution leaves {tag} alone, which it would use"
        yield Check("foreground", State.BAD, words, _what_to_write(config))
        return
    sent = ", ".join(f"{name} {value}" for name, value in options) or "no load options"
    yield Check("foreground", State.NOTE, f"evolution uses {tag} too, with {sent}, as your application must")


def _what_to_write(config: HostConfig) -> str:
    """Take the words of the refusal that a run would meet, so that both say the same."""
    from pipeline.errors import Refused  # noqa: PLC0415 - only where something is wrong

    for skill in config.skills.values():
        try:
            refuse_without_options(Rules(settings=config.settings, skill=skill), config)
        except Refused as no:
            return no.hint
    return f"write prompt_evolution.foreground.options in {config.path}"


def _seen(server: ServerProcess) -> Iterator[Check]:
    where, hint = f"process {server.pid}", how_to_set()
    cache = server.cache_ram_mib
    if cache is not None and 0 <= cache <= LARGEST_CACHE_MIB:
        yield Check("prompt cache", State.OK, f"{CACHE_RAM}={cache} ({where})")
    else:
        found = f"{CACHE_RAM} is not set" if cache is None else f"{CACHE_RAM}={cache}"
        most = "without bound" if cache is not None and cache < 0 else f"up to {cache or DEFAULT_CACHE_MIB} MiB"
        words = f"{found} ({where}): each runner keeps prompts in memory that no list shows, {most}"
        yield Check("prompt cache", State.BAD, words, hint)
    parallel, loaded = server.num_parallel or 1, server.max_loaded
    state = State.OK if parallel <= MOST_PARALLEL else State.NOTE
    extra = "" if state is State.OK else f": every context takes {parallel} times its memory"
    yield Check("parallel", state, f"{NUM_PARALLEL}={parallel} ({where}){extra}", "" if state is State.OK else hint)
    if loaded == FEWEST_LOADED or not loaded:
        words = f"{MAX_LOADED}={loaded}" if loaded else f"{MAX_LOADED} is not set: 3 for each GPU; 2 suit 8 GB"
        yield Check("loaded models", State.OK if loaded else State.NOTE, f"{words} ({where})", "" if loaded else hint)
    elif loaded < FEWEST_LOADED:
        words = f"{MAX_LOADED}={loaded} ({where}): no model of evolution's fits beside the user's, so it waits for that to go"
        yield Check("loaded models", State.BAD, words, hint)
    else:
        yield Check("loaded models", State.NOTE, f"{MAX_LOADED}={loaded} ({where}); 2 suit 8 GB", hint)
