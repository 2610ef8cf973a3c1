"""One run, one variant or one prompt in full, for `evoctl show` and `evoctl diff`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from models import loads, prompts, reports, searches
from models.journal import MODEL_ROLES
from models.judge_tables import JudgementRow
from models.loads import LoadsLine
from models.report_values import PromotionLine, RunLine
from models.tables import PromptVersionRow, VariantRow
from models.work_tables import CancelledCallRow, GateEventRow, ModelCallRow, RunRow, StepRow
from pipeline.algorithms.shrinkage import wilson
from pipeline.errors import NotFound
from pipeline.search import Tally

VERSION = re.compile(r"v(\d{1,9})")
NAME = re.compile(r"\w{1,100}", re.ASCII)  # a name or number; a text of others is not given to the database
IDS = 2**31  # an id beyond it is in no table


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """One visit of a run to a stage."""

    stage: str
    visit: int
    attempt: int
    state: str
    slices: int
    crashes: int
    waiting_for: str
    error: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsLine:
    """Model calls of one role with one tag; cancelled ones have no tokens."""

    role: str
    tag: str
    answered: int
    failed: int
    cancelled: int
    prompt_tokens: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLine:
    """How often and for how long a run waited for one reason."""

    reason: str
    times: int
    seconds: float
    preempted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantLine:
    """One proposed prompt, where it comes from and what became of it.

    Attributes:
        right, tested: on samples of the search; without a fitness they are the few first ones, chosen among failures.
        fresh_right, fresh_tested: on samples that nothing was bred or selected on.
        interval: 95 %, of the share of right answers; of the fresh samples where there are some.
        overall: the judge's score, 0 to 100; None when it was not judged.
    """

    variant: int
    run: int
    skill: str
    simulated: bool
    name: str
    generation: int
    mutation_type: str
    parent: int | None
    second_parent: int | None
    fitness: float | None
    right: int
    tested: int
    fresh_right: int
    fresh_tested: int
    interval: tuple[float, float]
    overall: float | None
    fate: str
    fate_reason: str
    reasoning: str
    mean_logprob: float | None
    min_logprob: float | None
    flags: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """One run in full."""

    line: RunLine
    steps: tuple[StepLine, ...]
    calls: tuple[CallsLine, ...]
    loads: tuple[LoadsLine, ...]
    waits: tuple[WaitLine, ...]
    variants: tuple[VariantLine, ...]
    operators: tuple[Tally, ...]
    promotions: tuple[PromotionLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPrompt:
    """A whole prompt under the name that a person gave for it."""

    name: str
    text: str
    version: int | None
    variant: int | None


def run_detail(session: Session, run: int) -> RunDetail:
    """Return one run in full.

    Raises:
        NotFound: there is none.
    """
    row = session.get(RunRow, run) if run < IDS else None
    if row is None:
        raise NotFound(f"There is no run r{run}.", hint="evoctl runs")
    variants = session.scalars(select(VariantRow).where(VariantRow.run_id == run).order_by(VariantRow.ordinal))
    return RunDetail(
        line=reports.run_line(session, row),
        steps=_steps(session, run),
        calls=_calls(session, run),
        loads=loads.of_run(session, run),
        waits=_waits(session, run),
        variants=tuple(_variant(session, one) for one in variants),
        operators=searches.of_run(session, run),
        promotions=reports.promotions(session, run=run),
    )


def variant_detail(session: Session, variant: int) -> tuple[VariantLine, ...]:
    """Return a variant and its ancestors, the variant first.

    Raises:
        NotFound: there is none of that number.
    """
    row = session.get(VariantRow, variant) if variant < IDS else None
    if row is None:
        raise NotFound(f"There is no variant {variant}.", hint="evoctl show RUN")
    line: list[VariantLine] = []
    seen: set[int] = set()
    while row is not None and row.variant_id not in seen:
        seen.add(row.variant_id)
        line.append(_variant(session, row))
        row = session.get(VariantRow, row.parent_id) if row.parent_id is not None else None
    return tuple(line)


def find_variant(session: Session, name: str, skill: str | None = None) -> int:
    """Return the id of a variant named `variant_a` in the newest run that has it, or named by its number.

    Raises:
        NotFound: there is none.
    """
    query = select(VariantRow.variant_id)
    if skill is not None:
        query = query.where(VariantRow.skill_name == skill)
    if name.isdecimal() and len(name) <= len(str(IDS)) and int(name) < IDS:
        query = query.where(VariantRow.variant_id == int(name))
    else:
        query = query.where(VariantRow.name == name, VariantRow.name != "").order_by(VariantRow.run_id.desc())
    found = session.scalar(query.limit(1)) if NAME.fullmatch(name) else None
    if found is None:
        what = f"{skill} has no variant {name!r}." if skill else f"There is no variant {name!r}."
        raise NotFound(what, hint=f"evoctl results {skill}" if skill else "evoctl runs")
    return found


def named_prompt(session: Session, skill: str, name: str) -> NamedPrompt:
    """Return a whole prompt by `v2`, `current`, `previous`, `variant_a` or a variant's number.

    Raises:
        NotFound: there is none.
    """
    numbered = VERSION.fullmatch(name)
    if numbered or name in ("current", "previous"):
        row = _version(session, skill, name) if numbered is None else prompts.version(session, skill, int(numbered[1]))
        return NamedPrompt(name=f"v{row.version}", text=row.text, version=row.version, variant=row.variant_id)
    variant = session.get_one(VariantRow, find_variant(session, name, skill))
    run = session.get_one(RunRow, variant.run_id)
    template = prompts.template_of(session, skill, run.version).with_instruction(variant.prompt_text)
    label = variant.name or f"variant {variant.variant_id}"
    return NamedPrompt(name=label, text=template.text, version=None, variant=variant.variant_id)


def _version(session: Session, skill: str, name: str) -> PromptVersionRow:
    in_use = prompts.active(session, skill)
    found = in_use if in_use is None or name == "current" else prompts.previous(session, skill, in_use.version)
    if found is None:
        raise NotFound(f"{skill} has no {name} prompt that is remembered.", hint=f"evoctl show {skill}")
    return found


def _steps(session: Session, run: int) -> tuple[StepLine, ...]:
    rows = session.scalars(select(StepRow).where(StepRow.run_id == run).order_by(StepRow.id))
    return tuple(
        StepLine(
            stage=row.stage, visit=row.visit, attempt=row.attempt, state=row.state, slices=row.slices,
            crashes=row.crashes, waiting_for=row.waiting_for, error=row.error, created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    )  # fmt: skip


def _calls(session: Session, run: int) -> tuple[CallsLine, ...]:
    cut = {
        (role, tag): (n, ms)
        for role, tag, n, ms in session.execute(
            select(CancelledCallRow.role, CancelledCallRow.tag, func.count(), func.sum(CancelledCallRow.duration_ms))
            .where(CancelledCallRow.run_id == run)
            .group_by(CancelledCallRow.role, CancelledCallRow.tag)
        )
    }
    failed = func.sum(case((ModelCallRow.outcome == "failed", 1), else_=0))
    rows = session.execute(
        select(
            ModelCallRow.role, ModelCallRow.tag, func.count(), failed, func.sum(ModelCallRow.prompt_tokens),
            func.sum(ModelCallRow.tokens), func.sum(ModelCallRow.duration_ms),
        )
        .where(ModelCallRow.run_id == run, ModelCallRow.role.in_(MODEL_ROLES))
        .group_by(ModelCallRow.role, ModelCallRow.tag)
    )  # fmt: skip
    made = {(role, tag): tuple(figures) for role, tag, *figures in rows}
    lines: list[CallsLine] = []
    for key in sorted(made.keys() | cut.keys()):
        n, bad, read, written, ms = made.get(key, (0, 0, 0, 0, 0.0))
        cancelled, cut_ms = cut.get(key, (0, 0.0))
        lines.append(
            CallsLine(
                role=key[0], tag=key[1], answered=n - bad, failed=bad, cancelled=cancelled, prompt_tokens=read,
                tokens=written, seconds=(ms + cut_ms) / 1000,
            )
        )  # fmt: skip
    return tuple(lines)


def _waits(session: Session, run: int) -> tuple[WaitLine, ...]:
    rows = session.execute(
        select(
            GateEventRow.reason, func.count(), func.sum(GateEventRow.waited_s),
            func.sum(case((GateEventRow.preempted.is_(True), 1), else_=0)),
        )
        .where(GateEventRow.run_id == run)
        .group_by(GateEventRow.reason)
        .order_by(GateEventRow.reason)
    )  # fmt: skip
    return tuple(WaitLine(reason=why, times=n, seconds=s, preempted=cut) for why, n, s, cut in rows)


def _variant(session: Session, row: VariantRow) -> VariantLine:
    overall = session.scalar(
        select(JudgementRow.overall)
        .where(JudgementRow.variant_id == row.variant_id)
        .order_by(JudgementRow.id.desc())
        .limit(1)
    )
    return VariantLine(
        variant=row.variant_id, run=row.run_id, skill=row.skill_name, name=row.name,
        simulated=session.get_one(RunRow, row.run_id).simulated, generation=row.generation,
        mutation_type=row.mutation_type, parent=row.parent_id, second_parent=row.second_parent_id,
        fitness=row.fitness_score, right=row.fitness_correct, tested=row.fitness_n, fresh_right=row.confirm_correct,
        fresh_tested=row.confirm_n,
        interval=wilson(row.confirm_correct, row.confirm_n) if row.confirm_n else wilson(row.fitness_correct, row.fitness_n),
        overall=overall, fate=row.fate, fate_reason=row.fate_reason, reasoning=row.reasoning, text=row.prompt_text,
        mean_logprob=row.mean_logprob, min_logprob=row.min_logprob, flags=tuple(row.flags.splitlines()),
    )  # fmt: skip
