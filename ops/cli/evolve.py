"""`enqueue` (also `evolve`), `create` and `cancel`: starting and stopping evolutions."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.failures import NEGATIVE, going_on
from ops.cli.finite import FiniteRange
from ops.cli.output import progress, show
from ops.cli.results import run_number
from ops.cli.skill import SKILL
from ops.cli.words import run_state

if TYPE_CHECKING:
    from models.report_values import RunLine
    from pipeline.settings import Search, Settings
    from workers.client import Started
    from workers.overview import Overview

WAIT_STEP_S = 0.5
# As the settings name them; a test holds them equal, so that help need not load the settings.
BUDGET_NAMES = ("light", "medium", "heavy")
MODES = ("race", "promptbreeder")
LEAST_MIN, MOST_MIN = 0.1, 1e6  # min of model time


@command(
    "enqueue",
    examples="evoctl enqueue file-naming --dry-run\nevoctl enqueue file-naming --budget light\n"
    "evoctl enqueue file-naming --variants 5 --calls 200 --minutes 30 --wait\nevoctl evolve file-naming --force",
)
@SKILL
@click.option("--variants", type=click.IntRange(1, 10), help="New prompts to vote on.")
@click.option("--generations", type=click.IntRange(1, 200), help="Most rounds of breeding.")
@click.option("--population", type=click.IntRange(2, 100), help="Prompts of a generation (promptbreeder).")
@click.option("--budget", type=click.Choice(BUDGET_NAMES), help="Most calls and minutes, by name.")
@click.option("--calls", "budget_calls", metavar="N", type=click.IntRange(10), help="Most model calls.")
@click.option("--minutes", "budget_min", metavar="N", type=FiniteRange(LEAST_MIN, MOST_MIN), help="Most model time.")
@click.option("--mode", type=click.Choice(MODES), help="How better prompts are looked for.")
@click.option("--force", is_flag=True, help="Despite the cooldown, too few labelled samples, or for a poor candidate.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of every random choice.")
@click.option("--wait", is_flag=True, help="Stay until votes are wanted or the run ends.")
@click.option("--dry-run", is_flag=True, help="Only tell what it would cost.")
@pass_call
def enqueue(
    call: Call, /, skill: str, *, force: bool, seed: int | None, wait: bool, dry_run: bool, **overrides: Any
) -> int:
    """Start an evolution of a skill now.

    Accuracy need not have fallen. Options override the configuration for this run; --calls and --minutes override
    --budget.
    """
    if dry_run:
        return _dry_run(call, skill, overrides, force=force)
    with call.evolution() as evolution:
        settings = _overridden(evolution.config.settings, overrides)
        started = evolution.enqueue(skill, force=force, settings=settings, seed=seed)
    return _started(call, skill, started, settings.search, wait=wait)


def _dry_run(call: Call, skill: str, overrides: dict[str, Any], *, force: bool) -> int:
    from ops.cli.dry_run import dry_run

    rules = call.overview().rules(skill)
    return dry_run(call, replace(rules, settings=_overridden(rules.settings, overrides)), force=force)


def _started(call: Call, skill: str, started: Started, search: Search, *, wait: bool) -> int:
    """Say what was started, or how it went on until votes are wanted."""
    overview = call.overview()
    line = _wait(call, overview, started.run) if wait else _line(overview, started.run)
    gate = overview.gate()
    plan = {
        "mode": search.mode, "generations": search.generations, "population": search.population,
        "variants": search.variants, "budget_calls": search.budget_calls, "budget_min": search.budget_min,
    }  # fmt: skip
    finding = started.finding.reason if started.finding else ""
    data = {
        "run": line, "finding": finding, "plan": plan, "gate": gate, "rung": started.rung, "replaced": started.replaced,
    }  # fmt: skip

    def text() -> str:
        if wait:
            return f"Run r{started.run}: {run_state(line)}"
        return "\n".join(
            (
                f"Queued run r{started.run} for {skill}: {show(finding)}.",
                f"  plan  {_plan(search)}",
                f"  gate  {'open' if gate.open else 'closed'}: {show(gate.detail)}",
            )
        )

    call.result("enqueue", data, text)
    for other in started.replaced:
        call.note(f"It takes the place of run r{other}, which nobody had asked for and which waited.")
    say_unrung(call, started)
    call.next("evoctl status", f"evoctl results {skill}", f"evoctl cancel r{started.run}")
    return NEGATIVE if wait and line.ending in ("failed", "refused") else 0


@command("cancel", examples="evoctl cancel r7\nevoctl cancel r7 --reason 'wrong data'")
@click.argument("run", metavar="RUN", callback=run_number)
@click.option("--reason", default="cancelled by a person", metavar="TEXT", help="Kept with the run.")
@pass_call
def cancel(call: Call, run: int, *, reason: str) -> None:
    """Stop a run.

    The prompt in use stays.
    """
    with call.evolution() as evolution:
        evolution.cancel(run, reason)
    call.result("cancel", {"run": run, "reason": reason}, lambda: f"Cancelled run r{run}. The prompt in use stays.")


def _overridden(settings: Settings, overrides: dict[str, Any]) -> Settings:
    """Put the options over the configuration; a figure that is given wins over one that a named budget stands for."""
    from pipeline.settings import BUDGETS

    given = {name: value for name, value in overrides.items() if value is not None}
    named = given.pop("budget", None)
    if named is not None:
        calls, most_min = BUDGETS[named]
        given = {"budget_calls": calls, "budget_min": most_min} | given
    return replace(settings, search=replace(settings.search, **given)) if given else settings


def _plan(search: Search) -> str:
    rounds = (
        f"{search.generations} rounds of {search.children} proposals"
        if search.mode == "race"
        else f"{search.generations} generations of {search.population} prompts"
    )
    return (
        f"at most {rounds}, {search.budget_calls} model calls, "
        f"{search.budget_min:g} min of model time; {search.variants} variants to vote on"
    )


def say_unrung(call: Call, started: Started) -> None:
    """Say that a run waits for Redis to come back."""
    if not started.rung:
        call.note("Redis is away; the run is kept and begins when `evoctl up` (or `evoctl tick` and a worker) runs.")


def _line(overview: Overview, run: int) -> RunLine:
    from models import report_details

    with overview.read() as session:
        return report_details.run_detail(session, run).line


def _wait(call: Call, overview: Overview, run: int) -> RunLine:
    """Tell how the run goes on until it ends or asks people."""
    with going_on(run), progress(quiet=call.quiet or call.json) as tell:
        while True:
            line = _line(overview, run)
            # Elsewhere than on a terminal every change is a line of its own, and calls change twice a second.
            said = line if sys.stderr.isatty() else replace(line, progress=None)
            tell(f"r{run} {run_state(said)}")
            if line.ended_at is not None or line.open_ballots:
                return line
            time.sleep(WAIT_STEP_S)
