"""Memory for a model before it is asked: look what is loaded, make room among evolution's own, or step aside.

The decision is `pipeline.memory.plan`; here is what it needs to know, and what is done about it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models import loads
from models.steps import Claim
from pipeline.errors import Refused
from pipeline.flow import Embed, Generate
from pipeline.memory import MIB, Loaded, Owner, Plan, Room, Step, Wanted, plan, predicted_bytes
from pipeline.rules import Rules
from workers.clock import now
from workers.llm import processes
from workers.llm.light_http import is_here
from workers.llm.lists import TROUBLES, blob_of, count_of, described, info_of, listed
from workers.llm.ollama import OllamaClient
from workers.llm.retry import Transient
from workers.llm.route import OllamaAnswerer
from workers.llm.tags import normal
from workers.sessions import Database
from workers.stepping import StepAside

NO_OPTIONS = "foreground.options is not set"
GONE_S, GONE_STEP_S = 5.0, 0.05  # how long an unloaded model may take to leave the list, and the time between looks
SERVER_S = 60.0  # how long what the server's process says of itself is believed
RUNNER_S = 5.0  # time between looks at a runner's size
MOST_PLANS = 4  # looks and unloads before one call; memory that is still short then is waited for
DEFAULT_MAX_LOADED, DEFAULT_PARALLEL = 2, 1  # where the server's process cannot be seen; 1 is Ollama's own default
OLLAMA_MAX_LOADED = 3  # Ollama's default on a machine with one GPU or none
DEFAULT_NUM_CTX = 4096  # Ollama's default, for a foreground model whose host sends none


@dataclass(frozen=True, slots=True)
class Known:
    """What does not change about one model, by its digest."""

    file_bytes: int
    info: Mapping[str, object]
    blob: str


class RoomMaker:
    """Makes room for the models of one claim.

    Args:
        opened: the database, whose ledger counts the loads.
        mine: the claim.
        client: talks to the server.
        models: knows which tag is whose, and its load options.
        rules: the claim's rules, with what the configuration says now.
    """

    def __init__(
        self, opened: Database, mine: Claim, client: OllamaClient, models: OllamaAnswerer, rules: Rules
    ) -> None:
        self._opened, self._mine, self._client, self._models, self._rules = opened, mine, client, models, rules
        self._settings, self._url = rules.settings.memory, rules.settings.models.ollama_url
        self._timeout_s = rules.settings.gate.ps_timeout_s
        self._known: dict[str, Known] = {}
        self._prompts: dict[str, set[str]] = {}
        self._prompts_before: dict[str, int] = {}
        self._loaded: frozenset[str] = frozenset()
        self._runners: dict[str, tuple[float, int | None]] = {}
        self._looked = self._seen_server = float("-inf")
        self._server: processes.ServerProcess | None = None

    def make(self, tag: str, request: Generate | Embed, *, simulated: bool) -> None:
        """Return when *tag* may be asked: it is loaded, or its load costs the user nothing.

        Args:
            tag: the model; of the foreground model the name in the configuration.
            request: what it will be asked, for the count of distinct prompts.
            simulated: the server is the simulator, whose models take no memory of this machine.

        Raises:
            StepAside: there is no room now, or models were loaded too often.
            Refused: there can never be.
            Transient: the server gave no list.
        """
        if self._models.is_foreground(tag) and self._rules.settings.foreground.options is None:
            raise self._aside("foreground-options", without_options(tag))
        prompt = request.prompt if isinstance(request, Generate) else repr(request.texts)
        self._count(tag, prompt)
        if tag in self._loaded and time.monotonic() - self._looked < self._settings.look_s:
            return
        for _ in range(MOST_PLANS):
            entries = self._look()
            wanted = self._wanted(tag, entries)
            if wanted.loaded and self._outgrown(tag, wanted):
                self._unload((tag,))
                continue
            found = plan(wanted, self._loaded_models(entries), self._room(entries, simulated=simulated))
            if self._settled(found, wanted):
                self._prompts[tag].add(prompt)  # the first one of a model that was just loaded
                return
        raise self._aside("memory", found.words or f"{tag} outgrew its share and is still loaded")

    def _settled(self, found: Plan, wanted: Wanted) -> bool:
        """Follow a plan; False when it must be looked again."""
        match found.step:
            case Step.WAIT:
                setting = f" (prompt_evolution.{found.setting})" if found.setting else ""
                raise self._aside("memory", f"{found.words}{setting}")
            case Step.REFUSE:
                raise _refusal(found)
            case Step.UNLOAD:
                self._bound_loads()
                self._unload(found.unload)
                return False
            case Step.GO:
                if not wanted.loaded:
                    self._bound_loads()
                    with self._opened.write() as session:
                        loads.record_load(session, self._mine, wanted.tag, now())
                    self._prompts[wanted.tag], self._prompts_before[wanted.tag] = set(), 0
                    self._loaded = frozenset((wanted.tag,))  # the server may have let others go for it
                    self._runners.pop(wanted.tag, None)
        return True

    def _look(self) -> dict[str, Mapping[str, object]]:
        """Return what the server lists as loaded, by normal tag."""
        try:
            found = listed(self._url, "/api/ps", self._timeout_s)
        except TROUBLES as error:
            what = f"Ollama at {self._url} does not say what is loaded."
            raise Transient(what, why=f"{type(error).__name__}: {error}", hint="ollama serve") from error
        self._looked = time.monotonic()
        return found

    def _wanted(self, tag: str, entries: Mapping[str, Mapping[str, object]]) -> Wanted:
        foreground = self._models.is_foreground(tag)
        options = self._models.load_options(tag)
        entry = next((one for name, one in entries.items() if self._client.same(name, tag)), None)
        self._loaded = self._loaded | {tag} if entry else self._loaded - {tag}
        context, num_ctx = count_of(entry, "context_length"), options.get("num_ctx")
        # Of an own model another context only means that the server cut it to the model's longest.
        as_wanted = not foreground or context is None or num_ctx is None or context == num_ctx
        known = self._facts(tag)
        need = predicted_bytes(known.file_bytes, known.info, num_ctx or DEFAULT_NUM_CTX, self._parallel())
        ready = entry is not None and as_wanted
        return Wanted(tag=tag, need_bytes=need, foreground=foreground, loaded=ready)

    def _loaded_models(self, entries: Mapping[str, Mapping[str, object]]) -> list[Loaded]:
        own = {normal(tag): tag for tag in self._models.own_tags()}
        theirs = self._rules.settings.foreground.model
        found = []
        for name, entry in entries.items():
            size = count_of(entry, "size") or 0
            if self._models.is_foreground(name):
                found.append(Loaded(tag=theirs, memory_bytes=size, owner=Owner.FOREGROUND))
            else:
                mine = next((tag for tag in own.values() if self._client.same(tag, name)), None)
                found.append(Loaded(tag=mine or name, memory_bytes=size, owner=Owner.OWN if mine else Owner.OTHER))
        return found

    def _room(self, entries: Mapping[str, Mapping[str, object]], *, simulated: bool) -> Room:
        settings = self._settings
        room = Room(
            free_bytes=None, total_bytes=None, share_bytes=settings.share_mib * MIB, fit=settings.fit,
            keep_bytes=settings.min_free_mib * MIB, max_loaded=self._max_loaded(),
        )  # fmt: skip
        if is_here(self._url) and not simulated:
            room = replace(room, free_bytes=processes.free_bytes(), total_bytes=processes.total_bytes())
        if not settings.budget_mib:
            return room
        budget = settings.budget_mib * MIB
        free = max(0, budget - sum(count_of(entry, "size") or 0 for entry in entries.values()))
        return replace(
            room,
            free_bytes=free if room.free_bytes is None else min(free, room.free_bytes),
            total_bytes=budget if room.total_bytes is None else min(budget, room.total_bytes),
        )

    def _facts(self, tag: str) -> Known:
        digest = self._client.digest(tag)
        if digest not in self._known:
            try:
                files = listed(self._url, "/api/tags", self._timeout_s)
                told: Mapping[str, Any] = described(self._url, self._client.resolve(tag), self._timeout_s)
            except TROUBLES as error:
                what = f"Ollama at {self._url} does not describe {tag}."
                raise Transient(what, why=f"{type(error).__name__}: {error}", hint="ollama serve") from error
            size = count_of(files.get(normal(self._client.resolve(tag))), "size") or 0
            self._known[digest] = Known(size, info_of(told), blob_of(told.get("modelfile")))
        return self._known[digest]

    def _max_loaded(self) -> int:
        if self._settings.max_loaded:
            return self._settings.max_loaded
        server = self._process()
        return DEFAULT_MAX_LOADED if server is None else server.max_loaded or OLLAMA_MAX_LOADED

    def _parallel(self) -> int:
        if self._settings.num_parallel:
            return self._settings.num_parallel
        server = self._process()
        return DEFAULT_PARALLEL if server is None else server.num_parallel or DEFAULT_PARALLEL

    def _process(self) -> processes.ServerProcess | None:
        if time.monotonic() - self._seen_server > SERVER_S:
            self._server, self._seen_server = processes.server_process(self._url), time.monotonic()
        return self._server

    def _count(self, tag: str, prompt: str) -> None:
        if tag not in self._prompts_before:
            with self._opened.read() as session:
                self._prompts_before[tag] = loads.prompts_since_load(session, self._mine.run, tag)
        self._prompts.setdefault(tag, set()).add(prompt)

    def _outgrown(self, tag: str, wanted: Wanted) -> bool:
        """Tell whether an own model's process has taken more than evolution's share, by its hidden prompt cache."""
        if wanted.foreground:
            return False
        size = self._runner_bytes(tag)
        if size is not None:
            return size > self._settings.share_mib * MIB
        server = self._process()
        if server is not None and server.cache_ram_mib is not None and server.cache_ram_mib >= 0:
            return False  # bounded by the server itself
        return self._prompts_before[tag] + len(self._prompts[tag]) > self._settings.recycle_prompts

    def _runner_bytes(self, tag: str) -> int | None:
        """Return the size of the model's process, as of some seconds ago; None where no process can be seen."""
        at, size = self._runners.get(tag, (float("-inf"), None))
        if time.monotonic() - at >= RUNNER_S:
            size = processes.runner_bytes(self._facts(tag).blob) if is_here(self._url) else None
            self._runners[tag] = time.monotonic(), size
        return size

    def _bound_loads(self) -> None:
        """Wait when models were loaded too often in the last hour."""
        most, at = self._settings.loads_per_hour, now()
        with self._opened.read() as session:
            times = loads.last_hour(session, at)
        if len(times) >= most:
            again_s = (times[len(times) - most] + loads.HOUR - at).total_seconds()
            words = f"models were loaded {len(times)} times in the last hour, {most} are allowed"
            raise self._aside("model-loads", f"{words} (prompt_evolution.memory.loads_per_hour)", again_s)

    def _unload(self, tags: tuple[str, ...]) -> None:
        """Let own models go, and wait until the server lists them no more: only then is their memory free."""
        for tag in tags:
            self._client.unload(tag)
            self._loaded -= {tag}
            self._runners.pop(tag, None)
            self._prompts[tag], self._prompts_before[tag] = set(), 0
        end = time.monotonic() + GONE_S
        while any(self._client.same(name, tag) for name in self._look() for tag in tags) and time.monotonic() < end:
            time.sleep(GONE_STEP_S)

    def _aside(self, reason: str, detail: str, again_s: float = 0.0) -> StepAside:
        again = max(again_s, self._settings.again_s)
        return StepAside(reason, detail, waited_s=again, again_s=again)


def without_options(tag: str) -> str:
    """Say why the foreground model is left alone."""
    return f"{NO_OPTIONS}, so {tag} is left alone: other load options than your application's would load it anew"


def _refusal(found: Plan) -> Refused:
    if found.setting:
        hint = f"Raise prompt_evolution.{found.setting} in config.yaml, or name a smaller model or context there."
    else:
        hint = "Name a smaller model or context in prompt_evolution.models."
    return Refused(f"There is no room for a model: {found.words}.", hint=hint)
