"""The demo's report: collected from the database and, where there is one, from the simulator's own request log."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import prompts
from models.loads import LOAD
from models.stages.bandit import report_of
from models.tables import PromotionRow, VariantRow, VoteRow
from models.tallies import tally
from models.work_tables import CancelledCallRow, EvolutionRow, GateEventRow, ModelCallRow, RunRow
from ops.demo.scene import SKILL
from pipeline.algorithms.beta import clopper_pearson
from workers.client import Evolution

WIDTH = 78


def collect(
    evolution: Evolution, run: int, rolled_back: int | None, requests: Path | None, *, host_calls: int
) -> dict[str, Any]:
    """Gather the facts of the demo.

    Args:
        evolution: the pipeline.
        run: the evolution.
        rolled_back: the run that rolled the bad promotion back, None when there was none.
        requests: the simulator's log, None with real models.
        host_calls: requests that the demo's own host made.
    """
    with evolution.database.read() as session:
        row = session.get_one(RunRow, run)
        return {
            "simulated": row.simulated,
            "run": run,
            "reason": row.reason,
            "ending": row.ending,
            "ending_reason": row.ending_reason,
            "accuracy": _accuracy(session, run),
            "diff": _diff(session, run),
            "lineage": _lineage(session, run),
            "votes": _votes(session, run),
            "calls": _calls(session, requests, host_calls),
            "waits": _waits(session),
            "promotions": _promotions(session),
            "rollback": session.get_one(RunRow, rolled_back).reason if rolled_back else None,
        }


def text(facts: dict[str, Any]) -> str:
    """Write the report for a person."""
    label = " (simulated models and voter)" if facts["simulated"] else ""
    lines = [
        "",
        f"REPORT{label}",
        "=" * WIDTH,
        f"Why      {facts['reason']}",
        f"Ending   r{facts['run']} {facts['ending']}",
    ]
    for name, words in facts["accuracy"].items():
        lines.append(f"{name.capitalize():8} {words}")
    lines += ["", "The prompt", *(f"  {line}" for line in facts["diff"])]
    lines += ["", "How it came about", *(f"  {line}" for line in facts["lineage"])]
    lines += ["", f"Votes    {facts['votes']}"]
    lines += [f"Calls    {line}" for line in facts["calls"]]
    lines += [f"Waited   {line}" for line in facts["waits"] or ["for nothing"]]
    lines += ["", "History of the configuration", *(f"  {line}" for line in facts["promotions"])]
    if facts["rollback"]:
        lines.append(f"  rolled back because {facts['rollback']}")
    lines += ["", f"Took {facts['wall_s']} s.", ""]
    return "\n".join(lines)


def _accuracy(session: Session, run: int) -> dict[str, str]:
    """Say how both prompts did on the samples that nothing was selected on, with exact intervals."""
    flags = report_of(session.get_one(EvolutionRow, run))
    winner = session.scalar(
        select(VariantRow.variant_id).where(VariantRow.run_id == run, VariantRow.fate == "winner").limit(1)
    )
    found: dict[str, str] = {}
    for name, variant in (("before", 0), ("after", winner)):
        results = flags.get(variant) if variant is not None else None
        if results:
            right, n = sum(results), len(results)
            low, high = clopper_pearson(right, n)
            found[name] = f"{right / n:.2f} on {n} samples kept for this report (95 % interval {low:.2f} to {high:.2f})"
    return found


def _diff(session: Session, run: int) -> list[str]:
    row = session.get_one(RunRow, run)
    winner = session.scalar(select(VariantRow).where(VariantRow.run_id == run, VariantRow.fate == "winner").limit(1))
    if winner is None:
        return ["is the same as before"]
    old = prompts.template_of(session, SKILL, row.version).instruction
    marked = [
        line for line in difflib.ndiff(_sentences(old), _sentences(winner.prompt_text)) if not line.startswith("?")
    ]
    return [line[:160] for line in marked]


def _sentences(instruction: str) -> list[str]:
    return instruction.replace(". ", ".\n").splitlines()


def _lineage(session: Session, run: int) -> list[str]:
    """Follow the winner back to the prompt that was in use."""
    row = session.scalar(select(VariantRow).where(VariantRow.run_id == run, VariantRow.fate == "winner").limit(1))
    lines: list[str] = []
    while row is not None:
        fitness = f"{row.fitness_score:.3f}" if row.fitness_score is not None else "-"
        lines.append(
            f"generation {row.generation}: {row.mutation_type}, fitness {fitness}, {row.fitness_correct} of {row.fitness_n} right"
        )
        row = session.get(VariantRow, row.parent_id) if row.parent_id else None
    return lines


def _votes(session: Session, run: int) -> str:
    counted = tally(session, run)
    cast = session.scalar(select(func.count()).select_from(VoteRow)) or 0
    arms = ", ".join(f"{arm.name} {arm.wins}:{arm.losses}" for arm in counted.arms)
    return f"{cast} blind votes by a simulated voter; won : lost against the prompt in use: {arms}"


def _calls(session: Session, requests: Path | None, host_calls: int) -> list[str]:
    counts = session.execute(
        select(ModelCallRow.role, func.count())
        .where(ModelCallRow.tag != "", ModelCallRow.role != LOAD)
        .group_by(ModelCallRow.role)
        .order_by(ModelCallRow.role)
    ).all()
    ledger = sum(int(n) for _, n in counts)
    cancelled = session.scalar(select(func.count()).select_from(CancelledCallRow)) or 0
    lines = [
        f"{ledger} in the ledger ({', '.join(f'{role} {n}' for role, n in counts)}), {cancelled} cut off for the user"
    ]
    if requests is not None and requests.exists():
        seen = [json.loads(line) for line in requests.read_text(encoding="utf-8").splitlines()]
        begun = sum(entry["event"] == "begin" and entry["inference"] for entry in seen)
        lines.append(f"{begun} counted by the server, {host_calls} of them the host's own")
    return lines


def _waits(session: Session) -> list[str]:
    rows = session.execute(
        select(GateEventRow.reason, func.count(), func.sum(GateEventRow.waited_s)).group_by(GateEventRow.reason)
    ).all()
    return [f"{seconds:.1f} s for {reason} ({n} times)" for reason, n, seconds in rows]


def _promotions(session: Session) -> list[str]:
    rows = session.scalars(select(PromotionRow).order_by(PromotionRow.id))
    return [f"v{r.from_version} -> v{r.to_version} {r.kind} ({r.state}): {r.reason}" for r in rows]
