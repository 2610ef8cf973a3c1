"""What the machinery costs. Figures are printed (`make bench`); only ratios within one run are asserted."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from migrations.run import upgrade
from models import steps
from models.base import make_engine
from models.checks import start_check
from models.prompts import note_version
from ops.demo.scene import SIMULATED_MODELS, load_pairs, write_host
from ops.simulator.server import SimulatorServer
from ops.simulator.worlds.file_naming import FileNamingWorld
from pipeline.algorithms.streams import seed32
from pipeline.fitness import task_request
from pipeline.flow import Flow, drive, generate
from pipeline.skills import parse_template
from workers.answer import Answering
from workers.client import Evolution
from workers.clock import now
from workers.home import Home, find_home
from workers.llm.ollama import OllamaClient
from workers.llm.route import OllamaAnswerer
from workers.sessions import database

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

CALLS = 300
SETTINGS = """
prompt_evolution:
  triggers: {{cooldown_h: 0}}
  gate: {{start_idle_min: 0, resume_idle_s: 0}}
{models}"""


def _home(folder: Path, url: str) -> Home:
    (folder / "host").mkdir()
    home = find_home(str(folder / "home"), str(folder / "host" / "config.yaml")).ensure()
    write_host(folder / "host", SETTINGS.format(models=SIMULATED_MODELS.format(url=url)))
    engine = make_engine(home.database_url)
    upgrade(engine)
    engine.dispose()
    return home


def _show(title: str, **figures: object) -> None:
    print(f"\n{title}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))  # noqa: T201 - a benchmark reports


def test_machinery_per_model_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journal, gate, preemption and drive cost a few milliseconds beside the bare client's call."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with SimulatorServer(FileNamingWorld(7)) as server:
        home = _home(tmp_path, server.url)
        with Evolution(home) as evolution:
            rules = evolution.rules("file-naming")
            template = parse_template(evolution.template(rules))
            with evolution.database.write() as session:
                bell = start_check(session, rules, evolution.template(rules), now(), trigger="person", forced=True)
        requests = [task_request(rules, template, pair.fields, seed32(1, pair.id)) for pair in load_pairs()] * 2
        requests = requests[:CALLS]
        with OllamaClient(server.url, connect_s=2, read_s=10) as client:
            bare = OllamaAnswerer(client, rules)
            bare(requests[0])
            raw = _timed(lambda: [bare(request) for request in requests])
        with database(home) as opened:
            with opened.write() as session:
                mine = steps.claim(session, bell.step, bell.attempt, now())
            assert mine is not None

            def flow() -> Flow[int]:
                for request in requests:
                    yield from generate(request)
                return 0

            with Answering(home, opened, mine, waited=False) as answering:
                whole = _timed(lambda: drive(flow(), answering))
            with Answering(home, opened, mine, waited=False) as answering:
                replay = _timed(lambda: drive(flow(), answering))
    per_call = (whole - raw) / CALLS * 1000
    _show(
        f"per model call, {CALLS} calls",
        bare_client_ms=round(raw / CALLS * 1000, 2),
        machinery_ms=round(per_call, 2),
        replay_ms=round(replay / CALLS * 1000, 3),
    )

    assert replay < whole / 3


def test_assign_in_process(tmp_path: Path) -> None:
    """Asking which prompt to use is a matter of milliseconds."""
    home = _home(tmp_path, "http://127.0.0.1:9")
    with Evolution(home) as evolution:
        rules = evolution.rules("file-naming")
        with evolution.database.write() as session:
            note_version(session, rules.skill, evolution.template(rules), now())
        times = [_timed(lambda i=i: evolution.assign("file-naming", f"t{i}")) for i in range(200)]
        again = [_timed(lambda i=i: evolution.assign("file-naming", f"t{i}")) for i in range(200)]
    _show(
        "assign",
        fresh_median_ms=round(statistics.median(times) * 1000, 2),
        again_median_ms=round(statistics.median(again) * 1000, 2),
    )

    assert statistics.median(again) < 5 * statistics.median(times)


def test_start_up() -> None:
    """Help costs the processor far less than a command that opens the database."""
    help_cpu = statistics.median(_cpu([sys.executable, "-m", "ops.cli.main", "--help"]) for _ in range(5))
    import_cpu = statistics.median(_cpu([sys.executable, "-c", "import workers.stage"]) for _ in range(3))
    nothing = statistics.median(_cpu([sys.executable, "-c", "pass"]) for _ in range(5))
    _show("CPU, ms", python=round(nothing * 1000), help=round(help_cpu * 1000), stage_engine=round(import_cpu * 1000))

    assert help_cpu < import_cpu


def test_import_footprints() -> None:
    """A job that waits holds far less memory than one that works."""
    waiting = _rss("import rq.cli, workers.jobs, workers.llm.gate")
    idle = _rss("import rq.cli, rq.worker")
    working = _rss("import rq.cli, workers.stage, workers.live, models.stages.mutate, pipeline.mutate")
    _show("RSS, MiB", idle_worker=idle, waiting_job=waiting, working_job=working)

    assert waiting < working


def _rss(code: str) -> float:
    script = f"{code}\nimport psutil; print(psutil.Process().memory_info().rss)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return round(int(out.stdout) / 2**20, 1)


def _cpu(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
