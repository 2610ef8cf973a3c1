"""`status` and `runs`: what is, at a glance."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.output import moment, plain_data, show, table
from ops.cli.skill import OPTIONAL_SKILL
from ops.cli.words import SIMULATED, accuracy, failure, gate_line, run_name, run_state

if TYPE_CHECKING:
    from models.report_values import Status
    from pipeline.gate import Verdict
    from workers.overview import Overview


@command("status", examples="evoctl status\nevoctl status --json")
@pass_call
def status(call: Call) -> None:
    """Show every skill, what runs and what waits."""
    from models import reports

    overview = call.overview()
    rules = overview.all_rules()
    alive, attended = overview.alive(), overview.attended()
    with overview.read() as session:
        found = reports.status(session, rules, alive=alive)
    gate, room = _gate(overview), _room(overview)
    skills = [
        {**_fields(one), "enabled": rule.skill.enabled, "poor_candidate": rule.skill.poor_candidate}
        for one, rule in zip(found.skills, rules, strict=True)
    ]
    data = {
        "skills": skills, "queue": found.queue, "gate": gate, "simulated": found.simulated, "disk": room,
        "attended": attended,
    }  # fmt: skip
    call.result("status", data, lambda: _status_text(found, gate, room, attended=attended))
    if any(line.open_ballots for one in found.skills for line in one.open):
        call.next("evoctl vote")
    elif not any(one.samples for one in found.skills):
        call.next("evoctl feedback import SKILL FILE.jsonl")


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
    alive = overview.alive()
    with overview.read() as session:
        found = reports.runs(session, skill=name, limit=limit, alive=alive)

    def text() -> str:
        if not found:
            return "There is no run yet."
        rows = [(run_name(one), one.skill, one.kind, moment(one.created_at), run_state(one)) for one in found]
        return table(("RUN", "SKILL", "KIND", "BEGAN", "STATE"), rows, plain=call.plain)

    call.result("runs", {"runs": found}, text)


def _gate(overview: Overview) -> Verdict:
    """Look at the gate; on a full disk it cannot write down what it saw, and is closed."""
    from pipeline.gate import Reason, Verdict
    from workers.trouble import of_file

    try:
        return overview.gate()
    except OSError as error:
        trouble = of_file(error)
        if trouble is None:
            raise
        return Verdict(open=False, reason=Reason.DISK, detail=trouble.what)


def _room(overview: Overview) -> dict[str, object]:
    from workers.trouble import free_mb

    free, wanted = free_mb(overview.home.root), overview.config.settings.work.min_free_mb
    return {"free_mb": round(free), "wanted_mb": wanted, "enough": free >= wanted}


def _fields(one: object) -> dict[str, object]:
    return dict(plain_data(one))


def _status_text(found: Status, gate: Verdict, room: dict[str, object], *, attended: bool) -> str:
    lines: list[str] = []
    size = max((len(one.skill) for one in found.skills), default=0)
    for one in found.skills:
        lines.append(f"{one.skill:{size}}  v{one.version}  accuracy {accuracy(one.accuracy)}")
        lines += [f"{'':{size}}  {run_name(line)} {line.kind}: {run_state(line)}" for line in one.open]
        lines += [f"{'':{size}}  {show(line.starved)}" for line in one.open if line.starved]
        if one.failed:
            lines.append(f"{'':{size}}  ALERT {failure(one.failed)}")
        if one.accuracy.n:
            lines.append(f"{'':{size}}  watch: {show(one.watch)}")
        if not one.open and one.finding:
            lines.append(f"{'':{size}}  last check {moment(one.checked_at)}: {show(one.finding)}")
    if not found.skills:
        lines.append("The configuration describes no skill yet.")
    counts = {state: sum(item.state == state for item in found.queue) for state in ("running", "ready", "waiting")}
    lines.append(f"Queue: {', '.join(f'{n} {state}' for state, n in counts.items())}.")
    lines += [f"  r{item.run} {item.stage}: {show(item.error, limit=300)}" for item in found.queue if item.error]
    lines.append(gate_line(gate, found.queue))
    lines += [] if attended else ["Nothing runs here: evoctl up"]
    lines += [f"  Alert: {show(alert)}." for alert in gate.alerts]
    if not room["enough"]:
        words = f"only {room['free_mb']} MB are free; no model is asked before there are {room['wanted_mb']:g}"
        lines.append(f"ALERT The disk is full: {words}. Free some space, and work goes on by itself.")
    if found.simulated:
        lines.append(f"Some of it is {SIMULATED}: no figure of such a run is a real model's.")
    return "\n".join(lines)
