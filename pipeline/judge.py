"""Stage 3 of 6 — judge: score each finalist and drop those below the pass mark, as far as the judge is worth it.

The judge never decides a promotion; votes do. Its verdicts save votes. Before they count, the judge is measured on canaries
(see `judge_check`): one that lets bad prompts through is advisory, and then every finalist goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.asking import ask, compare
from pipeline.domain import Ending, Next, Role, Stage, VariantId
from pipeline.flow import Flow
from pipeline.judge_check import Canary, Checked, check
from pipeline.judge_settings import Judging
from pipeline.judge_texts import Subject
from pipeline.rating import Rating
from pipeline.rules import Rules

Known = Mapping[tuple[str, str], bool]
"""By digest and protocol of a judge whether its verdicts may reject; only checks of today's texts are among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A finalist."""

    variant: VariantId
    instruction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCase:
    """Whom to judge, for which task.

    Attributes:
        failures: what goes wrong today, in words.
        incumbent: the instruction in use; empty compares with none.
        canaries: to measure a judge on.
        known: checks that are not too old.
        only_check: measure the judge, whatever is known of it, and judge nobody.
    """

    rules: Rules
    seed: int
    candidates: tuple[Candidate, ...]
    failures: str = ""
    incumbent: str = ""
    canaries: tuple[Canary, ...] = ()
    known: Known = field(default_factory=dict)
    only_check: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one variant.

    Attributes:
        ratings: the judge's, and the second judge's where it was asked; the last one counts.
        passed: the judge's opinion.
        advisory: the opinion decides nothing.
        pairwise: better, worse or tie against the prompt in use; empty when not asked.
    """

    variant: VariantId
    ratings: tuple[tuple[Role, Rating], ...]
    passed: bool
    reason: str
    advisory: bool = False
    pairwise: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether it goes on to dedupe."""
        return self.passed or self.advisory

    @property
    def score(self) -> float | None:
        """The score that counts, 0 to 100; None when no verdict could be read."""
        return self.ratings[-1][1].score


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeDecision:
    """All verdicts, the checks that were made, and where to go."""

    next: Next
    verdicts: tuple[Verdict, ...]
    reason: str
    checked: tuple[Checked, ...] = ()
    due: datetime | None = None  # only a wait has a timer


def judge(case: JudgeCase) -> Flow[JudgeDecision]:
    """Score every candidate, measure the judge where that is due, and keep those that pass or cannot be rejected."""
    judging = case.rules.settings.judging
    bench = _Bench(case)
    if case.only_check:
        yield from bench.measure(Role.JUDGE, judging.protocol)
        if _second(case.rules):
            yield from bench.measure(Role.SECOND_JUDGE, judging.escalate_protocol)
        return JudgeDecision(
            next=Ending.CHECKED, verdicts=(), reason=_found(bench, judging), checked=tuple(bench.checked)
        )
    looks: list[_Look] = []
    for candidate in case.candidates:
        looks.append((yield from _look(case, candidate, bench)))
    verdicts: list[Verdict] = []
    for look in looks:  # after all of the first: two models in turns would be loaded anew each time
        verdicts.append((yield from _verdict(case, look, bench)))
    on = sum(verdict.goes_on for verdict in verdicts)
    passed = sum(verdict.passed for verdict in verdicts)
    reason = f"{passed} of {len(verdicts)} finalists passed the judge"
    if on > passed:
        reason += f"; it is not good enough to reject ({_found(bench, judging)}), so {on} go on"
    return JudgeDecision(
        next=Stage.DEDUPE if on else Ending.NO_SURVIVOR, verdicts=tuple(verdicts), reason=reason,
        checked=tuple(bench.checked),
    )  # fmt: skip


