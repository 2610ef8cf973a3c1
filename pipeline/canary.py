"""The canary: the prompt in use on frozen tasks, once when it was healthy and again when a warning comes.

It costs no person anything and is not misled by who reports what: the same prompt on the same tasks is either as right as
it was or not. What it cannot see is a change of the tasks themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.algorithms.paired import sign_test
from pipeline.fitness import Item, evaluate
from pipeline.flow import Flow
from pipeline.replay import watched
from pipeline.rules import Rules
from pipeline.skills import PromptTemplate

LEAST = 50  # tasks of a golden set: fewer cannot prove a drop of 14 points (decision study)
P_VALUE = 0.05  # of the exact paired test that confirms a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """Frozen tasks and how the prompt in use did on them.

    Attributes:
        reference: one flag per item, of when it was healthy.
        served_by: model digest and server version of then.
    """

    items: tuple[Item, ...]
    reference: tuple[bool, ...]
    served_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """What a run on the golden set found.

    Attributes:
        flags: one per item of the set.
        broke, mended: tasks that were right and are wrong now, and the reverse.
        p_value: of so many broken ones if nothing had changed (exact, one-sided).
        served_by: who answered now; `before`: who answered then.
    """

    flags: tuple[bool, ...]
    broke: int
    mended: int
    p_value: float
    served_by: str
    before: str

    @property
    def confirmed(self) -> bool:
        """Whether the prompt does worse than it did."""
        return self.p_value <= P_VALUE

    @property
    def words(self) -> str:
        """Say what was found."""
        said = f"of {len(self.flags)} frozen tasks {self.broke} broke and {self.mended} mended (p {self.p_value:.3f})"
        changed = self.served_by and self.before and self.served_by != self.before
        return f"{said}; the model or Ollama changed since" if changed else said


def check(rules: Rules, template: PromptTemplate, golden: GoldenSet, seed: int) -> Flow[Canary]:
    """Run the prompt in use on the golden set again."""
    flags, served_by = yield from record(rules, template, golden.items, seed)
    pairs = list(zip(golden.reference, flags, strict=True))
    broke, mended = pairs.count((True, False)), pairs.count((False, True))
    return Canary(
        flags=flags, broke=broke, mended=mended, p_value=sign_test(broke, mended), served_by=served_by,
        before=golden.served_by,
    )  # fmt: skip


def record(
    rules: Rules, template: PromptTemplate, items: tuple[Item, ...], seed: int
) -> Flow[tuple[tuple[bool, ...], str]]:
    """Run the prompt in use on *items*; returns one flag per item, and who answered."""
    served: set[str] = set()
    result = yield from watched(evaluate(rules, template, items, seed), served)
    return result.correct, " / ".join(sorted(served))
