"""Stage 1 of 6 — detect: has a skill's accuracy fallen, or has a promotion disappointed?

A two-tier CUSUM on the stream of matured labels (`pipeline.monitor`) warns and alarms against the prompt's own frozen
baseline. A warning runs the canary; an alarm, or a warning that the canary confirms, starts an evolution. When people have
begun to report more or less than before, an alarm needs the canary or the random audit to confirm it. The research notes'
window rule stays as a policy, and as the severity that is told with every finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline.algorithms.beta import probability_below
from pipeline.canary import LEAST, Canary, GoldenSet, check, record
from pipeline.domain import Ending, LabelSource, Next, Stage
from pipeline.fitness import Item
from pipeline.flow import Flow
from pipeline.monitor import Monitor, describe, mix_shift
from pipeline.rules import Rules
from pipeline.skills import PromptTemplate

SEEDS = "seeds"
MIN_KNOWN = 12  # samples of which about 35 % are then set aside for the search
MIN_USABLE = 4  # labelled samples below which a search could measure nothing
MIX_P = 0.01  # chance of such different kinds of tasks, if nothing had changed, that counts as a change
AUDIT_P = 0.05  # chance of so few right answers in the audit, at the baseline, that confirms an alarm


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
        ok, bad: the first matured labels of this version, as many as its baseline is frozen from.
    """

    back_to: int | None
    ok: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectCase:
    """What a drift check looks at.

    Attributes:
        version: in use; 0 where none is known yet.
        window: the newest judged samples of the version in use, newest first, at most `sample_size`.
        monitor: its label stream in a few numbers; None before the first label.
        golden: its frozen tasks; None where none were recorded yet.
        candidates: labelled samples that a golden set could be recorded on; empty when there is one.
        audit: newest answers of people who were asked at random, right and wrong ones.
        last_evolution: when the last evolution of the skill began; None when there was none.
        evolving: another evolution of the skill is open.
        usable: samples with a known right answer that are set aside for the search, counted up to MIN_USABLE; `known`: all
            of them, counted up to MIN_KNOWN.
        forced: a person asks for an evolution whatever the rules say.
    """

    rules: Rules
    seed: int
    now: datetime
    version: int
    template: PromptTemplate | None
    window: tuple[Judged, ...]
    monitor: Monitor | None
    golden: GoldenSet | None
    candidates: tuple[Item, ...]
    audit: tuple[int, int]
    last_evolution: datetime | None
    evolving: bool
    usable: int
    known: int
    since_promotion: SincePromotion | None
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectDecision:
    """What was found, in words as well; `Stage.PROMOTE` means: put the previous version back.

    Attributes:
        next: DETECT, of `look` only, means that the canary must tell.
        version: that was looked at.
        canary: what the golden set said in this check; None when it was not asked.
        recorded: a golden set that this check recorded.
        acknowledged: what was raised so far was acted on or refuted, and all sums begin anew.
        refuted: a warning was, and only its own sum begins anew: that of the alarm goes on.
        moved: the tasks are others than those of the baseline, so that golden tasks of then say little of now.
    """

    next: Next
    reason: str
    accuracy: float | None
    judged: int
    version: int = 0
    canary: Canary | None = None
    recorded: GoldenSet | None = None
    acknowledged: bool = False
    refuted: bool = False
    moved: bool = False
    due: datetime | None = None  # only a wait has a timer


def detect(case: DetectCase) -> Flow[DetectDecision]:
    """Look; ask the canary where it must tell; record a golden set while all is well and there is none."""
    found = _with_mix(case, look(case))
    if found.next is Stage.DETECT and case.golden is not None and case.template is not None:
        canary = yield from check(case.rules, case.template, case.golden, case.seed)
        return _concluded(case, found, canary)
    if found.next is Stage.DETECT:
        return _concluded(case, found, None)
    if found.next is Ending.HEALTHY and _is_well(case) and case.template is not None and len(case.candidates) >= LEAST:
        flags, served_by = yield from record(case.rules, case.template, case.candidates, case.seed)
        golden = GoldenSet(items=case.candidates, reference=flags, served_by=served_by)
        return replace(found, recorded=golden, reason=f"{found.reason}; {len(flags)} golden tasks recorded")
    return replace(found, acknowledged=found.next in (Stage.MUTATE, Stage.PROMOTE))


