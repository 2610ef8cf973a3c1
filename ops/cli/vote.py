"""`vote`: blind voting in the terminal, and the same for programs."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ops.cli import output
from ops.cli.call import Call, command, pass_call
from ops.cli.output import show
from ops.cli.skill import OPTIONAL_SKILL
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from models.votes import Counted, Shown
    from pipeline.domain import Choice
    from workers.client import Evolution

KEYS = {"t": "tie", "n": "none", "s": "skip"}
LONGEST = 6000  # characters shown of one text
FIELD = 1500  # characters shown of one field of the input
VOTER = "terminal"


@command(
    "vote",
    examples="evoctl vote file-naming\nevoctl vote --count 5\nevoctl vote --json\n"
    "evoctl vote --ballot 12 --pick 2\nevoctl vote --ballot 12 --tie",
)
@OPTIONAL_SKILL
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after so many ballots.")
@click.option("--ballot", type=click.IntRange(1, 2**31 - 1), metavar="ID", help="Answer this ballot and ask nothing.")
@click.option("--pick", type=click.IntRange(1), metavar="N", help="Result N is the best.")
@click.option("--tie", is_flag=True, help="No result is better than the others.")
@click.option("--none", is_flag=True, help="No result is good.")
@click.option("--skip", is_flag=True, help="Do not count this ballot.")
@pass_call
def vote(
    call: Call, /, skill: str | None, *, count: int | None, ballot: int | None, pick: int | None, **flags: bool
) -> None:
    """Vote on results, blind.

    The input and up to four results are shown in random order; which prompt wrote which is not. Keys: 1 to 4 the best
    result, t a tie, n none is good, s skip, q quit. With --json the next ballot is printed and nothing is asked.
    """
    answers = [choice for choice in ("tie", "none", "skip") if flags[choice]] + ["pick"] * (pick is not None)
    if ballot is None and answers:
        raise BadInput("An answer needs the ballot it is for.", hint="evoctl vote --json prints the next one.")
    if ballot is not None and len(answers) != 1:
        raise BadInput("A ballot needs one answer.", hint="Add one of --pick N, --tie, --none and --skip.")
    with call.evolution() as evolution:
        name = evolution.config.skill(skill).name if skill else None
        if ballot is not None:
            _answer(call, evolution, ballot, answers[0], pick)
        elif call.json or not output.is_terminal():
            _print_next(call, evolution.next_ballot(name))
        else:
            _ask_until_done(call, evolution, name, count)


def _answer(call: Call, evolution: Evolution, ballot: int, answer: str, position: int | None) -> None:
    from pipeline.domain import Choice

    counted = evolution.vote(ballot, Choice(answer), position=position, voter=VOTER)
    data = {"ballot": ballot, "choice": answer, "position": position, "counted": counted.fresh, **_outcome(counted)}
    call.result("vote", data, lambda: _said(counted))


def _print_next(call: Call, ballot: Shown | None) -> None:
    """Print the next ballot without asking; neither arms nor prompts are in it."""
    call.result("vote", {"ballot": ballot}, lambda: _text(ballot) if ballot else "There is nothing to vote on.")
    if ballot is not None:
        call.next(f"evoctl vote --ballot {ballot.ballot} --pick N (or --tie, --none, --skip)")


def _ask_until_done(call: Call, evolution: Evolution, skill: str | None, count: int | None) -> None:
    """Show ballot after ballot until the person leaves, the count is reached or none is left."""
    voted = 0
    while count is None or voted < count:
        ballot = evolution.next_ballot(skill)
        if ballot is None:
            click.echo("There is nothing to vote on." if not voted else "No further ballot is ready.")
            return
        click.echo(_text(ballot))
        began = time.monotonic()
        answer = _read_key(len(ballot.cards))
        if answer is None:
            return
        choice, position = answer
        took_ms = round((time.monotonic() - began) * 1000)
        counted = evolution.vote(ballot.ballot, choice, position=position, voter=VOTER, took_ms=took_ms)
        click.echo(_said(counted) + "\n")
        voted += 1
    call.next("evoctl results " + (skill or "SKILL"))


def _read_key(cards: int) -> tuple[Choice, int | None] | None:
    """Wait for a key that means something; None means that the person leaves."""
    from pipeline.domain import Choice

    keys = f"1{f' to {cards}' if cards > 1 else ''} best, t tie, n none is good, s skip, q quit"
    click.echo(f"[{keys}] ", nl=False)
    while True:
        key = click.getchar().lower()
        if key == "q" or not key:
            click.echo("q")
            return None
        if key in KEYS:
            click.echo(key)
            return Choice(KEYS[key]), None
        if key.isdecimal() and key.isascii() and 1 <= int(key) <= cards:
            click.echo(key)
            return Choice.PICK, int(key)


def _text(ballot: Shown) -> str:
    """Lay a ballot out; every text in it is of others."""
    rule = "-" * 72
    lines = [f"Ballot {ballot.ballot} of {ballot.skill} (vote {ballot.votes + 1} of at most {ballot.cap})", rule]
    for name, value in ballot.fields:
        lines.append(f"{show(name, limit=100)}: {show(value, newlines=True, limit=FIELD)}")
    lines.append(rule)
    for position, card in enumerate(ballot.cards, start=1):
        lines.append(f"{position}:\n{output.lines_of(card[:LONGEST], '   ') if card else '   (empty)'}")
    lines.append(rule)
    return "\n".join(lines)


def _said(counted: Counted) -> str:
    """Say what the vote did, without telling which prompt was picked."""
    from pipeline.domain import Waiting

    if not counted.fresh:
        return "This ballot was voted on before; nothing was changed."
    if counted.verdict.next is Waiting.FOR_VOTES:
        return "Counted."
    return f"Counted. The test is decided: {show(counted.verdict.reason)}."


def _outcome(counted: Counted) -> dict[str, object]:
    from pipeline.domain import Waiting

    decided = counted.verdict.next is not Waiting.FOR_VOTES
    return {"decided": decided, "reason": counted.verdict.reason if decided else ""}
