"""`create`: a test of prompts that a person wrote."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.evolve import say_unrung
from ops.cli.finite import FiniteRange
from ops.cli.skill import SKILL
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from workers.client import Evolution

MAX_FILE = 256 * 1024  # bytes of a prompt
LETTERS = "abcdefghij"
SHOWN_LETTERS = "abc"


def _variant_options(function: Any) -> Any:
    for letter in reversed(LETTERS):
        function = click.option(
            f"--variant-{letter}", letter, metavar="FILE", required=letter == "a", hidden=letter not in SHOWN_LETTERS,
            help="An instruction, or a whole template." + (" Up to --variant-j." if letter == "c" else ""),
        )(function)  # fmt: skip
    return function


@command(
    "create",
    examples="evoctl create file-naming --variant-a shorter.md\n"
    "evoctl create file-naming --variant-a a.md --variant-b b.md --variant-c c.md",
)
@SKILL
@_variant_options
@click.option("--votes", "max_votes", type=click.IntRange(1, 1000), metavar="N", help="Most votes of this test.")
@click.option("--days", "max_days", type=FiniteRange(0.01, 365), metavar="N", help="Most days of this test.")
@click.option(
    "--live", is_flag=True, help="No ballots: each task is given one prompt, and `outcome` tells how it went."
)
@click.option("--reason", default="prompts written by a person", metavar="TEXT", help="Kept with the run.")
@pass_call
def create(
    call: Call, /, skill: str, *, reason: str, live: bool, max_votes: int | None, max_days: float | None,
    **files: str | None,
) -> None:  # fmt: skip
    """Put prompts that you wrote to the vote.

    They stand beside the one in use, blind. No model writes anything. Only the instruction of a template is tested; the
    frame with the fields stays.
    """
    from pipeline.explain import live_words

    given = [(letter, files[letter]) for letter in LETTERS if files.get(letter)]
    for (letter, _), wanted in zip(given, LETTERS, strict=False):
        if letter != wanted:
            raise BadInput(f"There is a --variant-{letter} but no --variant-{wanted}.")
    instructions = tuple(_instruction(str(path)) for _, path in given)
    with call.evolution() as evolution:
        given_rules = {"max_votes": max_votes, "max_days": max_days, "mode": "live" if live else None}
        settings = _with(evolution.config.settings, given_rules)
        if max_votes is not None:
            _only_with_ballots(settings)
        started = evolution.create(skill, instructions, reason=reason, settings=settings)
        told = _told(evolution, skill)
    names = [f"variant_{letter}" for letter, _ in given]
    _warn_of_leaks(call, zip(names, instructions, strict=True))
    live = settings.voting.mode == "live"
    needs = live_words(settings.voting, skill) if live else ""
    data = {"run": started.run, "skill": skill, "variants": names, "rung": started.rung, "live": live, "needs": needs}
    how = "is tried on the tasks as they come" if len(names) == 1 else "are tried on the tasks as they come"
    said = f"puts {', '.join(names)} to the vote" if not live else f"begins: {', '.join(names)} {how}"
    call.result("create", data, lambda: f"Run r{started.run} of {skill} {said}.{' ' + needs if needs else ''}")
    say_unrung(call, started)
    if live:
        call.next(f"evoctl assign {skill} --task-id ID", f"evoctl outcome {skill} ID --ok {told}")
    else:
        call.next(f"evoctl vote {skill}", f"evoctl results {skill}")


def _only_with_ballots(settings: Settings) -> None:
    """Refuse a number of votes where nobody votes.

    Raises:
        BadInput: the test is a live one.
    """
    if settings.voting.mode == "live":
        raise BadInput(
            "--votes counts ballots, and a live test has none.",
            why=f"It ends after {settings.voting.live_max_tasks} tasks (voting.live_max_tasks).",
            hint="Leave --votes out, or --live.",
        )


def _warn_of_leaks(call: Call, texts: Iterable[tuple[str, str]]) -> None:
    """Say which prompts have what a model's prompt would be refused for."""
    from pipeline.leaks import leaks

    for name, text in texts:
        if found := leaks(text):
            call.note(
                f"{name} has {', '.join(found)}. It is tested as you wrote it; a model's prompt would be refused."
            )


def _with(settings: Settings, voting: dict[str, Any]) -> Settings:
    """Put the options over the configuration."""
    given = {name: value for name, value in voting.items() if value is not None}
    return replace(settings, voting=replace(settings.voting, **given)) if given else settings


def _told(evolution: Evolution, skill: str) -> str:
    """Write the options by which a host tells of a task that is not known yet: its input and its output."""
    from pipeline.skills import PLACEHOLDER
    from workers.host_config import read_template

    text = read_template(evolution.config.path, evolution.config.skill(skill).template)
    fields = dict.fromkeys(PLACEHOLDER.findall(text))
    return " ".join([*(f"--input {name}=TEXT" for name in fields), "--output TEXT"])


def _instruction(path: str) -> str:
    """Read a file with an instruction or a whole template.

    Raises:
        BadInput: it cannot be read, is too long, or is no text.
    """
    from pipeline.skills import PLACEHOLDER, parse_template

    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise BadInput(f"{path} is no file.")
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE + 1)
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise BadInput(f"{path} cannot be read.", why=error.strerror or str(error)) from error
    except ValueError as error:
        raise BadInput(f"{path} is no UTF-8 text.", why=str(error)) from error
    if len(content) > MAX_FILE:
        raise BadInput(f"{path} is longer than {MAX_FILE} bytes.")
    if "\x00" in text:
        raise BadInput(f"{path} has a NUL character.")
    return parse_template(text).instruction if PLACEHOLDER.search(text) else text.strip()