def _is_well(case: DetectCase) -> bool:
    """Tell whether what the prompt does now may stand for how it does when it is healthy."""
    monitor = case.monitor
    return monitor is None or not (monitor.warned or monitor.alarmed or monitor.rate_shifted)


def _with_mix(case: DetectCase, found: DetectDecision) -> DetectDecision:
    """Say when a finding comes with other tasks than those of the baseline: then it may be the tasks, not the prompt."""
    if found.next not in (Stage.MUTATE, Stage.DETECT) or case.monitor is None or mix_shift(case.monitor) > MIX_P:
        return found
    return replace(found, moved=True, reason=f"{found.reason}; the tasks are others than before")


def look(case: DetectCase) -> DetectDecision:
    """Apply the rules in order; the first that speaks decides. Feedback uses it to see whether a check is worth a run."""
    accuracy = _share(case.window)
    to, reason = next(_findings(case, accuracy))
    return DetectDecision(next=to, reason=reason, accuracy=accuracy, judged=len(case.window), version=case.version)


def against_order(case: DetectCase, found: DetectDecision) -> DetectDecision:
    """Return what stands against a person's order to evolve: the cooldown does, whatever the labels say."""
    ready = _cooled_down(case)
    if ready is None or found.next in (Ending.DISABLED, Ending.BUSY, Ending.POOR_CANDIDATE, Ending.COOLDOWN):
        return found
    return replace(found, next=Ending.COOLDOWN, reason=f"{found.reason}; {_cooldown_words(ready)}")


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
    words = _window_words(case, accuracy)
    if case.forced:
        blind = "" if case.usable >= MIN_USABLE else f"; {_too_few(case)}: patterns, judge and votes decide"
        yield Stage.MUTATE, f"asked for by a person; {words}{blind}"
    yield from _by_window(case, accuracy) if triggers.policy == SEEDS else _by_monitor(case)


def _by_window(case: DetectCase, accuracy: float | None) -> Iterator[tuple[Next, str]]:
    """Apply the research notes' rule: accuracy of the last samples below the threshold."""
    triggers, words = case.rules.settings.triggers, _window_words(case, accuracy)
    if len(case.window) < triggers.sample_size:
        yield Ending.TOO_FEW_SAMPLES, f"{len(case.window)} of {triggers.sample_size} judged samples"
    if accuracy is not None and accuracy >= triggers.accuracy_threshold:
        yield Ending.HEALTHY, f"{words}; the threshold is {triggers.accuracy_threshold:.2f}"
    ready = _cooled_down(case)
    if ready is not None:
        yield Ending.COOLDOWN, f"{words}; {_cooldown_words(ready)}"
    yield Stage.MUTATE, f"{words}, below {triggers.accuracy_threshold:.2f}"


def _by_monitor(case: DetectCase) -> Iterator[tuple[Next, str]]:
    """Apply ours: an alarm acts, a warning asks the canary."""
    monitor = case.monitor
    if monitor is None or not monitor.labels:
        none = f"; the watch of v{case.version} has taken in none since it came into use" if case.window else ""
        yield Ending.TOO_FEW_SAMPLES, f"{_window_words(case, _share(case.window))}{none}"
        return
    words = _monitor_words(case)
    if not (monitor.alarmed or monitor.warned):
        yield Ending.HEALTHY, words
    ready = _cooled_down(case)
    if ready is not None:
        yield Ending.COOLDOWN, f"{words}; {_cooldown_words(ready)}"
    if monitor.alarmed and not monitor.rate_shifted:
        yield Stage.MUTATE, words
    if monitor.alarmed or case.golden is not None:
        yield Stage.DETECT, words
    yield Ending.HEALTHY, f"{words}; a warning needs golden tasks to confirm it, and there are none yet"


