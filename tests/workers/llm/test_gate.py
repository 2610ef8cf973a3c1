"""The gate: what the list of loaded models and the lease say of the user, and what is remembered of it."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.gate import Reading, Reason, Signal, State, Wish
from pipeline.machine_settings import GateSettings
from workers.lease import LEASE as LEASE_FILE
from workers.lease import foreground
from workers.llm.gate import Gate
from workers.llm.memory import MemoryFile
from workers.llm.ps import Look, OwnCall, Sign, compare

THEIRS = "qwen2.5-coder:3b"
QUICK = GateSettings(ps_poll_s=0.2, ps_timeout_s=0.3, poll_s=0.02)


def listed(expires: float | None, name: str = THEIRS) -> dict[str, object]:
    """Return a list with one model, or an empty one."""
    if expires is None:
        return {"models": []}
    text = dt.datetime.fromtimestamp(expires, dt.UTC).isoformat()
    return {"models": [{"name": name, "model": name, "expires_at": text, "size": 1, "digest": "d"}]}


def gate_at(root: Path, script: Any) -> Gate:
    """Return a gate that watches the user's model on the scripted server."""
    return Gate(root, QUICK, THEIRS, script.url)


def call(started: float, ended: float | None, *, cancelled: bool = False) -> OwnCall:
    """Return a call of evolution's own."""
    return OwnCall(started=started, ended=ended, pid=os.getpid(), cancelled=cancelled)


def look(at: float, expires: float | None, *, overdue: bool = False) -> Look:
    """Return a look at the list."""
    return Look(at=at, expires=expires, overdue=overdue)


# What two looks say


def test_an_unchanged_expiry_says_nothing_ended() -> None:
    """A model that only waits to be dropped is quiet."""
    assert compare(look(10, 300), look(11, 300), (), None).sign is Sign.QUIET


def test_a_first_look_at_a_listed_model_counts_as_use() -> None:
    """It may have worked a moment ago; quiet is counted from now."""
    found = compare(None, look(10, 300), (), None)

    assert (found.sign, found.used_at) == (Sign.USED, 10)


def test_an_absent_model_was_not_used_for_its_keep_alive() -> None:
    """Ollama's five minutes unless another value is known."""
    assert compare(None, look(1000, None), (), None).used_at == 700
    assert compare(None, look(1000, None), (), 60.0).used_at == 940
    assert compare(look(999, None), look(1000, None), (), None).used_at is None


def test_an_expiry_that_moves_with_the_clock_is_the_first_request_after_a_load() -> None:
    """Until that request ends the server reports now + keep-alive."""
    found = compare(look(10, 310), look(11, 311.01), (), None)

    assert (found.sign, found.used_at) == (Sign.BUSY, 11)


def test_an_expiry_in_the_past_is_a_long_request() -> None:
    """An idle model would have been dropped."""
    assert compare(look(10, 5), look(11, 5, overdue=True), (), None).sign is Sign.BUSY
    assert compare(look(10, 5), look(11, 5, overdue=True), (call(3, None),), None).sign is Sign.QUIET


def test_an_expiry_that_jumped_is_a_request_that_ended() -> None:
    """With a known keep-alive the end is known to the second."""
    assert compare(look(10, 200), look(40, 330), (), None).used_at == 40
    assert compare(look(10, 200), look(40, 330), (), 300.0).used_at == 30
    assert compare(look(10, 200), look(40, 330), (), 60.0).used_at == 40  # would have ended after the look


def test_a_model_that_appears_was_loaded_for_the_user() -> None:
    """Unless a call of ours did it."""
    assert compare(look(10, None), look(11, 311), (), None).sign is Sign.USED
    assert compare(look(10, None), look(11, 311), (call(10.5, None),), None).sign is Sign.QUIET
    assert compare(look(10, None), look(11, 311), (call(10.1, 10.9),), None).sign is Sign.QUIET


def test_our_own_calls_are_subtracted() -> None:
    """An end of ours between two looks explains the change, and teaches the keep-alive."""
    found = compare(look(10, 200), look(11, 310.5), (call(5, 10.5),), None)

    assert (found.sign, found.used_at, found.keep_alive) == (Sign.QUIET, None, 300.0)


