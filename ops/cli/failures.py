"""How errors end: what happened, why and what to try, in words or as one JSON line, and a stable exit code."""

from __future__ import annotations

import contextlib
import errno
import json
import secrets
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ops.cli.output import show
from pipeline.errors import BadInput, Blocked, ConfigError, EvolutionError, NotFound, Refused, Unreachable

if TYPE_CHECKING:
    from ops.cli.call import Call

FAILED, MISUSED, NOT_FOUND, REFUSED, UNREACHABLE, NEGATIVE, POLICY, LOCKED, INTERRUPTED = 1, 2, 3, 4, 5, 6, 7, 8, 130
CODES: tuple[tuple[type[EvolutionError], int], ...] = (
    (ConfigError, MISUSED),
    (BadInput, MISUSED),
    (NotFound, NOT_FOUND),
    (Refused, REFUSED),
    (Unreachable, UNREACHABLE),  # ModelMissing is one
    (Blocked, LOCKED),
)


@contextlib.contextmanager
def going_on(run: int) -> Iterator[None]:
    """Stand around a wait for a run: who interrupts it is told that the run goes on, and how to end it."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted: nobody waits any more, but run r{run} goes on.", f"evoctl cancel r{run} ends it"
        ) from None


def exit_code(error: BaseException) -> int:
    """Return the code that an error ends with."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        return MISUSED
    return next((code for kind, code in CODES if isinstance(error, kind)), FAILED)


def fail(error: BaseException, call: Call) -> int:
    """Tell the error on standard error, and return its exit code."""
    error = _translated(error)
    code = exit_code(error)
    kind, what, why, hint = _told(error, call)
    if call.json:
        document = {
            "schema": "evoctl.error/1", "ok": False, "exit_code": code,
            "error": {"kind": kind, "what": what, "why": why, "hint": hint},
        }  # fmt: skip
        click.echo(json.dumps(document, ensure_ascii=True), err=True)
        return code
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
    click.echo(f"Error: {show(what)}", err=True)
    for title, words in (("Why", why), ("Try", hint)):
        for index, line in enumerate(words.splitlines()):
            click.echo(f"  {title}:  {show(line)}" if index == 0 else f"        {show(line)}", err=True)
    return code


def _translated(error: BaseException) -> BaseException:
    """Give a full disk, and a broken or absent database, the name that its exit code belongs to."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        from workers.trouble import of_file  # noqa: PLC0415 - seldom wanted

        return of_file(error) or error
    database = sys.modules.get("sqlalchemy.exc")  # an error of it cannot be there unless it is loaded
    if database is None or type(error) not in (database.DatabaseError, database.OperationalError):
        return error
    from workers.trouble import of_database  # noqa: PLC0415 - seldom wanted

    found = of_database(getattr(error, "orig", None))
    return Unreachable(found.what.replace("does not answer", "cannot be used"), why=found.why, hint=found.hint)


def _told(error: BaseException, call: Call) -> tuple[str, str, str, str]:
    """Return kind, what, why and hint."""
    if isinstance(error, EvolutionError):
        return type(error).__name__, error.what, error.why, error.hint
    if isinstance(error, click.UsageError):
        return "Usage", error.format_message(), "", f"{error.ctx.command_path} --help" if error.ctx else "evoctl --help"
    if isinstance(error, click.ClickException):
        return "Usage", error.format_message(), "", ""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        what, hint = error.args if len(error.args) == len(("what", "hint")) else ("Interrupted.", "")
        return "Interrupted", what, "", hint
    return _unexpected(error, call)


def _unexpected(error: BaseException, call: Call) -> tuple[str, str, str, str]:
    """Write the traceback where only the user can read it, and name the place."""
    name = f"e{secrets.token_hex(3)}"
    trace = traceback.format_exception(error)
    if call.verbose:
        sys.stderr.write("".join(show(part, newlines=True) for part in trace))
    try:
        from ops.cli.logs import write_error  # noqa: PLC0415 - logging is loaded for nothing else here

        place = f"See {write_error(call.home, name, trace)}"
    except (EvolutionError, OSError) as trouble:
        place = f"The log cannot be written ({trouble}); try again with -v."
    return "Unexpected", f"Unexpected error {name} ({type(error).__name__}).", place, "evoctl doctor"
