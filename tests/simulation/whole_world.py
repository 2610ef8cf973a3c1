"""Whole tests of prompts through the real parts: a world whose prompts have a known accuracy, a person, and sudden deaths.

An instruction names its true accuracy. Whether it is right on a task follows the latent quality of the decision study
(`decision_world`): u = m + sqrt(rho) z + sqrt(1 - rho) e with a z shared by all prompts of the task, right when u > 0, all
drawn by hashes, so that every process sees the same. The answer also carries u as its looks, which no scorer reads: the
person votes by it, with noise, a tie zone and clicks without looking. Jobs run in forked processes that get SIGKILL before
or after a transaction, or at any moment; `Life` is such a test from its history to its end.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import NormalDist

from sqlalchemy import Engine, event, select

from models.ballots import Shown
from models.feedback import Feedback
from models.tables import VoteRow
from models.work_tables import RunRow, StepRow
from ops.simulator.server import SimulatorServer
from ops.simulator.world import STANDARD_MODELS, Answer, Ask, ModelCard, Token, pieces
from ops.simulator.worlds.draws import between, chance, choose
from pipeline.domain import Choice, Stage, StepState
from pipeline.errors import Refused
from workers.client import Evolution
from workers.home import Home
from workers.queues import Bells, BellState, Ring
from workers.relay import Seen, reconcile
from workers.turn import take_turn

SKILL = "colours"
COLOURS = ("red", "green", "blue", "white", "black", "grey", "brown", "pink")
NOBODY = "redis://127.0.0.1:1/0"  # a port that nothing listens on: the bells are rung by hand
RHO, NOISE, TIE_ZONE, LAZY = 0.5, 0.5, 0.3, 0.1  # as in decision_world.World
FEED = 12  # new tasks at a time, half of which become ballots
MEANWHILE = 0.5  # share of jobs during which the person votes
PATIENCE_S, JOB_S = 240.0, 60.0  # of one test, of one job
MOST_DEATHS = 2  # of a step in a row; the product gives a step up at six
STALE = "stale: nothing to do"  # what a job says that found nothing to do
REST_S = 0.02  # between looks at a step that is not due yet
CALL_S = 0.005  # about what a transaction beside a model call takes
KILLED, TWICE, UNDONE, CHANGED, EARLY = 0.5, 0.1, 0.1, 0.25, 0.15  # shares: of jobs, votes, votes, tests, jobs
CONFIG = """
skills:
  colours:
    prompt_template: skills/colours.md
    prompt_version: 1
    model: qwen2.5-coder:3b
    scorer: json-schema
    schema: {{type: object}}
    num_predict: 64
prompt_evolution:
  triggers: {{false_alarm_labels: 1000000, warn_labels: 1000000, canary_samples: 0}}
  gate: {{start_idle_min: 0, resume_idle_s: 0}}
  models: {{ollama_url: "{url}"}}
  foreground: {{options: {{}}}}
"""
PRELOADED = (
    "__main__", "tests.simulation.whole_world", "workers.turn", "workers.stage", "workers.live", "workers.relay",
    "workers.effects", "models.stages.bandit", "models.stages.promote", "pipeline.bandit", "pipeline.promote", "scipy.special",
)  # fmt: skip

_normal = NormalDist()


def instruction(name: str, accuracy: float) -> str:
    """Write an instruction that names its true accuracy."""
    return f"Name the colour as prompt {name} does, which is right on {accuracy:.3f} of all tasks."


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangingCard(ModelCard):
    """A model whose digest changes with the world's revision."""

    revision: Callable[[], int]

    @property
    def digest(self) -> str:
        """Give another digest for each revision."""
        return hashlib.sha256(f"simulated:{self.tag}:{self.revision()}".encode()).hexdigest()


