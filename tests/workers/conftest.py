"""A home with a real Valkey, a simulated Ollama in this process and a migrated database, ready for single steps."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.job import Job
from sqlalchemy import select

from migrations.run import upgrade
from models import prompts, runs
from models.base import make_engine
from models.journal import Spent, spent
from models.runs import Bell
from models.tables import VariantRow
from models.work_tables import EvolutionRow, GateEventRow, RunRow, StepRow
from ops.demo.scene import SIMULATED_MODELS, write_host
from ops.simulator.server import SimulatorServer
from ops.simulator.worlds.file_naming import FileNamingWorld
from ops.valkey import prepare
from pipeline.domain import Fate, MutationType, RunKind, Stage
from pipeline.machine_settings import GateSettings, Work
from pipeline.rules import Rules
from pipeline.settings import Settings
from workers.home import Home
from workers.host_config import load_host_config, read_template
from workers.queues import QUEUE, Bells
from workers.relay import Seen, reconcile, relay
from workers.sessions import Database, database
from workers.stage import Outcome, work

SKILL = "file-naming"
SETTINGS = """
prompt_evolution:
  triggers: {{check_every_h: 1, cooldown_h: 0}}
  gate: {{start_idle_min: 0, resume_idle_s: 0, wait_s: 0.3, poll_s: 0.02, ps_poll_s: 0.2, ps_timeout_s: 0.5}}
  judging: {{protocol: rubric, pairwise: false, check_every_d: 0}}  # one call for each finalist
  work: {{unreachable_retry_s: 5, max_crashes: 2, ring_grace_s: 0.3}}
{models}"""
INSTRUCTIONS = (
    "Name the file after what the picture shows, in lower case with hyphens.",
    "Write a short file name from the description and keep the ending as it was.",
    "Use three to six words of the description, joined by hyphens, as the name of the file.",
    "Answer with the new file name only, without any other word around it.",
)


@dataclass
class Site:
    """Everything that one step needs, and what a test looks at afterwards."""

    home: Home
    server: SimulatorServer
    opened: Database
    bells: Bells
    redis: Redis
    rules: Rules
    seen: Seen = field(default_factory=Seen)

    def change(self, **sections: dict[str, Any]) -> None:
        """Change settings, section by section, for runs that start from now on."""
        settings = self.rules.settings
        parts = {name: replace(getattr(settings, name), **values) for name, values in sections.items()}
        self.rules = replace(self.rules, settings=replace(settings, **parts))

    def configure(self, old: str, new: str) -> None:
        """Change a text of the host's configuration; runs that start from now on go by it."""
        text = self.home.config.read_text("utf-8")
        assert old in text
        self.home.config.write_text(text.replace(old, new), "utf-8")
        config = load_host_config(self.home.config)
        self.rules = Rules(settings=config.settings, skill=config.skill(SKILL))

    def settle(self) -> None:
        """Let the configuration be a minute old: nobody is just saving it."""
        os.utime(self.home.config, (time.time() - 60,) * 2)

    def judging(self, finalists: int = 3, *, trigger: str = "person", kind: RunKind = RunKind.DRIFT_CHECK) -> Bell:
        """Start a run whose judge has *finalists* to score: as many model calls, in one visit."""
        at, text = datetime.now(UTC), read_template(self.home.config, self.rules.skill.template)
        with self.opened.write() as session:
            prompts.note_version(session, self.rules.skill, text, at)
            bell = runs.start_run(
                session, rules=self.rules, kind=kind, trigger=trigger, stage=Stage.JUDGE, version=1,
                seed=7, now=at,
            )  # fmt: skip
            if kind is RunKind.EVOLUTION:
                session.add(EvolutionRow(run_id=bell.run, started_at=at))
            for index in range(finalists):
                words = f"{INSTRUCTIONS[index % len(INSTRUCTIONS)]} Mind rule {index}."
                session.add(
                    VariantRow(
                        run_id=bell.run, ordinal=index + 1, skill_name=SKILL, prompt_text=words, text_sha=f"{index}",
                        generation=1, mutation_type=MutationType.DIRECT, fitness_score=0.9 - index / 100,
                        fate=Fate.FINALIST, created_at=at,
                    )
                )  # fmt: skip
        return bell

    def work(self, bell: Bell, *, waited: bool = False) -> Outcome:
        """Work on a step in this process, as the holder of the kernel lock does."""
        return work(self.home, bell.stage, bell.step, bell.attempt, waited=waited)

    def relay(self, *wanted: Bell) -> None:
        """Ring as a job does at its end."""
        relay(self.home, self.bells, wanted)

    def reconcile(self) -> int:
        """Do one round of repairs."""
        return reconcile(self.home, self.opened, self.bells, self.seen)

    def burst(self) -> None:
        """Let a worker in this process do what is in the queue, until it is empty."""
        SimpleWorker([Queue(QUEUE, connection=self.redis)], connection=self.redis).work(
            burst=True, logging_level="ERROR"
        )

    def step(self, bell: Bell) -> StepRow:
        """Read a step's row."""
        with self.opened.read() as session:
            return session.get_one(StepRow, bell.step)

    def steps(self) -> list[StepRow]:
        """Read every step, oldest first."""
        with self.opened.read() as session:
            return list(session.scalars(select(StepRow).order_by(StepRow.id)))

    def run(self, bell: Bell) -> RunRow:
        """Read a run's row."""
        with self.opened.read() as session:
            return session.get_one(RunRow, bell.run)

    def spent(self, bell: Bell) -> Spent:
        """Read what a run has cost."""
        with self.opened.read() as session:
            return spent(session, bell.run)

    def gate_events(self) -> list[GateEventRow]:
        """Read what the gate did."""
        with self.opened.read() as session:
            return list(session.scalars(select(GateEventRow)))

    def queued(self) -> list[str]:
        """List the ids in the queue, its head first."""
        return [item.decode() for item in self.redis.lrange(f"rq:queue:{QUEUE}", 0, -1)]

    def job(self, bell: Bell) -> Job:
        """Fetch the RQ job of a bell."""
        return Job.fetch(bell.job_id, connection=self.redis)

    def paid(self) -> int:
        """Count the inference requests that the server saw."""
        return self.server.counts().inference


