"""Starting runs: drift checks by timer, when feedback makes one worth while, and evolutions that a person asks for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from models import prompts
from models.prompts import text_sha
from models.runs import Bell, become_evolution, cancel, start_run
from models.samples import horizon
from models.stages.detect import detect_case
from models.steps import MADE_ROOM
from models.tables import SkillRow, VariantRow
from models.work_tables import ModelCallRow, RunRow, StepRow
from pipeline.algorithms.streams import seed32
from pipeline.detect import DetectDecision, against_order, look
from pipeline.domain import Ending, Fate, MutationType, RunKind, Stage, StepState, arm_name
from pipeline.errors import BadInput, Refused
from pipeline.rules import Rules
from pipeline.skills import RULE, parse_template

PERSON = "person"  # who triggered a run


def examine(
    session: Session, rules: Rules, now: datetime, *, forced: bool = False, without: Sequence[int] = ()
) -> DetectDecision:
    """Say what a drift check would find now if the runs *without* were not there; none is started."""
    return look(detect_case(session, rules, now, forced=forced, without=without))


def ordered(session: Session, rules: Rules, now: datetime, *, without: Sequence[int] = ()) -> DetectDecision:
    """Say the same for a person's order: a cooldown stands against it whatever the labels say.

    An evolution that was cancelled before it called any model has tried nothing, so a person may order the next one.
    """
    untried = select(RunRow.id).where(
        RunRow.skill_name == rules.skill.name, RunRow.kind == RunKind.EVOLUTION, RunRow.ending == Ending.CANCELLED,
        ~_called(),
    )  # fmt: skip
    case = detect_case(session, rules, now, without=(*without, *session.scalars(untried)))
    return against_order(case, look(case))


def start_check(
    session: Session,
    rules: Rules,
    text: str,
    now: datetime,
    *,
    trigger: str,
    forced: bool = False,
    seed: int | None = None,
) -> Bell:
    """Start a run with a drift check; it becomes an evolution when it finds drift, or when *forced*."""
    version = prompts.note_version(session, rules.skill, text, now)
    return start_run(
        session, rules=rules, kind=RunKind.DRIFT_CHECK, trigger=trigger, stage=Stage.DETECT, version=version.version,
        seed=_seed(session) if seed is None else seed, now=now, forced=forced,
    )  # fmt: skip


def start_due(session: Session, rules: Rules, text: str, now: datetime) -> Bell | None:
    """Start the drift check of a skill whose last one is `check_every_h` ago."""
    skill = session.get(SkillRow, rules.skill.name)
    every = timedelta(hours=rules.settings.triggers.check_every_h)
    if not (rules.settings.enabled and rules.skill.enabled) or check_open(session, rules.skill.name):
        return None
    if skill is not None and skill.checked_at is not None and skill.checked_at <= now < skill.checked_at + every:
        return None  # a check that lies ahead of a clock that was put back keeps no other one away
    if skill is None or skill.checked_at is None:
        version = prompts.note_version(session, rules.skill, text, now)
        session.get_one(SkillRow, version.skill_name).checked_at = now  # the first check is one period away
        return None
    skill.checked_at = now  # whatever becomes of the check: one that fails or is cancelled waits its period too
    return start_check(session, rules, text, now, trigger="timer")


def notice(session: Session, rules: Rules, text: str, now: datetime) -> None:
    """Notice that a person has edited or switched the prompt in use: an open test then compares with the new one."""
    in_use = prompts.active(session, rules.skill.name)
    if in_use is not None and (in_use.version, in_use.sha) != (rules.skill.version, text_sha(text)):
        prompts.note_version(session, rules.skill, text, now)


def start_if_worth(session: Session, rules: Rules, text: str, now: datetime) -> Bell | None:
    """Start a drift check after feedback, if it would find something to act on; thousands of samples make no run each."""
    if check_open(session, rules.skill.name):
        return None
    if isinstance(examine(session, rules, now).next, Ending):
        return None
    return start_check(session, rules, text, now, trigger="feedback")


def start_manual(
    session: Session, rules: Rules, text: str, instructions: tuple[str, ...], now: datetime, reason: str
) -> Bell:
    """Start an evolution at the ballots, with prompts that a person wrote.

    Raises:
        BadInput: an instruction that the template file could not be read back with.
        sqlalchemy.exc.IntegrityError: at flush, when another evolution of the skill is open.
    """
    for number, instruction in enumerate(instructions, start=1):
        if RULE in (line.strip() for line in instruction.splitlines()):
            raise BadInput(f"Variant {number} has a line '---', which would end the instruction in the template file.")
    version = prompts.note_version(session, rules.skill, text, now)
    bell = start_run(
        session, rules=rules, kind=RunKind.EVOLUTION, trigger="person", stage=Stage.BANDIT, version=version.version,
        seed=_seed(session), now=now, forced=True, reason=reason,
    )  # fmt: skip
    run = session.get_one(RunRow, bell.run)
    become_evolution(session, run, now, None, horizon(session, rules.skill.name))
    for index, instruction in enumerate(instructions):
        session.add(
            VariantRow(
                run_id=run.id, ordinal=index + 1, skill_name=rules.skill.name, name=arm_name(index),
                prompt_text=instruction, text_sha=text_sha(instruction), generation=0, slot=index,
                mutation_type=MutationType.MANUAL, reasoning="written by a person", fate=Fate.ARM,
                fate_reason="on the ballots", created_at=now,
            )
        )  # fmt: skip
    session.flush()
    return bell


def start_promotion(
    session: Session, rules: Rules, text: str, variant: int, now: datetime, *, forced: bool, reason: str
) -> Bell:
    """Start a promotion that a person asks for.

    Raises:
        Refused: the variant's prompt is the one in use: another version of it would borrow the evidence of its test.
    """
    template, row = parse_template(text), session.get_one(VariantRow, variant)
    if template.with_instruction(row.prompt_text).instruction == template.instruction.strip():
        raise already_in_use(rules.skill.name, row.name or f"variant {variant}", rules.skill.version)
    version = prompts.note_version(session, rules.skill, text, now)
    return start_run(
        session, rules=rules, kind=RunKind.PROMOTION, trigger="person", stage=Stage.PROMOTE, version=version.version,
        seed=0, now=now, forced=forced, reason=reason, target_variant=variant,
    )  # fmt: skip


def already_in_use(skill: str, name: str, version: int) -> Refused:
    """Say that there is nothing to promote."""
    return Refused(
        f"{name} is the prompt that {skill} uses already (v{version}).",
        why="A further version of the same prompt would change nothing, and count as a promotion.",
        hint=f"evoctl results {skill}",
    )


def start_rollback(session: Session, rules: Rules, text: str, to: int | None, now: datetime, reason: str) -> Bell:
    """Start a rollback that a person asks for, to version *to* or to the one before the last promotion."""
    version = prompts.note_version(session, rules.skill, text, now)
    return start_run(
        session, rules=rules, kind=RunKind.ROLLBACK, trigger="person", stage=Stage.PROMOTE, version=version.version,
        seed=0, now=now, forced=True, reason=reason, target_version=to,
    )  # fmt: skip


def start_judge_check(session: Session, rules: Rules, text: str, now: datetime) -> Bell:
    """Start a run that measures the judge under *rules* and judges nobody."""
    version = prompts.note_version(session, rules.skill, text, now)
    return start_run(
        session, rules=rules, kind=RunKind.JUDGE_CHECK, trigger="person", stage=Stage.JUDGE, version=version.version,
        seed=0, now=now, forced=True, reason="a person asked what the judge is worth",
    )  # fmt: skip


def open_judge_check(session: Session, rules: Rules) -> int | None:
    """Find the run that measures the judge under the same *rules* just now."""
    wanted = select(RunRow.id).where(
        RunRow.kind == RunKind.JUDGE_CHECK, RunRow.ended_at.is_(None), RunRow.rules == rules.to_json()
    )
    return session.scalar(wanted.limit(1))


def check_open(session: Session, skill: str, *, without: Sequence[int] = ()) -> bool:
    """Tell whether a drift check of *skill* is under way, other than the runs *without*."""
    found = session.scalar(
        select(RunRow.id)
        .where(
            RunRow.skill_name == skill,
            RunRow.kind.in_((RunKind.DRIFT_CHECK, RunKind.ROLLBACK)),
            RunRow.ended_at.is_(None),
            RunRow.id.not_in(without),
        )
        .limit(1)
    )
    return found is not None


def replaceable(session: Session, skill: str) -> tuple[int, ...]:
    """Return the runs of *skill* that a person's order takes the place of.

    A drift check whose canary waits for a quiet moment would only suggest what the person orders. An evolution that nobody
    asked for, and that waits to make its first call, would wait the long quiet time; the person's waits the short one.
    """
    waiting = (StepRow.state.in_((StepState.READY, StepState.RUNNING))) & StepRow.waiting_for.not_in(("", *MADE_ROOM))
    check = (RunRow.kind == RunKind.DRIFT_CHECK) & (StepRow.stage == Stage.DETECT)
    search = (
        (RunRow.kind == RunKind.EVOLUTION) & (RunRow.trigger != PERSON) & (StepRow.stage == Stage.MUTATE)
        & ~_called()
    )  # fmt: skip
    found = (
        select(RunRow.id)
        .join(StepRow, StepRow.run_id == RunRow.id)
        .where(RunRow.skill_name == skill, RunRow.ended_at.is_(None), waiting, check | search)
    )
    return tuple(session.scalars(found.order_by(RunRow.id)))


def _called() -> ColumnElement[bool]:
    """Select runs that have called a model."""
    return select(ModelCallRow.id).where(ModelCallRow.run_id == RunRow.id).exists()


def open_evolution(session: Session, skill: str) -> int | None:
    """Return the run of *skill*'s open evolution."""
    return session.scalar(
        select(RunRow.id).where(
            RunRow.skill_name == skill, RunRow.kind == RunKind.EVOLUTION, RunRow.ended_at.is_(None)
        )
    )  # fmt: skip


def replace_waiting(session: Session, skill: str, now: datetime) -> tuple[int, ...]:
    """Cancel what a person's order takes the place of, and return it."""
    found = replaceable(session, skill)
    for run in found:
        cancel(session, session.get_one(RunRow, run), "a person asked for an evolution", now)
    session.flush()
    return found


def _seed(session: Session) -> int:
    """Draw a run's seed from the number of runs before it: different each time, and the same in a replayed history."""
    last = session.scalar(select(RunRow.id).order_by(RunRow.id.desc()).limit(1)) or 0
    return seed32(last, "run")
