"""Long-running commands, as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.cli.processes import search_path
from ops.valkey import prepare, server
from tests.ports import free_port
from workers.lease import lease_held
from workers.lock import TICK_LOCK, Lock, held

EVOCTL = [sys.executable, "-m", "ops.cli"]
PATIENCE_S = 30.0


def until(true: Callable[[], object]) -> None:
    """Wait for something that is about to become true."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_foreground_passes_the_exit_code_on(evoctl: Any, host: object) -> None:
    """A command's own code, 128 + n for a signal, 127 and 126 where it cannot be run."""
    for script, code in (("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)):
        assert evoctl("foreground", "--", "sh", "-c", script).code == code
    assert evoctl("foreground", "no-such-command-here").code == 127
    assert evoctl("foreground", "/").code == 126
    assert evoctl("foreground").code == 2


def test_foreground_holds_the_lease_and_passes_signals_on(host: Any) -> None:
    """While the command runs the lease is held; SIGTERM reaches the command, and the lease ends with it."""
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*EVOCTL, "foreground", "--", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while_it_ran = lease_held(host.root)
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE_S)

    assert (while_it_ran, code, lease_held(host.root)) == (True, 9, False)


def test_foreground_leaves_the_options_of_the_command_alone(evoctl: Any, host: object) -> None:
    """What stands after the command's name is the command's."""
    assert (
        evoctl("foreground", sys.executable, "-c", "import sys; sys.exit(len(sys.argv))", "--json", "-q", "--home").code
        == 4
    )


def test_a_second_tick_is_refused(evoctl: Any, host: Any) -> None:
    """Exit 8 names the lock."""
    lock = Lock(host.locks / TICK_LOCK)
    assert lock.take()
    with lock:
        said = evoctl("tick")

    assert said.code == 8


def test_tick_runs_until_it_is_stopped(host: Any) -> None:
    """It holds its lock, complains once of an absent Redis, and ends with 0 at SIGTERM."""
    with subprocess.Popen([*EVOCTL, "tick"], stderr=subprocess.PIPE, text=True) as process:
        until(lambda: held(host.locks / TICK_LOCK))
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    assert told.count("tick.trouble") <= 1
    assert not held(host.locks / TICK_LOCK)


def test_supervise_restarts_what_ends(host: Any, tmp_path: Path) -> None:
    """A command that ends is started again, with the home's variables, until SIGTERM."""
    script = f"echo $EVOCTL_HOME >> {tmp_path}/starts; exit 3"
    with subprocess.Popen([*EVOCTL, "supervise", "--", "sh", "-c", script], stderr=subprocess.DEVNULL) as process:
        starts = tmp_path / "starts"
        until(lambda: starts.exists() and len(starts.read_text(encoding="utf-8").splitlines()) >= 2)
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE_S)

    assert code == 0
    assert set(starts.read_text(encoding="utf-8").splitlines()) == {str(host.root)}


def test_supervise_of_a_missing_command_is_misuse(evoctl: Any, host: object) -> None:
    """It is not restarted for ever."""
    assert evoctl("supervise", "--", "no-such-command-here").code == 2


def test_rq_is_found_beside_evoctl() -> None:
    """A worker starts although no virtual environment is active."""
    first = search_path({"PATH": "/usr/bin"}).split(os.pathsep)[0]

    assert Path(first, "rq").exists() or Path(first) == Path(sys.executable).parent


def test_the_embedded_redis_is_not_started_beside_another(evoctl: Any, host: object) -> None:
    """With RQ_REDIS_URL there is nothing to embed."""
    assert evoctl("redis").code == 4


def test_up_without_a_configuration_leads_to_init(evoctl: Any) -> None:
    """Nothing is started."""
    said = evoctl("up")

    assert said.code == 2
    assert "evoctl init --example" in said.err