class WholeWorld:
    """Answers colour tasks as well as the instruction says, by models that may become others.

    Args:
        seed: of all draws.

    Attributes:
        revision: how often every model has become another one, with another digest and other answers.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.revision = seed, 0

    def models(self) -> Sequence[ModelCard]:
        """List the usual models, with digests that change."""
        values = ({name: getattr(card, name) for name in card.__slots__} for card in STANDARD_MODELS)
        return [ChangingCard(**given, revision=lambda: self.revision) for given in values]

    def mind(self, ask: Ask) -> str:
        """Name the only mind there is."""
        del ask
        return "task"

    def answer(self, ask: Ask) -> Answer:
        """Answer a rendered template."""
        told, _, asked = ask.text.partition("\n---\n")
        text = self.reply(told, asked.removeprefix("Task: "), self.revision)
        return Answer(mind="task", tokens=tuple(Token(piece, -0.1) for piece in pieces(text)))

    def embed(self, tag: str, text: str, dims: int) -> Sequence[float]:
        """Embed nothing: no stage of these tests asks for it."""
        del tag, text
        return [1.0, *[0.0] * (dims - 1)]

    def quality(self, told: str, task: str, revision: int) -> float:
        """Draw the latent quality of an instruction's answer to a task; above 0 it is right."""
        shared = _normal.inv_cdf(chance("shared", self.seed, task) or 0.5)
        own = _normal.inv_cdf(chance("own", self.seed, task, told, revision) or 0.5)
        return _normal.inv_cdf(accuracy_of(told)) + math.sqrt(RHO) * shared + math.sqrt(1 - RHO) * own

    def right(self, task: str) -> str:
        """Give the right colour."""
        return choose(COLOURS, "colour", self.seed, task)

    def reply(self, told: str, task: str, revision: int) -> str:
        """Write an answer and its looks."""
        quality, right = self.quality(told, task, revision), self.right(task)
        colour = right if quality > 0 else choose([c for c in COLOURS if c != right], "wrong", self.seed, task, told)
        return json.dumps({"colour": colour, "looks": round(quality, 4)})

    def sample(self, told: str, task: str, *, known: bool) -> Feedback:
        """Tell a task, the answer of an instruction, and the right one where it is known."""
        expected = json.dumps({"colour": self.right(task)}) if known else None
        return Feedback(task_id=task, fields=(("task", task),), output=self.reply(told, task, 0), expected=expected)


def accuracy_of(told: str) -> float:
    """Read the accuracy that an instruction names."""
    return float(told.rpartition(" is right on ")[2].split(" ", 1)[0])


def looks_best(seed: int, ballot: Shown, time_asked: int) -> tuple[Choice, int | None]:
    """Choose as a person does: by looks and noise, now and then without looking; asked again, the noise is another."""
    key = (seed, ballot.ballot, time_asked)
    draw = chance("mood", *key)
    if draw < LAZY:
        return Choice.PICK, 1
    if draw > 1 - LAZY / 4:
        return choose((Choice.SKIP, Choice.NONE), "mood", "which", *key), None
    felt = [
        json.loads(card)["looks"] + NOISE * _normal.inv_cdf(chance("noise", place, *key) or 0.5)
        for place, card in enumerate(ballot.cards)
    ]
    best, second = sorted(felt, reverse=True)[:2]
    if best - second < TIE_ZONE:
        return Choice.TIE, None
    return Choice.PICK, felt.index(best) + 1


# --- sudden deaths --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """When a job's process dies: `after_s` seconds, or at the so manieth `begin` or `commit` of a transaction."""

    after_s: float | None = None
    at: str = ""
    number: int = 0


NO_BLOW = Blow()


def drawn_blow(stage: str, *key: object) -> Blow:
    """Draw a death for a job: half of them beside a transaction, half at any moment, from its start to its end."""
    most = 6 if stage == Stage.PROMOTE else choose((6, 60, 500), "most", *key)
    if chance("kind", *key) < 0.5:
        return Blow(at=choose(("begin", "commit"), "at", *key), number=between(1, most, "number", *key))
    return Blow(after_s=most * CALL_S * chance("after", *key))


def work_once(home: Home, ring: tuple[str, int, int], blow: Blow, told: Connection) -> None:
    """Do one job in this process, as RQ's horse does, and tell what it said."""
    os.environ |= {"RQ_REDIS_URL": NOBODY, "HOME": str(home.root.parent), "XDG_CACHE_HOME": str(home.root / "cache")}
    os.environ.pop("DATABASE_URL", None)
    if blow.at:
        passed = count(1)

        def strike(_connection: object) -> None:
            if next(passed) == blow.number:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, blow.at, strike)
    stage, step, attempt = ring
    told.send(take_turn(Stage(stage), step, attempt, home))