@pytest.fixture(name="migrated", scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate one SQLite file; every home gets a copy."""
    path = tmp_path_factory.mktemp("migrated") / "evolution.db"
    engine = make_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture(name="world", scope="session")
def _world() -> FileNamingWorld:
    """Return the simulated models."""
    return FileNamingWorld(seed=7)


class Store:
    """A Valkey server that a test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url, self._command = prepare(Home(folder, folder / "config.yaml"), port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 10
        with Redis.from_url(self.url) as connection:
            while True:
                try:
                    connection.ping()
                except RedisError:
                    assert time.monotonic() < end
                    time.sleep(0.01)
                else:
                    return

    def kill(self) -> None:
        """Kill the server as the kernel would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(name="store", scope="session")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Run one Valkey for all tests; a test that kills it starts it again."""
    store = Store(tmp_path_factory.mktemp("valkey"))
    store.start()
    yield store
    store.kill()


@pytest.fixture(name="build")
def _build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, world: FileNamingWorld, migrated: Path
) -> Iterator[Callable[..., Site]]:
    """Return a maker of homes; all share the Valkey, and those given the same server share it too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RQ_REDIS_URL", store.url)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    closing: list[Callable[[], object]] = []

    def build(name: str = "one", server: SimulatorServer | None = None, **knobs: Any) -> Site:
        root, host = tmp_path / name, tmp_path / f"{name}-host"
        home = Home(root, host / "config.yaml").ensure()
        monkeypatch.setenv("EVOCTL_HOME", str(root))
        monkeypatch.setenv("EVOCTL_CONFIG", str(home.config))
        host.mkdir()
        shutil.copy(migrated, root / "evolution.db")
        if server is None:
            server = SimulatorServer(world, **knobs).start()
            closing.append(server.stop)
        write_host(host, SETTINGS.format(models=SIMULATED_MODELS.format(url=server.url)))
        config = load_host_config(home.config)
        context = database(home)
        opened = context.__enter__()
        closing.append(lambda: context.__exit__(None, None, None))
        bells, redis = Bells(store.url), Redis.from_url(store.url)
        closing.extend((bells.close, redis.close))
        redis.flushall()
        return Site(home, server, opened, bells, redis, Rules(settings=config.settings, skill=config.skill(SKILL)))

    yield build
    for close in reversed(closing):
        close()


@pytest.fixture(name="site")
def _site(build: Callable[..., Site]) -> Site:
    """Return one home."""
    return build()


@pytest.fixture(name="until")
def _until() -> Callable[..., None]:
    """Wait until something holds."""

    def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came true"
            time.sleep(0.005)

    return until


@pytest.fixture(name="plain_settings")
def _plain_settings() -> Settings:
    """Return settings with short waits, for rules that are built by hand."""
    return Settings(gate=GateSettings(start_idle_min=0, resume_idle_s=0), work=Work(max_crashes=2))
