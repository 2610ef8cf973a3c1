"""`assign` and `outcome`: which prompt to use for a task, and how the task went."""

from __future__ import annotations

import sys
from typing import Any

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.output import show
from ops.cli.skill import SKILL
from ops.cli.task import CORRECT, FIELDS, OUTPUT, VERDICT, storable_text, told


@command("assign", examples="evoctl assign file-naming --task-id t42\nevoctl assign file-naming --task-id t42 --text")
@SKILL
@click.option("--task-id", required=True, metavar="ID", help="The host's own name of the task.")
@click.option("--text", "only_text", is_flag=True, help="Print the whole prompt template and nothing else.")
@pass_call
def assign(call: Call, skill: str, *, task_id: str, only_text: bool) -> None:
    """Ask which prompt to use for a task.

    Asking again gives the same answer. It is the prompt in use; during a live test, one drawn by Thompson sampling.
    """
    with call.evolution() as evolution:
        found = evolution.assign(skill, storable_text(task_id, "--task-id"))

    def text() -> str:
        if only_text:  # a program reads it as it is; a terminal gets it harmless
            return show(found.text, newlines=True, limit=len(found.text)) if sys.stdout.isatty() else found.text
        wanted = " The task is wanted for a ballot." if found.ballot else ""
        asked = " Ask whether the answer was right: it is drawn for the audit." if found.audit else ""
        return f"Task {show(task_id)} of {skill}: prompt v{found.version}, {found.arm}.{wanted}{asked}"

    call.result("assign", found, text)


@command(
    "outcome",
    examples="evoctl outcome file-naming t42 --ok --input description='A cat' --output sleeping-cat.jpg\n"
    "evoctl outcome file-naming t42 --bad --correct sleeping-cat.jpg",
)
@SKILL
@click.argument("task_id", metavar="TASK_ID")
@VERDICT
@FIELDS
@OUTPUT
@CORRECT
@pass_call
def outcome(call: Call, /, skill: str, task_id: str, **given: Any) -> None:
    """Record how an assigned task went.

    It counts for the prompt that `assign` gave. It needs --ok or --bad; the first word about a task also needs its input
    (--input for each field) and its output.
    """
    if given["ok"] is None:
        raise click.UsageError(
            "It needs a verdict: add --ok or --bad. A task that nobody has judged yet is told by evoctl feedback add."
        )
    with call.evolution() as evolution:
        noted = evolution.outcome(skill, told({**given, "task_id": task_id}))
    data = {"skill": skill, "task_id": task_id, "label": noted.label, "source": noted.source, "new": noted.new}
    call.result("outcome", data, lambda: f"Recorded: task {show(task_id)} of {skill} went {noted.label}.")