@dataclass(slots=True)
class _Bench:
    """Which judges may reject; measures one where nobody has lately."""

    case: JudgeCase
    checked: list[Checked] = field(default_factory=list)
    fresh: dict[tuple[str, str], bool] = field(default_factory=dict)
    tried: set[tuple[Role, str]] = field(default_factory=set)

    def may_reject(self, role: Role, rating: Rating) -> Flow[bool | None]:
        """Tell whether *rating*'s judge is good enough to reject; None when nobody has measured it or is to."""
        judging = self.case.rules.settings.judging
        wanted = judging.protocol if role is Role.JUDGE else judging.escalate_protocol
        key = (rating.digest, wanted)
        known = self.fresh.get(key, self.case.known.get(key))
        if known is not None or not rating.served_by or not judging.check_every_d or not self.case.canaries:
            return known
        if (role, wanted) not in self.tried:
            yield from self.measure(role, wanted)
        return self.fresh.get(key, False)

    def measure(self, role: Role, protocol: str) -> Flow[None]:
        """Run a check and remember what it says."""
        judging = self.case.rules.settings.judging
        found = yield from check(judging, self.case.canaries, role, protocol)
        self.checked.append(found)
        self.tried.add((role, protocol))
        if found.whole:
            self.fresh[found.digest, protocol] = found.report.trusted(judging)


@dataclass(frozen=True, slots=True)
class _Look:
    """What the first judge says of one candidate."""

    candidate: Candidate
    subject: Subject
    rating: Rating
    may_reject: bool | None
    pairwise: str


def _look(case: JudgeCase, candidate: Candidate, bench: _Bench) -> Flow[_Look]:
    """Ask the judge, measure it where that is due, and compare what passes with the prompt in use."""
    judging, pairwise = case.rules.settings.judging, ""
    subject = Subject(instruction=candidate.instruction, about=case.rules.skill.about, failures=case.failures)
    rating = yield from ask(judging, subject, case.seed)
    may_reject = yield from bench.may_reject(Role.JUDGE, rating)
    if judging.pairwise and case.incumbent and rating.passes(judging):
        pairwise = yield from compare(subject, case.incumbent, case.seed)
    return _Look(candidate, subject, rating, may_reject, pairwise)


def _verdict(case: JudgeCase, look: _Look, bench: _Bench) -> Flow[Verdict]:
    """Ask the second judge where the first is unsure, and say what comes of it; what it cannot read changes nothing."""
    judging = case.rules.settings.judging
    ratings, may_reject = [(Role.JUDGE, look.rating)], look.may_reject
    if _second(case.rules) and look.rating.unsure(judging):
        protocol = judging.escalate_protocol
        second = yield from ask(judging, look.subject, case.seed, role=Role.SECOND_JUDGE, protocol=protocol)
        if second.score is not None:
            ratings.append((Role.SECOND_JUDGE, second))
            may_reject = yield from bench.may_reject(Role.SECOND_JUDGE, second)
    last = ratings[-1][1]
    return Verdict(
        variant=look.candidate.variant, ratings=tuple(ratings), passed=last.passes(judging), pairwise=look.pairwise,
        advisory=may_reject is False,
        reason=_words(last, judging, len(ratings), may_reject=may_reject, pairwise=look.pairwise),
    )  # fmt: skip


def _second(rules: Rules) -> bool:
    """Tell whether there is a second judge; the first one again would be none."""
    second = rules.tag(Role.SECOND_JUDGE)
    return bool(second) and second != rules.tag(Role.JUDGE)


def _words(rating: Rating, judging: Judging, asked: int, *, may_reject: bool | None, pairwise: str) -> str:
    parts = [rating.words(judging)]
    if asked > 1:
        parts.append("by the second judge, since the first was unsure")
    if may_reject is False:
        parts.append("advisory: this judge was not found good enough to reject any")
    if may_reject is None:
        parts.append("this judge was not measured")
    if pairwise:
        parts.append(f"against the prompt in use: {pairwise}")
    return "; ".join(parts)


def _found(bench: _Bench, judging: Judging) -> str:
    """Say what the checks of this step found, or that an earlier one did."""
    said = [
        f"{one.role}: not measured, calls failed on {one.failed} canaries"
        if not one.whole
        else f"{one.role}: catches {one.report.tnr.value or 0:.2f} of the bad and passes {one.report.tpr.value or 0:.2f} of the "
        f"good canaries, {'trusted' if one.report.trusted(judging) else 'advisory'}"
        for one in bench.checked
    ]
    return "; ".join(said) or "by its last check"
