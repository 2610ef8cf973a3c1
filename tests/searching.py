"""Whole searches in memory, against a world whose truth is known: the flows are the product's own, only the tables are not."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from ops.simulator.skill_world import Sample, SkillWorld
from ops.simulator.world import Answer as Written
from ops.simulator.world import Ask, Message, pieces
from ops.simulator.worlds.records import RecordsWorld
from pipeline.algorithms.splits import fraction
from pipeline.algorithms.streams import stream
from pipeline.domain import Fate, Next, Role, SampleId, SkillName, Split, Stage
from pipeline.fitness import Item, evaluate
from pipeline.flow import Failed, FailureKind, Generate, Generated, Reply, Request, Scored, ScoreOutside, drive
from pipeline.mutate import mutate
from pipeline.population import Member
from pipeline.rules import Rules
from pipeline.search import MutateCase, MutateDecision, total
from pipeline.settings import Search, Settings
from pipeline.skills import SkillSpec, parse_template
from pipeline.splits import split_of

SKILL = "bench"
LABELLED = 240  # samples of a trial
BASES = 1_000_000  # different bases of seeds
NO_GIT = 20_260_504  # base of the seeds where there is no repository
Answer = Callable[[Request], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search ended with.

    Attributes:
        instruction: the best confirmed prompt, or the incumbent's.
        claimed: its accuracy as the search would tell it, on samples nothing was selected on.
        calls: model calls of all roles.
        next: where the last visit went.
    """

    instruction: str
    claimed: float
    calls: int
    reason: str
    finalists: int
    visits: int
    operators: dict[str, tuple[int, int]]
    members: tuple[Member, ...]
    next: Next


@dataclass(slots=True)
class Answering:
    """Answers a search from a world in this process, counts calls, and keeps the budget as the product does."""

    world: SkillWorld
    samples: dict[int, Sample]
    feedback: str
    budget: int
    calls: int = 0
    task_prompts: list[str] | None = None

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        if isinstance(request, ScoreOutside):
            return self.score(request)
        assert isinstance(request, Generate)
        if self.calls >= self.budget:
            return Failed(kind=FailureKind.BUDGET)
        self.calls += 1
        if self.task_prompts is not None and request.role is Role.TASK:
            self.task_prompts.append(request.prompt)
        return self.write(request)

    def write(self, request: Generate) -> Generated | Failed:
        """Let the world write."""
        tag = "qwen2.5-coder:3b" if request.role is Role.TASK else "smollm2:360m-instruct-q4_K_M"
        ask = Ask(
            tag=tag, messages=(Message("user", request.prompt),), seed=request.sampling.seed,
            temperature=request.sampling.temperature, schema=request.schema,
        )  # fmt: skip
        tokens = self.world.answer(ask).tokens
        cut = len(tokens) > request.sampling.num_predict
        text = "".join(token.text for token in tokens[: request.sampling.num_predict])
        return Generated(
            text=text, done_reason="length" if cut else "stop", prompt_tokens=1, tokens=len(tokens), duration_s=0.0
        )

    def score(self, request: ScoreOutside) -> Scored:
        """Score with the world's own scorer; only the level `what` tells what was lost."""
        sample = self.samples[int(dict(request.fields)["sample"])]
        value, lost = self.world.score(request.output, sample.expected, sample.fields)
        return Scored(value=value, lost=lost if self.feedback == "what" else ())


def rules_for(world: SkillWorld, search: Search) -> Rules:
    """Return the rules of a run in *world*."""
    skill = SkillSpec(
        name=SkillName(SKILL), template="bench.md", scorer="python:bench:score", about=world.about(), num_predict=96
    )
    return Rules(settings=replace(Settings(), search=search), skill=skill)


def first_case(world: SkillWorld, samples: list[Sample], search: Search, feedback: str, seed: int) -> MutateCase:
    """Return generation 0 of a search, its samples split as the product splits them."""
    parts: dict[Split, list[Item]] = {split: [] for split in Split}
    for number, sample in enumerate(samples):
        fields = (*sorted(sample.fields.items()), ("sample", str(number)))
        expected = sample.expected if feedback != "score" else ""
        item = Item(sample=SampleId(number), fields=fields, expected=expected)
        parts[split_of(SKILL, sample.id)].append(item)
    for items in parts.values():
        items.sort(key=lambda item: fraction(f"{seed}:{item.sample}"))
    return MutateCase(
        rules=rules_for(world, search), seed=seed, generation=0, template=parse_template(world.template()), population=(),
        finished=(), mutation_prompts=(), items=tuple(parts[Split.SEARCH]), failures=(), successes=(), next_ordinal=0,
        stale=0, calls_left=search.budget_calls, minutes_left=1e9, confirm_items=tuple(parts[Split.SELECT]),
        labelled=len(samples),
    )  # fmt: skip