def test_a_keep_alive_is_learnt_only_right_after_our_call() -> None:
    """Later the user may have come in between, and the change would be theirs."""
    found = compare(look(10, 200), look(14, 312.5), (call(5, 10.5),), None)

    assert (found.sign, found.keep_alive) == (Sign.QUIET, None)


def test_a_users_call_right_after_ours_is_seen() -> None:
    """The expiry is later than our end explains."""
    found = compare(look(10, 200), look(20, 318), (call(5, 10.5),), 300.0)

    assert (found.sign, found.used_at) == (Sign.USED, 18)


def test_a_call_we_dropped_may_end_late() -> None:
    """A dropped prefill runs on for up to two seconds on the server."""
    assert compare(look(10, 200), look(11, 312), (call(5, 9.8, cancelled=True),), 300.0).sign is Sign.QUIET
    assert compare(look(10, 200), look(11, 312), (call(5, 9.8),), 300.0).sign is Sign.USED


def test_own_calls_of_a_clock_that_was_put_back_hide_nobody() -> None:
    """They ended in the future, so they explain no model that appears now."""
    found = compare(look(1000, None), look(1001, 1301), (call(4600, 4601),), 300.0)

    assert (found.sign, found.used_at) == (Sign.USED, 1001)


def test_a_clock_that_was_put_back_is_no_news() -> None:
    """The looks cannot be compared; quiet is counted anew."""
    assert compare(look(5000, 5300), look(1400, 5300), (), 300.0).used_at == 1400


