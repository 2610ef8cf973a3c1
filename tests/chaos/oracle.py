"""What must be true when everything has come to rest, whatever was struck; each look returns what it found wrong."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.judge_tables import JudgementRow
from models.tables import BallotRow, PromotionRow, PromptVersionRow, SampleRow, VariantRow, VoteRow
from models.work_tables import ModelCallRow, RunRow, StepRow
from pipeline.domain import Ending, StepState
from tests.chaos.world import SKILLS, World

OVERLAP_S = 0.5  # a cut-off call is noticed by the server within it
DIED = "its process died"
ENDED = (StepState.DONE, StepState.FAILED)


def losses(world: World, faults: int) -> list[str]:
    """Return everything that is not as it must be."""
    with world.evolution.database.read() as session:
        return [
            *_ends(session),
            *_steps(session),
            *_once(session),
            *_votes(session, world),
            *_promotions(session, world),
            *_configuration(session, world),
            *_payments(session, world, faults),
            *_overlaps(world),
            *_integrity(world),
            *_crashes(world, faults),
        ]


def endings(world: World) -> Counter[str]:
    """Count the evolutions by the way they ended."""
    with world.evolution.database.read() as session:
        return Counter(session.scalars(select(RunRow.ending).where(RunRow.kind == "evolution")))


def paid_twice(session: Session, world: World) -> int:
    """Count complete answers of the server that no journal knows: each was lost with its job, and asked for again."""
    journal = session.scalar(select(func.count(ModelCallRow.id)).where(ModelCallRow.tag != ""))
    done = sum(e["event"] == "end" and e["inference"] and e["outcome"] == "done" for e in entries(world))
    return max(0, done - world.counts["calls of the host"] - int(journal or 0))


def entries(world: World) -> list[dict[str, object]]:
    """Read the simulator's request log; a line that its death cut short is left out."""
    found = []
    for line in world.scene.requests.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def _ends(session: Session) -> Iterator[str]:
    for run in session.scalars(select(RunRow)):
        if run.ended_at is None:
            yield f"run {run.id} ({run.kind}) has not ended"
        elif run.ending == Ending.FAILED:
            yield f"run {run.id} ({run.kind}) failed: {run.ending_reason}"


def _steps(session: Session) -> Iterator[str]:
    """Every step is over, visits count from 1 without a gap, and a stage comes only when the one before is over."""
    for step in session.scalars(select(StepRow)):
        if step.state not in ENDED:
            yield f"step {step.id} of run {step.run_id} is {step.state}"
    rows = session.execute(select(StepRow.run_id, StepRow.stage, StepRow.visit).order_by(StepRow.run_id, StepRow.id))
    for run, steps in groupby(rows, key=lambda row: row[0]):
        visits = dict[str, list[int]]()
        for _, stage, visit in steps:
            visits.setdefault(stage, []).append(visit)
        for stage, numbers in visits.items():
            if numbers != list(range(1, len(numbers) + 1)):
                yield f"run {run} visited {stage} as {numbers}"


def _once(session: Session) -> Iterator[str]:
    """No effect of a stage is there twice."""
    looks = {
        "variant": select(VariantRow.run_id, VariantRow.ordinal),
        "member of a generation": select(VariantRow.run_id, VariantRow.generation, VariantRow.ordinal),
        "verdict": select(JudgementRow.variant_id, JudgementRow.judge_tag),
        "ballot": select(BallotRow.run_id, BallotRow.sample_id, BallotRow.comparison),
        "sample": select(SampleRow.skill_name, SampleRow.task_id),
        "version": select(PromptVersionRow.skill_name, PromptVersionRow.version),
        "promotion": select(PromotionRow.run_id),
        "call": select(
            ModelCallRow.run_id, ModelCallRow.stage, ModelCallRow.visit, ModelCallRow.request_sha, ModelCallRow.occurrence
        ),
    }  # fmt: skip
    for what, wanted in looks.items():
        for key, times in Counter(tuple(row) for row in session.execute(wanted)).items():
            if times > 1:
                yield f"{what} {key} is there {times} times"
    ordinals = dict[int, list[int]]()
    for run, ordinal in session.execute(select(VariantRow.run_id, VariantRow.ordinal).order_by(VariantRow.ordinal)):
        ordinals.setdefault(run, []).append(ordinal)
    for run, found in ordinals.items():
        if found != list(range(found[0], found[0] + len(found))):
            yield f"variants of run {run} have a gap: {found}"


