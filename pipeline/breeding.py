"""Making one child: an operator is drawn, the generator asked, and its reply read, gated and retried."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import operators
from pipeline.algorithms.differences import normalise
from pipeline.algorithms.streams import seed32, stream
from pipeline.algorithms.text_signals import gibberish
from pipeline.domain import MutationType, Role
from pipeline.flow import Failed, FailureKind, Flow, Generate, Sampling, generate
from pipeline.meta_prompt import Failure, Success, read_instruction, suspicions
from pipeline.phrasebook import THINKING_STYLES
from pipeline.population import Draft, Member, MutationPrompt
from pipeline.rules import Rules

OPERATORS = (
    MutationType.DIRECT,
    MutationType.FIRST_ORDER,
    MutationType.ZERO_ORDER,
    MutationType.HYPER_ZERO,
    MutationType.HYPER_FIRST,
)
MIN_WORDS = 3  # a shorter instruction is no instruction
_MUTATION_WORDS = 60  # longest mutation prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Bred:
    """A child's draft, the mutation prompt it carries, and a new mutation prompt where hypermutation made one."""

    draft: Draft
    mutation: int
    mutation_prompt: MutationPrompt | None = None
    second_parent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """One question to the generator, with what its answer must not be."""

    rules: Rules
    seed: int
    label: tuple[str | int, ...]
    prompt: str
    kind: MutationType
    reasoning: str
    taken: tuple[str, ...]
    shown: tuple[str, ...]


def first_draft(
    rules: Rules,
    seed: int,
    slot: int,
    mutation: str,
    instruction: str,
    failures: tuple[Failure, ...],
    taken: tuple[str, ...],
) -> Flow[Draft]:
    """Make a member of the first population; every third from the problem alone, the others from the incumbent."""
    rng = stream(seed, "first", slot)
    style = THINKING_STYLES[int(rng.integers(len(THINKING_STYLES)))]
    from_problem = slot % 3 == 2  # noqa: PLR2004 - two of three keep the incumbent's good parts
    prompt = (
        operators.zero_order(rules.skill.about, failures)
        if from_problem
        else operators.initial(mutation, style, instruction, rules.skill.about)
    )
    kind = MutationType.ZERO_ORDER if from_problem else MutationType.FIRST_ORDER
    reasoning = "from the task's description" if from_problem else f"{mutation} {style}"
    draft = yield from _draft(
        _Ask(
            rules=rules,
            seed=seed,
            label=("first", slot),
            prompt=prompt,
            kind=kind,
            reasoning=reasoning,
            taken=taken,
            shown=_shown(failures, ()),
        )
    )
    return draft


def breed(
    *,
    rules: Rules,
    seed: int,
    ordinal: int,
    generation: int,
    winner: Member,
    population: tuple[Member, ...],
    mutation_prompts: tuple[MutationPrompt, ...],
    failures: tuple[Failure, ...],
    successes: tuple[Success, ...],
    taken: tuple[str, ...],
) -> Flow[Bred]:
    """Draw an operator and make one mutated copy of *winner*."""
    rng = stream(seed, "breed", generation, ordinal)
    kind = OPERATORS[int(rng.integers(len(OPERATORS)))]
    mates = [m for m in population if m.ordinal != winner.ordinal and m.n]
    mate: Member | None = None
    if mates and rng.random() < rules.settings.search.crossover_probability:
        weights = [max(m.fitness, 1e-6) for m in mates]
        kind, mate = MutationType.CROSSOVER, mates[int(rng.choice(len(mates), p=[w / sum(weights) for w in weights]))]
    carried = winner.mutation if winner.mutation is not None else 0
    mutation, fresh = mutation_prompts[carried].text, None
    if kind in (MutationType.HYPER_ZERO, MutationType.HYPER_FIRST):
        style = THINKING_STYLES[int(rng.integers(len(THINKING_STYLES)))]
        fresh = yield from _new_mutation(rules, seed, ordinal, kind, style, mutation_prompts, carried)
        mutation = fresh.text if fresh else mutation
    prompt = _question(kind, rules, winner, mate, mutation, failures, successes)
    draft = yield from _draft(
        _Ask(
            rules=rules,
            seed=seed,
            label=("breed", generation, ordinal),
            prompt=prompt,
            kind=kind,
            reasoning=_reasoning(kind, mutation),
            taken=taken,
            shown=_shown(failures, successes),
        )
    )
    return Bred(
        draft=draft,
        mutation=fresh.ordinal if fresh else carried,
        mutation_prompt=fresh,
        second_parent=mate.ordinal if mate else None,
    )


