"""`judge`: what the judge's word is worth, measured on canaries, and what it is made of."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, Group, command, pass_call
from ops.cli.evolve import say_unrung
from ops.cli.failures import NEGATIVE, going_on
from ops.cli.output import moment, number, progress, show, table
from ops.cli.words import SIMULATED, run_state

if TYPE_CHECKING:
    from models.judge_checks import CheckLine
    from models.report_values import RunLine
    from pipeline.algorithms.agreement import Figure
    from pipeline.judge_check import CheckReport
    from pipeline.judge_settings import Judging

WAIT_STEP_S = 0.5
HEAD = ("FIGURE", "VALUE", "95 %", "OF", "WHAT")
CLOUD = (
    "A judge in a cloud is not available in this release: texts would leave this machine, and the client refuses it."
)


@click.group("judge", cls=Group, examples="evoctl judge check\nevoctl judge show")
def judge() -> None:
    """Measure the judge, and show what it is worth."""


@command("check", examples="evoctl judge check\nevoctl judge check --no-wait\nevoctl judge check --json")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Stay until the figures are there.")
@pass_call
def check(call: Call, *, wait: bool) -> int:
    """Ask the judge about good and bad prompts of which the answer is known.

    40 canaries, about 330 calls of one token by the checklist. They wait until you are away from the model, as all calls
    do. The pipeline does the same by itself once a week and when the judge or its questions have changed. Exit 6 when the
    judge's verdicts are only advisory.
    """
    from workers.judge_check import start_judge_check

    with call.evolution() as evolution:
        started = start_judge_check(evolution)
    say_unrung(call, started)
    line = _waited(call, started.run) if wait and started.rung else None
    overview = call.overview()
    from models import judge_checks
    from workers.clock import now

    judging = overview.config.settings.judging
    with overview.read() as session:
        lines = judge_checks.lines(session, judging, now(), run=started.run)
    data = {"run": started.run, "ended": None if line is None else line.ending, "checks": lines}
    call.result("judge.check", data, lambda: _checked(started.run, line, lines, judging, plain=call.plain))
    call.next("evoctl judge show")
    failed = line is not None and (not lines or not all(one.trusted for one in lines))
    return NEGATIVE if failed else 0


@command("show", examples="evoctl judge show\nevoctl judge show --json")
@pass_call
def show_command(call: Call) -> None:
    """Show how the judge is asked, and its newest checks."""
    from models import judge_checks
    from pipeline.judge_check import calls_of
    from pipeline.judge_texts import QUESTIONS, prompt_sha
    from workers.clock import now

    overview = call.overview()
    settings = overview.config.settings
    judging = settings.judging
    with overview.read() as session:
        lines = judge_checks.lines(session, judging, now())
    tag = settings.models.judge
    data = {
        "judge": tag, "protocol": judging.protocol, "prompt_sha": prompt_sha(judging.protocol, judging),
        "calls_per_verdict": calls_of(judging.protocol), "pass_mark": judging.mark(judging.protocol),
        "second_judge": judging.escalate_to, "questions": QUESTIONS, "checks": lines,
        "cloud": CLOUD,
    }  # fmt: skip
    call.result("judge.show", data, lambda: _shown(tag, judging, lines, plain=call.plain))
    call.next("evoctl judge check")


judge.add_command(check)
judge.add_command(show_command)


def _waited(call: Call, run: int) -> RunLine:
    """Tell how the run goes on until it ends."""
    from models import report_details

    overview = call.overview()
    with going_on(run), progress(quiet=call.quiet or call.json) as tell:
        while True:
            with overview.read() as session:
                line = report_details.run_detail(session, run).line
            tell(f"r{run} {run_state(line)}")
            if line.ended_at is not None:
                return line
            time.sleep(WAIT_STEP_S)


def _checked(run: int, line: RunLine | None, lines: tuple[CheckLine, ...], judging: Judging, *, plain: bool) -> str:
    if line is None:
        return f"Queued run r{run}. Look: evoctl judge show"
    if not lines:
        return f"Run r{run}: {run_state(line)}. It ended before every canary was answered, so nothing was measured."
    return "\n\n".join(_one(one, judging, plain=plain) for one in lines)


def _shown(tag: str, judging: Judging, lines: tuple[CheckLine, ...], *, plain: bool) -> str:
    from pipeline.judge_check import calls_of
    from pipeline.judge_texts import QUESTIONS

    protocol = judging.protocol
    head = [
        f"Judge     {show(tag)}, protocol {protocol}, {calls_of(protocol)} calls a verdict, passes at {judging.mark(protocol):g}",
        f"Second    {_second(judging)}",
        f"Measured  {_often(judging)}",
        f"Cloud     {CLOUD}",
    ]
    if protocol == "checklist":
        rows = [(q.name, q.good, f"{q.weight:g}", "yes" if q.veto else "-", q.text) for q in QUESTIONS]
        head += ["", table(("QUESTION", "GOOD", "WEIGHT", "VETO", "TEXT"), rows, plain=plain)]
    if not lines:
        return "\n".join([*head, "", "No check was made yet."])
    return "\n\n".join(["\n".join(head), _one(lines[0], judging, plain=plain), _history(lines, plain=plain)])


def _second(judging: Judging) -> str:
    if not judging.escalate_to:
        return "none; judging.escalate_to names one"
    return f"{show(judging.escalate_to)} by {judging.escalate_protocol}, where the first is unsure"


def _often(judging: Judging) -> str:
    if not judging.check_every_d:
        return "never by itself (judging.check_every_d is 0); an unmeasured judge's verdicts count"
    return f"every {judging.check_every_d:g} days and when the model, the protocol or its words change"


def _one(one: CheckLine, judging: Judging, *, plain: bool) -> str:
    mark = f" ({SIMULATED}: no figure here is a real model's)" if one.simulated else ""
    verdict = (
        "Trusted: its verdicts may reject."
        if one.trusted
        else f"Advisory: its verdicts reject nothing. Wanted: J of {judging.least_youden:g} or more, and caught bad prompts "
        f"with a lower bound of {judging.least_tnr:g} or more."
    )
    stale = f"\nIt does not hold any more: {one.stale}." if one.stale else ""
    kinds = ", ".join(f"{kind.kind} {kind.right}/{kind.n}" for kind in one.report.kinds)
    return (
        f"{one.role} {show(one.tag)} by {one.protocol}, {moment(one.at)}, r{one.run}, {one.calls} calls{mark}\n"
        f"{table(HEAD, _rows(one.report), plain=plain)}\nRight by kind: {kinds}.\n{verdict}{stale}"
    )


def _rows(report: CheckReport) -> list[tuple[object, ...]]:
    rows = [
        _row("TPR", report.tpr, "good prompts that pass"),
        _row("TNR", report.tnr, "bad prompts that are caught"),
        _row("Youden J", report.youden, "TPR + TNR - 1"),
        _row("kappa", report.kappa, "agreement beyond chance"),
        _row("AUC", report.auc, "of the score, good against bad (approximate interval)"),
        _row("twins", report.twins, "changed copies that gain what they must not"),
        _row("retest", report.retest, "the same outcome when asked twice"),
        _row("unsure", report.unsure, "answers that say nothing"),
    ]
    if report.unreadable:
        rows.append(("unreadable", report.unreadable, "-", "-", "canaries without a verdict; they count as rejected"))
    if report.fell_back:
        rows.append(("fallback", report.fell_back, "-", "-", "canaries asked by the rubric: no log-probabilities"))
    return rows


def _row(name: str, figure: Figure, what: str) -> tuple[object, ...]:
    interval = "-" if figure.low is None or figure.high is None else f"{figure.low:.2f} to {figure.high:.2f}"
    return (name, number(figure.value), interval, figure.n, what)


def _history(lines: tuple[CheckLine, ...], *, plain: bool) -> str:
    rows = [
        (
            moment(one.at), one.tag, one.digest[:12], one.protocol, number(one.report.tpr.value), number(one.report.tnr.value),
            number(one.report.youden.value), "trusted" if one.trusted else "advisory", one.stale or "holds",
        )
        for one in lines
    ]  # fmt: skip
    return table(("AT", "JUDGE", "DIGEST", "PROTOCOL", "TPR", "TNR", "J", "VERDICTS", "STATE"), rows, plain=plain)
