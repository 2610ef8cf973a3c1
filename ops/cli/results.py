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
HEAD = ("PROMPT", "WINS", "LOSSES", "TIES", "WIN RATE", "95 %", "EVIDENCE", "P(BEST)", "REPORT SAMPLES", "STATE")


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

    Wins and losses are against the prompt in use. The evidence (an e-value) decides: it promotes at the mark. The chance
    of being the best is shown and decides nothing.
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
    mark = f" ({SIMULATED})" if found.simulated else ""
    head = f"Run r{found.run}{mark} of {found.skill}, begun from v{found.version}: {found.ending or found.stage}"
    lines = [head, f"Because  {show(found.reason)}"]
    if found.arms:
        voted = f"{found.votes} of at most {found.cap}"
        skipped = f", {found.skipped} skipped" if found.skipped else ""
        since = f", day {days:.1f} of {found.max_days:g}" if days is not None else ""
        lines.append(
            f"Votes    {voted}{skipped}{since}; {found.open_ballots} ballots open, {found.equal} inputs gave equal results"
        )
        lines += ["", table(HEAD, [_row(arm, found) for arm in found.arms], plain=plain), ""]
    lines.append(show(found.verdict))
    if found.chance is not None:
        lines.append(
            f"If {found.leader} goes on winning {found.leader_rate:.0%} of its comparisons, the votes left promote it "
            f"with a chance of {found.chance:.0%}."
        )
    if found.ended_at is not None:
        lines.append(f"Ended {moment(found.ended_at)}.")
    if found.simulated:
        lines.append(f"This run is {SIMULATED}: no figure here is a real model's.")
    return "\n".join(lines)


def _row(arm: ArmResult, found: Results) -> tuple[object, ...]:
    n = arm.wins + arm.losses
    return (
        arm.name, arm.wins, arm.losses, arm.ties, number(arm.wins / n) if n else "-",
        f"{arm.low:.2f} to {arm.high:.2f}" if n else "-",
        "-" if arm.e_value is None else f"{arm.e_value:.3g} of {found.mark:g}", number(arm.p_best),
        "-" if arm.tested is None else f"{arm.right} of {arm.tested} right", arm.fate,
    )  # fmt: skip
