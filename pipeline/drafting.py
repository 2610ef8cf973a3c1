"""One question to the generator, and its reply as a draft: read leniently, gated, asked again at most twice, then passed over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.algorithms.differences import normalise
from pipeline.algorithms.streams import seed32
from pipeline.algorithms.text_flags import flags
from pipeline.algorithms.text_signals import examine, gibberish
from pipeline.domain import MutationType, Role
from pipeline.flow import Failed, FailureKind, Flow, Generate, Sampling, generate
from pipeline.leaks import NOTHING, Ground, leaks, reason
from pipeline.meta_prompt import read_instruction, sealed
from pipeline.population import Draft
from pipeline.rules import Rules
from pipeline.sentences import added, graft, sentences

MIN_WORDS = 3  # a shorter instruction is no instruction
NO_ROOM = "no answer: the question has more tokens than there is room for"
LISTS = frozenset({MutationType.ZERO_ORDER, MutationType.EDA, MutationType.EDA_RANK, MutationType.LINEAGE})
"""Operators whose reply continues a list; the paper leaves open which entry to take: we take the first whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question to the generator, with what its answer must not be.

    Attributes:
        prompt: the question; empty when there is no room for it.
        label: names the question within the run; its seed is drawn from it.
        parent: the rules that the question shows; empty when it shows none.
        grafted: put only the reply's new sentences to the parent's. A small model forgets one sentence in five of a text
            that it rewrites; what it did not touch need not be measured again.
        taken: instructions that were tried before.
        ground: texts that must not get into the answer, and those that may.
    """

    rules: Rules
    seed: int
    label: tuple[str | int, ...]
    prompt: str
    kind: MutationType
    reasoning: str
    parent: str
    grafted: bool
    taken: tuple[str, ...]
    ground: Ground


def draft(ask: Ask) -> Flow[Draft]:
    """Ask, and ask again with other settings when the reply is gibberish or a copy (mission A3: at most two retries)."""
    if not ask.prompt:
        return Draft(instruction="", kind=ask.kind, reasoning=ask.reasoning, refused=NO_ROOM)
    instruction = refused = ""
    mean = least = None
    for attempt in range(ask.rules.settings.search.retries + 1):
        seed = seed32(ask.seed, *ask.label, attempt)
        reply = yield from generate(
            request(ask.rules, sealed(ask.prompt, ask.seed), seed, attempt, copied=refused == "copy")
        )
        if isinstance(reply, Failed):
            refused = f"no answer: {reply.kind}"
            if reply.kind is FailureKind.BUDGET:
                return Draft(instruction="", kind=ask.kind, reasoning=ask.reasoning, refused=refused, spent_out=True)
            continue
        mean, least = reply.mean_logprob, reply.min_logprob
        instruction = _read(ask, reply.text, cut_off=reply.done_reason == "length")
        refused = why_refused(ask.rules, instruction, ask.parent, ask.taken, ask.ground)
        if not refused:
            break
    return Draft(
        instruction=instruction, kind=ask.kind, reasoning=ask.reasoning, refused=refused, mean_logprob=mean,
        min_logprob=least, flags=tuple(map(str, flags(instruction, ask.parent))),
    )  # fmt: skip


def request(rules: Rules, prompt: str, seed: int, attempt: int, *, copied: bool = False) -> Generate:
    """Build a generator request: temperature 0.7 after gibberish, 1.2 with a repeat penalty of 1.5 after a copy."""
    models = rules.settings.models
    temperature, penalty = models.generator_temperature, models.generator_repeat_penalty
    if attempt:
        temperature, penalty = (1.2, 1.5) if copied else (0.7, penalty)
    sampling = Sampling(
        temperature=temperature, seed=seed, num_predict=models.generator_num_predict, repeat_penalty=penalty
    )
    return Generate(role=Role.GENERATOR, prompt=prompt, sampling=sampling, logprobs=True)


def why_refused(rules: Rules, text: str, parent: str, taken: tuple[str, ...], ground: Ground = NOTHING) -> str:
    """Say why the rules *text* are not worth an evaluation; empty when they are.

    Gibberish is named by its detector, then what it measured in brackets.

    Only sentences that are not the parent's own are searched for what must not get in: a person may have put a link into
    the prompt in use, the generator may not. Nor is a child refused for being as long, or as repetitive, as its parent.
    """
    if len(text.split()) < MIN_WORDS:
        return "unparsable"
    if len(text.split()) > _most_words(rules, parent):
        return "too long"
    if normalise(text) in {normalise(known) for known in taken}:
        return "copy"
    own = {normalise(sentence) for sentence in sentences(parent)}
    fresh = [sentence for sentence in sentences(text) if normalise(sentence) not in own]
    parts = fresh if gibberish(parent) else [text, *fresh]
    found = next(filter(None, map(examine, parts)), None)
    return str(found) if found else reason(leaks(" ".join(fresh), replace(ground, own=(*ground.own, parent))))


def _read(ask: Ask, reply: str, *, cut_off: bool) -> str:
    most = _most_words(ask.rules, ask.parent)
    text = read_instruction(reply, cut_off=cut_off, max_words=most, first_item=ask.kind in LISTS)
    if not (ask.grafted and ask.parent and text) or len(ask.parent.split()) + MIN_WORDS > most:
        return text  # also where nothing can be put to the parent: a rewrite is the only way to a better one
    fresh = added(text, ask.parent)
    while fresh and len(graft(ask.parent, fresh).split()) > most:
        fresh.pop()
    return graft(ask.parent, fresh)


def _most_words(rules: Rules, parent: str) -> int:
    """Return the length limit; a person's prompt may be longer, and its children then as long as it is."""
    return max(rules.settings.search.max_instruction_words, len(parent.split()))
