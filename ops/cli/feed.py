"""`feedback`: what was right and what was wrong, one by one or from a file."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ops.cli.audit import audit
from ops.cli.call import Call, Group, command, pass_call
from ops.cli.output import show, table
from ops.cli.skill import SKILL
from ops.cli.task import CORRECT, FIELDS, OUTPUT, VERDICT, told
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from models.feedback import Feedback
    from models.feedback_checks import Known
    from workers.client import Evolution

SHOWN = 20  # bad lines that an error lists
BLOCK = 1 << 16  # bytes read at once
IN_MEMORY = 8_000_000  # bytes of standard input kept in memory; more goes to a temporary file


@click.group(
    "feedback",
    cls=Group,
    examples="evoctl feedback add file-naming --task-id t1 --input description='A cat' --output cat.jpg --ok\nevoctl feedback import file-naming history.jsonl",
)
def feedback() -> None:
    """Record what was right and what was wrong."""


@command(
    "add",
    examples="evoctl feedback add file-naming --task-id t1 --input description='A cat' --output cat.jpg --ok\n"
    "evoctl feedback add file-naming --task-id t1 --bad --correct sleeping-cat.jpg",
)
@SKILL
@click.option(
    "--task-id", required=True, metavar="ID", help="The host's own name of the task; again changes the same one."
)
@FIELDS
@OUTPUT
@VERDICT
@CORRECT
@click.option(
    "--version", type=click.IntRange(1), help="Prompt version that wrote the output; default: the one in use."
)
@pass_call
def add(call: Call, /, skill: str, **given: Any) -> None:
    """Record one task: its input, its output, and whether that was right.

    Without --ok or --bad the skill's scorer judges, where --correct is given.
    """
    with call.evolution() as evolution:
        item = told(given)
        batch = evolution.feedback(skill, [item])
        missing = _known(evolution, skill).missing(dict(item.fields))
    note = batch.notes[0]
    data = {
        "batch": batch.name,
        "task_id": given["task_id"],
        "new": note.new,
        "label": note.label,
        "source": note.source,
        "check": batch.check,
    }

    def text() -> str:
        judged = f"{note.label} by {note.source}" if note.label else "not judged"
        return (
            f"{'Recorded' if note.new else 'Changed'} task {show(given['task_id'])} of {skill}: {judged}."
            + _check_words(batch.check)
        )

    call.result("feedback.add", data, text)
    if missing:
        call.note(f"Not given, and so empty for the prompt: {', '.join(missing)}.")


@command(
    "import",
    examples="evoctl feedback import file-naming history.jsonl\nproducer | evoctl feedback import file-naming -",
)
@SKILL
@click.argument("file", metavar="FILE.jsonl|-")
@click.option("--skip-bad", is_flag=True, help="Import the good lines although others cannot be used.")
@pass_call
def import_(call: Call, skill: str, file: str, *, skip_bad: bool) -> None:
    """Record many tasks from a file with one JSON object a line; `-` reads standard input.

    Keys: task_id, input, output, expected (or correct), label (ok or bad), at (ISO 8601), version. Nothing is written
    when a line cannot be used, unless --skip-bad is given. During a test, new tasks without a label or a known
    answer, and those whose prompt was assigned, may become ballots.
    """
    name = "standard input" if file == "-" else Path(file).name
    with call.evolution() as evolution, _opened(file) as rows:
        bad = _check(evolution, skill, rows)
        if bad and not skip_bad:
            raise _refused(name, bad)
        batch = evolution.feedback(skill, _good(rows, {line for line, _ in bad}))
    new = sum(note.new for note in batch.notes)
    labels = {label: sum(note.label == label for note in batch.notes) for label in ("ok", "bad")}
    data = {
        "batch": batch.name, "tasks": len(batch.notes), "new": new, "changed": len(batch.notes) - new, **labels,
        "check": batch.check, "skipped": [{"line": line, "problem": problem} for line, problem in bad],
    }  # fmt: skip

    def text() -> str:
        lines = [
            f"Imported {_tasks(len(batch.notes))} into {skill}: {new} new, {labels['ok']} ok, {labels['bad']} bad."
        ]
        lines += [f"Skipped {name} line {line}: {show(problem)}" for line, problem in bad]
        return "\n".join(lines) + _check_words(batch.check)

    call.result("feedback.import", data, text)
    call.next("evoctl status", f"evoctl feedback undo {skill}")


@command(
    "list", examples="evoctl feedback list file-naming --only bad\nevoctl feedback list file-naming --limit 100 --json"
)
@SKILL
@click.option("--only", type=click.Choice(("ok", "bad")), help="With this label.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@pass_call
def list_(call: Call, skill: str, *, only: str | None, limit: int) -> None:
    """List the newest tasks and how they were judged."""
    from models import reports
    from pipeline.domain import Label

    overview = call.overview()
    name = overview.config.skill(skill).name
    with overview.read() as session:
        found = reports.samples(session, name, limit=limit, only=Label(only) if only else None)

    def text() -> str:
        if not found:
            return f"There is no such feedback on {skill}."
        rows = [
            (one.task_id, one.label, one.source, f"v{one.version}" if one.version else None, one.output, one.expected)
            for one in found
        ]
        return table(("TASK", "LABEL", "BY", "PROMPT", "OUTPUT", "EXPECTED"), rows, plain=call.plain)

    call.result("feedback.list", {"skill": skill, "tasks": found}, text)


@command("undo", examples="evoctl feedback undo file-naming")
@SKILL
@pass_call
def undo(call: Call, skill: str) -> None:
    """Take the newest feedback command of a skill back."""
    with call.evolution() as evolution:
        name, count = evolution.undo(skill)
    data = {"skill": skill, "batch": name or None, "tasks": count}
    call.result(
        "feedback.undo", data,
        lambda: f"Took batch {name} of {skill} back: {_tasks(count)}." if name else f"There is nothing to undo for {skill}.",
    )  # fmt: skip


feedback.add_command(add)
feedback.add_command(import_)
feedback.add_command(list_)
feedback.add_command(undo)
feedback.add_command(audit)


def _check(evolution: Evolution, skill: str, lines: IO[bytes]) -> list[tuple[int, str]]:
    """Read everything once; return every line that cannot be used."""
    from models import reports
    from ops.cli.feedback_file import check
    from workers.clock import now

    name, known = evolution.config.skill(skill).name, _known(evolution, skill)
    checked = check(lines, now(), lambda told: known.problem(dict(told.fields), told.version, history=True))
    if checked.without_input:
        with evolution.database.read() as session:
            there = reports.known_tasks(session, name, tuple(checked.without_input))
        checked.bad += [
            (line, "the task is not known, so its 'input' is needed")
            for task, line in checked.without_input.items()
            if task not in there
        ]
    return sorted(checked.bad)


def _known(evolution: Evolution, skill: str) -> Known:
    from models.feedback_checks import known_of

    with evolution.database.read() as session:
        return known_of(session, evolution.rules(skill))


def _good(lines: IO[bytes], bad: set[int]) -> Iterator[Feedback]:
    from ops.cli.feedback_file import read
    from workers.clock import now

    lines.seek(0)
    for row in read(lines, now()):
        if row.feedback is not None and row.line not in bad:
            yield row.feedback


def _refused(name: str, bad: list[tuple[int, str]]) -> BadInput:
    listed = "\n".join(f"{name} line {line}: {problem}" for line, problem in bad[:SHOWN])
    rest = f"\nand {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    count = "1 line" if len(bad) == 1 else f"{len(bad)} lines"
    return BadInput(
        f"{count} of {name} cannot be used; nothing was written.",
        why=listed + rest,
        hint="Correct it, or add --skip-bad.",
    )


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    """Open a file that can be read twice; standard input is kept first, so that a slow one holds no lock."""
    if file == "-":
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as kept:
            kept.writelines(iter(lambda: sys.stdin.buffer.read(BLOCK), b""))
            kept.seek(0)
            yield kept
        return
    with _regular(file) as opened:
        yield opened


def _regular(file: str) -> IO[bytes]:
    try:
        mode = Path(file).stat().st_mode
        opened = Path(file).open("rb") if stat.S_ISREG(mode) else None  # noqa: SIM115 - the caller closes it
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read.", why=getattr(error, "strerror", "") or str(error)) from error
    if opened is None and stat.S_ISDIR(mode):
        raise BadInput(f"{file} is a folder.")
    if opened is None:  # opening a pipe would wait for its other end, and a device may never end
        raise BadInput(f"{file} is no regular file.", hint="Use `-` and standard input.")
    return opened


def _tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"


def _check_words(run: int | None) -> str:
    return f"\nAccuracy gives reason for a drift check: run r{run}." if run is not None else ""