def after(case: MutateCase, decision: MutateDecision, calls_left: int) -> MutateCase:
    """Return the next visit's case, as the tables would give it."""
    fates = {ordinal: (fate, why) for ordinal, fate, why in decision.changed}
    if case.rules.settings.search.mode == "promptbreeder":
        taken = {m.slot for m in decision.children if m.n and case.population}
        fates |= {m.ordinal: (Fate.REPLACED, "lost its tournament") for m in case.population if m.slot in taken}
    everyone = {m.ordinal: m for m in (*case.finished, *decision.children)}
    members = [
        replace(m, fate=fates[m.ordinal][0], fate_reason=fates[m.ordinal][1]) if m.ordinal in fates else m
        for m in everyone.values()
    ]
    finished = tuple(sorted((m for m in members if m.n), key=lambda m: m.ordinal))
    population = tuple(sorted((m for m in finished if m.fate is Fate.ALIVE), key=lambda m: (m.slot, m.ordinal)))
    return replace(
        case,
        generation=case.generation + 1,
        population=population,
        finished=finished,
        mutation_prompts=(*case.mutation_prompts, *decision.mutation_prompts),
        tallies=total((*case.tallies, *decision.operators)),
        next_ordinal=case.next_ordinal + len(decision.children),
        stale=decision.stale,
        calls_left=calls_left,
    )


def at_once(case: MutateCase, answering: Answering) -> MutateDecision:
    """Make one visit without a break."""
    return drive(mutate(case), answering)


Visit = Callable[[MutateCase, Answering], MutateDecision]


def visited(case: MutateCase, here: Answering, visit: Visit = at_once) -> tuple[MutateCase, MutateDecision, int]:
    """Make visits until the search ends; return the case as it is then, the last decision, and how many there were."""
    count = 0
    while True:
        count += 1
        decision = visit(case, here)
        case = after(case, decision, here.budget - here.calls)
        if decision.next is not Stage.MUTATE:
            return case, decision, count


def search(
    world: SkillWorld,
    samples: list[Sample],
    settings: Search,
    feedback: str,
    seed: int,
    answering: Answering | None = None,
    visit: Visit = at_once,
) -> Found:
    """Run a whole search within `settings.budget_calls`, the report on untouched samples among them."""
    here = answering or Answering(world, dict(enumerate(samples)), feedback, settings.budget_calls)
    case = first_case(world, samples, settings, feedback, seed)
    report = tuple(
        Item(sample=SampleId(n), fields=(*sorted(s.fields.items()), ("sample", str(n))), expected=s.expected)
        for n, s in enumerate(samples)
        if split_of(SKILL, s.id) is Split.REPORT
    )
    here.budget = settings.budget_calls - 2 * len(report)
    case = replace(
        case,
        calls_left=here.budget,
        rules=replace(
            case.rules, settings=replace(case.rules.settings, search=replace(settings, budget_calls=here.budget))
        ),
    )
    case, decision, visits = visited(case, here, visit)
    best = next((m for m in case.finished if decision.finalists and m.ordinal == decision.finalists[0]), None)
    instruction = best.draft.instruction if best else case.template.instruction
    here.budget = settings.budget_calls
    claimed = claim(case, decision, best, report, here)
    return Found(
        instruction=instruction, claimed=claimed, calls=here.calls, reason=decision.reason,
        finalists=len(decision.finalists), visits=visits,
        operators={t.name: (t.applied, t.improved) for t in case.tallies}, members=case.finished,
        next=decision.next,
    )  # fmt: skip


def claim(
    case: MutateCase, decision: MutateDecision, best: Member | None, report: tuple[Item, ...], answer: Answer
) -> float:
    """Return the accuracy to tell: on the report's samples, which nothing was selected on."""
    template = case.template.with_instruction(best.draft.instruction) if best else case.template
    return drive(evaluate(case.rules, template, report, case.seed), answer).mean


