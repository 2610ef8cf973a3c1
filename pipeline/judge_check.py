"""Measure a judge on canaries, good and bad instructions with known answers, before its verdicts count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.algorithms.agreement import Figure, auc, kappa, rate, youden
from pipeline.asking import ask
from pipeline.domain import Role
from pipeline.flow import Flow
from pipeline.judge_settings import CHECKLIST, FLOW_JUDGE, Judging
from pipeline.judge_texts import FLOW_DIMENSIONS, QUESTIONS, Subject
from pipeline.rating import Rating, digest_of

SEED = 20_260_101  # of the first asking: a check is the same question on every machine
AGAIN_SEED = 20_260_102  # of the second: other marks around the same text
AGAIN_EVERY = 6  # one canary in so many is asked twice
SLACK = 1.0  # points by which a twin may gain: rounding is no gain
NOT_HIGHER, LOWER = "not higher than twin", "lower than twin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """An instruction of which it is known whether it is good.

    Attributes:
        twin: the canary that it is a changed copy of, empty where none.
        relation: how its score must stand to the twin's.
    """

    id: str
    skill: str
    kind: str
    subject: Subject
    good: bool
    twin: str = ""
    relation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How often the canaries of one kind were told right."""

    kind: str
    right: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a judge is worth.

    Attributes:
        tpr, tnr: shares of the good ones that pass and of the bad ones that are caught, exact intervals.
        youden, kappa: from both, with intervals that cover at least 95 %.
        auc: of the score, good against bad; its interval is approximate.
        twins: changed copies that scored as they must not, of all.
        retest: canaries asked twice with the same outcome, of all asked twice.
        retest_points: mean difference of the two scores; None when none was asked twice.
        unsure: share of all answers that said nothing.
        unreadable: canaries without a verdict; they count as rejected.
        kinds: right ones by kind.
        fell_back: canaries that were asked by another protocol than the wanted one.
    """

    tpr: Figure
    tnr: Figure
    youden: Figure
    kappa: Figure
    auc: Figure
    twins: Figure
    retest: Figure
    retest_points: float | None
    unsure: Figure
    unreadable: int
    kinds: tuple[Kind, ...]
    fell_back: int = 0

    def trusted(self, judging: Judging) -> bool:
        """Tell whether verdicts of this judge may reject; else they are advisory."""
        return (self.youden.value or 0.0) >= judging.least_youden and (self.tnr.low or 0.0) >= judging.least_tnr


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A finished check: of whom, by which words, and what it found.

    Attributes:
        calls: model calls that it took, about.
        failed: canaries without a verdict because calls failed; a check with one measures nothing.
    """

    role: Role
    served_by: str
    protocol: str
    report: CheckReport
    calls: int
    failed: int = 0

    @property
    def whole(self) -> bool:
        """Whether the judge was asked about every canary, so that the report is its own."""
        return bool(self.digest) and not self.failed

    @property
    def digest(self) -> str:
        """The judge's digest, empty when no call was answered."""
        return digest_of(self.served_by)


def check(judging: Judging, canaries: Sequence[Canary], role: Role, protocol: str) -> Flow[Checked]:
    """Ask a judge about every canary, one in six twice, and measure it."""
    first: list[Rating] = []
    for canary in canaries:
        first.append((yield from ask(judging, canary.subject, SEED, role=role, protocol=protocol)))
    again: dict[int, Rating] = {}
    for index in range(0, len(canaries), AGAIN_EVERY):
        rating = yield from ask(judging, canaries[index].subject, AGAIN_SEED, role=role, protocol=protocol)
        again[index] = rating
    return Checked(
        role=role, served_by=next((one.served_by for one in first if one.served_by), ""), protocol=protocol,
        report=measure(judging, canaries, first, again, protocol),
        calls=sum(calls_of(protocol) for _ in (*first, *again)),
        failed=sum(rating.failed for rating in (*first, *again.values())),
    )  # fmt: skip


def asked(canaries: int) -> int:
    """Return how many verdicts a check takes: one a canary, and a second of one in six.

    >>> asked(40)
    47
    """
    return canaries + len(range(0, canaries, AGAIN_EVERY))


