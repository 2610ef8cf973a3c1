"""`gate`: what evolution sees of the user, the models and the machine, and whether it may work now."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops.cli.call import Call, command, pass_call
from ops.cli.output import moment, show, table
from ops.cli.words import gate_line

if TYPE_CHECKING:
    from models.report_values import QueueItem
    from ops.cli.checks import Check
    from pipeline.gate import Reading, Verdict
    from workers.home import Home
    from workers.overview import Overview

HEAD = ("READING", "STATE", "AGE S", "COST MS", "VALUE", "SOURCE")


@command("gate", examples="evoctl gate\nevoctl gate --json")
@pass_call
def gate(call: Call) -> None:
    """Show whether evolution may ask a model now.

    Each reading behind that is listed. One that is absent does not exist on this machine; one that is unknown could be read before and cannot now: it
    keeps the gate closed.
    """
    overview = call.overview()
    verdict, queue = overview.gate(), _queue(overview)
    call.result("gate", {"gate": verdict, "queue": queue}, lambda: _text(verdict, queue, plain=call.plain))


def checks(home: Home) -> Iterator[Check]:
    """Say for doctor what each probe finds, or that this machine does not have it."""
    from ops.cli.checks import Check, State
    from pipeline import gate as core
    from pipeline.errors import EvolutionError
    from workers.overview import Overview

    try:
        found = Overview(home).gate()
    except (OSError, EvolutionError) as error:  # a full disk keeps it from writing down what it saw
        yield Check("gate", State.BAD, f"cannot be asked: {error}")
        return
    for one in found.readings:
        absent, failing = one.state is core.State.ABSENT, one.state is core.State.UNKNOWN
        state = State.NOTE if absent else State.BAD if failing else State.OK
        words = f"skipped, this machine does not have it ({one.value})" if absent else f"{one.source}: {one.value}"
        yield Check(f"gate {one.signal}", state, words)
    for alert in found.alerts:
        yield Check("gate alert", State.BAD, alert)


def _queue(overview: Overview) -> tuple[QueueItem, ...]:
    """Read what waits; without a database the readings are shown all the same."""
    from models import reports
    from pipeline.errors import EvolutionError

    try:
        with overview.read() as session:
            return reports.queue(session, alive=overview.alive())
    except EvolutionError:
        return ()


def _text(verdict: Verdict, queue: tuple[QueueItem, ...], *, plain: bool) -> str:
    now = time.time()
    rows = [_row(one, now) for one in verdict.readings]
    lines = [gate_line(verdict, queue)]
    lines += [
        f"  r{one.run} {one.stage} waits since {moment(one.waiting_since)}: {show(one.waiting_for)}"
        for one in queue
        if one.state == "waiting"
    ]
    lines += [f"Alert: {show(alert)}." for alert in verdict.alerts]
    return "\n".join((*lines, "", table(HEAD, rows, plain=plain)))


def _row(one: Reading, now: float) -> tuple[object, ...]:
    age_s = round(max(0.0, now - one.at), 1)
    return one.signal, one.state, age_s, round(one.cost_ms, 1), one.value, one.source
