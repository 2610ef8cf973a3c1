"""`vote`: blind voting in the terminal, and the same for programs."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from ops.cli import output
from ops.cli.call import Call, command, pass_call
from ops.cli.output import show
from ops.cli.skill import OPTIONAL_SKILL
from pipeline.errors import BadInput, Refused, Unreachable

if TYPE_CHECKING:
    from models.ballots import Shown
    from models.votes import Counted
    from pipeline.domain import Choice
    from workers.client import Evolution

KEYS = {"t": "tie", "0": "tie", "n": "none", "s": "skip", "u": "undo", "q": "quit", "?": "help"}
ANSWERS = ("tie", "none", "skip", "undo")  # options of a program's answer, beside --pick
PROMPT = "t no difference, n none is good, s skip, u undo, q quit, ? keys"
SHORT = "t n s u q ?"
VOTER = "terminal"
NOT_COUNTED, KEPT = "The vote was not counted.", "Your choice is kept and tried again; Ctrl-C gives it up."
AGAIN_S = 0.5  # between tries of a vote that the database does not take; each of them waits for it as well


@command(
    "vote",
    examples="evoctl vote file-naming\nevoctl vote --count 5\nevoctl vote --json\n"
    "evoctl vote --ballot 12 --pick 2\nevoctl vote --ballot 12 --tie\nevoctl vote --ballot 12 --undo",
)
@OPTIONAL_SKILL
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after so many ballots.")
@click.option("--ballot", type=click.IntRange(1, 2**31 - 1), metavar="ID", help="Answer this ballot and ask nothing.")
@click.option("--pick", type=click.IntRange(1), metavar="N", help="Result N is the best.")
@click.option("--tie", is_flag=True, help="No result is better than the others.")
@click.option("--none", is_flag=True, help="No result is good.")
@click.option("--skip", is_flag=True, help="Do not count this ballot.")
@click.option("--undo", is_flag=True, help="Take the vote on this ballot back, if it is its test's newest.")
@pass_call
def vote(
    call: Call, /, skill: str | None, *, count: int | None, ballot: int | None, pick: int | None, **flags: bool
) -> None:
    """Vote on results, blind.

    The input and up to four results are shown in random order; which prompt wrote which is not. Keys: 1 to 4 the best
    result, t or 0 no difference, n none is good, s skip, u undo the last vote, q quit, ? the keys. With --json the next
    ballot is printed and nothing is asked.
    """
    answers = [answer for answer in ANSWERS if flags[answer]] + ["pick"] * (pick is not None)
    if ballot is None and answers:
        raise BadInput("An answer needs the ballot it is for.", hint="evoctl vote --json prints the next one.")
    if ballot is not None and len(answers) != 1:
        raise BadInput("A ballot needs one answer.", hint="Add one of --pick N, --tie, --none, --skip and --undo.")
    with call.evolution() as evolution:
        name = evolution.config.skill(skill).name if skill else None
        if ballot is not None and answers == ["undo"]:
            _undo(call, evolution, ballot)
        elif ballot is not None:
            _answer(call, evolution, ballot, answers[0], pick)
        elif call.json or not output.is_terminal():
            _print_next(call, evolution, name)
        else:
            _ask_until_done(call, _Sitting(evolution, name), count)


def _answer(call: Call, evolution: Evolution, ballot: int, answer: str, position: int | None) -> None:
    from pipeline.domain import Choice

    choice = Choice(answer)
    try:
        counted = evolution.vote(ballot, choice, position=position, voter=VOTER)
    except Unreachable as trouble:
        again = f"evoctl vote --ballot {ballot} " + (f"--pick {position}" if position else f"--{answer}")
        raise Unreachable(f"{NOT_COUNTED} {trouble.what}", why=trouble.why, hint=again) from trouble
    data = {"ballot": ballot, "choice": answer, "position": position, "counted": counted.fresh, **_outcome(counted)}
    call.result("vote", data, lambda: _said(counted, choice))


def _undo(call: Call, evolution: Evolution, ballot: int) -> None:
    undone = evolution.undo_vote(ballot)
    words = (
        f"The vote on ballot {ballot} is taken back; the ballot is open again."
        if undone
        else f"Ballot {ballot} has no vote; nothing was changed."
    )
    call.result("vote.undo", {"ballot": ballot, "undone": undone}, lambda: words)


def _nothing(why: tuple[str, ...]) -> str:
    return "\n".join(("There is nothing to vote on.", *map(show, why)))


def _why(evolution: Evolution, skill: str | None) -> tuple[str, ...]:
    """Say of each test why no ballot comes, where none can."""
    from models import ballot_inputs

    with evolution.database.read() as session:
        return ballot_inputs.all_starved(session, skill)


def _print_next(call: Call, evolution: Evolution, skill: str | None) -> None:
    """Print the next ballot without asking; neither arms nor prompts are in it."""
    from ops.cli.ballot_text import laid_out

    ballot = evolution.next_ballot(skill)
    why = () if ballot else _why(evolution, skill)
    call.result("vote", {"ballot": ballot, "why": why}, lambda: laid_out(ballot) if ballot else _nothing(why))
    if ballot is not None:
        call.next(f"evoctl vote --ballot {ballot.ballot} --pick N (or --tie, --none, --skip)")


@dataclass(slots=True)
class _Sitting:
    """What a person has answered since the command began.

    Attributes:
        skill: None votes on ballots of all skills.
        given: ballots answered, the newest last.
        last: skill of the newest.
        decided: the newest decided its test, so that it stands.
    """

    evolution: Evolution
    skill: str | None
    given: list[int] = field(default_factory=list)
    last: str = ""
    decided: bool = False

    def answer(self, ballot: Shown, choice: Choice, position: int | None, took_ms: int) -> str:
        """Count an answer; returns what it did, in words."""
        try:
            counted = self._count(ballot, choice, position, took_ms)
        except Refused as error:  # somebody else decided the test meanwhile
            return show(error)
        if counted.fresh:
            self.given.append(ballot.ballot)
            self.last, self.decided = ballot.skill, bool(_outcome(counted)["decided"])
        return _said(counted, choice)

    def _count(self, ballot: Shown, choice: Choice, position: int | None, took_ms: int) -> Counted:
        """Count an answer; while the database cannot be written it is kept, and the person is told so once."""
        told = False
        try:
            while True:
                try:
                    return self.evolution.vote(ballot.ballot, choice, position=position, voter=VOTER, took_ms=took_ms)
                except Unreachable as trouble:
                    if not told:
                        click.echo(f"Not counted yet: {show(trouble.what)} {KEPT}")
                    told = True
                time.sleep(AGAIN_S)
        except KeyboardInterrupt:
            if told:
                click.echo("The vote was given up. If it was not counted, the ballot is shown again.")
            raise

    def undo(self) -> str:
        """Take the newest answer back; returns what that did, in words."""
        try:
            undone = self.evolution.undo_vote(self.given[-1])
        except Refused as error:
            return show(error)
        self.given.pop()
        return "Taken back." if undone else "That vote was taken back before; nothing was changed."


def _ask_until_done(call: Call, sitting: _Sitting, count: int | None) -> None:
    """Show ballot after ballot until the person leaves, the count is reached or none is left."""
    from ops.cli.ballot_text import laid_out
    from pipeline.domain import Choice

    while count is None or len(sitting.given) < count:
        ballot = sitting.evolution.next_ballot(sitting.skill)
        if ballot is None:
            why = _why(sitting.evolution, sitting.skill)
            click.echo("No further ballot is ready." if sitting.given and not why else _nothing(why))
            break
        columns = shutil.get_terminal_size().columns
        click.echo(laid_out(ballot, columns))
        began = time.monotonic()
        answer, position = _read_key(len(ballot.cards), columns, undo=bool(sitting.given))
        if answer == "quit":
            return
        if answer == "undo":
            said = sitting.undo()
        else:
            took_ms = round((time.monotonic() - began) * 1000)
            said = sitting.answer(ballot, Choice(answer), position, took_ms)
        click.echo(said + "\n")
    if sitting.given:
        undo = () if sitting.decided else (f"evoctl vote --ballot {sitting.given[-1]} --undo",)
        call.next(f"evoctl results {sitting.last}", *undo)


def _read_key(cards: int, columns: int, *, undo: bool) -> tuple[str, int | None]:
    """Wait for a key that means something now; help is given here."""
    picks = f"1{f' to {cards}' if cards > 1 else ''} best"
    prompt = f"[{picks}, {PROMPT}] "
    if len(prompt) >= columns:
        prompt = f"[{picks}, {SHORT}] "
    click.echo(prompt, nl=False)
    while True:
        key = _key()
        answer, position = meaning(key, cards)
        if not answer:
            continue
        click.echo(key if answer != "quit" else "q")
        if answer == "help":
            click.echo(_help(picks))
        elif answer == "undo" and not undo:
            click.echo(
                "No vote was given since this command began; evoctl vote --ballot ID --undo takes an earlier one back."
            )
        else:
            return answer, position
        click.echo(prompt, nl=False)


def meaning(key: str, cards: int) -> tuple[str, int | None]:
    """Return what a key says and, for a pick, which result; an empty word when it says nothing.

    >>> meaning("2", 3), meaning("T", 3), meaning("4", 3), meaning("", 3)
    (('pick', 2), ('tie', None), ('', None), ('quit', None))
    """
    if not key:
        return "quit", None  # the terminal is gone
    if key.lower() in KEYS:
        return KEYS[key.lower()], None
    picked = key.isdecimal() and key.isascii() and len(key) == 1 and 1 <= int(key) <= cards
    return ("pick", int(key)) if picked else ("", None)


def _key() -> str:
    try:
        return click.getchar()
    except EOFError:  # Ctrl-D
        return ""


def _help(picks: str) -> str:
    rows = (
        (picks.removesuffix(" best"), "this result is the best"),
        ("t or 0", "there is no difference"),
        ("n", "none is good"),
        ("s", "skip: the ballot is not counted"),
        ("u", "undo the last vote of this sitting"),
        ("q", "quit; what was voted stays counted"),
        ("?", "these keys"),
    )
    return "\n".join(f"  {keys:7} {what}" for keys, what in rows)


def _said(counted: Counted, choice: Choice) -> str:
    """Say what the vote did, without telling which prompt was picked."""
    from pipeline.domain import Choice as Choices
    from pipeline.domain import Waiting

    if not counted.fresh:
        return "This ballot was voted on before; nothing was changed."
    if choice is Choices.SKIP:
        return "Skipped."
    if counted.verdict.next is Waiting.FOR_VOTES:
        return "Counted."
    return f"Counted. The test is decided: {show(counted.verdict.reason)}."


def _outcome(counted: Counted) -> dict[str, object]:
    from pipeline.domain import Waiting

    decided = counted.verdict.next is not Waiting.FOR_VOTES
    return {"decided": decided, "reason": counted.verdict.reason if decided else ""}
