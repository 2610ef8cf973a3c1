"""Load and save for stage 6, promote or roll back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import ballots, prompts
from models.prompts import text_sha
from models.replays import replay_of
from models.runs import cancel, ensure_skill
from models.stages.bandit import report_of
from models.steps import Claim, fence
from models.tables import PromotionRow, PromptVersionRow, VariantRow
from models.tallies import tally
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.decision import Arm, Paired, Tally, drop_chance, evidence_of, replay_evidence, vote_evidence
from pipeline.domain import Fate, RunKind, VariantId
from pipeline.errors import NotFound
from pipeline.flow import Publish
from pipeline.promote import BACK, PromoteCase, PromoteDecision, Target
from pipeline.rules import Rules
from pipeline.skills import next_template


def load_promote(session: Session, mine: Claim, _now: datetime) -> PromoteCase:
    """Find the prompt to put in use and what is known of it.

    It takes the place of the version that was in use when the run began: that one was measured and voted on. Whatever
    the configuration names meanwhile, a repeated step makes the same request, and a person's change is not written over.
    """
    run = session.get_one(RunRow, mine.run)
    intended = _intended(session, mine.run)
    in_use = prompts.version(session, mine.skill, run.version)
    if mine.kind in BACK:
        target = _back(session, run, in_use)
        before = after = drop = None
        reason = run.reason
    else:
        variant = _winner(session, run)
        number = intended.to_version if intended else prompts.next_number(session, mine.skill)
        target = _forward(session, variant, in_use, number)
        before, after, drop = _measured(session, mine, run, variant, in_use)
        reason = variant.fate_reason if mine.kind is RunKind.EVOLUTION else run.reason
    return PromoteCase(
        rules=mine.rules,
        kind=mine.kind,
        now=session.get_one(StepRow, mine.step).created_at,  # fixed, so that a repeated publication is the same request
        in_use=in_use.version,
        in_use_text=in_use.text,
        target=target,
        accuracy_before=before,
        accuracy_after=after,
        drop_probability=drop,
        reason=reason,
        # a person's order to *test* a prompt is no order to put it in use whatever was edited or measured meanwhile
        forced=run.forced and mine.kind is not RunKind.EVOLUTION,
    )


def intend(session: Session, mine: Claim, request: Publish, config_before: str, now: datetime) -> None:
    """Write down what is about to be done to the configuration, before it is done; doing so twice changes nothing."""
    fence(session, mine)
    if _intended(session, mine.run) is not None:
        return
    ensure_skill(session, request.skill, now)
    run = session.get_one(RunRow, mine.run)
    test = run.id if run.target_variant_id is None else session.get_one(VariantRow, run.target_variant_id).run_id
    counted = tally(session, test, now)
    evidence = _evidence(mine.rules, counted, request, run)
    session.add(
        PromotionRow(
            skill_name=request.skill, run_id=mine.run, kind="rollback" if mine.kind in BACK else "promote",
            from_version=request.expected_version, to_version=request.version, text=request.text, state="intended",
            e_value=evidence.get("e_value"), votes=counted.votes, evidence=json.dumps(evidence),
            actor="person" if run.trigger == "person" and mine.kind is not RunKind.EVOLUTION else "pipeline",
            accuracy_before=request.previous_accuracy, accuracy_after=request.current_accuracy,
            config_before=config_before, created_at=now,
        )
    )  # fmt: skip
    session.flush()


def save_promote(session: Session, mine: Claim, decision: PromoteDecision, now: datetime) -> None:
    """Make the database agree with the configuration, and write the history."""
    run = session.get_one(RunRow, mine.run)
    row = _intended(session, mine.run)
    if row is not None:
        row.state, row.reason = ("applied" if decision.applied else "refused"), decision.reason
        row.applied_at = now if decision.applied else None
    if not decision.applied or decision.target is None:
        return
    target = decision.target
    version = session.scalar(
        select(PromptVersionRow).where(
            PromptVersionRow.skill_name == mine.skill, PromptVersionRow.version == target.version
        )
    )
    if version is None:
        version = PromptVersionRow(
            skill_name=mine.skill, version=target.version, template=decision.template, text=target.text,
            sha=text_sha(target.text), variant_id=target.variant, created_at=now,
        )  # fmt: skip
        session.add(version)
        session.flush()
    version.template = decision.template
    version.variant_id = version.variant_id or target.variant
    prompts.activate(session, version, now)
    _end_open_tests(session, mine, now)
    if target.variant is not None:
        version.variant_id = target.variant
        if mine.kind is RunKind.EVOLUTION:
            session.get_one(VariantRow, target.variant).fate = Fate.WINNER
    run.reason = run.reason or decision.reason


def give_up(session: Session, run: int, why: str) -> None:
    """Note that what was intended for *run* was not done, and will not be."""
    row = _intended(session, run)
    if row is not None and row.state == "intended":
        row.state, row.reason = "refused", why


def _intended(session: Session, run: int) -> PromotionRow | None:
    return session.scalar(select(PromotionRow).where(PromotionRow.run_id == run))


def _end_open_tests(session: Session, mine: Claim, now: datetime) -> None:
    """Stop another evolution of the skill: it compares its variants with a prompt that is no longer in use."""
    others = session.scalars(
        select(RunRow).where(
            RunRow.skill_name == mine.skill, RunRow.kind == RunKind.EVOLUTION, RunRow.ended_at.is_(None),
            RunRow.id != mine.run,
        )
    )  # fmt: skip
    for other in others.all():
        cancel(session, other, f"run r{mine.run} put another prompt in use", now)
        ballots.close_ballots(session, other.id, now)


def _winner(session: Session, run: RunRow) -> VariantRow:
    if run.target_variant_id is not None:
        return session.get_one(VariantRow, run.target_variant_id)
    row = session.scalar(select(VariantRow).where(VariantRow.run_id == run.id, VariantRow.fate == Fate.WINNER))
    if row is None:
        raise NotFound(f"Run {run.id} has no winner to promote.")
    return row


def _forward(session: Session, variant: VariantRow, in_use: PromptVersionRow, number: int) -> Target:
    template = prompts.template_of(session, in_use.skill_name, in_use.version).with_instruction(variant.prompt_text)
    return Target(
        version=number,
        text=template.text,
        template=next_template(in_use.template, number),
        variant=VariantId(variant.variant_id),
    )


def _back(session: Session, run: RunRow, in_use: PromptVersionRow) -> Target | None:
    if run.target_version is not None:
        row: PromptVersionRow | None = prompts.version(session, in_use.skill_name, run.target_version)
    else:
        row = prompts.previous(session, in_use.skill_name, in_use.version)
    if row is None or row.version == in_use.version:
        return None
    return Target(version=row.version, text=row.text, template=row.template, variant=None)


def _measured(
    session: Session, mine: Claim, run: RunRow, variant: VariantRow, in_use: PromptVersionRow
) -> tuple[float | None, float | None, float | None]:
    """Accuracy of both prompts on samples nothing was selected on, and the chance of a real drop between them."""
    evolution = session.get(EvolutionRow, variant.run_id if run.target_variant_id else run.id)
    report = report_of(evolution) if evolution else {}
    tested = session.get_one(RunRow, evolution.run_id).version if evolution else 0
    old = report.get(0 if in_use.version == tested else in_use.variant_id or -1)  # None: it was not in that test
    new = report.get(variant.variant_id)
    if not old or not new or len(old) != len(new):
        return None, None, None
    flags = _paired(evolution, variant, old, new, in_use_tested=in_use.version == tested)
    arm = Arm(variant=VariantId(variant.variant_id), name="", instruction="", wins=0, losses=0, flags=flags)
    return sum(old) / len(old), sum(new) / len(new), drop_chance(mine.rules, arm)


def _paired(
    evolution: EvolutionRow | None,
    variant: VariantRow,
    old: tuple[int, ...],
    new: tuple[int, ...],
    *,
    in_use_tested: bool,
) -> Paired:
    """Count right and wrong answers of both prompts on the same samples: those of the replay, else of the report."""
    found = replay_of(evolution)
    if found is not None and in_use_tested:
        return found.flags(VariantId(variant.variant_id))
    flags = Paired()
    for before, after in zip(old, new, strict=True):
        flags = flags.plus(incumbent=bool(before), challenger=bool(after))
    return flags


def _evidence(rules: Rules, counted: Tally, request: Publish, run: RunRow) -> dict[str, Any]:
    """Return the counts behind a promotion, for its history; empty for a rollback."""
    if request.back:
        return {}
    wanted = run.target_variant_id
    arms = [arm for arm in counted.arms if wanted is None or arm.variant == wanted]
    if not arms:
        return {}
    arm = max(arms, key=lambda one: evidence_of(rules, one))
    return {
        "e_value": evidence_of(rules, arm), "replay_e": replay_evidence(rules, arm), "votes_e": vote_evidence(rules, arm),
        "wins": arm.wins, "losses": arm.losses, "replay_wins": arm.replay_wins, "replay_losses": arm.replay_losses,
        "votes": counted.votes, "challengers": len(counted.arms),
    }  # fmt: skip
