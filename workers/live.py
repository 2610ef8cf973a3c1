"""Live model calls of one job: slice(host lock(retry(gate(client))))."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import platformdirs

from models import journal, steps
from models.steps import Claim
from models.work_tables import GateEventRow
from pipeline.domain import Role, Stage
from pipeline.flow import Embed, Generate, Reply, Request
from pipeline.gate import SEARCH, Verdict, Wish, is_asked, wish_of
from pipeline.rules import Rules
from workers import queues
from workers.clock import now
from workers.home import APP, Home
from workers.llm.gate import Gate, is_night
from workers.llm.ollama import OllamaClient
from workers.llm.preempt import Preempted, preemptible
from workers.llm.retry import retrying
from workers.llm.room import RoomMaker
from workers.llm.route import OllamaAnswerer
from workers.llm.tags import ServerFacts
from workers.llm.vocabulary import ExactCounter
from workers.lock import Lock
from workers.sessions import Database
from workers.shared_lease import Ear, SharedLease
from workers.stepping import StepAside

FACTS_S = 1.0  # how often a job looks which model and server answer
URGENT_LOOK_S = 0.25  # how often a search looks whether a decision waits for the worker
WAIT_STEP_S = 0.1  # between looks of a job that waits for the gate
HOST_LOCK_WAIT_S = 1.0
HOST_LOCK_AGAIN_S = 10.0  # a fresh job costs a second of processor time, so another home is not asked for more often
ROLES: dict[Stage, tuple[Role, ...]] = {
    Stage.DETECT: (Role.TASK,),
    Stage.MUTATE: (Role.GENERATOR, Role.TASK),
    Stage.JUDGE: (Role.JUDGE, Role.SECOND_JUDGE),
    Stage.DEDUPE: (Role.EMBEDDER,),
    Stage.BANDIT: (Role.TASK,),
    Stage.PROMOTE: (),
}


class LiveModels:
    """Asks models under one claim, when the user is quiet and nobody else needs the worker.

    Args:
        home: where things are.
        opened: the database.
        mine: the claim.
        rules: the claim's rules, with what the configuration says now.
        waited: the job waited for the gate before; a shut gate ends it at once.
        begun: the run has made calls before; a run that nobody asked for begins only after a long quiet.
    """

    def __init__(self, home: Home, opened: Database, mine: Claim, rules: Rules, *, waited: bool, begun: bool) -> None:
        settings = rules.settings
        self._opened, self._mine = opened, mine
        self._client = OllamaClient(
            settings.models.ollama_url,
            connect_s=settings.models.connect_s,
            read_s=settings.models.read_s,
            reply_s=settings.models.reply_s,
        )
        self._models = OllamaAnswerer(self._client, rules)
        self._room = RoomMaker(opened, mine, self._client, self._models, rules)
        self._lease, self._ear = SharedLease(home.redis_url), Ear(home.redis_url)
        self._gate = Gate(
            home.root, settings.gate, settings.foreground.model, settings.models.ollama_url,
            own=mine.rules.own_tags, shared=self._lease,
        )  # fmt: skip
        self._counter = ExactCounter(self._client, mine.rules.tag(Role.GENERATOR))
        self._gated = retrying(self._ask_when_quiet)
        self._host = Lock(_host_lock(settings.models.ollama_url))
        self._host_held = False
        self._patience_s = 0.0 if waited else settings.gate.wait_s
        self._said = waited  # the step's row says that it waits
        self._begun = begun
        self._server: ServerFacts | None = None
        self._slice_s = 0.0
        self._looked = self._asked = 0.0

    @property
    def simulated(self) -> bool:
        """Whether the server is the simulator."""
        return self._server is not None and self._server.simulated

    def tag_of(self, request: Request) -> str:
        """Return the tag that answers *request*."""
        return self._models.tag_of(request) or ""

    def served_by(self, request: Generate | Embed) -> str:
        """Name tag, digest and server version, so that another model's reply is never taken for this one's.

        Raises:
            ModelMissing: a model of this stage is not installed.
            Unreachable: the server does not answer.
        """
        if self._server is None:
            server = self._client.facts()
            tags = [self._mine.rules.tag(role) for role in ROLES[self._mine.stage]]
            self._client.require(tag for tag in tags if tag)
            self._server, self._asked = server, time.monotonic()
        elif time.monotonic() - self._asked >= FACTS_S:  # a model may be replaced while a long job works
            self._server, self._asked = self._client.facts(), time.monotonic()
        tag = self.tag_of(request)
        return f"{tag} {self._client.digest(tag)} {self._server.version}"

    def ask(self, request: Generate | Embed) -> Reply:
        """Make one call.

        Raises:
            StepAside: the job must make room.
            Unreachable: the server does not answer.
        """
        self._make_room()
        self._take_host()
        started = time.monotonic()
        reply = self._gated(request)
        self._slice_s += time.monotonic() - started
        self._begun = True
        return reply

    def count(self, text: str) -> int | None:
        """Return the tokens of *text* by the generator's own vocabulary; None where it cannot be read."""
        return self._counter(text)

    def close(self) -> None:
        """Close connections and let the server's lock go."""
        self._client.close()
        self._ear.close()
        self._lease.close()
        self._host.release()

    def _make_room(self) -> None:
        """End the job when its slice is over or something that needs no model waits for the worker."""
        if self._slice_s >= self._mine.rules.settings.work.slice_s:
            raise StepAside("slice", steps.SLICE_OVER)
        if time.monotonic() - self._looked >= URGENT_LOOK_S:
            self._looked = time.monotonic()
            with self._opened.read() as session:
                if steps.urgent_ready(session, now()):
                    raise StepAside("urgent", steps.DECISION_FIRST)

    def _ask_when_quiet(self, request: Request) -> Reply:
        """Wait for the gate, then ask the model; give the call up as soon as the user comes."""
        assert isinstance(request, Generate | Embed)
        self._wait_for_gate()
        self._room.make(self.tag_of(request), request, simulated=self.simulated)
        tag, started = self.tag_of(request), time.monotonic()
        try:
            with preemptible(self._gate, tag) as watcher, self._ear.telling(watcher.came):
                return self._models(request)
        except Preempted as came:
            self._cut_off(request, tag, time.monotonic() - started)
            raise StepAside(came.reason, "the user's model is in use", preempted=True) from None

    def _wait_for_gate(self) -> None:
        started = time.monotonic()
        shut = verdict = self._gate.ask(self._wish)
        if verdict.open:
            self._say("")
            return
        if self._patience_s:
            self._say(verdict.detail)
        while not verdict.open:
            queues.note_waiting(verdict.reason)
            waited = time.monotonic() - started
            if waited >= self._patience_s:
                raise StepAside(verdict.reason, verdict.detail, waited_s=waited)
            time.sleep(WAIT_STEP_S)
            self._make_room()
            shut, verdict = verdict, self._gate.ask(self._wish)
        queues.note_waiting("")
        self._note_wait(shut, time.monotonic() - started)

    def _say(self, words: str) -> None:
        """Write down what the step waits for, once a wait, so that `evoctl status` need not wait for its end."""
        if self._said is not bool(words):
            with self._opened.write() as session:
                steps.note_waiting(session, self._mine, words)
            self._said = bool(words)

    @property
    def _wish(self) -> Wish:
        gate, mine = self._mine.rules.settings.gate, self._mine
        return wish_of(
            gate,
            begun=self._begun,
            asked=is_asked(mine.trigger, mine.stage),
            search=mine.stage in SEARCH,
            night=is_night(gate),
        )

    def _note_wait(self, shut: Verdict, waited_s: float) -> None:
        with self._opened.write() as session:
            steps.note_waiting(session, self._mine, "")
            session.add(
                GateEventRow(
                    run_id=self._mine.run, step_id=self._mine.step, reason=shut.reason, detail=shut.detail, at=now(),
                    waited_s=waited_s,
                )
            )  # fmt: skip
        self._said = False

    def _cut_off(self, request: Generate | Embed, tag: str, took_s: float) -> None:
        """Enter the lost call in the ledger and make room in memory where the user's model may want it."""
        role = request.role.value if isinstance(request, Generate) else "embedder"
        with self._opened.write() as session:
            journal.record_cancelled(session, self._mine, role=role, tag=tag, duration_s=took_s, now=now())
        if not self._models.is_foreground(tag) and self._gate.wants_room():
            self._client.unload(tag)

    def _take_host(self) -> None:
        """Hold the Ollama server's lock from the first live call on: other homes on this machine may use it too."""
        if self._host_held:
            return
        if not self._host.take(HOST_LOCK_WAIT_S):
            raise StepAside(
                "other-home",
                "another evolution uses this Ollama server",
                waited_s=HOST_LOCK_WAIT_S,
                again_s=HOST_LOCK_AGAIN_S,
            )
        self._host_held = True
        self._ear.start()


def _host_lock(url: str) -> Path:
    """Name the lock of an Ollama server: shared by all homes of this user."""
    folder = platformdirs.user_cache_path(APP) / "ollama"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.lock"