@dataclass
class Listing:
    """Ollama's rule for `expires_at`, and what really happened."""

    keep_alive: float
    expires: float | None = None
    first: bool = False
    ends: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Start a request; a load when the model is not there."""
        self.first = self.expires is None

    def end(self, at: float) -> None:
        """End the request."""
        self.expires, self.first = at + self.keep_alive, False

    def shown(self, at: float, *, running: bool) -> float | None:
        """Return what a look at *at* sees."""
        if running and self.first:
            return at + self.keep_alive
        if not running and self.expires is not None and self.expires <= at:
            self.expires = None
        return self.expires


REQUESTS = st.lists(
    st.tuples(st.booleans(), st.floats(0.6, 90.0), st.floats(0.3, 40.0)), min_size=1, max_size=25
)  # whose, pause before it, how long it takes


@settings(max_examples=150, deadline=None, derandomize=True)
@given(requests=REQUESTS, keep_alive=st.sampled_from([5.0, 30.0, 300.0]), step=st.sampled_from([0.5, 1.0, 7.0]))
def test_the_users_calls_are_seen_and_ours_are_not(
    requests: list[tuple[bool, float, float]], keep_alive: float, step: float
) -> None:
    """After any history, looking every *step* seconds, each end of the user's shows at the next look, and no end of ours.

    Left out are ends of the user's that a call of ours hides: one of ours ends before the next look.
    """
    server = Listing(keep_alive)
    own: list[OwnCall] = []
    before, known, at, next_look = look(0.0, None), None, 0.0, step
    seen: list[tuple[float, float]] = []  # looks that found use: when, and the last use they name
    spans: list[tuple[bool, float, float]] = []

    def look_until(until: float, *, running: bool, ours: OwnCall | None) -> None:
        nonlocal before, known, next_look
        while next_look <= until:
            now = look(next_look, server.shown(next_look, running=running))
            now = replace(now, overdue=now.expires is not None and now.expires < next_look - 1)
            found = compare(before, now, [*own, *([ours] if ours else [])], known)
            if found.sign is not Sign.QUIET:
                seen.append((now.at, found.used_at or 0.0))
            before, known, next_look = now, found.keep_alive, next_look + step

    for ours, pause, length in requests:
        look_until(at + pause, running=False, ours=None)
        at += pause
        server.begin()
        look_until(at + length, running=True, ours=call(at, None) if ours else None)
        server.end(at + length)
        spans.append((ours, at, at + length))
        own += [call(at, at + length)] if ours else []
        at += length
    look_until(at + step, running=False, ours=None)

    _no_use_without_a_user(seen, spans, step)
    _every_end_is_seen(seen, spans, step, keep_alive)


def _no_use_without_a_user(
    seen: list[tuple[float, float]], spans: list[tuple[bool, float, float]], step: float
) -> None:
    for at, _ in seen:
        assert any(not ours and start <= at and at - step <= end + 1e-6 for ours, start, end in spans), at


def _every_end_is_seen(
    seen: list[tuple[float, float]], spans: list[tuple[bool, float, float]], step: float, keep_alive: float
) -> None:
    for ours, _, end in spans:
        shown = -(-end // step) * step  # the first look after the end
        hidden = any(mine and end < stop and start <= shown + 3 for mine, start, stop in spans) or keep_alive <= step
        hidden = hidden or any(mine and stop >= shown - step - 3 and start < end for mine, start, stop in spans)
        if not ours and not hidden:
            assert any(shown - 1e-6 <= at <= shown + step and used >= end - 1 for at, used in seen), (end, seen)


# The gate


def test_an_idle_machine_is_open(tmp_path: Path, script: Any) -> None:
    """The model is not loaded, and nobody holds the lease."""
    reading = gate_at(tmp_path, script).ask(Wish(quiet_s=60.0))

    assert (reading.open, reading.reason, reading.waits_s) == (True, Reason.OPEN, 0.0)


def test_the_lease_closes_the_gate_and_its_end_counts_as_use(tmp_path: Path, script: Any) -> None:
    """While it is held nobody asks Ollama; afterwards the quiet period runs from its end."""
    gate = gate_at(tmp_path, script)
    with foreground(tmp_path):
        assert gate.ask(Wish(quiet_s=0.0)).reason == Reason.LEASE
        assert script.asked == []

    reading = gate.ask(Wish(quiet_s=60.0))
    assert reading.reason == Reason.RECENT
    assert reading.waits_s == pytest.approx(60.0, abs=1.0)
    assert gate.ask(Wish(quiet_s=0.0)).open


def test_a_killed_holder_counts_too(tmp_path: Path, script: Any) -> None:
    """It never gave the lease back, so the last look that saw it held is the time of use."""
    gate = gate_at(tmp_path, script)
    gate.ask(Wish(quiet_s=60.0))
    with foreground(tmp_path):
        gate.ask(Wish(quiet_s=60.0))
    os.utime(tmp_path / LEASE_FILE, (1.0, 1.0))

    assert gate.ask(Wish(quiet_s=60.0)).reason == Reason.RECENT


def test_a_lease_that_cannot_be_asked_closes_the_gate(tmp_path: Path, script: Any) -> None:
    """The detail names the error."""
    (tmp_path / LEASE_FILE).mkdir(parents=True)

    reading = gate_at(tmp_path, script).ask(Wish(quiet_s=0.0))
    assert (reading.open, reading.reason) == (False, Reason.LEASE)
    assert "directory" in reading.detail


@pytest.mark.parametrize("kind", ["hangs", "status", "html", "shape", "cut"])
def test_a_probe_that_fails_keeps_the_gate_closed(tmp_path: Path, script: Any, kind: str) -> None:
    """The server is up, but what it does cannot be known."""
    answers = {
        "hangs": script.stall(),
        "status": script.say({"error": "no"}, 500),
        "html": script.say_text("<html>"),
        "shape": script.say({"models": [{"name": THEIRS}]}),
        "cut": script.stream(cut=True),
    }
    script.acts["/api/ps"] = [answers[kind]]
    started = time.monotonic()

    reading = gate_at(tmp_path, script).ask(Wish(quiet_s=0.0))

    assert (reading.open, reading.reason) == (False, Reason.UNKNOWN)
    assert time.monotonic() - started < 1.0


def test_a_probe_that_recovers_opens_the_gate(tmp_path: Path, script: Any) -> None:
    """Trouble is forgotten with the next good list."""
    script.acts["/api/ps"] = [script.say({}, 500), script.say({"models": None})]
    gate = gate_at(tmp_path, script)
    assert gate.ask(Wish(quiet_s=0.0)).reason == Reason.UNKNOWN

    time.sleep(QUICK.ps_poll_s)
    assert gate.ask(Wish(quiet_s=0.0)).open


def test_a_server_that_is_down_is_used_by_nobody(tmp_path: Path) -> None:
    """The gate opens, and the client reports the server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gate = Gate(tmp_path, QUICK, THEIRS, f"http://127.0.0.1:{taken.getsockname()[1]}")

        assert gate.ask(Wish(quiet_s=60.0)).open


