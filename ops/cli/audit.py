"""`feedback audit`: was this answer right? Asked on a random share of all tasks, whatever happened to them."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ops.cli import output
from ops.cli.call import Call, command, pass_call
from ops.cli.output import show
from ops.cli.skill import SKILL

if TYPE_CHECKING:
    from models.report_values import SampleLine
    from workers.client import Evolution

LONGEST = 6000  # characters shown of one text
MOST = 20  # tasks asked about in one sitting
KEYS = {"y": True, "n": False}


@command("audit", examples="evoctl feedback audit file-naming\nevoctl feedback audit file-naming --json")
@SKILL
@click.option("--count", type=click.IntRange(1, MOST), default=MOST, show_default=True, metavar="N")
@pass_call
def audit(call: Call, skill: str, *, count: int) -> None:
    """Judge tasks that were drawn at random.

    Silence and complaints tell of accuracy only as long as people complain as often as before. The audit asks about a
    random share of all tasks and so is not misled by that. Keys: y right, n wrong, s skip, q quit.
    """
    from models import reports
    from workers.clock import now

    overview = call.overview()
    name = overview.config.skill(skill).name
    with overview.read() as session:
        found = reports.audit_tasks(session, name, now(), limit=count)
    if call.json or not output.is_terminal():
        call.result("feedback.audit", {"tasks": found}, lambda: _listed(found, name))
        if found:
            call.next(f"evoctl feedback add {name} --task-id {found[0].task_id} --ok (or --bad)")
        return
    if not found:
        click.echo(f"There is nothing to ask about {name}.")
        return
    with call.evolution() as evolution:
        answered = sum(_ask(evolution, name, one) for one in found)
    click.echo(f"{answered} answers recorded.")


def _ask(evolution: Evolution, skill: str, task: SampleLine) -> bool:
    """Ask about one task; True when it was answered.

    Raises:
        click.exceptions.Exit: the person leaves.
    """
    from models.feedback import Feedback
    from pipeline.domain import Label

    click.echo(_text(task))
    click.echo("Was this right? [y yes, n no, s skip, q quit] ", nl=False)
    while (key := click.getchar().lower()) not in (*KEYS, "s", "q", ""):
        pass
    click.echo(show(key))
    if key in ("q", ""):
        raise click.exceptions.Exit(0)
    if key == "s":
        return False
    label = Label.OK if KEYS[key] else Label.BAD
    evolution.feedback(skill, [Feedback(task_id=task.task_id, label=label)])
    return True


def _text(task: SampleLine) -> str:
    rule = "-" * 72
    fields = [
        f"{show(name, limit=100)}: {show(value, newlines=True, limit=LONGEST)}" for name, value in task.input.items()
    ]
    answer = output.lines_of((task.output or "")[:LONGEST], "   ")
    return "\n".join([rule, *fields, "answer:", answer, rule])


def _listed(found: tuple[SampleLine, ...], skill: str) -> str:
    if not found:
        return f"There is nothing to ask about {skill}."
    return "\n".join(f"{show(one.task_id)}\n{_text(one)}" for one in found)
