"""The operators that need no model: sentences deleted, swapped, put back, crossed over, or taken from a library.

They cost no generator call, keep what works word for word, and keep prompts short (GrIPS, arXiv 2203.07281).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline import examples
from pipeline.fitness import Item
from pipeline.patterns import Pattern
from pipeline.population import Member
from pipeline.sentences import added, graft, spans, swapped, without
from pipeline.skills import PromptTemplate

RESAMPLED = 0.10  # chance that all examples are drawn anew (PromptBreeder 3.2.5)


def edited(rules: str, relatives: Sequence[str], rng: np.random.Generator) -> tuple[str, str]:
    """Delete a sentence, let two change places, or put one back that a relative has.

    Args:
        rules: the parent's, without examples.
        relatives: rules of other members, from which a sentence may come back.
        rng: source of the draws.

    Returns:
        The new rules and what was done; the rules unchanged when nothing can be done.
    """
    count = len(spans(rules))
    ways = ["delete", "delete", "swap"] if count > 1 else []
    fresh = [one for text in relatives for one in added(text, rules)]
    if fresh:
        ways.append("put back")
    if not ways:
        return rules, "nothing to edit"
    way = ways[int(rng.integers(len(ways)))]
    if way == "put back":
        return graft(rules, [fresh[int(rng.integers(len(fresh)))]]), "one sentence of a relative put back"
    one = int(rng.integers(count))
    if way == "delete":
        return without(rules, one), "one sentence deleted"
    other = (one + 1 + int(rng.integers(count - 1))) % count
    return swapped(rules, one, other), "two sentences changed places"


def crossed(rules: str, mate: str) -> str:
    """Put all that only *mate* says to *rules* (PromptBreeder 3.2.5, for prompts of one part: rules are what is exchanged)."""
    return graft(rules, added(mate, rules))


def with_pattern(rules: str, patterns: Sequence[Pattern], rng: np.random.Generator) -> tuple[str, str]:
    """Add a rule of the pattern library that *rules* do not have yet; earlier patterns are likelier.

    Returns:
        The new rules and the pattern's name; both empty when every pattern is in already.
    """
    left = [one for one in patterns if added(one.sentence, rules)]
    if not left:
        return "", ""
    weights = 0.7 ** np.arange(len(left))
    chosen = left[int(rng.choice(len(left), p=weights / weights.sum()))]
    return graft(rules, added(chosen.sentence, rules)), chosen.name


def complement(parent: Member, mates: Sequence[Member], rng: np.random.Generator) -> Member | None:
    """Draw a mate in proportion to how many samples it does better than *parent* on (per-instance Pareto, GEPA)."""
    own = parent.values
    gains = [sum(max(0.0, v - own.get(s, v)) for s, v in mate.values.items()) for mate in mates]
    fitting = [(mate, gain) for mate, gain in zip(mates, gains, strict=True) if gain > 0]
    if not fitting:
        return None
    weights = np.array([gain for _, gain in fitting])
    return fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))][0]


def shuffled(
    template: PromptTemplate, instruction: str, items: Sequence[Item], most: int, rng: np.random.Generator
) -> str:
    """Context shuffling (PromptBreeder 3.2.5): add an example, or put a new one in the place of another; 10 %: all anew.

    Args:
        template: whose frame gives examples their form.
        instruction: the parent's, with its examples.
        items: labelled samples of the search split.
        most: how many examples a prompt may carry.
        rng: source of the draws.

    Returns:
        The instruction with other examples; unchanged when there is none to take.
    """
    rules, carried = examples.split(instruction)
    texts = [examples.example(template, items[int(i)]) for i in rng.permutation(len(items))[: 4 * (most + 1)]]
    fresh = [text for text in dict.fromkeys(texts) if text and text not in carried]
    if not fresh or most < 1:
        return instruction
    kept = list(carried[:most])
    if rng.random() < RESAMPLED:
        kept = fresh[: int(rng.integers(1, most + 1))]
    elif len(kept) < most:
        kept.append(fresh[0])
    else:
        kept[int(rng.integers(len(kept)))] = fresh[0]
    return examples.join(rules, kept)