def test_a_model_that_just_appeared_closes_the_gate(tmp_path: Path, script: Any) -> None:
    """It was loaded for the user between two looks."""
    script.acts["/api/ps"] = [script.say(listed(None)), script.say(listed(time.time() + 300))]
    gate = gate_at(tmp_path, script)
    assert gate.ask(Wish(quiet_s=60.0)).open

    time.sleep(QUICK.ps_poll_s)
    reading = gate.ask(Wish(quiet_s=60.0))
    assert (reading.reason, reading.open) == (Reason.RECENT, False)
    assert 59 < (reading.waits_s or 0.0) <= 60


def test_a_request_in_flight_closes_the_gate_even_without_a_quiet_period(tmp_path: Path, script: Any) -> None:
    """An expiry in the past, yet listed."""
    script.acts["/api/ps"] = [script.say(listed(time.time() - 5, "Qwen2.5-Coder:3b"))]
    gate = gate_at(tmp_path, script)
    gate.ask(Wish(quiet_s=0.0))

    time.sleep(QUICK.ps_poll_s)
    assert gate.ask(Wish(quiet_s=0.0)).reason == Reason.BUSY


def test_other_models_do_not_matter(tmp_path: Path, script: Any) -> None:
    """Only the user's model is watched."""
    script.acts["/api/ps"] = [script.say(listed(time.time() + 60, "smollm2:360m"))]

    assert gate_at(tmp_path, script).ask(Wish(quiet_s=60.0)).open


def test_the_list_is_asked_no_faster_than_set(tmp_path: Path, script: Any) -> None:
    """However many gates and processes read."""
    gates = [gate_at(tmp_path, script), gate_at(tmp_path, script)]
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        for gate in gates:
            gate.ask(Wish(quiet_s=0.0))

    assert 2 <= len(script.bodies("/api/ps")) <= 4


def test_what_was_seen_outlives_the_job(tmp_path: Path, script: Any) -> None:
    """A fresh gate knows the last expiry, and tells "nothing ended" from "seen for the first time"."""
    expires = time.time() + 300
    script.acts["/api/ps"] = [script.say(listed(expires))]
    gate_at(tmp_path, script).ask(Wish(quiet_s=0.5))
    time.sleep(0.6)

    assert gate_at(tmp_path, script).ask(Wish(quiet_s=0.5)).open


def test_own_calls_are_known_to_the_next_job(tmp_path: Path, script: Any) -> None:
    """A judge's call to the user's model does not keep the next job waiting."""
    soon = time.time() + 300
    script.acts["/api/ps"] = [script.say(listed(None)), script.say(listed(soon))]
    gate = gate_at(tmp_path, script)
    gate.ask(Wish(quiet_s=60.0))
    with gate.own_call(THEIRS.upper()):
        time.sleep(QUICK.ps_poll_s)

    assert gate_at(tmp_path, script).ask(Wish(quiet_s=60.0)).open


def test_calls_to_evolutions_own_models_are_not_written_down(tmp_path: Path, script: Any) -> None:
    """They do not touch the user's model."""
    gate = gate_at(tmp_path, script)
    with gate.own_call("smollm2:360m"):
        pass

    assert not (tmp_path / "gate.json").exists()


def test_the_call_of_a_dead_process_has_ended(tmp_path: Path, script: Any) -> None:
    """A job killed in a call does not hide the user for ever."""
    code = (
        "import os, sys, time, pathlib; from workers.llm.gate import Gate; from pipeline.settings import GateSettings\n"
        "Gate(pathlib.Path(sys.argv[1]), GateSettings(), sys.argv[2], sys.argv[3]).note_own_call(sys.argv[2], time.time())"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), THEIRS, script.url], check=True)
    now = time.time()
    script.acts["/api/ps"] = [script.say(listed(now - 60))]
    gate = gate_at(tmp_path, script)
    gate.ask(Wish(quiet_s=0.0))

    (own,) = json.loads((tmp_path / "gate.json").read_text())["own"]
    assert own["ended"] is not None
    time.sleep(QUICK.ps_poll_s)
    assert gate.ask(Wish(quiet_s=0.0)).reason == Reason.BUSY


