"""The answerer of one job: journal(budget(slice(retry(gate(client))))). A flow never sees any of it."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import platformdirs

from models import journal, steps
from models.steps import Claim
from models.work_tables import GateEventRow
from pipeline.domain import Role, RunKind, Stage
from pipeline.flow import Embed, Failed, FailureKind, Generate, Publish, Reply, Request, ScoreOutside
from workers import effects, queues
from workers.clock import now
from workers.home import APP, Home
from workers.llm.gate import Gate
from workers.llm.ollama import OllamaClient
from workers.llm.preempt import Preempted, preemptible
from workers.llm.retry import retrying
from workers.llm.route import OllamaAnswerer
from workers.llm.tags import ServerFacts
from workers.lock import Lock
from workers.sessions import Database

URGENT_LOOK_S = 0.25  # how often a search looks whether a decision waits for the worker
HOST_LOCK_WAIT_S = 1.0
ROLES: dict[Stage, tuple[Role, ...]] = {
    Stage.DETECT: (),
    Stage.MUTATE: (Role.GENERATOR, Role.TASK),
    Stage.JUDGE: (Role.JUDGE,),
    Stage.DEDUPE: (Role.EMBEDDER,),
    Stage.BANDIT: (Role.TASK,),
    Stage.PROMOTE: (),
}


class StepAside(Exception):
    """The job must end here; the step stays ready and is rung again.

    Attributes:
        reason: one stable word; `detail`: the same for people.
        waited_s: how long the gate was waited for.
        preempted: a running call was cut off.
    """

    def __init__(self, reason: str, detail: str, *, waited_s: float = 0.0, preempted: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.waited_s, self.preempted = reason, detail, waited_s, preempted


class Answering:
    """Answers a flow's requests under one claim, from the journal first.

    Args:
        home: where things are.
        opened: the database.
        mine: the claim; every write is fenced by it.
        waited: the job waited for the gate before; a shut gate ends it at once.
    """

    def __init__(self, home: Home, opened: Database, mine: Claim, *, waited: bool) -> None:
        self._home, self._opened, self._mine = home, opened, mine
        settings = mine.rules.settings
        with opened.read() as session:
            self._replies = journal.load_replies(session, mine)
            self._spent = journal.spent(session, mine.run)
        self._made: Counter[str] = Counter()
        self._server: ServerFacts | None = None
        self._client = OllamaClient(
            settings.models.ollama_url, connect_s=settings.models.connect_s, read_s=settings.models.read_s
        )
        self._models = OllamaAnswerer(self._client, mine.rules)
        self.gate = Gate(home.root, settings.gate, settings.foreground.model, settings.models.ollama_url)
        self._gated = retrying(self._ask_when_quiet)
        self._host = Lock(_host_lock(settings.models.ollama_url))
        self._host_held = False
        self._patience_s = 0.0 if waited else settings.gate.wait_s
        self._slice_s = 0.0
        self._looked = 0.0

    def __call__(self, request: Request) -> Reply:
        """Answer from the journal, or live and into the journal.

        Raises:
            StepAside: the job must make room.
            Unreachable: a server that is needed does not answer.
            Fenced: another attempt took the step over.
        """
        sha = journal.request_sha(request, self._served_by(request))
        key = (sha, self._made[sha])
        self._made[sha] += 1
        known = self._replies.get(key)
        return known if known is not None else self._live(request, key)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections and let the server's lock go."""
        self._client.close()
        self._host.release()

    def _live(self, request: Request, key: journal.Key) -> Reply:
        if isinstance(request, Publish):
            role, tag, reply = "publish", "", effects.publish(self._home, self._opened, self._mine, request)
        elif isinstance(request, ScoreOutside):
            role, tag, reply = "scorer", "", effects.score_outside(self._home, request)
        else:
            role, tag = (request.role.value if isinstance(request, Generate) else "embedder"), self._tag(request)
            reply = self._model_reply(request)
            if isinstance(reply, Failed) and reply.kind is FailureKind.BUDGET:
                return reply  # no call was made, so there is nothing to remember
        simulated = self._server is not None and self._server.simulated
        with self._opened.write() as session:
            journal.record(session, self._mine, key, reply, role=role, tag=tag, simulated=simulated, now=now())
        return reply

    def _model_reply(self, request: Generate | Embed) -> Reply:
        search = self._mine.rules.settings.search
        if self._spent.calls >= search.budget_calls and self._mine.kind is RunKind.EVOLUTION and self._breeding:
            return Failed(kind=FailureKind.BUDGET, message=f"{search.budget_calls} calls are spent")
        self._make_room()
        self._take_host()
        started = time.monotonic()
        reply = self._gated(request)
        self._slice_s += time.monotonic() - started
        self._spent = journal.Spent(calls=self._spent.calls + 1, minutes=self._spent.minutes)
        return reply

    @property
    def _breeding(self) -> bool:
        """Only the search is held to the budget: a test that has begun is not broken off for it."""
        return self._mine.stage is Stage.MUTATE

    def _make_room(self) -> None:
        """End the job when its slice is over or something that needs no model waits for the worker."""
        if self._slice_s >= self._mine.rules.settings.work.slice_s:
            raise StepAside("slice", "")
        if time.monotonic() - self._looked >= URGENT_LOOK_S:
            self._looked = time.monotonic()
            with self._opened.read() as session:
                if steps.urgent_ready(session, now()):
                    raise StepAside("urgent", "")

    def _ask_when_quiet(self, request: Request) -> Reply:
        """Wait for the gate, then ask the model; give the call up as soon as the user comes."""
        assert isinstance(request, Generate | Embed)
        self._wait_for_gate()
        tag, started = self._tag(request), time.monotonic()
        try:
            with preemptible(self.gate, tag):
                return self._models(request)
        except Preempted as came:
            self._cut_off(request, tag, time.monotonic() - started)
            raise StepAside(came.reason, "the user's model is in use", preempted=True) from None

    def _wait_for_gate(self) -> None:
        started = time.monotonic()
        reading = self.gate.reading(self.quiet_s)
        if reading.open:
            return
        while not reading.open:
            queues.note_waiting(reading.detail)
            waited = time.monotonic() - started
            if waited >= self._patience_s:
                raise StepAside(reading.reason, reading.detail, waited_s=waited)
            time.sleep(self._mine.rules.settings.gate.poll_s)
            self._make_room()
            reading = self.gate.reading(self.quiet_s)
        queues.note_waiting("")
        self._note_wait(reading.reason, time.monotonic() - started)

    @property
    def quiet_s(self) -> float:
        """Quiet time wanted: long before a search that nobody asked for begins, short otherwise."""
        gate = self._mine.rules.settings.gate
        begins = self._mine.stage is Stage.MUTATE and self._mine.visit == 1 and self._spent.calls == 0
        return gate.start_idle_min * 60 if begins and self._mine.trigger != "person" else gate.resume_idle_s

    def _note_wait(self, reason: str, waited_s: float) -> None:
        with self._opened.write() as session:
            steps.fence(session, self._mine)
            session.add(
                GateEventRow(
                    run_id=self._mine.run,
                    step_id=self._mine.step,
                    reason=reason,
                    detail="",
                    at=now(),
                    waited_s=waited_s,
                )
            )

    def _cut_off(self, request: Generate | Embed, tag: str, took_s: float) -> None:
        """Enter the lost call in the ledger and make room in memory, unless the model is the user's own."""
        role = request.role.value if isinstance(request, Generate) else "embedder"
        with self._opened.write() as session:
            journal.record_cancelled(session, self._mine, role=role, tag=tag, duration_s=took_s, now=now())
        if not self._models.is_foreground(tag):
            self._client.unload(tag)

    def _take_host(self) -> None:
        """Hold the Ollama server's lock from the first live call on: other homes on this machine may use it too."""
        if self._host_held:
            return
        if not self._host.take(HOST_LOCK_WAIT_S):
            raise StepAside("other-home", "another evolution uses this Ollama server", waited_s=HOST_LOCK_WAIT_S)
        self._host_held = True

    def _served_by(self, request: Request) -> str:
        """Name tag, digest and server version, so that another model's reply is never taken for this one's."""
        if not isinstance(request, Generate | Embed):
            return ""
        version, tag = self._known().version, self._tag(request)
        return f"{tag} {self._client.digest(tag)} {version}"

    def _known(self) -> ServerFacts:
        """Return what the server said of itself; the first time, check that this stage's models are installed."""
        if self._server is None:
            server = self._client.facts()
            self._client.require(self._mine.rules.tag(role) for role in ROLES[self._mine.stage])
            self._server = server
        return self._server

    def _tag(self, request: Request) -> str:
        return self._models.tag_of(request) or ""


def _host_lock(url: str) -> Path:
    """Name the lock of an Ollama server: shared by all homes of this user."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    folder = platformdirs.user_cache_path(APP) / "ollama"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{name}.lock"