def test_up_with_an_absent_redis_gives_up(evoctl: Any, host: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that was named and does not answer is a clear error, and the lock is free again."""
    monkeypatch.setattr("ops.cli.up.REDIS_S", 0.3)
    monkeypatch.setattr("ops.supervise.stop_on_signal", lambda _: None)

    for _ in range(2):
        assert evoctl("up").code == 5


def test_down_without_up_says_so(evoctl: Any, host: object) -> None:
    """Nothing running is no error."""
    assert evoctl("down").out == "Nothing was running.\n"
    assert evoctl("down", "--json").data == {"stopped": False, "left_behind": 0}


@pytest.fixture(name="running")
def _running(evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Start everything but the page, and stop it after the test."""
    monkeypatch.delenv("RQ_REDIS_URL")
    prepare(host, free_port())
    said = evoctl("up", "--detach", "--no-web", "--json")
    assert said.code == 0, said
    yield said.data
    evoctl("down")


def test_up_runs_everything_and_down_stops_it(
    evoctl: Any, host: Any, running: dict[str, Any], fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Valkey, tick and the stock worker run under one process; a second `up` is refused; a queued run is worked on."""
    assert running["processes"] == ["valkey", "tick", "worker"]
    until(lambda: not [c for c in checks(evoctl) if c["state"] == "bad" and c["name"] in ("redis", "worker", "tick")])
    assert [evoctl("up").code, evoctl("up", "--detach").code, evoctl("redis").code, evoctl("tick").code] == [8] * 4

    fill(30, right=30)
    run = evoctl("enqueue", "file-naming", "--json").data
    assert run["rung"] is True
    until(lambda: evoctl("runs", "--json").data["runs"][0]["kind"] == "evolution")

    family = [psutil.Process(running["pid"]), *psutil.Process(running["pid"]).children(recursive=True)]
    assert evoctl("down", "--json").data == {"stopped": True, "left_behind": 0}
    until(lambda: not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE])


def test_down_stops_what_a_killed_up_left_behind(evoctl: Any, host: Any, running: dict[str, Any]) -> None:
    """After SIGKILL of `up` its processes live on; down finds them by their mark, and only them."""
    family = psutil.Process(running["pid"]).children(recursive=True)
    os.kill(running["pid"], signal.SIGKILL)
    until(lambda: not held(host.locks / "up.lock"))

    data = evoctl("down", "--json").data

    assert data["stopped"] is False
    assert data["left_behind"] >= 3
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert alive == []


def test_a_second_up_ends_what_a_killed_one_left_behind(evoctl: Any, host: Any, running: dict[str, Any]) -> None:
    """After SIGKILL, `up` and `down` nothing of either `up` is left, Valkey included."""
    first = psutil.Process(running["pid"])
    family = [first, *first.children(recursive=True)]
    first.kill()
    first.wait(PATIENCE_S)

    assert evoctl("up", "--detach", "--no-web").code == 0
    assert evoctl("down").code == 0
    until(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family))
    assert server(host) is None


def checks(evoctl: Any) -> list[dict[str, str]]:
    """Return doctor's findings."""
    found: list[dict[str, str]] = evoctl("doctor", "--json").data["checks"]
    return found


def test_doctor_names_what_is_bad(evoctl: Any, host: Any) -> None:
    """Without Redis, tick and Ollama, doctor ends with 6 and names the commands that help."""
    said = evoctl("doctor")
    found = {one["name"]: one["state"] for one in checks(evoctl)}

    assert said.code == 6
    assert [found[name] for name in ("python", "home", "configuration", "database")] == ["ok"] * 4
    assert [found[name] for name in ("redis", "worker", "tick", "ollama")] == ["bad"] * 4
    assert "evoctl up" in said.out
    assert "ollama serve" in said.out


def test_doctor_looks_at_every_broken_part(evoctl: Any, host: Any) -> None:
    """A home that was open to others is closed; a broken configuration and a missing database are each a line of their own."""
    host.root.chmod(0o755)
    (host.root / "evolution.db").unlink()
    host.config.write_text("skills: [", encoding="utf-8")

    found = {one["name"]: one for one in checks(evoctl)}

    assert [found[name]["state"] for name in ("home", "configuration", "database")] == ["note", "bad", "bad"]
    assert host.root.stat().st_mode & 0o077 == 0
    assert found["database"]["hint"] == "evoctl migrate"


def test_doctor_sees_the_simulated_models(evoctl: Any, host: Any, tmp_path: Path) -> None:
    """A simulated server is named as such, and a missing model comes with its pull line."""
    port_file = tmp_path / "port"
    words = [*EVOCTL, "simulator", "--port", "0", "--port-file", str(port_file), "--absent", "embeddinggemma:300m"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as simulator:
        until(port_file.exists)
        text = host.config.read_text(encoding="utf-8")
        url = f"http://127.0.0.1:{port_file.read_text(encoding='utf-8').strip()}"
        host.config.write_text(text.replace("http://127.0.0.1:1\n", f"{url}\n"), encoding="utf-8")
        found = {one["name"]: one for one in checks(evoctl)}
        simulator.send_signal(signal.SIGTERM)
        simulator.wait(PATIENCE_S)

    assert found["simulated"]["state"] == "note"
    assert found["model embeddinggemma:300m"]["hint"] == "ollama pull embeddinggemma:300m"
    assert found["model qwen2.5-coder:3b"]["state"] == "ok"
    assert found["foreground"]["state"] == "note"


def test_doctor_redacted_names_no_place_and_no_password(
    evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block for an issue has neither folders nor secrets, and is fenced."""
    monkeypatch.setenv("RQ_REDIS_URL", "redis://:hunter2secret@127.0.0.1:1/0")
    monkeypatch.setenv("HOME", str(host.root.parent))

    said = evoctl("doctor", "--redact")

    assert said.out.startswith("```\n")
    assert said.out.endswith("```\n")
    assert "hunter2secret" not in said.out
    assert str(host.root.parent) not in said.out
    assert not re.search(r"(?<![\w.~:/])/(?!\.\.\.)\w+/", said.out)


def test_a_web_page_is_served(host: Any) -> None:
    """`evoctl web --port 0` prints its address and stops on SIGTERM."""
    with subprocess.Popen([*EVOCTL, "web", "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)

    assert re.search(r"http://127\.0\.0\.1:\d+/", line)


def test_up_writes_its_process_id_for_its_owner_only(host: Any, running: dict[str, Any]) -> None:
    """The file names the process that `down` stops."""
    told = json.loads((host.pid_dir / "up.json").read_text(encoding="utf-8"))

    assert (told["pid"], told["ready"]) == (running["pid"], True)
    assert host.pid_dir.stat().st_mode & 0o077 == 0
