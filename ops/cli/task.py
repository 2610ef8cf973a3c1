"""The options that describe one task, and the feedback they make."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.errors import BadInput

if TYPE_CHECKING:
    from models.feedback import Feedback


def _fields(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise click.BadParameter("write it as key=value")
        if key in found:
            raise click.BadParameter(f"'{key}' is given twice")
        found[key] = value
    return tuple(found.items())


FIELDS = click.option(
    "--input",
    "fields",
    multiple=True,
    callback=_fields,
    metavar="KEY=VALUE",
    help="A field of the task's input; repeat it.",
)
OUTPUT = click.option("--output", metavar="TEXT", help="What the skill answered.")
CORRECT = click.option("--correct", metavar="TEXT", help="What it should have answered.")
VERDICT = click.option("--ok/--bad", "ok", default=None, help="Whether the output was right.")


def told(given: dict[str, Any]) -> Feedback:
    """Build the feedback from a command's options; raises BadInput for a text that no database keeps."""
    from models.feedback import Feedback
    from pipeline.domain import Label

    return Feedback(
        task_id=storable_text(given["task_id"], "--task-id"),
        fields=tuple((storable_text(k, "--input"), storable_text(v, "--input")) for k, v in given["fields"]),
        output=storable_text(given["output"], "--output"),
        expected=storable_text(given["correct"], "--correct"),
        label=None if given["ok"] is None else Label.OK if given["ok"] else Label.BAD,
        version=given.get("version"),
    )


def storable_text(value: Any, option: str) -> Any:
    """Return the text of an option, None as None.

    Raises:
        BadInput: no database could keep it, or a task id is too long.
    """
    from ops.cli.feedback_file import MAX_ID, BadRow, storable

    if value is None:
        return None
    try:
        text = storable(value, option)
    except BadRow as problem:
        raise BadInput(f"{problem}.") from problem
    if option == "--task-id" and not (text.strip() and len(text) <= MAX_ID):
        raise BadInput(f"A task id has 1 to {MAX_ID} characters.")
    return text
