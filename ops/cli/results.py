"""`results`: how a test stands, with a sentence beside the statistics."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.output import moment, number, show, table
from ops.cli.skill import SKILL
from ops.cli.words import SIMULATED

if TYPE_CHECKING:
    from models.report_results import ArmResult, Results

ID_DIGITS = 9
VOTES_HEAD = ("PROMPT", "WINS", "LOSSES", "TIES", "WIN RATE", "95 %")
EVIDENCE_HEAD = ("PROMPT", "REPLAY", "E REPLAY", "E VOTES", "EVIDENCE", "P(BEST)", "REPORT SAMPLES", "STATE")


def run_number(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a run as people write it: `r7` or `7`."""
    if value is None:
        return None
    digits = value.removeprefix("r")
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= ID_DIGITS):
        raise click.BadParameter("a run is written as r7", ctx, param)
    return int(digits)


@command("results", examples="evoctl results file-naming\nevoctl results file-naming --run r7 --json")
@SKILL
@click.option("--run", metavar="RUN", callback=run_number, help="Of this evolution; default: the newest.")
@pass_call
def results(call: Call, skill: str, *, run: int | None) -> None:
    """Show how a skill's test stands.

    Wins and losses are against the prompt in use. The evidence (an e-value) is that of the replay on held-out tasks times
    that of the votes; it alone decides: it promotes at the mark. The chance of being the best decides nothing.
    """
    from models import report_results
    from workers.clock import now

    overview = call.overview()
    name = overview.config.skill(skill).name
    at = now()
    with overview.read() as session:
        found = report_results.results(session, name, at, run)
    days = (
        round((found.ended_at or at).timestamp() - found.voting_since.timestamp()) / 86400
        if found.voting_since
        else None
    )

    call.result("results", {**_data(found), "days": days}, lambda: _text(found, days, plain=call.plain))
    if found.open_ballots:
        call.next(f"evoctl vote {skill}", f"evoctl diff {skill} current {found.leader}")
    elif found.ending == "promoted":
        call.next(f"evoctl diff {skill} previous current", f"evoctl rollback {skill}")


def _data(found: Results) -> dict[str, object]:
    from ops.cli.output import plain_data

    return dict(plain_data(found))


def _text(found: Results, days: float | None, *, plain: bool) -> str:
    label = f" ({SIMULATED})" if found.simulated else ""
    lines = [
        f"Run r{found.run}{label} of {found.skill}, begun from v{found.version}: {found.ending or found.stage}",
        f"Because  {show(found.reason)}",
    ]
    if found.restarted:
        lines.append(f"Anew     the comparison began anew: {show(found.restarted)}; earlier votes count no more")
    if found.arms:
        lines += [*_counts(found, days), "", _tables(found, plain=plain), ""]
    lines.append(show(found.verdict))
    lines += [show(note) for note in found.notes]
    if found.ended_at is not None:
        lines.append(f"Ended {moment(found.ended_at)}.")
    if found.simulated:
        lines.append(f"This run is {SIMULATED}: no figure here is a real model's.")
    return "\n".join(lines)


def _counts(found: Results, days: float | None) -> list[str]:
    """Say how many tasks and votes there are, and what became of the ballots."""
    since = f", day {days:.1f} of {found.max_days:g}" if days is not None else ""
    left_out = f"; {', '.join(found.behind)} did worse" if found.behind else ""
    chosen = f"{found.selected} logged tasks chose{left_out}" if found.selected else "nothing to choose by"
    lines = [f"Replay   {chosen}; {found.confirmed} held-out tasks give the evidence that the votes start from"]
    if found.mode == "live":
        return [*lines, f"Live     {found.votes} of at most {found.cap} tasks have an outcome{since}"]
    extra = [(found.skipped, "skipped"), (found.undone, "taken back")]
    aside = "".join(f", {n} {what}" for n, what in extra if n)
    expired = f", {found.expired} expired" if found.expired else ""
    lines.append(
        f"Votes    {found.votes} of at most {found.cap}{aside}{since}; {found.open_ballots} ballots open{expired}"
    )
    return lines


def _tables(found: Results, *, plain: bool) -> str:
    votes = table(VOTES_HEAD, [_vote_row(arm) for arm in found.arms], plain=plain)
    return votes + "\n\n" + table(EVIDENCE_HEAD, [_evidence_row(arm, found) for arm in found.arms], plain=plain)


def _vote_row(arm: ArmResult) -> tuple[object, ...]:
    n = arm.wins + arm.losses
    rate, interval = (number(arm.wins / n), f"{arm.low:.2f} to {arm.high:.2f}") if n else ("-", "-")
    return arm.name, arm.wins, arm.losses, arm.ties, rate, interval


def _evidence_row(arm: ArmResult, found: Results) -> tuple[object, ...]:
    known = arm.e_value is not None
    return (
        arm.name, f"{arm.replay_wins} : {arm.replay_losses}" if known else "-",
        number(arm.replay_e, ".3g"), number(arm.votes_e, ".3g"),
        f"{arm.e_value:.3g} of {found.mark:g}" if known else "-", number(arm.p_best),
        "-" if arm.tested is None else f"{arm.right} of {arm.tested} right", arm.fate,
    )  # fmt: skip
