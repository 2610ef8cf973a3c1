"""Values of judging: one model's rating of one instruction, and what it means under the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.judge_settings import Judging
from pipeline.judge_texts import QUESTIONS

UNSURE = 0.1  # a good answer's probability this near to one half tells nothing
LEAST_MASS = 0.01  # share of all tokens below which Yes and No together are no answer
_MARKS = " \t\n\r▁ĠĊ\"'`*.,:;!"  # around a word; the first letters of some vocabularies' tokens are among them


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question's answer.

    Attributes:
        good: probability of the good answer, in [0, 1]; None when there was none.
        forced: the first token was neither answer, so that it was asked again as JSON: then 0 or 1.
    """

    name: str
    good: float | None
    forced: bool = False

    @property
    def unsure(self) -> bool:
        """Whether it says nothing."""
        return self.good is None or self.forced or abs(self.good - 0.5) < UNSURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What a judge says of one instruction.

    Attributes:
        protocol: by which it was asked in the end; another than the wanted one after a fallback.
        score: 0 to 100; None when nothing could be read.
        answers: of the checklist's questions, or of the other protocols' dimensions as shares of their scale.
        served_by: tag, digest and server version; empty when no call was answered.
        problem: why there is no score.
        note: what a person should know, such as a fallback.
        failed: there is no score because calls failed; that says nothing of the judge.
    """

    protocol: str
    score: float | None
    answers: tuple[Answered, ...] = ()
    served_by: str = ""
    problem: str = ""
    note: str = ""
    failed: bool = False

    @property
    def digest(self) -> str:
        """The judge's digest, empty when no call was answered."""
        return digest_of(self.served_by)

    def vetoes(self, judging: Judging) -> tuple[str, ...]:
        """Name the veto questions whose good answer is too unlikely."""
        found = {one.name: one.good for one in self.answers}
        asked = [(question.name, found.get(question.name)) for question in QUESTIONS if question.veto]
        return tuple(name for name, good in asked if good is not None and good < judging.veto)

    def passes(self, judging: Judging) -> bool:
        """Tell whether it accepts the instruction; what could not be read does not."""
        return self.score is not None and self.score >= judging.mark(self.protocol) and not self.vetoes(judging)

    def unsure(self, judging: Judging) -> bool:
        """Tell whether another judge should be asked: near to the mark, or half of its answers say nothing."""
        if self.score is None or abs(self.score - judging.mark(self.protocol)) <= judging.escalate_within:
            return True
        return 2 * sum(answer.unsure for answer in self.answers) >= max(len(self.answers), 1)

    def words(self, judging: Judging) -> str:
        """Say in one line what it comes to."""
        if self.score is None:
            return self.problem or "no verdict could be read"
        parts = [f"{self.protocol} {self.score:.0f}; the mark is {judging.mark(self.protocol):g}"]
        parts += [f"veto: {name}" for name in self.vetoes(judging)]
        return "; ".join([*parts, self.note] if self.note else parts)


def digest_of(served_by: str) -> str:
    """Return the digest in a `served_by`.

    >>> digest_of("qwen2.5-coder:3b abc 0.12.11"), digest_of("")
    ('abc', '')
    """
    parts = served_by.split()
    return parts[1] if len(parts) > 1 else ""


def share_of(alternatives: Sequence[tuple[str, float]], wanted: str, other: str) -> float | None:
    """Return the probability of *wanted* against *other* over the tokens that are either, whatever their case and space.

    Returns:
        In [0, 1]; None when next to nothing of the mass is on either.

    >>> round(share_of((("Yes", -0.2231), (" no", -2.3026), ("yes", -2.9957)), "Yes", "No"), 3)
    0.895
    >>> share_of((("The", -0.1), ("Yes", -9.0)), "Yes", "No") is None
    True
    """
    mass: Mapping[str, list[float]] = {wanted.lower(): [], other.lower(): []}
    for token, logprob in alternatives:
        word = token.strip(_MARKS).lower()
        if word in mass:
            mass[word].append(math.exp(logprob))
    good, bad = (math.fsum(values) for values in mass.values())
    return good / (good + bad) if good + bad >= LEAST_MASS else None


def weighted(answers: Sequence[Answered]) -> float | None:
    """Return the checklist's score, 0 to 100: the weighted mean of the good answers' probabilities that there are.

    Returns:
        None when half of the weight or more has no answer.
    """
    weights = {question.name: question.weight for question in QUESTIONS}
    told = [(weights[one.name], one.good) for one in answers if one.good is not None]
    known = math.fsum(weight for weight, _ in told)
    if 2 * known <= math.fsum(weights.values()):
        return None
    return 100 * math.fsum(weight * good for weight, good in told) / known
