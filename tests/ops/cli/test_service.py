"""`evoctl service` in a home directory of the test's own, with commands that only write down how they were called.

What launchd answers is written after its manual pages: no machine here has it.
"""

from __future__ import annotations

import os
import plistlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.cli import service
from ops.valkey import prepare
from tests.ports import free_port
from workers.lock import Lock

FAKE = """\
#!/bin/sh
echo "${{0##*/}} $*" >> "{log}"
case "$*" in
*show*) [ -e "{state}" ] && printf 'LoadState=loaded\\nActiveState=active\\n' || printf 'LoadState=not-found\\nActiveState=inactive\\n' ;;
*print*) [ -e "{state}" ] && echo 'state = running' || exit 113 ;;
*enable*--now*|*bootstrap*) [ -e "{fail}" ] && {{ echo 'Failed to connect to bus' >&2; exit 1; }}; : > "{state}" ;;
*disable*|*bootout*) rm "{state}" ;;
esac
"""
BOTH = pytest.mark.parametrize("platform", ["linux", "darwin"])


class Machine:
    """A person's machine: its home directory, and what its service manager was told."""

    def __init__(self, folder: Path) -> None:
        self.home, self.log, self.state, self.fail = (folder / name for name in ("me", "calls", "state", "fail"))
        self.bin = folder / "bin"
        for made in (self.home, self.bin):
            made.mkdir()
        for name in ("systemctl", "launchctl"):
            script = self.bin / name
            script.write_text(FAKE.format(log=self.log, state=self.state, fail=self.fail), encoding="utf-8")
            script.chmod(0o755)

    def told(self) -> list[str]:
        """Return the calls since the last time, without the questions."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in lines if " show " not in line and " print " not in line]

    def files(self) -> list[Path]:
        """List the files in the home directory."""
        return [path for path in self.home.rglob("*") if path.is_file()]


@pytest.fixture(name="machine")
def _machine(host: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine with both managers."""
    (tmp_path / "machine").mkdir()
    machine = Machine(tmp_path / "machine")
    monkeypatch.setenv("HOME", str(machine.home))
    monkeypatch.setenv("PATH", f"{machine.bin}{os.pathsep}{os.environ['PATH']}")
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "RQ_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return machine