def calls_of(protocol: str) -> int:
    """Return how many model calls one verdict takes, further tries apart.

    >>> calls_of("checklist"), calls_of("rubric"), calls_of("flow-judge")
    (7, 1, 5)
    """
    return {CHECKLIST: len(QUESTIONS), FLOW_JUDGE: len(FLOW_DIMENSIONS)}.get(protocol, 1)


def judge_calls(judging: Judging, finalists: int, canaries: int) -> int:
    """Return the judge's calls: its questions on *finalists*, comparisons in both orders, and a check on *canaries*.

    Args:
        judging: the settings.
        finalists: prompts that it reads.
        canaries: of a check that is due, those asked twice counted twice; 0 when none is.
    """
    each = calls_of(judging.protocol)
    return finalists * (each + 2 * judging.pairwise) + (canaries * each if finalists else 0)


def second_judge_calls(judging: Judging, finalists: int) -> int:
    """Return the most calls of the second judge on *finalists*: it is asked where the first is unsure; 0 without one."""
    return finalists * calls_of(judging.escalate_protocol) if judging.escalate_to else 0


def measure(
    judging: Judging, canaries: Sequence[Canary], first: Sequence[Rating], again: dict[int, Rating], wanted: str = ""
) -> CheckReport:
    """Count what a judge said of the canaries.

    Args:
        judging: the settings.
        canaries: what was asked about.
        first: one rating for each, in the same order.
        again: second ratings by the canary's place.
        wanted: the protocol that was wanted; empty takes the settings'.
    """
    told = list(zip(canaries, first, strict=True))
    passes = [rating.passes(judging) for rating in first]
    good = [says for (canary, _), says in zip(told, passes, strict=True) if canary.good]
    bad = [not says for (canary, _), says in zip(told, passes, strict=True) if not canary.good]
    counts = (sum(bad), len(bad), sum(good), len(good))
    answers = [answer.unsure for rating in first for answer in rating.answers]
    same = [again[index].passes(judging) == passes[index] for index in again]
    points = [_points(again[index].score, first[index].score) for index in again]
    differences = [point for point in points if point is not None]
    broken = _violations(told)
    return CheckReport(
        tpr=rate(counts[2], counts[3]),
        tnr=rate(counts[0], counts[1]),
        youden=youden(*counts),
        kappa=kappa(*counts),
        auc=auc(_scores(told, good=False), _scores(told, good=True)),
        twins=rate(sum(broken), len(broken)),
        retest=rate(sum(same), len(same)),
        retest_points=sum(differences) / len(differences) if differences else None,
        unsure=rate(sum(answers), len(answers)),
        unreadable=sum(rating.score is None for rating in first),
        kinds=_kinds(told, passes),
        fell_back=sum(rating.protocol != (wanted or judging.protocol) for rating in first),
    )


def _violations(told: Sequence[tuple[Canary, Rating]]) -> list[bool]:
    """Tell of each changed copy whether it scored as it must not; those without both scores are left out."""
    scores = {canary.id: rating.score for canary, rating in told}
    found: list[bool] = []
    for canary, rating in told:
        twin = scores.get(canary.twin)
        if canary.relation and rating.score is not None and twin is not None:
            limit = twin + SLACK if canary.relation == NOT_HIGHER else twin - SLACK
            found.append(rating.score > limit)
    return found


def _kinds(told: Sequence[tuple[Canary, Rating]], passes: Sequence[bool]) -> tuple[Kind, ...]:
    found: dict[str, list[bool]] = {}
    for (canary, _), says in zip(told, passes, strict=True):
        found.setdefault(canary.kind, []).append(says == canary.good)
    return tuple(Kind(kind=kind, right=sum(right), n=len(right)) for kind, right in found.items())


def _scores(told: Sequence[tuple[Canary, Rating]], *, good: bool) -> list[float]:
    """Return the scores of one class; what was not readable scores nothing."""
    return [rating.score or 0.0 for canary, rating in told if canary.good is good]


def _points(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else abs(one - other)
