"""A whole pipeline per test, with everything that a test may kill within reach."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
from redis import Redis
from sqlalchemy import select

from models.tables import VariantRow
from models.work_tables import RunRow, StepRow
from ops.demo.actors import Host, Voter
from ops.demo.scene import SKILL, Pair, Scene, load_pairs, scene
from pipeline.domain import StepState
from pipeline.skills import parse_template
from workers.client import Evolution

SETTINGS = """
prompt_evolution:
  triggers: {{check_every_h: 1, cooldown_h: 0}}
  search: {{generations: 3, population: 4, fitness_samples: 10, patience: 9, budget_calls: 600}}
  judging: {{protocol: rubric, pairwise: false, check_every_d: 0}}
  voting: {{promote_e: 6, min_votes: 2}}
  promotion: {{max_drop_probability: 1}}
  gate: {{start_idle_min: 0, resume_idle_s: 0, wait_s: 3}}
  work: {{tick_s: 0.5, unreachable_retry_s: 1}}
{models}"""
PATIENCE_S = 90.0
LATER = 5  # every so many-th picture comes in only while people vote


@dataclass
class Journey:
    """One run of the whole pipeline under observation."""

    scene: Scene
    evolution: Evolution
    pairs: tuple[Pair, ...]
    host: Host
    voter: Voter
    later: list[Pair] = field(default_factory=list)  # pictures that come in when people could vote and nothing is ready
    kills: list[tuple[str, str, float]] = field(default_factory=list)
    inodes: list[int] = field(default_factory=list)  # of config.yaml, one for each time it was replaced

    def begin(self) -> None:
        """Bring in a history that has drifted; the pipeline, once it runs, starts by itself."""
        self.until((self.scene.home.root / "gate.json").exists, "the first round of tick")
        template = parse_template(self.evolution.template(self.evolution.rules(SKILL)))
        self.evolution.feedback(SKILL, self.host.run(template, self.pairs, version=1))

    def steps(self) -> list[StepRow]:
        """Return all steps, oldest first."""
        with self.evolution.database.read() as session:
            return list(session.scalars(select(StepRow).order_by(StepRow.id)))

    def run(self, number: int = 1) -> RunRow:
        """Return one run."""
        with self.evolution.database.read() as session:
            return session.get_one(RunRow, number)

    def until(self, fact: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
        """Wait for *fact*, voting meanwhile; returns the seconds it took."""
        began = time.monotonic()
        while not fact():
            assert time.monotonic() - began < patience_s, f"{what} did not happen: {self.describe()}"
            self.vote_when_settled()
            time.sleep(0.02)
        return time.monotonic() - began

    def vote_when_settled(self) -> None:
        """Vote on every open ballot once the pipeline waits, so that the order of events is the same in every run."""
        last = [step for step in self.steps() if step.stage == "bandit"][-1:]
        if not last or last[0].state != StepState.WAITING:
            return
        if self.later and self.evolution.next_ballot(SKILL) is None:
            self.name_more(SKILL)
        while (ballot := self.evolution.next_ballot(SKILL)) is not None:
            choice, position = self.voter.choose(ballot)
            self.evolution.vote(ballot.ballot, choice, position=position)

    def name_more(self, skill: str) -> None:
        """Bring in new pictures that nobody has judged; some of them become ballots."""
        template = parse_template(self.evolution.template(self.evolution.rules(SKILL)))
        told, self.later = self.host.run(template, self.later, version=1, prefix="new-"), []
        self.evolution.feedback(skill, [replace(one, expected=None) for one in told])

    def outcome(self) -> tuple[object, ...]:
        """Return what must be the same however often something was killed."""
        with self.evolution.database.read() as session:
            run = session.get_one(RunRow, 1)
            rows = session.scalars(select(VariantRow).order_by(VariantRow.ordinal))
            variants = tuple((r.prompt_text, r.fitness_score, r.fitness_correct, r.fate, r.name) for r in rows)
            return run.ending, variants, self.scene.home.config.read_text(encoding="utf-8").count("-v2.md")

    def requests(self) -> list[dict[str, object]]:
        """Return the inference requests that the server saw, oldest first."""
        lines = self.scene.requests.read_text(encoding="utf-8").splitlines()
        return [e for e in map(json.loads, lines) if e["event"] == "begin" and e["inference"]]

    def paid(self) -> Counter[str]:
        """Count the server's inference requests by content."""
        return Counter(str(entry["sha256"]) for entry in self.requests())

    def describe(self) -> str:
        """Say where every step stands."""
        return "; ".join(f"{s.stage}-{s.visit}-a{s.attempt} {s.state} {s.waiting_for} {s.error}" for s in self.steps())

    # --- what can be killed -----------------------------------------------------------------------------------------

    def worker(self) -> psutil.Process:
        """Return the RQ worker's process."""
        child = next(p.child for p in self.scene.workers.processes if p.name == "worker")
        assert child is not None
        return psutil.Process(child.pid)

    def horse(self, patience_s: float = 10.0) -> psutil.Process | None:
        """Return the process that runs a job, waiting for one to appear."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            try:
                found = self.worker().children()
            except (psutil.Error, AssertionError):
                found = []
            if found:
                return found[0]
            time.sleep(0.005)
        return None

    def kill(self, victim: str, stage: str) -> None:
        """Kill *victim* as the kernel would: without warning, at *stage*."""
        if victim in ("horse", "both"):
            horse = self.horse()
            worker = self.worker() if victim == "both" else None
            for one in (horse, worker):
                if one is not None and one.is_running():
                    one.kill()
        elif victim == "worker":
            self.worker().kill()
        elif victim == "valkey":
            child = next(p.child for p in self.scene.services.processes if p.name == "valkey")
            assert child is not None
            child.kill()
        elif victim == "flushall":
            Redis.from_url(self.scene.home.redis_url).flushall()
        self.kills.append((victim, stage, time.monotonic()))


@contextmanager
def journey(folder: Path, *, seed: int = 9, speed: int = 0, settings: str = SETTINGS) -> Iterator[Journey]:
    """Run a pipeline in *folder*."""
    with (
        scene(folder, real=False, seed=seed, settings=settings, speed=speed) as running,
        Evolution(running.home) as evolution,
    ):
        rules, pairs = evolution.rules(SKILL), load_pairs()
        host = Host(running.url, rules, seed)
        history = tuple(pair for i, pair in enumerate(pairs) if i % LATER)
        observed = Journey(running, evolution, history, host, Voter(rules, pairs, seed), list(pairs[::LATER]))
        over = threading.Event()
        observer = threading.Thread(target=_observe, args=(running.home.config, observed.inodes, over))
        observer.start()
        try:
            yield observed
        finally:
            over.set()
            observer.join()
            host.close()


def _observe(config: Path, inodes: list[int], over: threading.Event) -> None:
    """Note each new inode of the configuration: a replacement is a rename, counted outside the database."""
    while not over.wait(0.002):
        inode = config.stat().st_ino
        if not inodes or inodes[-1] != inode:
            inodes.append(inode)


@pytest.fixture(name="start_journey")
def _start_journey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Return a context manager that runs a pipeline in a folder of this test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    count = iter(range(100))
    return lambda **kwargs: journey(tmp_path / f"j{next(count)}", **kwargs)


@pytest.fixture(name="reference", scope="session")
def _reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[tuple[object, ...], Counter[str]]]:
    """Run the journey once without any trouble: the outcome and the requests that killed ones are compared with."""
    with journey(tmp_path_factory.mktemp("reference")) as calm:
        calm.begin()
        calm.until(lambda: calm.run().ended_at is not None, "the end of the calm run")
        yield calm.outcome(), calm.paid()
