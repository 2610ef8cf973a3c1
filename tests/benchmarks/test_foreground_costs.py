"""What the user feels: a linting client alone, and beside an evolution that works whenever it may. Simulated models.

The worst case on purpose: evolution may resume a second after each use, so nearly every call of the client meets one of
evolution's in flight; by default it waits a minute. The client's model is also the one that evolution judges and scores
by, so the calls queue for one runner.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.demo import scene as demo
from ops.demo.actors import Host
from ops.demo.scene import SKILL, Scene, load_pairs
from pipeline.skills import parse_template
from workers.client import Evolution
from workers.lease import foreground

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3000)]

CALLS = int(os.environ.get("EVOCTL_LINT_CALLS", "40"))
QWEN = "qwen2.5-coder:3b"
SETTINGS = """
prompt_evolution:
  triggers: {{check_every_h: 1, cooldown_h: 0}}
  search: {{mode: promptbreeder, generations: 200, population: 6, fitness_samples: 20, patience: 99, budget_calls: 100000}}
  gate: {{start_idle_min: 0, resume_idle_s: 1, wait_s: 5}}
  work: {{tick_s: 0.25}}
{models}"""
LINT = "Lint this file and list what breaks the rules. " * 12  # 124 tokens, answered by ten: what is felt most
NOTE = " ".join(f"We should move test {number} of the module to the other folder." for number in range(20))
FILE = (
    f"List every action, one line each.\n---\nTranscript: {NOTE}"  # 280 tokens, answered by 120: as long as real files
)
LATE_S = 1.2  # by which llama-server notices that a client has gone while its prompt is read: measured, 0.7 to 1.8 s


def lint(port: int, name: int = 0, text: str = LINT) -> float:
    """Send one request as a linter does, for a file that it has not seen, and return its seconds."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body: dict[str, object] = {"model": QWEN, "prompt": f"File {name}. {text}", "stream": False}
    body["options"] = {"num_predict": 120, "seed": 1, "temperature": 0}
    connection.request("POST", "/api/generate", json.dumps(body))
    answer = connection.getresponse()
    json.loads(answer.read())
    connection.close()
    assert answer.status == 200
    return time.monotonic() - began


def measured(port: int, held: Callable[[], contextlib.AbstractContextManager[None]], text: str) -> list[float]:
    """Lint at random moments, two to four seconds apart."""
    draw, found = random.Random(1), []  # noqa: S311 - seeded on purpose
    for _ in range(CALLS):
        time.sleep(draw.uniform(2.0, 4.0))
        with held():
            found.append(lint(port, draw.randrange(10**9), text))
    return found