def test_a_broken_memory_is_an_empty_one(tmp_path: Path, script: Any) -> None:
    """So is one about another model or server."""
    gate_at(tmp_path, script).ask(Wish(quiet_s=0.0))
    for text in ("{", "[]", '{"subject": 1}', (tmp_path / "gate.json").read_text().replace("qwen", "other")):
        (tmp_path / "gate.json").write_text(text)
        assert gate_at(tmp_path, script).ask(Wish(quiet_s=0.0)).open
        time.sleep(0.01)


def test_a_time_of_use_ahead_of_the_clock_counts_once(tmp_path: Path, script: Any) -> None:
    """A clock that was put back by an hour delays the gate by the quiet period, not by an hour."""
    with foreground(tmp_path):
        pass
    ahead = time.time() + 3600
    os.utime(tmp_path / LEASE_FILE, (ahead, ahead))
    gate = gate_at(tmp_path, script)

    assert gate.ask(Wish(quiet_s=0.3)).reason == Reason.RECENT
    time.sleep(0.35)
    assert gate.ask(Wish(quiet_s=0.3)).open


def test_a_remote_servers_clock_is_read_from_its_date(tmp_path: Path, script: Any) -> None:
    """Whether an expiry lies in the past is a question to the server's clock."""
    from workers.llm import light_http, ps  # noqa: PLC0415 - the unit itself

    assert ps._server_time("Fri, 21 Aug 2026 18:48:22 GMT", 5.0) == 1787338102.0
    assert ps._server_time("", 5.0) == 5.0
    assert light_http.is_here(script.url)
    assert not light_http.is_here("http://10.0.0.5:11434")


def test_a_probe_that_never_worked_stays_absent_however_often_it_is_tried(tmp_path: Path) -> None:
    """One that worked and fails is unknown, from the first failure on; one that was absent and works counts from then."""
    file = MemoryFile(tmp_path, "x")

    def read(state: State, at: float) -> Reading:
        with file.changing() as changes:
            return changes.read(Reading(signal=Signal.POWER, state=state, at=at))

    assert [read(State.UNKNOWN, at).state for at in (1.0, 2.0)] == [State.ABSENT] * 2
    assert read(State.ABSENT, 3.0).state is State.ABSENT  # as when its time is noted before it is tried again
    assert read(State.UNKNOWN, 4.0).state is State.ABSENT
    assert read(State.QUIET, 5.0).state is State.QUIET
    failed = [read(State.UNKNOWN, at) for at in (6.0, 7.0)]
    assert [(one.state, one.unknown_since) for one in failed] == [(State.UNKNOWN, 6.0)] * 2
    assert read(State.BUSY, 8.0).unknown_since is None


def test_nothing_heavy_is_imported() -> None:
    """A job that must wait does so before the clients are loaded."""
    code = "import sys, workers.llm.gate, workers.llm.preempt; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"ollama", "httpx", "pydantic", "tenacity", "sqlalchemy", "rq", "numpy"} & set(run.stdout.split())


def test_a_server_that_does_not_run_is_said_to_be_none(tmp_path: Path, script: Any) -> None:
    """Where the connection is refused there was no list to read; where one was read, the words say that."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and who asks is refused
        down = Gate(tmp_path / "down", QUICK, THEIRS, f"http://127.0.0.1:{free.getsockname()[1]}").ask(Wish())
    up = gate_at(tmp_path / "up", script).ask(Wish())

    said = [
        [f"{one.source}: {one.value}" for one in found.readings if one.signal is Signal.MODEL_LIST]
        for found in (down, up)
    ]
    assert said == [["Ollama's address: no server runs there, so nobody uses it"], ["Ollama's list: nobody uses it"]]
    assert down.open