@BOTH
def test_a_service_is_installed_seen_and_removed(
    evoctl: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    """The file lies where the manager looks, the manager starts it, a second time changes nothing, and nothing stays."""
    monkeypatch.setattr(sys, "platform", platform)
    assert evoctl("service", "status").code == 6
    machine.told()

    first = evoctl("service", "install", "--no-web", "--json")
    started = machine.told()
    again = evoctl("service", "install", "--no-web", "--json")
    status = evoctl("service", "status", "--json")
    (file,) = machine.files()
    mode = file.stat().st_mode & 0o777

    assert (first.code, first.data["started"], first.data["changed"], first.data["path"]) == (0, True, True, str(file))
    assert (again.code, again.data["changed"], mode) == (0, False, 0o644)
    assert status.code == 0
    assert {name: status.data[name] for name in ("installed", "outdated", "loaded", "running")} == {
        "installed": True, "outdated": False, "loaded": True, "running": True,
    }  # fmt: skip
    label = first.data["label"]
    if platform == "linux":
        assert file == machine.home / f".config/systemd/user/{label}.service"
        expected = ["daemon-reload", f"enable --now {label}.service", f"restart {label}.service"]
        assert started == [f"systemctl --user {words}" for words in expected]
    else:
        assert file == machine.home / f"Library/LaunchAgents/{label}.plist"
        assert plistlib.loads(file.read_bytes())["Label"] == label
        assert started == [f"launchctl bootstrap gui/{os.getuid()} {file}"]

    removed = [evoctl("service", "uninstall", "--json") for _ in range(2)]
    assert [(said.code, said.data["removed"]) for said in removed] == [(0, True), (0, False)]
    assert (machine.files(), machine.state.exists()) == ([], False)


@BOTH
def test_a_manager_that_does_not_answer_leaves_the_file_and_a_command(
    evoctl: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    """Without a user bus, and without the command at all: exit 5, the file is there, and what to run is said."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("ops.deploy.managers.AGAIN_S", 0.0)
    machine.fail.touch()
    failed = evoctl("service", "install")
    monkeypatch.setenv("PATH", str(machine.home))
    missing = evoctl("service", "install")
    status = evoctl("service", "status")
    removed = evoctl("service", "uninstall")

    command = "systemctl --user enable --now" if platform == "linux" else "launchctl bootstrap"
    assert [failed.code, missing.code, status.code, removed.code] == [5, 5, 6, 5]
    assert "Failed to connect to bus" in failed.out
    assert "There is no command" in missing.out
    assert all(command in said.out for said in (failed, missing))
    assert machine.files() == []


def test_a_file_of_somebody_else_is_left_alone(evoctl: Any, machine: Machine) -> None:
    """It is neither overwritten nor removed; with --force it is overwritten, and a link is replaced, not followed."""
    path = Path(evoctl("service", "print", "--json").data["path"])
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    before = path.read_bytes()
    codes = [evoctl("service", word).code for word in ("install", "uninstall", "status")]

    assert (codes, path.read_bytes(), machine.told()) == ([4, 4, 6], before, [])

    target = machine.home / "target"
    path.rename(target)
    path.symlink_to(target)
    assert evoctl("service", "install").code == 4
    assert evoctl("service", "install", "--force").code == 0
    assert (path.is_symlink(), target.read_bytes()) == (False, before)


def test_a_changed_service_is_outdated_and_started_anew(evoctl: Any, machine: Machine) -> None:
    """A file that this release would write otherwise is named, and installing again brings it up to date."""
    path = Path(evoctl("service", "install", "--no-start", "--json").data["path"])
    assert machine.told() == []
    path.write_text(path.read_text(encoding="utf-8").replace("Nice=19", "Nice=5"), encoding="utf-8")

    outdated = evoctl("service", "status", "--json").data["outdated"]
    evoctl("service", "install")

    assert outdated is True
    assert machine.told()[-1].startswith("systemctl --user restart ")
    assert evoctl("service", "status", "--json").data["outdated"] is False


def test_print_changes_nothing(evoctl: Any, machine: Machine) -> None:
    """Both files are printed as install would write them, and no manager is asked."""
    texts = [evoctl("service", "print", f"--{kind}", "--no-worker").out for kind in ("launchd", "systemd")]

    assert plistlib.loads(texts[0].encode())["ProgramArguments"][-1] == "--no-worker"
    assert '"--no-worker"' in texts[1]
    assert (machine.files(), machine.log.exists()) == ([], False)


def test_no_password_gets_into_a_service(evoctl: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis or database URL is carried over, unless it holds a password."""
    monkeypatch.setenv("RQ_REDIS_URL", "redis://127.0.0.1:7777/3")
    assert "redis://127.0.0.1:7777/3" in evoctl("service", "print").out
    monkeypatch.setenv("RQ_REDIS_URL", "redis://:hunter2@127.0.0.1:7777/3")
    said = evoctl("service", "install")

    assert said.code == 4
    assert "hunter2" not in said.out + said.err
    assert machine.files() == []


def test_the_configuration_folder_of_the_user_is_honoured(
    evoctl: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An absolute XDG_CONFIG_HOME holds the unit; a relative one counts for nothing."""
    paths = []
    for given in (str(machine.home / "other"), "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", given)
        paths.append(Path(evoctl("service", "print", "--json").data["path"]).parent)

    assert paths == [machine.home / "other/systemd/user", machine.home / ".config/systemd/user"]


def test_each_home_has_a_service_of_its_own(evoctl: Any, machine: Machine, tmp_path: Path) -> None:
    """Two homes do not overwrite each other's file, and the default one has the plain name."""
    paths = {evoctl("--home", str(tmp_path / name), "service", "print", "--json").data["path"] for name in ("a", "b")}
    default = evoctl("--home", str(tmp_path / "data/tinyarms-evolution"), "service", "print", "--json").data["path"]

    assert len(paths) == 2
    assert Path(default).name == "tinyarms-evolution.service"


def test_an_up_by_hand_is_named(evoctl: Any, host: Any, machine: Machine) -> None:
    """The service cannot run beside it, so installing says who must end."""
    lock = Lock(host.locks / "up.lock")
    assert lock.take()
    with lock:
        said = evoctl("service", "install")

    assert "evoctl down" in said.err
    assert service.installed(host)


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="this system has no priorities")
def test_what_the_service_runs_is_everything_with_a_quiet_worker(
    evoctl: Any, host: Any, machine: Machine, until_true: Callable[[Callable[[], object]], None]
) -> None:
    """The very command line stays in the foreground, its worker runs at the lowest priority, and SIGTERM ends it all."""
    prepare(host, free_port())
    read = plistlib.loads(evoctl("service", "print", "--launchd", "--no-web").out.encode())
    with subprocess.Popen(
        read["ProgramArguments"], env={**os.environ, **read["EnvironmentVariables"]}, cwd="/", stdout=subprocess.DEVNULL
    ) as process:
        until_true(lambda: _workers(process.pid))
        (worker,) = _workers(process.pid)
        until_true(lambda: worker.nice() == 19)
        disk = worker.ionice().ioclass if psutil.LINUX else None
        family = [worker, *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)

    assert code == 0
    assert disk in (None, psutil.IOPRIO_CLASS_IDLE)
    assert psutil.wait_procs(family, timeout=30)[1] == []


def _workers(pid: int) -> list[psutil.Process]:
    """List the workers that run under *pid*."""
    found = []
    for child in psutil.Process(pid).children():
        try:
            if child.cmdline()[-2:] == ["worker", "evolution"]:
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.fixture(name="until_true")
def _until_true() -> Callable[[Callable[[], object]], None]:
    """Return a function that waits for something that is about to become true."""

    def wait(true: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    return wait