def shown(name: str, seconds: list[float], alone: list[float] | None = None) -> tuple[float, float]:
    """Print p50 and p99, and what was added."""
    p50, p99 = statistics.median(seconds), sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    words = f"{name} (simulated): p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
    if alone:
        before, before99 = shown("", alone)
        words += f"; added p50 {(p50 / before - 1) * 100:+.1f} %, p99 {(p99 / before99 - 1) * 100:+.1f} %"
    if name:
        print(words)  # noqa: T201 - this is the result
    return p50, p99


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Scene, Callable[[], int]]]:
    """Run a whole pipeline that searches for hours, on models with a pace; the count is evolution's finished calls."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain = demo.simulator

    def paced(port_file: Path, requests: Path, seed: int, speed: int) -> list[str]:
        words = plain(port_file, requests, seed, speed)
        return [
            *words,
            "--prefill-tokens-per-second",
            "400",
            "--load-seconds",
            "0.5",
            "--runners",
            "--runner-cpu",
            "0.2",
        ]

    monkeypatch.setattr(demo, "simulator", paced)
    with demo.scene(tmp_path / "scene", real=False, seed=7, settings=SETTINGS, speed=0) as scene:
        yield scene, lambda: _finished(scene)


def _finished(scene: Scene) -> int:
    lines = scene.requests.read_text(encoding="utf-8").splitlines()
    return sum(e["event"] == "end" and e["outcome"] == "done" and e["inference"] for e in map(json.loads, lines))


def _begin(scene: Scene) -> None:
    """Bring in a history that has drifted, at full speed, then give the models their pace."""
    with Evolution(scene.home) as evolution:
        rules = evolution.rules(SKILL)
        host = Host(scene.url, rules, 7)
        template = parse_template(evolution.template(rules))
        evolution.feedback(SKILL, host.run(template, load_pairs(), version=1))
        host.close()
    # accuracy is far too low: the drift check starts the search by itself
    _turn(scene, tokens_per_second=40.0)


def _turn(scene: Scene, **knobs: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(scene.url.rpartition(":")[2]))
    connection.request("POST", "/_simulator/knobs", json.dumps(knobs))
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    ("text", "late_s"), [(LINT, 0.0), (FILE, 0.0), (FILE, LATE_S)], ids=["short", "file", "file-late"]
)
def test_what_the_user_feels(place: tuple[Scene, Callable[[], int]], text: str, late_s: float) -> None:
    """Alone, beside an evolution with the lease, and beside one that only polls; evolution gets on meanwhile."""
    scene, finished = place
    port = int(scene.url.rpartition(":")[2])
    _turn(scene, tokens_per_second=40.0)
    lint(port)  # loads the model
    alone = measured(port, contextlib.nullcontext, text)
    _turn(scene, tokens_per_second=0.0)
    _begin(scene)
    _turn(scene, prefill_cancel_seconds=late_s)
    results = {"alone": alone}
    for name, held in (("lease", lambda: foreground(scene.home.root)), ("polling only", contextlib.nullcontext)):
        time.sleep(5)
        before = finished()
        results[name] = measured(port, held, text)
        print(f"{name}: evolution finished {finished() - before - CALLS} calls meanwhile")  # noqa: T201 - same
    shown("alone", alone)
    lease = shown("beside evolution, lease", results["lease"], alone)
    polling = shown("beside evolution, polling only", results["polling only"], alone)

    assert lease[0] < 1.5 * statistics.median(alone)
    assert polling[0] < 4 * statistics.median(alone)


def test_what_waiting_costs(place: tuple[Scene, Callable[[], int]]) -> None:
    """A job that waits for the user holds little memory and uses no processor time to speak of."""
    import psutil  # noqa: PLC0415 - this test alone

    scene, _ = place
    with foreground(scene.home.root):
        _begin(scene)
        time.sleep(12)  # the first wait is with everything loaded; the next ones are not
        worker = next(one.child for one in scene.workers.processes if one.name == "worker")
        assert worker is not None
        samples: list[tuple[float, float, float]] = []
        end = time.monotonic() + 15
        while time.monotonic() < end:
            with contextlib.suppress(psutil.Error, IndexError):
                horse = psutil.Process(worker.pid).children()[0]
                memory = horse.memory_full_info()
                samples.append((memory.pss / 2**20, memory.uss / 2**20, sum(horse.cpu_times()[:2])))
            time.sleep(0.3)
    least = min(samples)
    print(  # noqa: T201 - this is the result
        f"waiting job: USS {least[1]:.1f} MiB (its own), PSS {least[0]:.1f} MiB (with its half of the worker's), CPU "
        f"{least[2]:.2f} s; worker {psutil.Process(worker.pid).memory_full_info().pss / 2**20:.1f} MiB"
    )

    assert least[1] < 40


POLLED = """
import http.client, json, sys, time
for line in sys.stdin:
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    body = {"model": sys.argv[2], "prompt": "lint this " * 30, "stream": False, "options": {"num_predict": 30}}
    connection.request("POST", "/api/generate", json.dumps(body))
    connection.getresponse().read()
    print(began, flush=True)
"""


def test_how_soon_a_request_that_is_only_seen_ends_ours(place: tuple[Scene, Callable[[], int]]) -> None:
    """From a request of the user's on a warm model to the end of evolution's call to its own model: p50, p99."""
    from ops.simulator.requestlog import Entry  # noqa: F401, PLC0415 - the log's lines are its fields
    from pipeline.gate import Wish  # noqa: PLC0415 - this test alone
    from pipeline.settings import GateSettings  # noqa: PLC0415 - same
    from workers.llm.gate import Gate  # noqa: PLC0415 - same
    from workers.llm.preempt import Preempted, preemptible  # noqa: PLC0415 - same

    scene, _ = place
    port, trials = int(scene.url.rpartition(":")[2]), int(os.environ.get("EVOCTL_PREEMPT_TRIALS", "30"))
    own = "smollm2:360m-instruct-q4_K_M"
    _turn(scene, tokens_per_second=20.0)
    lint(port)
    gate = Gate(scene.home.root, GateSettings(), QWEN, scene.url, own=(own,))
    found: list[float] = []
    draw = random.Random(3)  # noqa: S311 - seeded on purpose
    with subprocess.Popen([sys.executable, "-c", POLLED, str(port), QWEN], stdin=-1, stdout=-1, text=True) as user:
        assert user.stdin is not None
        assert user.stdout is not None
        for _ in range(trials):
            while not gate.ask(Wish()).open:
                time.sleep(0.1)
            timer = threading.Timer(draw.uniform(0.8, 1.8), lambda: print("1", file=user.stdin, flush=True))
            timer.start()
            with contextlib.suppress(Preempted), preemptible(gate, own):
                time.sleep(15)
            came = time.monotonic()
            timer.join()
            found.append(came - float(user.stdout.readline()))
        user.stdin.close()
    found.sort()
    at = {part: found[min(len(found) - 1, int(len(found) * part / 100))] for part in (50, 90, 99)}
    print("seen by polling only, ms:", {f"p{part}": round(s * 1000) for part, s in at.items()})  # noqa: T201 - the result

    assert at[50] < 3
