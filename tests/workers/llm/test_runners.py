"""The runners' processes: told apart, seen at work by their processor time and their slots, and never asked too often."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.gate import Reason, Signal, State, Wish
from pipeline.machine_settings import GateSettings
from workers.llm.gate import Gate
from workers.llm.light_http import Unknown
from workers.llm.lists import blob_of
from workers.llm.preempt import Preempted, preemptible
from workers.llm.runners import Runner, Runners, Sample, Unseen, cpu_s, slots_busy, worked

THEIRS, OWN, OTHER = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M", "gemma3:4b"
BLOBS = {THEIRS: "sha256-" + "a" * 64, OWN: "sha256-" + "b" * 64, OTHER: "sha256-" + "c" * 64}
QUICK = GateSettings(ps_poll_s=0.2, ps_timeout_s=0.5, poll_s=0.02)

# A stand-in for llama-server: it burns processor time and says so in its slots while the first letter of its input is b.
STAND_IN = """#!{python} -SE
import http.server, json, sys, threading, time
word = ["i"]
def read():
    for line in sys.stdin:
        word[0] = line[0]
    sys.exit()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        body = json.dumps([{{"id": 0, "is_processing": word[0] == "b"}}]).encode()
        if word[0] == "g":
            body = b"garbage"
        if word[0] == "h":
            time.sleep(2)
        self.send_response(404 if word[0] == "n" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        print(args, file=sys.stderr)
asked = []
port = int(sys.argv[sys.argv.index("--port") + 1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Thread(target=read, daemon=True).start()
print("ready", flush=True)
while True:
    end = time.monotonic() + 0.03
    while word[0] == "b" and time.monotonic() < end:
        pass
    time.sleep(0.07)
"""


class Standing:
    """One running stand-in."""

    def __init__(self, folder: Path, tag: str, port: int) -> None:
        path = folder / "llama-server"
        if not path.exists():
            path.write_text(STAND_IN.format(python=sys.executable))
            path.chmod(0o755)
        blob = f"/models/blobs/{BLOBS[tag]}"
        self.port = port
        self.process = subprocess.Popen(
            [path, "--model", blob, "--port", str(port), "--host", "127.0.0.1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def be(self, word: str) -> None:
        """Be `b`usy or `i`dle, or answer with `g`arbage, `h`anging or `n`ot found."""
        assert self.process.stdin is not None
        print(word, file=self.process.stdin, flush=True)
        time.sleep(0.05)

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(name="stand")
def _stand(tmp_path: Path, script: Any) -> Iterator[Callable[[str], Standing]]:
    """Return a maker of stand-ins for a tag; the scripted server says which file each tag is."""
    made: list[Standing] = []

    def show(handler: Any) -> None:
        tag = next(body for path, body in reversed(script.asked) if path == "/api/show")["model"]
        known = BLOBS.get(tag)
        said = {"modelfile": f"# Modelfile\n\nFROM /models/blobs/{known}\nTEMPLATE x"} if known else {"error": "no"}
        script.say(said, 200 if known else 404)(handler)

    script.acts["/api/show"] = [show]

    def stand(tag: str) -> Standing:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        made.append(Standing(tmp_path, tag, port))
        return made[-1]

    yield stand
    for one in made:
        one.end()


@pytest.fixture(name="gate")
def _gate(tmp_path: Path, script: Any) -> Gate:
    return Gate(tmp_path / "home", QUICK, THEIRS, script.url, own=(OWN,))


def until(fact: Callable[[], bool], seconds: float = 8.0) -> bool:
    """Wait until *fact* holds."""
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        time.sleep(0.05)
    return fact()


def reading(gate: Gate, signal: Signal) -> Any:
    """Return one reading of the gate."""
    return next(one for one in gate.ask(Wish()).readings if one.signal is signal)


def test_the_users_runners_are_told_from_evolutions(stand: Any, script: Any) -> None:
    """The foreground's, and every other that evolution does not ask."""
    standing = {tag: stand(tag).process.pid for tag in BLOBS}
    runners = Runners(script.url, THEIRS, (OWN,), 1.0)

    assert {one.pid for one in runners.users()} == {standing[THEIRS], standing[OTHER]}
    assert {one.pid for one in runners.users(but=(OTHER,))} == {standing[THEIRS]}
    assert {one.pid for one in Runners(script.url, OWN, (OWN,), 1.0).users()} == set(standing.values())


def test_another_servers_runners_are_not_counted(stand: Any, script: Any) -> None:
    """Their parent serves another port."""
    stand(THEIRS)

    assert Runners("http://127.0.0.1:9", THEIRS, (), 0.2).users() == []


def test_a_server_elsewhere_shows_no_runners() -> None:
    """Its processes are on another machine."""
    with pytest.raises(Unseen, match="another machine"):
        Runners("http://10.0.0.5:11434", THEIRS, (), 0.2).users()


def test_a_runner_that_ends_and_one_that_begins_are_seen(stand: Any, script: Any) -> None:
    """At the next look."""
    runners = Runners(script.url, THEIRS, (), 1.0)
    first = stand(THEIRS)
    assert len(runners.users()) == 1
    first.end()
    assert runners.users() == []
    stand(THEIRS)
    assert len(runners.users()) == 1


def test_processor_time_tells_work_from_rest(stand: Any, script: Any) -> None:
    """A tenth of a core at work, nothing at rest."""
    one = stand(THEIRS)
    (runner,) = Runners(script.url, THEIRS, (), 1.0).users()

    def sampled(seconds: float) -> bool:
        before = Sample(time.monotonic(), cpu_s(runner) or 0.0)
        time.sleep(seconds)
        return worked(before, Sample(time.monotonic(), cpu_s(runner) or 0.0), 0.05)

    assert not sampled(0.5)
    one.be("b")
    assert sampled(0.5)
    one.end()
    assert cpu_s(runner) is None


def test_slots_tell_exactly(stand: Any, script: Any) -> None:
    """Busy, idle, not told, garbage, and gone."""
    one = stand(THEIRS)
    (runner,) = Runners(script.url, THEIRS, (), 1.0).users()
    assert slots_busy(runner) is False
    one.be("b")
    assert slots_busy(runner) is True
    one.be("n")
    assert slots_busy(runner) is None
    for word in ("g", "h"):
        one.be(word)
        with pytest.raises(Unknown):
            slots_busy(runner)
    one.end()
    assert slots_busy(runner) is False
    assert slots_busy(Runner(1, 0.0, BLOBS[THEIRS], None)) is None


@pytest.mark.parametrize("tag", [THEIRS, OTHER])
def test_a_warm_models_running_request_shuts_the_gate(gate: Gate, stand: Any, tag: str) -> None:
    """Which Ollama's list cannot show; the quiet time counts from its end."""
    one = stand(tag)
    assert until(lambda: gate.ask(Wish()).open, 15)  # a young runner was started for the user
    one.be("b")

    assert until(lambda: gate.ask(Wish()).reason is Reason.BUSY)
    one.be("i")
    assert until(lambda: gate.ask(Wish()).open)
    assert gate.ask(Wish(quiet_s=60)).reason is Reason.RECENT


def test_evolutions_own_runner_shuts_nothing(gate: Gate, stand: Any) -> None:
    """Also when it is still at a request that a dead job had made."""
    one = stand(OWN)
    one.be("b")
    gate.ask(Wish())
    time.sleep(0.4)

    assert gate.ask(Wish()).open
    assert reading(gate, Signal.RUNNER_CPU).state is State.QUIET


def test_slots_are_never_asked_faster_than_is_good_for_them(
    gate: Gate, stand: Any, tmp_path: Path, script: Any
) -> None:
    """However many gates read: at least 1.2 s apart, and not at all while a call of ours is on that model."""
    stand(THEIRS)
    others = [Gate(tmp_path / "home", QUICK, THEIRS, script.url, own=(OWN,)) for _ in range(2)]
    seen: set[float] = set()
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        seen |= {reading(one, Signal.SLOTS).at for one in (gate, *others)}
    ordered = sorted(seen)
    assert 2 <= len(ordered) <= 3
    assert all(b - a >= 1.2 for a, b in itertools.pairwise(ordered))

    with gate.own_call(THEIRS):
        before = reading(gate, Signal.SLOTS).at
        time.sleep(1.4)
        assert reading(gate, Signal.SLOTS).at == before


def test_slots_that_fail_after_they_worked_keep_the_gate_shut(gate: Gate, stand: Any) -> None:
    """Fail closed, and the detail names the probe."""
    one = stand(THEIRS)
    assert until(lambda: reading(gate, Signal.SLOTS).state is State.QUIET)
    one.be("g")

    assert until(lambda: gate.ask(Wish()).reason is Reason.UNKNOWN)
    assert "slots" in gate.ask(Wish()).detail


def test_a_request_of_the_users_interrupts_ours_within_a_second(gate: Gate, stand: Any) -> None:
    """Seen by processor time alone: no lease, and the list says nothing."""
    one = stand(THEIRS)
    began: list[float] = []

    def begin() -> None:
        time.sleep(0.6)
        began.append(time.monotonic())
        one.be("b")

    thread = threading.Thread(target=begin)
    thread.start()
    with pytest.raises(Preempted) as caught, preemptible(gate, OWN):
        time.sleep(10)
    came = time.monotonic()
    thread.join()

    assert caught.value.reason is Reason.BUSY
    assert came - began[0] < 3.0  # `make bench` takes the second at its word


def test_a_model_that_is_loaded_for_the_user_interrupts_ours(gate: Gate, stand: Any) -> None:
    """Its process is there before Ollama lists it."""
    thread = threading.Thread(target=lambda: (time.sleep(0.3), stand(THEIRS)))
    thread.start()
    with pytest.raises(Preempted), preemptible(gate, OWN):
        time.sleep(10)
    thread.join()


def test_where_no_runner_can_be_seen_the_probes_are_absent(gate: Gate, script: Any) -> None:
    """Ollama lists the model, and none of its processes is ours to see: the list alone is left."""
    script.acts["/api/ps"] = [script.say({"models": [{"name": THEIRS, "expires_at": "2030-01-01T00:00:00Z"}]})]
    script.acts["/api/show"] = [script.say({"modelfile": f"FROM /x/{BLOBS[THEIRS]}"})]

    states = {one.signal: one.state for one in gate.ask(Wish()).readings}
    assert states[Signal.RUNNER_CPU] is State.ABSENT
    assert states[Signal.SLOTS] is State.ABSENT


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("FROM /a/b/sha256-12", "sha256-12"),
        ('FROM "/a b/sha256-12"', "sha256-12"),
        ("# FROM /a/sha256-12", ""),
        ("FROM qwen:3b", ""),
        ("", ""),
    ],
)
def test_the_file_of_a_tag_stands_in_its_modelfile(line: str, name: str) -> None:
    """In the FROM line and in no comment."""
    assert blob_of(f"# Modelfile\n{line}\nTEMPLATE x") == name


def test_a_look_at_known_runners_costs_little(stand: Any, script: Any) -> None:
    """The second look reads no process anew."""
    stand(THEIRS)
    runners = Runners(script.url, THEIRS, (OWN,), 1.0)
    runners.users()
    time.sleep(2.1)
    runners.users()
    began = time.process_time()
    for _ in range(20):
        runners.users()

    assert (time.process_time() - began) / 20 < 0.02
