"""`promote` and `rollback`: a person decides which prompt is in use."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.compare import Difference, current, difference
from ops.cli.output import show
from ops.cli.skill import SKILL

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from models.report_details import NamedPrompt

DONE = ("promoted", "rolled-back")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
REASON = click.option("--reason", default="", metavar="TEXT", help="Kept in the history.")


@command(
    "promote",
    examples="evoctl promote file-naming variant_a --dry-run\nevoctl promote file-naming variant_a --yes\n"
    "evoctl promote file-naming 42 --force --yes --reason 'best in our own test'",
)
@SKILL
@click.argument("variant", metavar="VARIANT")
@click.option("--force", is_flag=True, help="Although it may be worse on the report samples.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@YES
@REASON
@pass_call
def promote(call: Call, skill: str, variant: str, *, force: bool, dry_run: bool, yes: bool, reason: str) -> None:
    """Put a variant in use now.

    VARIANT is variant_a (of the newest run that has it) or a variant's number. A test that runs is ended.
    """
    from models import report_details
    from models.checks import already_in_use

    overview = call.overview()
    name = overview.config.skill(skill).name
    with overview.read() as session:
        number = report_details.find_variant(session, variant, name)
        wanted = report_details.named_prompt(session, name, str(number))
    changed = difference(current(overview, name), wanted)
    if not changed.lines:
        raise already_in_use(name, wanted.name, overview.config.skill(name).version)
    if dry_run or not call.json:
        _announce(call, "promote", changed, dry_run=dry_run)
    if dry_run:
        return
    call.confirm(f"Put {wanted.name} in use for {name}?", yes=yes)
    with call.evolution() as evolution:
        ending = evolution.promote(name, number, force=force, reason=reason)
        version = evolution.rules(name).skill.version
    data = {"skill": name, "variant": number, "ending": ending, "version": version, "dry_run": False}
    call.result("promote", data, lambda: _ended(ending, f"{name} now uses {wanted.name} as version {version}."))
    call.next(f"evoctl rollback {name}", "evoctl stats " + name)


@command(
    "rollback",
    examples="evoctl rollback file-naming\nevoctl rollback file-naming --to v1 --yes --reason 'names got longer'",
)
@SKILL
@click.option("--to", metavar="vN", help="This version; default: the one before the last promotion.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@YES
@REASON
@pass_call
def rollback(call: Call, skill: str, *, to: str | None, dry_run: bool, yes: bool, reason: str) -> None:
    """Put an earlier prompt back in use now.

    A test that runs is ended.
    """
    from models import report_details

    overview = call.overview()
    name = overview.config.skill(skill).name
    number = _version(to)
    with overview.read() as session:
        wanted = report_details.named_prompt(session, name, f"v{number}") if number else _previous(session, name)
    changed = difference(current(overview, name), wanted)
    if dry_run or not call.json:
        _announce(call, "rollback", changed, dry_run=dry_run)
    if dry_run:
        return
    call.confirm(f"Put {wanted.name} back in use for {name}?", yes=yes)
    with call.evolution() as evolution:
        ending = evolution.rollback(name, to=wanted.version, reason=reason)
        version = evolution.rules(name).skill.version
    data = {"skill": name, "ending": ending, "version": version, "dry_run": False}
    call.result("rollback", data, lambda: _ended(ending, f"{name} uses version {version} again."))
    call.next("evoctl stats " + name, f"evoctl show {name}")


def _previous(session: Session, skill: str) -> NamedPrompt:
    """Return the prompt that the last promotion replaced.

    Raises:
        Refused: nothing was promoted.
    """
    from models.report_details import named_prompt
    from pipeline.errors import NotFound, Refused

    try:
        return named_prompt(session, skill, "previous")
    except NotFound as missing:
        hint = f"evoctl rollback {skill} --to v1"
        raise Refused(
            f"The prompt of {skill} in use replaced none, so there is nothing to go back to.", hint=hint
        ) from missing


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"v?(\d{1,9})", text)
    if found is None:
        raise click.BadParameter("a version is written as v2", param_hint="--to")
    return int(found[1])


def _announce(call: Call, name: str, changed: Difference, *, dry_run: bool) -> None:
    """Show the change: as the result of a dry run, else beside it."""
    if dry_run:
        call.result(name, {"dry_run": True, "diff": changed.lines}, lambda: changed.text(color=False))
        call.note("Nothing was changed.")
    else:
        call.note(changed.text(color=False))


def _ended(ending: str, words: str) -> str:
    return words if ending in DONE else f"Not done yet, {show(ending)}. The worker goes on with it: evoctl status"
