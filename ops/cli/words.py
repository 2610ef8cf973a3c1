"""How figures and runs are said to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.cli.output import moment, number, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.report_values import Accuracy, QueueItem, RunLine
    from pipeline.gate import Verdict
    from pipeline.progress import Progress

SIMULATED = "simulated"  # beside everything that a simulated server had a part in
NO_GATE = ("votes",)  # waits that no quiet moment ends
LONG_MIN = 120.0  # minutes from which hours are easier to read


def accuracy(found: Accuracy) -> str:
    """Say an accuracy with what it rests on.

    The interval is Wilson's, at 95 %.
    """
    if found.value is None:
        return "no judged samples"
    return f"{found.value:.2f} over {found.n} samples ({found.low:.2f} to {found.high:.2f}; {found.basis})"


def gate_line(gate: Verdict, queue: Sequence[QueueItem]) -> str:
    """Say how the gate is; who still waits at an open one wants more of it than a person's own run does."""
    at_gate = (one for one in queue if one.state == "waiting" and one.waiting_for not in NO_GATE and one.due_at is None)
    waiting = dict.fromkeys(f"r{one.run}" for one in at_gate)  # who waits for something else has a time to look again
    if not gate.open or not waiting:
        return f"Gate: {'open' if gate.open else 'closed'}. {show(gate.detail)}"
    return (
        f"Gate: open for what a person asked for and what has begun, not for {', '.join(waiting)}. {show(gate.detail)}"
    )


def run_state(line: RunLine) -> str:
    """Say in one line what a run does or how it ended."""
    if line.ended_at is not None:
        return f"{line.ending}: {show(line.ending_reason, limit=200)}" if line.ending_reason else line.ending
    parts = [f"{line.stage} {line.state}"]
    if line.stage == "mutate" and line.generation is not None:
        parts.append(f"generation {line.generation} of {line.generations}")
    if line.progress is not None:
        parts.append(spending(line.progress))
    if line.best_fitness is not None and line.votes is None:
        parts.append(f"best fitness {line.best_fitness:.2f}")
    if line.votes is not None:
        parts.append(f"{line.votes} of at most {line.cap} votes, {line.open_ballots} ballots open")
    if line.equal:
        parts.append(f"{line.equal} of {line.balloted} tasks got the same answer from all prompts")
    if line.waiting_for:
        since = f" since {moment(line.waiting_since)}" if line.waiting_since else ""
        parts.append(f"waiting{since}: {show(line.waiting_for)}")
    return ", ".join(parts)


def failure(line: RunLine) -> str:
    """Say that a run failed, why, and what to do."""
    kind = line.kind.replace("-", " ")
    return f"run {run_name(line)}, {kind} of {line.skill}, {run_state(line)}. Look: evoctl show r{line.run}"


def spending(found: Progress) -> str:
    """Say how far a search is in calls, and how long it takes; what it waits for the user is told apart."""
    parts = [f"calls {found.calls} of {found.calls_most}"]
    if found.left_min is not None:
        parts.append(f"about {minutes(found.left_min)} of model time left, waiting apart")
    if found.waited_min * 60 >= 1:
        parts.append(f"waited {minutes(found.waited_min)} so far")
    return ", ".join(parts)


def minutes(value: float) -> str:
    """Write a time for people, in the unit in which it is easily read.

    >>> minutes(0.4), minutes(22.3), minutes(312.0)
    ('24 s', '22 min', '5.2 h')
    """
    if value < 1:
        return f"{value * 60:.0f} s"
    return f"{value:.0f} min" if value < LONG_MIN else f"{round(value / 60, 1):g} h"


def run_name(line: RunLine) -> str:
    """Name a run, with a mark when it is simulated."""
    return f"r{line.run} ({SIMULATED})" if line.simulated else f"r{line.run}"


def arrow(before: float | None, after: float | None) -> str:
    """Write a change of accuracy; `-` where nothing was measured."""
    return "-" if before is None or after is None else f"{number(before)} -> {number(after)}"


def since(line: RunLine) -> str:
    """Say when a run began and, if so, ended."""
    return moment(line.created_at) + (f" to {moment(line.ended_at)}" if line.ended_at else "")
