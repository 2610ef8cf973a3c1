"""`doctor`: look at everything that evolution needs, and name what to do."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

import getpass
import os
import re
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.failures import NEGATIVE
from ops.cli.output import show

if TYPE_CHECKING:
    from ops.cli.checks import Check

MARKS = {"ok": "ok  ", "bad": "BAD ", "note": "note"}
SHORT = 3  # a user or host name this short is not looked for in the text


@command("doctor", examples="evoctl doctor\nevoctl doctor --redact\nevoctl doctor --json")
@click.option("--redact", is_flag=True, help="Without names of people, machines and folders, to paste into an issue.")
@pass_call
def doctor(call: Call, *, redact: bool) -> int:
    """Check everything that evolution needs.

    Exit code 6 means that something is bad. Nothing is changed, except that a missing home is created.
    """
    from ops.cli.checks import Check, State, everything

    found = list(everything(call.home))
    if redact:
        found = [Check(_redacted(c.name), c.state, _redacted(c.words), _redacted(c.hint)) for c in found]
    bad = sum(check.state is State.BAD for check in found)
    call.result("doctor", {"checks": found, "bad": bad}, lambda: _text(found, fenced=redact))
    if bad:
        call.note(f"{bad} of {len(found)} checks {'is' if bad == 1 else 'are'} bad.")
    return NEGATIVE if bad else 0


def _text(found: list[Check], *, fenced: bool) -> str:
    size = max(len(check.name) for check in found)
    lines: list[str] = []
    for check in found:
        lines.append(f"{MARKS[check.state]}  {show(check.name):{size}}  {show(check.words)}")
        if check.hint:
            lines.append(f"{'':{size + 8}}{show(check.hint)}")
    return "\n".join(["```", *lines, "```"] if fenced else lines)


def _redacted(text: str) -> str:
    """Replace folders, the user's name, the machine's name and passwords."""
    text = re.sub(r"(://)[^/@\s]*@", r"\1***@", text)
    for folder, name in ((Path.cwd(), "."), (Path.home(), "~")):
        if folder != Path(folder.anchor):
            text = text.replace(str(folder), name)
    text = re.sub(r"(?<![\w.~:/])/(?:[^\s/:,]+/)+(?=[^\s/:,])", "/.../", text)
    for name, word in ((_user(), "USER"), (gethostname(), "HOST")):
        if len(name) > SHORT:
            text = re.sub(rf"\b{re.escape(name)}\b", word, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return os.environ.get("USER", "")
