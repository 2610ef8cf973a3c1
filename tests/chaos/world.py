"""The world that the faults meet: one home with several skills, its processes, and the people who use it."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import select

from models.feedback import Feedback
from models.work_tables import RunRow, StepRow
from ops.demo.actors import Host, Voter
from ops.demo.scene import SKILL, Scene, environment, load_pairs, scene
from ops.supervise import Process, Supervisor
from pipeline.domain import StepState
from pipeline.skills import parse_template
from tests.chaos.watch import Watch
from tests.ports import free_port
from workers.client import Evolution
from workers.home import find_home, remember_redis

SETTINGS = """
prompt_evolution:
  triggers: {{check_every_h: 1, cooldown_h: 0, false_alarm_labels: 1000000, warn_labels: 1000000, canary_samples: 0}}
  search: {{mode: promptbreeder, generations: 2, population: 3, fitness_samples: 8, patience: 9, budget_calls: 250,
            confirm_samples: 10, confirm_finalists: 3, variants: 2}}
  judging: {{protocol: rubric, pairwise: false, check_every_d: 0}}
  voting: {{promote_e: 4, min_votes: 2, max_votes: 14, open_ballots: 4, replay_select: 10, replay_confirm: 10}}
  promotion: {{max_drop_probability: 1}}
  gate: {{start_idle_min: 0, resume_idle_s: 0, wait_s: 1}}
  work: {{tick_s: 0.25, unreachable_retry_s: 1, max_crashes: 100}}
{models}"""
SKILLS = (SKILL, "photo-naming", "scan-naming")
ENTRY = """  {name}:
    prompt_template: skills/{name}.md
    prompt_version: 1
    model: qwen2.5-coder:3b
    scorer: file-naming
    about: Name images.
    num_predict: 32

  audio-actions:
"""
HISTORY = 90  # judged tasks of each skill at the beginning
SPEED = 250  # tokens per second: a call lasts long enough to be hit


@dataclass
class World:
    """Everything that a fault may touch.

    Attributes:
        told: a task as the first prompt did it, by task id; new tasks are made of them.
        votes: by ballot, the answer that was acknowledged and stands; `unsure`: sent, and no answer came back;
            `undone`: taken back, with an acknowledgement.
        counts: what happened, by name.
        commands: that people have given and that go on.
        later: what is to be ended, and when, on the monotonic clock.
    """

    scene: Scene
    evolution: Evolution
    watch: Watch
    voter: Voter
    told: list[Feedback]
    votes: dict[int, list[tuple[str, int | None]]] = field(default_factory=dict)
    unsure: dict[int, list[tuple[str, int | None]]] = field(default_factory=dict)
    undone: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    commands: list[tuple[subprocess.Popen[str], Callable[[int, str], None]]] = field(default_factory=list)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    # --- processes --------------------------------------------------------------------------------------------------

    def process(self, name: str) -> tuple[Supervisor, Process]:
        """Find a supervised process."""
        for supervisor in (self.scene.services, self.scene.workers):
            for process in supervisor.processes:
                if process.name == name:
                    return supervisor, process
        raise AssertionError(f"nobody supervises {name}")

    def pid(self, name: str) -> psutil.Process | None:
        """Return a supervised process while it lives."""
        child = self.process(name)[1].child
        with suppress(psutil.Error):
            if child is not None and child.poll() is None:
                return psutil.Process(child.pid)
        return None

    def horse(self) -> psutil.Process | None:
        """Return the process that works on a job."""
        worker = self.pid("worker")
        with suppress(psutil.Error):
            return next(iter(worker.children()), None) if worker else None
        return None

    def kill(self, *victims: psutil.Process | None) -> None:
        """Kill without warning."""
        for victim in victims:
            with suppress(psutil.Error):
                if victim is not None:
                    victim.kill()

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Kill a supervised process, and start it again only at the end of the block."""
        supervisor, process = self.process(name)
        supervisor.processes.remove(process)
        try:
            if process.child is not None:
                process.child.kill()
                process.child.wait()
            yield
        finally:
            process.start()
            supervisor.processes.insert(0, process)

    def tell_simulator(self, what: str, **values: object) -> bool:
        """Send a command to the simulator; False when it is just being restarted."""
        request = urllib.request.Request(  # noqa: S310 - our own simulator
            f"{self.scene.url}/_simulator/{what}", json.dumps(values).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2):  # noqa: S310 - same
                return True
        except OSError:
            return False

    def start(self, command: Sequence[str], lasting_s: float) -> None:
        """Start another process of the home, and end it by SIGTERM some time later."""
        log = self.scene.home.log_dir / "others.log"
        other = Process("other", command, log=log, env=self.environment)
        other.start()
        self.later.append((time.monotonic() + lasting_s, other.stop))

    def end_what_is_over(self, *, all_of_it: bool = False) -> None:
        """End what was started for a while and whose time is over."""
        for one in list(self.later):
            if all_of_it or time.monotonic() >= one[0]:
                self.later.remove(one)
                one[1]()

    def evoctl(self, *words: str, then: Callable[[int, str], None] = lambda _code, _said: None) -> None:
        """Run `evoctl` as a person would, beside everything else; *then* is told its status and what it printed."""
        with (self.scene.home.log_dir / "evoctl.log").open("ab") as errors:
            command = subprocess.Popen(
                [sys.executable, "-m", "ops.cli", "--json", *words], env=os.environ | self.environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        self.commands.append((command, then))

    def hear(self, *, patience_s: float = 0.0) -> None:
        """Take in what commands have said that are over; wait for those that are not, for *patience_s* each."""
        for one in list(self.commands):
            command, then = one
            with suppress(subprocess.TimeoutExpired):
                said, _ = command.communicate(timeout=patience_s or 0.001)
                self.commands.remove(one)
                self.counts[f"evoctl {command.args[4]}: {command.returncode}"] += 1
                then(command.returncode, said)

    # --- rows -------------------------------------------------------------------------------------------------------

    def open_runs(self, skill: str = "") -> list[int]:
        """List the evolutions that have not ended, and what may still become one."""
        wanted = select(RunRow.id).where(RunRow.ended_at.is_(None), RunRow.skill_name.contains(skill))
        with self.evolution.database.read() as session:
            return list(session.scalars(wanted))

    def waits_for_votes(self, skill: str) -> bool:
        """Tell whether the skill's test waits for people."""
        wanted = select(StepRow.id).join(RunRow).where(RunRow.skill_name == skill, StepRow.state == StepState.WAITING)
        with self.evolution.database.read() as session:
            return session.scalar(wanted.limit(1)) is not None

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this home needs to know."""
        return environment(self.scene.home, self.scene.home.redis_url)

    def forget_on_death(self, *, keeps: bool) -> None:
        """Let Valkey keep its data over its own death from its next life on, or keep nothing."""
        path = self.scene.home.root / "valkey" / "valkey.conf"
        text = path.read_text(encoding="utf-8")
        old, new = ("no", "yes") if keeps else ("yes", "no")
        path.write_text(text.replace(f"appendonly {old}", f"appendonly {new}"), encoding="utf-8")


@contextmanager
def world(folder: Path, seed: int) -> Iterator[World]:
    """Set up three skills with a history each, and run the pipeline in *folder*."""
    home = find_home(str(folder / "home"), str(folder / "host" / "config.yaml")).ensure()
    # While Valkey is down, nobody else may take its port: another home would, of those that all homes look at.
    remember_redis(home, f"redis://:{secrets.token_hex(16)}@127.0.0.1:{free_port()}/0")
    with (
        scene(folder, real=False, seed=7, settings=SETTINGS, speed=SPEED) as running,
        Evolution(running.home) as evolution,
    ):
        _fix_port(running)
        _add_skills(running.home.config)
        rules, pairs = evolution.rules(SKILL), load_pairs()[:HISTORY]
        host = Host(running.url, rules, seed)
        told = host.run(parse_template(evolution.template(rules)), pairs, version=1)
        host.close()
        with Watch(running.home, running.requests) as watch:
            made = World(running, evolution, watch, Voter(rules, pairs, seed), told)
            for skill in SKILLS:
                evolution.feedback(skill, told)
            try:
                yield made
            finally:
                made.end_what_is_over(all_of_it=True)


def _fix_port(running: Scene) -> None:
    """Let the simulator come back at the same place."""
    simulator = next(process for process in running.services.processes if process.name == "simulator")
    words = list(simulator.command)
    words[words.index("--port") + 1] = running.url.rpartition(":")[2]
    simulator.command = words


def _add_skills(config: Path) -> None:
    text, folder = config.read_text(encoding="utf-8"), config.parent / "skills"
    for name in SKILLS[1:]:
        (folder / f"{name}.md").write_bytes((folder / f"{SKILL}.md").read_bytes())
        text = text.replace("  audio-actions:\n", ENTRY.format(name=name), 1)
    config.write_text(text, encoding="utf-8")


def unknown(sample: Feedback, task_id: str) -> Feedback:
    """Make a new task, whose right answer nobody knows, of an old one."""
    return dataclasses.replace(sample, task_id=task_id, expected=None)
