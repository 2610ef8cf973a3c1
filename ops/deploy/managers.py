"""Talking to launchd and systemd by their own commands."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ops.deploy.launchd import plist
from ops.deploy.service import STOP_S, Service
from ops.deploy.systemd import unit

PATIENCE_S = STOP_S + 30.0  # for one command, which may wait for an orderly end
AGAIN_S, TRIES = 0.5, 10  # launchd goes on unloading after its command has returned
_WORDS = 300  # characters of another program's message


@dataclass(frozen=True, slots=True)
class Standing:
    """What the manager says of a service.

    Attributes:
        trouble: why it could not be asked; empty when it answered.
    """

    loaded: bool = False
    running: bool = False
    trouble: str = ""


class Manager(Protocol):
    """A service manager of this user."""

    name: str

    def path(self, label: str) -> Path:
        """Return where the service's file belongs."""

    def text(self, service: Service) -> str:
        """Return what its file says."""

    def commands(self, label: str) -> list[list[str]]:
        """Return the commands that start a service whose file was just written."""

    def start(self, label: str, *, changed: bool) -> str:
        """Load and start it; return why that failed, empty when it did not."""

    def stop(self, label: str) -> str:
        """Stop it and forget it; return why that failed."""

    def forget(self, label: str) -> None:
        """Remove what the manager itself has written, after the service's file is gone."""

    def standing(self, label: str) -> Standing:
        """Ask how it stands."""


class Systemd:
    """The user's own systemd."""

    name = "systemd"

    def path(self, label: str) -> Path:
        """Return the unit's file."""
        given = os.environ.get("XDG_CONFIG_HOME", "")
        base = Path(given) if given.startswith("/") else Path.home() / ".config"  # a relative one counts for nothing
        return base / "systemd" / "user" / f"{label}.service"

    def text(self, service: Service) -> str:
        """Return the unit."""
        return unit(service)

    def commands(self, label: str) -> list[list[str]]:
        """Reload the files, and enable and start the unit."""
        return [_systemctl("daemon-reload"), _systemctl("enable", "--now", f"{label}.service")]

    def start(self, label: str, *, changed: bool) -> str:
        """Enable and start it; one that runs is started anew when its file has changed."""
        restart = [_systemctl("restart", f"{label}.service")] if changed else []
        return _first_trouble([*self.commands(label), *restart])

    def stop(self, label: str) -> str:
        """Stop and disable it."""
        return _first_trouble([_systemctl("disable", "--now", f"{label}.service")])

    def forget(self, label: str) -> None:
        """Remove the link that enables it, which stays when the manager did not answer."""
        link = self.path(label).parent / "default.target.wants" / f"{label}.service"
        if link.is_symlink():
            link.unlink()
        _said(_systemctl("daemon-reload"))

    def standing(self, label: str) -> Standing:
        """Ask for its states."""
        trouble, out = _said(_systemctl("show", "--property=LoadState,ActiveState", f"{label}.service"))
        told = dict(line.partition("=")[::2] for line in out.splitlines())
        return Standing(told.get("LoadState") == "loaded", told.get("ActiveState") == "active", trouble)


class Launchd:
    """The launchd of the user's graphical session."""

    name = "launchd"

    def path(self, label: str) -> Path:
        """Return the property list's file, which must be called like the label."""
        return Path.home() / "Library" / "LaunchAgents" / f"{label}.plist"

    def text(self, service: Service) -> str:
        """Return the property list."""
        return plist(service)

    def commands(self, label: str) -> list[list[str]]:
        """Load the file, which also starts it."""
        return [["launchctl", "bootstrap", _domain(), str(self.path(label))]]

    def start(self, label: str, *, changed: bool) -> str:
        """Load it; one that is loaded is loaded anew when its file has changed."""
        if self.standing(label).loaded:
            if not changed:
                return ""
            self.stop(label)
        for _ in range(TRIES):
            trouble = _first_trouble(self.commands(label))
            if not trouble or shutil.which("launchctl") is None:
                break
            time.sleep(AGAIN_S)
        return trouble

    def stop(self, label: str) -> str:
        """Stop and unload it; one that is not loaded needs neither."""
        trouble = _first_trouble([["launchctl", "bootout", f"{_domain()}/{label}"]])
        return trouble if trouble and (self.standing(label).loaded or shutil.which("launchctl") is None) else ""

    def forget(self, label: str) -> None:
        """Launchd writes nothing."""

    def standing(self, label: str) -> Standing:
        """Ask for its state: a service that is not loaded is an error of the command's."""
        trouble, out = _said(["launchctl", "print", f"{_domain()}/{label}"])
        if trouble:
            return Standing(trouble=trouble if shutil.which("launchctl") is None else "")
        return Standing(loaded=True, running="state = running" in out)


def line_of(commands: Iterable[list[str]]) -> str:
    """Write commands as one line for a shell."""
    return " && ".join(shlex.join(words) for words in commands)


def _systemctl(*words: str) -> list[str]:
    return ["systemctl", "--user", *words]


def _domain() -> str:
    return f"gui/{os.getuid()}"


def _first_trouble(commands: Iterable[list[str]]) -> str:
    return next((trouble for words in commands for trouble in (_said(words)[0],) if trouble), "")


def _said(words: list[str]) -> tuple[str, str]:
    """Run one command; return why it failed, and what it printed."""
    program = shutil.which(words[0])
    if program is None:
        return f"There is no command {words[0]}.", ""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words and a label of ours
            [program, *words[1:]], capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{shlex.join(words)} did not work: {error}"[:_WORDS], ""
    if done.returncode:
        why = " ".join((done.stderr or done.stdout).split()) or f"code {done.returncode}"
        return f"{shlex.join(words)} failed: {why}"[:_WORDS], done.stdout
    return "", done.stdout