def _concluded(case: DetectCase, found: DetectDecision, canary: Canary | None) -> DetectDecision:
    """Decide with what the canary said, or without one on the random audit."""
    alarmed = case.monitor is not None and case.monitor.alarmed
    said = [found.reason, canary.words if canary else "there are no golden tasks"]
    confirmed = canary is not None and canary.confirmed
    if alarmed and not confirmed:
        confirmed, audit = _audited(case)
        said.append(audit)
    to: Next = Stage.MUTATE if confirmed else Ending.HEALTHY
    if not confirmed:
        said.append("not confirmed")
    over = alarmed or confirmed
    return replace(found, next=to, reason="; ".join(said), canary=canary, acknowledged=over, refuted=not over)


def _audited(case: DetectCase) -> tuple[bool, str]:
    """Tell whether the answers to the random audit are too seldom right for the baseline."""
    monitor, (ok, bad) = case.monitor, case.audit
    assert monitor is not None
    if not ok + bad:
        return False, "nobody answered the audit"
    # The chance of at most `ok` right ones of n at the baseline's rate: P(Beta(ok + 1, bad) > p0).
    chance = 1 - probability_below(ok + 1, bad, round(monitor.healthy, 4)) if bad else 1.0
    return chance <= AUDIT_P, f"{ok} of {ok + bad} audited answers were right (p {chance:.3f})"


def _monitor_words(case: DetectCase) -> str:
    """Say where the label stream stands, how bad it is, and what else changed."""
    monitor, triggers = case.monitor, case.rules.settings.triggers
    assert monitor is not None
    parts = [describe(monitor)]
    if case.window:
        share = _share(case.window) or 0.0
        severe = f", below {triggers.accuracy_threshold:.2f}" if share < triggers.accuracy_threshold else ""
        parts.append(f"{_window_words(case, share)}{severe}")
    if monitor.rate_shifted:
        parts.append("people report more or less often than before")
    return "; ".join(parts)


def _too_few(case: DetectCase) -> str:
    return (
        f"of {case.known} samples with a known right answer {case.usable} are set aside for the search, "
        f"which needs {MIN_USABLE}, so about {MIN_KNOWN} in all"
    )


def _cooled_down(case: DetectCase) -> datetime | None:
    """Return the end of a cooldown that still runs; a clock that was put back makes it last twice its time at most."""
    if case.last_evolution is None:
        return None
    cooldown = timedelta(hours=case.rules.settings.triggers.cooldown_h)
    ready = case.last_evolution + cooldown
    return ready if case.now < ready <= case.now + 2 * cooldown else None


def _cooldown_words(ready: datetime) -> str:
    return f"the cooldown ends on {ready:%Y-%m-%d %H:%M} UTC"


def _disappointed(case: DetectCase) -> str:
    """Say why the promoted version should go; empty when it should not, or when too little is known."""
    since, rules = case.since_promotion, case.rules.settings.promotion
    if since is None or since.back_to is None:
        return ""
    n = since.ok + since.bad
    if case.monitor is not None and case.monitor.disappointed:
        return f"accuracy since the promotion is {since.ok / max(1, n):.2f} over {n} samples, below that of the prompt before"
    if n < rules.rollback_min_samples or since.ok / n >= rules.rollback_threshold:
        return ""
    chance = probability_below(1 + since.ok, 1 + since.bad, rules.rollback_threshold)
    if chance < rules.rollback_confidence:
        return ""
    return (
        f"accuracy since the promotion is {since.ok / n:.2f} over {n} samples; "
        f"it is below {rules.rollback_threshold:.2f} with probability {chance:.2f}"
    )


def _share(window: tuple[Judged, ...]) -> float | None:
    return sum(sample.ok for sample in window) / len(window) if window else None


def _window_words(case: DetectCase, accuracy: float | None) -> str:
    if accuracy is None:
        return "no judged samples of this version"
    counts = {source: sum(s.source == source for s in case.window) for source in LabelSource}
    basis = ", ".join(f"{n} by {source}" for source, n in counts.items() if n)
    return f"accuracy {accuracy:.2f} over {len(case.window)} samples ({basis})"