def _votes(session: Session, world: World) -> Iterator[str]:
    """Each acknowledged vote is there; another one only if it was sent, and then as it was sent."""
    rows = {row.ballot_id: (row.choice, row.position) for row in session.scalars(select(VoteRow))}
    for ballot in sorted(rows.keys() | world.votes.keys()):
        given, unsure = world.votes.get(ballot, []), world.unsure.get(ballot, [])
        least = len(given) - world.undone[ballot]
        if not least <= (ballot in rows) <= least + len(unsure):
            yield f"ballot {ballot} was voted on {len(given)} times, undone {world.undone[ballot]}: {rows.get(ballot)}"
        elif ballot in rows and rows[ballot] not in given + unsure:
            yield f"ballot {ballot} has the vote {rows[ballot]} instead of {given + unsure}"


def _promotions(session: Session, world: World) -> Iterator[str]:
    """config.yaml was replaced once for each change that history knows."""
    states = Counter(session.scalars(select(PromotionRow.state)))
    if states["applied"] != world.watch.replaced:
        yield f"config.yaml was replaced {world.watch.replaced} times, history has {dict(states)}"
    if states["intended"]:
        yield f"{states['intended']} changes were intended and never made"
    promoted = set(session.scalars(select(RunRow.id).where(RunRow.ending.in_((Ending.PROMOTED, Ending.ROLLED_BACK)))))
    applied = set(session.scalars(select(PromotionRow.run_id).where(PromotionRow.state == "applied")))
    if promoted != applied:
        yield f"runs {promoted ^ applied} say another thing of config.yaml than history"


def _configuration(session: Session, world: World) -> Iterator[str]:
    """The version in use is the same in the database and in config.yaml, and its file has its text."""
    for skill in SKILLS:
        spec = world.evolution.config.skill(skill)
        active = session.scalars(
            select(PromptVersionRow).where(PromptVersionRow.skill_name == skill, PromptVersionRow.active)
        ).all()
        if [row.version for row in active] != [spec.version]:
            yield f"{skill} is at v{spec.version}, the database at {[row.version for row in active]}"
        elif world.evolution.template(world.evolution.rules(skill)) != active[0].text:
            yield f"{skill} v{spec.version}: its file is another than the database knows"


def _payments(session: Session, world: World, faults: int) -> Iterator[str]:
    """At most the call in flight is paid twice at a fault, and none is answered in the journal without being asked."""
    twice = paid_twice(session, world)
    if twice > faults:
        yield f"{twice} answers were paid twice at {faults} faults"


def _overlaps(world: World) -> Iterator[str]:
    """No two requests are answered at the same time: only one job runs."""
    open_since = dict[object, float]()
    for entry in entries(world):
        if entry["number"] == 1 and entry["event"] == "begin":
            open_since.clear()
        if not entry["inference"]:
            continue
        if entry["event"] == "begin":
            open_since[entry["number"]] = float(str(entry["begin"]))
            continue
        began = open_since.pop(entry["number"], float(str(entry["begin"])))
        end = float(str(entry["end"]))
        for other, since in open_since.items():
            if end - max(began, since) > OVERLAP_S:
                yield f"requests {entry['number']} and {other} ran together for {end - max(began, since):.2f} s"


def _integrity(world: World) -> Iterator[str]:
    with closing(sqlite3.connect(world.scene.home.root / "evolution.db")) as opened:
        for row in opened.execute("PRAGMA integrity_check").fetchall():
            if row[0] != "ok":
                yield f"database: {row[0]}"
        for row in opened.execute("PRAGMA foreign_key_check").fetchall():
            yield f"database: foreign key {row}"


def _crashes(world: World, faults: int) -> Iterator[str]:
    """Only a death counts as a crash, never a wait, a preemption or a server's trouble."""
    if strange := world.watch.errors - {DIED}:
        yield f"steps failed by themselves: {strange}"
    if world.watch.crashes > world.counts["deadly"]:
        yield f"{world.watch.crashes} crashes were counted at {world.counts['deadly']} deadly faults of {faults}"
    if len(world.watch.locks) > 1:
        yield "the file of the kernel lock was replaced"
