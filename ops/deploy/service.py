"""What runs as a service, and how both service managers are told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.errors import BadInput

MARK = "EVOCTL_SERVICE"  # in the service's environment: the file is ours, and with which options it was written
NICE = 19  # the lowest priority of the processor
RESTART_S = 30  # between two starts
STOP_S = 90  # for an orderly end, before everything is killed
_REFUSED = ("Cc", "Cs", "Zl", "Zp")  # controls, lone surrogates, separators of lines
_MARKED = re.compile(rf"{MARK}(?:=|</key>\s*<string>)(\d{{1,5}})(-no-web)?(-no-worker)?\b(?!-)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person chose for `evoctl up`."""

    port: int
    no_web: bool = False
    no_worker: bool = False

    @property
    def mark(self) -> str:
        """The options in one word, which `options_in` reads."""
        return f"{self.port}{'-no-web' * self.no_web}{'-no-worker' * self.no_worker}"

    @property
    def words(self) -> tuple[str, ...]:
        """The options as `evoctl up` takes them."""
        return ("--port", str(self.port), *["--no-web"] * self.no_web, *["--no-worker"] * self.no_worker)


def options_in(text: str) -> Options | None:
    """Return the options that a service's file was written with; None when the file is not ours."""
    found = _MARKED.search(text)
    return Options(port=int(found[1]), no_web=bool(found[2]), no_worker=bool(found[3])) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, for either manager.

    Attributes:
        label: its name in reversed domains, in letters, digits, dots and hyphens.
        command: absolute path of the program, and its arguments; it stays in the foreground and obeys SIGTERM.
        log: absolute path of the file for what it prints.
        variables: for its environment; nothing secret, since the file is readable by others.
        options: with which it was written.
        protect: make the system's own folders read-only for it; only where none of ours lies in them.

    Raises:
        BadInput: a value has characters that no service's file can hold.
    """

    label: str
    command: tuple[str, ...]
    log: str
    options: Options
    variables: Mapping[str, str] = field(default_factory=dict)
    protect: bool = True

    def __post_init__(self) -> None:
        for text in (*self.command, self.log, *self.variables.values()):
            if any(unicodedata.category(c) in _REFUSED for c in text):
                raise BadInput(
                    f"The path {text[:80]!r} has characters that a service's file cannot hold.",
                    hint="Name another place by --home DIR and --config PATH.",
                )

    @property
    def environment(self) -> dict[str, str]:
        """All variables: those given, our mark, and that no module is taken from the folder it starts in."""
        return {**self.variables, MARK: self.options.mark, "PYTHONSAFEPATH": "1"}