def _question(
    kind: MutationType, rules: Rules, winner: Member, mate: Member | None, mutation: str,
    failures: tuple[Failure, ...], successes: tuple[Success, ...],
) -> str:  # fmt: skip
    about, parent = rules.skill.about, winner.draft.instruction
    if kind is MutationType.CROSSOVER and mate is not None:
        return operators.crossover(parent, mate.draft.instruction, about)
    if kind is MutationType.DIRECT:
        return operators.direct(parent, about, failures, successes)
    if kind is MutationType.ZERO_ORDER:
        return operators.zero_order(about, failures)
    return operators.first_order(mutation, parent, about)


def _reasoning(kind: MutationType, mutation: str) -> str:
    fixed = {
        MutationType.CROSSOVER: "the best rules of two parents",
        MutationType.DIRECT: "rewritten from what failed and what succeeded",
        MutationType.ZERO_ORDER: "from the task's description alone",
    }
    return fixed.get(kind, mutation)


def _new_mutation(
    rules: Rules,
    seed: int,
    ordinal: int,
    kind: MutationType,
    style: str,
    known: tuple[MutationPrompt, ...],
    carried: int,
) -> Flow[MutationPrompt | None]:
    """Let the generator write a new mutation prompt; None when what it wrote is of no use."""
    zero = kind is MutationType.HYPER_ZERO
    prompt = operators.hyper_zero(rules.skill.about, style) if zero else operators.hyper_first(known[carried].text)
    reply = yield from generate(_request(rules, prompt, seed32(seed, "hyper", ordinal), 0))
    if isinstance(reply, Failed):
        return None
    text = read_instruction(reply.text, cut_off=reply.done_reason == "length", max_words=_MUTATION_WORDS)
    if len(text.split()) < MIN_WORDS or gibberish(text) or suspicions(text, ()):
        return None
    return MutationPrompt(ordinal=len(known), text=text, parent=None if zero else carried)


def _draft(ask: _Ask) -> Flow[Draft]:
    """Ask, and ask again with other settings when the reply is gibberish or a copy (mission A3: at most two retries)."""
    search = ask.rules.settings.search
    instruction = refused = ""
    for attempt in range(search.retries + 1):
        seed = seed32(ask.seed, *ask.label, attempt)
        reply = yield from generate(_request(ask.rules, ask.prompt, seed, attempt, copied=refused == "copy"))
        if isinstance(reply, Failed):
            refused = f"no answer: {reply.kind}"
            if reply.kind is FailureKind.BUDGET:
                return Draft(instruction="", kind=ask.kind, reasoning=ask.reasoning, refused=refused, spent_out=True)
            continue
        instruction = read_instruction(
            reply.text, cut_off=reply.done_reason == "length", max_words=search.max_instruction_words
        )
        refused = _refused(ask, instruction)
        if not refused:
            break
    return Draft(instruction=instruction, kind=ask.kind, reasoning=ask.reasoning, refused=refused)


def _refused(ask: _Ask, instruction: str) -> str:
    """Say why *instruction* is not worth an evaluation; empty when it is."""
    if len(instruction.split()) < MIN_WORDS:
        return "unparsable"
    if normalise(instruction) in {normalise(text) for text in ask.taken}:
        return "copy"
    return gibberish(instruction) or ", ".join(suspicions(instruction, ask.shown))


def _request(rules: Rules, prompt: str, seed: int, attempt: int, *, copied: bool = False) -> Generate:
    """Build a generator request: temperature 0.7 after gibberish, 1.2 with a repeat penalty of 1.5 after a copy."""
    models = rules.settings.models
    temperature, penalty = models.generator_temperature, models.generator_repeat_penalty
    if attempt:
        temperature, penalty = (1.2, 1.5) if copied else (0.7, penalty)
    return Generate(
        role=Role.GENERATOR,
        prompt=prompt,
        sampling=Sampling(
            temperature=temperature, seed=seed, num_predict=models.generator_num_predict, repeat_penalty=penalty
        ),
    )


def _shown(failures: tuple[Failure, ...], successes: tuple[Success, ...]) -> tuple[str, ...]:
    return (
        *(text for f in failures for text in (f.shown, f.output, f.expected)),
        *(text for s in successes for text in (s.shown, s.output)),
    )
