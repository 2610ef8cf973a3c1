"""`status`, `stats` and `runs`: what is, at a glance."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.failures import NEGATIVE
from ops.cli.output import moment, number, show, table
from ops.cli.skill import OPTIONAL_SKILL
from ops.cli.words import SIMULATED, accuracy, run_name, run_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.report_values import SkillStatus, Status, VersionLine
    from workers.llm.gate import GateReading


@command("status", examples="evoctl status\nevoctl status --json")
@pass_call
def status(call: Call) -> None:
    """Show every skill, what runs and what waits."""
    from models import reports

    overview = call.overview()
    rules = overview.all_rules()
    with overview.read() as session:
        found = reports.status(session, rules)
    gate = overview.gate()
    skills = [
        {**_fields(one), "enabled": rule.skill.enabled, "poor_candidate": rule.skill.poor_candidate}
        for one, rule in zip(found.skills, rules, strict=True)
    ]
    data = {"skills": skills, "queue": found.queue, "gate": gate, "simulated": found.simulated}
    call.result("status", data, lambda: _status_text(found, gate))
    if any(line.open_ballots for one in found.skills for line in one.open):
        call.next("evoctl vote")
    elif not any(one.samples for one in found.skills):
        call.next("evoctl feedback import SKILL FILE.jsonl")


@command("stats", examples="evoctl stats\nevoctl stats file-naming --fail-under 0.8")
@OPTIONAL_SKILL
@click.option(
    "--fail-under", type=click.FloatRange(0, 1), metavar="X", help="Exit 6 when an accuracy is below X or unknown."
)
@pass_call
def stats(call: Call, skill: str | None, *, fail_under: float | None) -> int:
    """Show accuracy by skill and prompt version.

    The window holds the newest judged samples of the version in use, as many as the drift check looks at.
    """
    from models import reports

    overview = call.overview()
    rules = (overview.rules(skill),) if skill else overview.all_rules()
    with overview.read() as session:
        found = [(reports.skill_status(session, one), reports.versions(session, one)) for one in rules]
    below = [
        one.skill
        for one, _ in found
        if fail_under is not None and (one.accuracy.value is None or one.accuracy.value < fail_under)
    ]
    skills = [
        {"skill": one.skill, "version": one.version, "threshold": one.threshold, "samples": one.samples,
         "window": one.accuracy, "versions": [{"version": v.version, "accuracy": v.accuracy} for v in versions]}
        for one, versions in found
    ]  # fmt: skip
    data = {"skills": skills, "interval": "wilson-95", "fail_under": fail_under, "below": below}
    call.result("stats", data, lambda: _stats_text(found, plain=call.plain))
    if below:
        call.note(f"Below {fail_under:g} or unknown: {', '.join(below)}.")
    return NEGATIVE if below else 0


@command("runs", examples="evoctl runs\nevoctl runs file-naming --limit 5 --json")
@OPTIONAL_SKILL
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@pass_call
def runs(call: Call, skill: str | None, *, limit: int) -> None:
    """List runs.

    The newest comes first.
    """
    from models import reports

    overview = call.overview()
    name = overview.config.skill(skill).name if skill else None
    with overview.read() as session:
        found = reports.runs(session, skill=name, limit=limit)

    def text() -> str:
        if not found:
            return "There is no run yet."
        rows = [(run_name(one), one.skill, one.kind, moment(one.created_at), run_state(one)) for one in found]
        return table(("RUN", "SKILL", "KIND", "BEGAN", "STATE"), rows, plain=call.plain)

    call.result("runs", {"runs": found}, text)


def _stats_text(found: Sequence[tuple[SkillStatus, Sequence[VersionLine]]], *, plain: bool) -> str:
    rows: list[tuple[object, ...]] = []
    for one, versions in found:
        lines = [("window", one.version, one.accuracy), *(("all", v.version, v.accuracy) for v in versions)]
        for what, version, a in lines:
            if a.n or what == "window":
                interval = f"{a.low:.2f} to {a.high:.2f}" if a.n else "-"
                rows.append((one.skill, f"v{version}", what, number(a.value), interval, a.n, a.basis))
    return table(("SKILL", "PROMPT", "OVER", "ACCURACY", "95 %", "SAMPLES", "JUDGED"), rows, plain=plain)


def _fields(one: object) -> dict[str, object]:
    from ops.cli.output import plain_data

    return dict(plain_data(one))


def _status_text(found: Status, gate: GateReading) -> str:
    lines: list[str] = []
    size = max((len(one.skill) for one in found.skills), default=0)
    for one in found.skills:
        lines.append(f"{one.skill:{size}}  v{one.version}  accuracy {accuracy(one.accuracy)}")
        lines += [f"{'':{size}}  {run_name(line)} {line.kind}: {run_state(line)}" for line in one.open]
        if not one.open and one.finding:
            lines.append(f"{'':{size}}  last check {moment(one.checked_at)}: {show(one.finding)}")
    if not found.skills:
        lines.append("The configuration describes no skill yet.")
    counts = {state: sum(item.state == state for item in found.queue) for state in ("running", "ready", "waiting")}
    lines.append(f"Queue: {', '.join(f'{n} {state}' for state, n in counts.items())}.")
    lines += [f"  r{item.run} {item.stage}: {show(item.error, limit=300)}" for item in found.queue if item.error]
    lines.append(f"Gate: {'open' if gate.open else 'closed'}. {show(gate.detail)}")
    if found.simulated:
        lines.append(f"Some of it is {SIMULATED}: no figure of such a run is a real model's.")
    return "\n".join(lines)