def seeds(base: int, count: int) -> list[int]:
    """Draw *count* seeds from one."""
    return [int(x) for x in stream(base, "seeds").integers(1, 2**31 - 1, size=count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One search in a world of its own."""

    seed: int
    feedback: str = "what"
    profile: str = "small"
    settings: Search = field(default_factory=Search)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of a job; two trials of one job are equal.

    Attributes:
        gain: points of true accuracy above the incumbent.
        possible: points that the best prompt would gain.
        optimism: claimed less true accuracy, in points.
        evaluated: prompts that were run, without the incumbent.
        blocks: blocks of samples that they were run on; `whole`: those of all samples of the race, for each of them.
        members: a digest of all members with everything they did.
        framework_s: processor time beside the world's.
        crashed: the traceback of a search that broke.
    """

    job: Job
    gain: float = 0.0
    possible: float = 0.0
    optimism: float = 0.0
    calls: int = 0
    visits: int = 0
    next: str = ""
    finalists: int = 0
    reason: str = ""
    instruction: str = ""
    evaluated: int = 0
    blocks: int = 0
    whole: int = 0
    members: str = ""
    framework_s: float = field(default=0.0, compare=False)
    crashed: str = ""

    @property
    def share(self) -> float:
        """The part of the possible gain that was reached."""
        return self.gain / self.possible if self.possible else 0.0


class Timed:
    """A world that counts the processor time it takes for answers and scores."""

    def __init__(self, world: SkillWorld) -> None:
        self._world = world
        self.seconds = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._world, name)

    def answer(self, ask: Ask) -> Written:
        """Let the world write."""
        begun = time.process_time()
        try:
            return self._world.answer(ask)
        finally:
            self.seconds += time.process_time() - begun

    def score(self, output: str, expected: str, fields: Mapping[str, str]) -> tuple[float, tuple[str, ...]]:
        """Let the world score."""
        begun = time.process_time()
        try:
            return self._world.score(output, expected, fields)
        finally:
            self.seconds += time.process_time() - begun


def trial(job: Job) -> Trial:
    """Run one job and hold what it found against the truth; a search that breaks is told as such."""
    world = RecordsWorld(job.seed, job.profile)
    samples, timed, floor = world.samples(LABELLED, job.seed), Timed(world), world.floor()
    seen = cast("SkillWorld", timed)
    here = Answering(seen, dict(enumerate(samples)), job.feedback, job.settings.budget_calls)
    begun = time.process_time()
    try:
        found = search(seen, samples, job.settings, job.feedback, job.seed, here)
    except Exception:  # noqa: BLE001 - whatever it is, the table of trials says so
        return Trial(job=job, crashed=traceback.format_exc())
    framework_s = time.process_time() - begun - timed.seconds
    truth, ran = world.accuracy(found.instruction), [m.n for m in found.members if m.ordinal and m.n]
    block, race = job.settings.block_samples, next((m.n for m in found.members if not m.ordinal), 0)
    return Trial(
        job=job, gain=100 * (truth - floor), possible=100 * (world.ceiling() - floor), optimism=100 * (found.claimed - truth),
        calls=here.calls, visits=found.visits, next=found.next.value, finalists=found.finalists, reason=found.reason,
        instruction=found.instruction, evaluated=len(ran), blocks=sum(-(-n // block) for n in ran),
        whole=len(ran) * -(-race // block), members=digest(found.members), framework_s=framework_s,
    )  # fmt: skip


def tried(jobs: Iterable[Job]) -> list[Trial]:
    """Run jobs on all processors, in processes that start from nothing."""
    return everywhere(trial, jobs)


def everywhere(work: Callable[..., object], jobs: Iterable[object]) -> list:
    """Do *work* for each of *jobs* on all processors, in processes that start from nothing; results in order."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(work, jobs))


def digest(members: tuple[Member, ...]) -> str:
    """Name members by all that is known of them."""
    return hashlib.sha256(repr(members).encode()).hexdigest()[:16]


def cached(prompts: Iterable[str]) -> float:
    """Return the share of tokens that a server need not read again, as the simulator's runner counts it."""
    known = total_tokens = 0
    last: list[str] = []
    for prompt in prompts:
        tokens = pieces(prompt)
        known += sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(tokens, last, strict=False)))
        total_tokens += len(tokens)
        last = tokens
    return known / total_tokens if total_tokens else 0.0


def commit_seed() -> int:
    """Derive a seed from the commit, so that it is neither chosen nor forgotten; a fixed one without a repository."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        shown = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return NO_GIT
    return int(shown.stdout[:12], 16) % BASES