class Doorbell(Bells):
    """A doorbell that keeps what was rung; it has forgotten everything whenever it is asked."""

    def __init__(self) -> None:  # no Redis, so nothing of the parent's
        self.url, self.rung = NOBODY, dict[str, Ring]()

    def ring(self, rings: Iterable[Ring]) -> None:
        """Keep *rings*."""
        self.rung |= {one.job_id: one for one in rings}

    def states(self, job_ids: list[str]) -> dict[str, BellState]:
        """Know of none."""
        return dict.fromkeys(job_ids, BellState.MISSING)


# --- a whole test ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Life:
    """One test from its history to its end.

    Attributes:
        accuracies: true ones, of the prompt in use and of each challenger.
        history: labelled samples before it begins.
        changes_at: the job before which the models become others; 0 never.
        given: by ballot, the answer that stands; what the person believes to have said.
        counts: what happened, by name.
    """

    home: Home
    world: WholeWorld
    evolution: Evolution
    accuracies: tuple[float, ...]
    history: int
    changes_at: int = 0
    run: int = 0
    given: dict[int, tuple[Choice, int | None]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    old: dict[str, Ring] = field(default_factory=dict)
    _seen: Seen = field(default_factory=Seen)
    _asked: Counter[int] = field(default_factory=Counter)
    _fed: int = 0

    @property
    def instructions(self) -> tuple[str, ...]:
        """The prompt in use, then the challengers."""
        return tuple(instruction("abcdefghij"[i], accuracy) for i, accuracy in enumerate(self.accuracies))

    def live(self) -> None:
        """Begin with a history, then work, vote and bring tasks in until the test ends and nothing moves any more."""
        tasks = [f"old-{i}" for i in range(self.history)]
        self.evolution.feedback(SKILL, [self.world.sample(self.instructions[0], task, known=True) for task in tasks])
        self.run = self.evolution.create(SKILL, self.instructions[1:], reason="a whole test").run
        end = time.monotonic() + PATIENCE_S
        while not self._over():
            assert time.monotonic() < end, f"test {self.world.seed} does not end: {self.described()}"
            if not self.work() and not self.vote():
                self._bring_tasks()
        while self.work():
            assert time.monotonic() < end, f"test {self.world.seed} does not come to rest: {self.described()}"
        for ring in self.old.values():
            assert self._job(ring, NO_BLOW) == STALE, f"a late duplicate of {ring.job_id} did something"

    def work(self) -> bool:
        """Reconcile as `evoctl tick` does, and do the jobs that were rung; tell whether there was anything to do."""
        bell = Doorbell()
        reconcile(self.home, self.evolution.database, bell, self._seen)
        for ring in bell.rung.values():
            self.old[ring.job_id] = ring
            if self._draw("early") < EARLY:
                self._bring_tasks()
            self._job(ring, self._blow_for(ring))
        return bool(bell.rung) or self._resting()

    def vote(self) -> bool:
        """Answer the next ballot; now and then twice, and now and then take it back and answer again."""
        ballot = self.evolution.next_ballot(SKILL)
        if ballot is None:
            return False
        if not self._say(ballot):
            return True
        if self._draw("twice", ballot.ballot) < TWICE:
            self._say_again(ballot.ballot)
        if self._draw("undo", ballot.ballot, self._asked[ballot.ballot]) < UNDONE and self._take_back(ballot.ballot):
            self._say(ballot)
        return True

    def described(self) -> str:
        """Say where every step stands."""
        with self.evolution.database.read() as session:
            rows = session.scalars(select(StepRow).order_by(StepRow.id))
            return "; ".join(f"{r.stage}-{r.visit}-a{r.attempt} {r.state} {r.waiting_for} {r.error}" for r in rows)

    def _say(self, ballot: Shown) -> bool:
        choice, position = looks_best(self.world.seed, ballot, self._asked[ballot.ballot])
        self._asked[ballot.ballot] += 1
        try:
            counted = self.evolution.vote(ballot.ballot, choice, position=position)
        except Refused:  # the comparison began anew, or the test ended, since the ballot was shown
            self.counts["refused"] += 1
            return False
        assert counted.fresh
        self.given[ballot.ballot] = choice, position
        self.counts["said"] += 1
        return True

    def _say_again(self, ballot: int) -> None:
        assert not self.evolution.vote(ballot, Choice.PICK, position=2).fresh, f"ballot {ballot} was voted on twice"
        self.counts["twice"] += 1

    def _take_back(self, ballot: int) -> bool:
        try:
            assert self.evolution.undo_vote(ballot), f"the vote on ballot {ballot} is lost"
        except Refused:  # it has decided the test
            return False
        del self.given[ballot]
        self.counts["undone"] += 1
        with self.evolution.database.read() as session:
            assert session.get(VoteRow, ballot) is None
        return True

    def _bring_tasks(self) -> None:
        tasks = [f"new-{self._fed + i}" for i in range(FEED)]
        self._fed += FEED
        known = [self._draw("known", task) < 0.3 for task in tasks]
        self.evolution.feedback(
            SKILL, [self.world.sample(self.instructions[0], t, known=k) for t, k in zip(tasks, known, strict=True)]
        )
        self.counts["tasks"] += FEED

    def _job(self, ring: Ring, blow: Blow) -> str:
        """Do a job in a process of its own, while the person may vote; return what it said, nothing when it died."""
        self.counts["jobs"] += 1
        if self.counts["jobs"] == self.changes_at:
            self.world.revision += 1
        here, there = _forks.Pipe(duplex=False)
        process = _forks.Process(
            target=work_once, args=(self.home, (ring.stage.value, ring.step, ring.attempt), blow, there)
        )
        process.start()
        there.close()
        if self._draw("meanwhile") < MEANWHILE:
            self.vote()
        process.join(JOB_S if blow.after_s is None else blow.after_s)
        process.kill()
        process.join()
        code = process.exitcode
        assert code in (0, -signal.SIGKILL), f"{ring.job_id} ended with {code}: {self.described()}"
        assert code == 0 or blow != NO_BLOW, f"{ring.job_id} took more than {JOB_S:g} s: {self.described()}"
        self.counts[f"killed in {ring.stage}"] += code != 0
        words = str(here.recv()) if code == 0 else ""
        process.close()
        here.close()
        return words

    def _blow_for(self, ring: Ring) -> Blow:
        if self._draw("killed") >= KILLED:
            return NO_BLOW
        with self.evolution.database.read() as session:
            deaths = session.get_one(StepRow, ring.step).crashes
        return NO_BLOW if deaths >= MOST_DEATHS else drawn_blow(ring.stage, self.world.seed, self.counts["jobs"])

    def _draw(self, what: str, *key: object) -> float:
        return chance(what, self.world.seed, *(key or (self.counts["jobs"],)))

    def _resting(self) -> bool:
        """Tell whether a step that died twice in a row waits a little before it is tried again."""
        waiting = select(StepRow.id).where(StepRow.state == StepState.READY, StepRow.due_at.is_not(None))
        with self.evolution.database.read() as session:
            resting = session.scalars(waiting).first() is not None
        time.sleep(REST_S if resting else 0)
        return resting

    def _over(self) -> bool:
        with self.evolution.database.read() as session:
            return session.get_one(RunRow, self.run).ended_at is not None


_forks = multiprocessing.get_context("forkserver")  # it starts from nothing, so no open database is ever forked
_forks.set_forkserver_preload(list(PRELOADED))


@contextmanager
def lived(folder: Path, empty: Path, accuracies: tuple[float, ...], seed: int, history: int) -> Iterator[Life]:
    """Live one test in *folder*, whose database is a copy of *empty*; it can be looked at until the block ends."""
    home = Home(folder / "home", folder / "host" / "config.yaml").ensure()
    shutil.copy(empty, home.root / "evolution.db")
    changes_at = between(2, 5, "change", seed) if chance("changes", seed) < CHANGED else 0
    world = WholeWorld(seed)
    with SimulatorServer(world) as server, Evolution(home) as evolution:
        (folder / "host" / "skills").mkdir(parents=True)
        home.config.write_text(CONFIG.format(url=server.url), encoding="utf-8")
        life = Life(home, world, evolution, accuracies, history, changes_at)
        (folder / "host" / "skills" / "colours.md").write_text(
            f"{life.instructions[0]}\n---\nTask: {{{{task}}}}\n", encoding="utf-8"
        )
        life.live()
        if not world.revision:  # another model is asked everything once more
            life.counts["paid twice"] = sum(times - 1 for times in server.counts().paid_twice.values())
        yield life
