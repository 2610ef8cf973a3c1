"""The demo's scene: a host with one skill, and every process of the pipeline, all in one folder."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from migrations.run import upgrade
from models.base import make_engine
from ops.supervise import Process, Supervisor
from ops.valkey import prepare
from pipeline.errors import Unreachable
from workers.home import Home, find_home

SKILL = "file-naming"
START_S = 20.0  # for a process to say that it is ready

# Waits are shortened and the search is small; no code is skipped. {models} says where they are, and that this host sends no load options.
SETTINGS = """
prompt_evolution:
  triggers: {{check_every_h: 1, cooldown_h: 0}}
  search: {{generations: 6, patience: 3, budget_calls: 600}}
  gate: {{start_idle_min: 0, resume_idle_s: {quiet_s}, wait_s: 1}}
  work: {{tick_s: 0.25, unreachable_retry_s: 1}}
{models}"""

SIMULATED_MODELS = """  models: {{ollama_url: "{url}"}}
  foreground: {{options: {{}}}}
"""
REAL_MODELS = """  foreground: {options: {}}
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A real image description and the name its author gave the file."""

    id: str
    original_name: str
    description: str
    accepted_name: str

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The input of the skill."""
        return (("description", self.description), ("original_name", self.original_name))


def load_pairs() -> tuple[Pair, ...]:
    """Read the 230 pairs; sources and licences stand in the data's README."""
    lines = files("ops.demo").joinpath("data/real-pairs.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return tuple(Pair(r["id"], r["original_name"], r["description"], r["accepted_name"]) for r in rows)


@dataclass(frozen=True, slots=True)
class Scene:
    """A pipeline that runs.

    Attributes:
        url: the Ollama server, or the simulator.
        services: Valkey and the simulator; `workers`: tick and the RQ worker.
        requests: the simulator's request log; missing with real models.
    """

    home: Home
    url: str
    services: Supervisor
    workers: Supervisor
    requests: Path


@contextmanager
def scene(folder: Path, *, real: bool, seed: int, settings: str = SETTINGS, speed: int = 0) -> Iterator[Scene]:
    """Set everything up in *folder* and run it.

    Args:
        folder: for the host, the home and the logs.
        real: use the Ollama server of this machine.
        seed: of the simulated models.
        settings: the `prompt_evolution:` section; `{{quiet_s}}` and `{{models}}` are filled in.
        speed: tokens per second of the simulated models; 0 writes without delay.

    Raises:
        Unreachable: a process did not start.
    """
    host = folder / "host"
    host.mkdir(parents=True, exist_ok=True)
    home = find_home(str(folder / "home"), str(host / "config.yaml")).ensure()
    redis_url, valkey = prepare(home)
    requests, port_file = folder / "requests.jsonl", folder / "simulator.port"
    serving = [Process("valkey", valkey, log=home.log_dir / "valkey.log")]
    if not real:
        port_file.unlink(missing_ok=True)
        serving.append(
            Process("simulator", simulator(port_file, requests, seed, speed), log=home.log_dir / "simulator.log")
        )
    _migrate(home)
    with Supervisor(serving) as services:
        url = "http://127.0.0.1:11434" if real else f"http://127.0.0.1:{_port(port_file)}"
        write_host(
            host,
            settings.format(
                quiet_s=30 if real else 0.5, models=REAL_MODELS if real else SIMULATED_MODELS.format(url=url)
            ),
        )
        with Supervisor(working(home, redis_url)) as workers:
            for supervisor in (services, workers):
                threading.Thread(target=supervisor.watch, daemon=True).start()
            yield Scene(home, url, services, workers, requests)


def simulator(port_file: Path, requests: Path, seed: int, speed: int) -> list[str]:
    """Build the simulator's command line."""
    options = {
        "--port": "0",
        "--seed": str(seed),
        "--port-file": str(port_file),
        "--request-log": str(requests),
        "--tokens-per-second": str(speed),
    }
    return [sys.executable, "-m", "ops.simulator", *(word for option in options.items() for word in option)]


def working(home: Home, redis_url: str) -> list[Process]:
    """Return tick and the stock worker of *home*."""
    env, logs = environment(home, redis_url), home.log_dir
    rq = [str(tool("rq")), "worker", "evolution"]
    return [
        Process("tick", [sys.executable, "-m", "workers.tick"], log=logs / "tick.log", env=env),
        Process("worker", rq, log=logs / "worker.log", env=env, needs_redis=redis_url),
    ]


def write_host(host: Path, settings: str) -> None:
    """Write the host's configuration and the skills' first prompts; what is there already stays."""
    target = host / "config.yaml"
    if target.exists():
        return
    examples = files("ops.examples")
    (host / "skills").mkdir(exist_ok=True)
    for entry in examples.joinpath("skills").iterdir():
        (host / "skills" / entry.name).write_bytes(entry.read_bytes())
    skills = examples.joinpath("config.yaml").read_text(encoding="utf-8").partition("\nprompt_evolution:")[0]
    target.write_text(skills + "\n" + settings, encoding="utf-8")


def environment(home: Home, redis_url: str) -> dict[str, str]:
    """What every process of this home needs to know."""
    return {
        "EVOCTL_HOME": str(home.root),
        "EVOCTL_CONFIG": str(home.config),
        "RQ_REDIS_URL": redis_url,
        "OPENBLAS_NUM_THREADS": "1",
    }


def tool(name: str) -> Path:
    """Find a command beside this Python.

    Raises:
        Unreachable: it is not installed.
    """
    beside = Path(sys.executable).parent / name
    found = beside if beside.exists() else Path(shutil.which(name) or "")
    if not found.is_file():
        raise Unreachable(
            f"The command {name} is not installed.", hint="Install tinyarms-evolution with its dependencies."
        )
    return found


def _migrate(home: Home) -> None:
    engine = make_engine(home.database_url)
    upgrade(engine)
    engine.dispose()


def _port(file: Path) -> int:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if file.exists() and file.read_text(encoding="ascii").strip():
            return int(file.read_text(encoding="ascii"))
        time.sleep(0.05)
    raise Unreachable("The simulator did not start.", hint="See its log in the demo's folder.")
