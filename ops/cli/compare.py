"""The difference of two prompts, line by line, harmless on a terminal."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ops.cli.output import show

if TYPE_CHECKING:
    from models.report_details import NamedPrompt
    from workers.overview import Overview

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class Difference:
    """Two prompts and the lines of a unified diff between them; no line when they are the same."""

    old: str
    new: str
    lines: tuple[str, ...]

    def text(self, *, color: bool = True) -> str:
        """Write it for people."""
        if not self.lines:
            return f"{show(self.old)} and {show(self.new)} are the same."
        shown = [show(line) for line in self.lines]
        if not color:
            return "\n".join(shown)
        return "\n".join(click.style(line, fg=COLOURS.get(line[:1])) for line in shown)


def current(overview: Overview, skill: str) -> NamedPrompt:
    """Return the prompt in use as its file is now; a person may have edited it."""
    from models.report_details import NamedPrompt  # noqa: PLC0415 - help and completion load no tables
    from workers.host_config import read_template  # noqa: PLC0415 - same

    spec = overview.config.skill(skill)
    text = read_template(overview.config.path, spec.template)
    return NamedPrompt(name=f"v{spec.version} (in use)", text=text, version=spec.version, variant=None)


def difference(old: NamedPrompt, new: NamedPrompt) -> Difference:
    """Compare *new* with *old*, in unified form with all lines around."""
    lines = difflib.unified_diff(
        old.text.splitlines(), new.text.splitlines(), old.name, new.name, lineterm="", n=max(3, old.text.count("\n"))
    )
    return Difference(old.name, new.name, tuple(lines))
