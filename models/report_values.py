"""What the read-only questions of the command line and the page are answered with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A share of right answers, and how far it can be trusted.

    Attributes:
        value: right / n; None when n is 0.
        low, high: 95 % interval by Wilson's score, in [0, 1].
        person, scorer, implicit: who judged the n samples.
    """

    right: int
    n: int
    value: float | None
    low: float
    high: float
    person: int = 0
    scorer: int = 0
    implicit: int = 0

    @property
    def basis(self) -> str:
        """Who judged, in words."""
        counts = {"person": self.person, "scorer": self.scorer, "implicit": self.implicit}
        return ", ".join(f"{n} by {who}" if who != "implicit" else f"{n} implicit" for who, n in counts.items() if n)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """One run as a list shows it.

    Attributes:
        stage, state: of its newest step; empty when it has none. One that waits for a quiet moment is "waiting".
        waiting_for: what that step waits for, in words of ours; `waiting_since`: when it last got anywhere.
        due_at: when a timer wakes it.
        generation, generations: of its search; None when it is no evolution.
        votes, cap: of its test; None when there is none.
        simulated: a simulated server answered at least once.
        progress: of its search; None when it does not search now.
    """

    run: int
    skill: str
    kind: str
    trigger: str
    reason: str
    stage: str
    state: str
    waiting_for: str
    waiting_since: datetime | None
    due_at: datetime | None
    generation: int | None
    generations: int | None
    best_fitness: float | None
    votes: int | None
    cap: int | None
    open_ballots: int
    ending: str
    ending_reason: str
    simulated: bool
    created_at: datetime
    ended_at: datetime | None
    progress: Progress | None = None
    equal: int = 0
    balloted: int = 0
    starved: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillStatus:
    """How one skill is.

    Attributes:
        version: the prompt version that the configuration names.
        accuracy: of the newest judged samples of that version.
        threshold: accuracy below which it has drifted.
        samples: all it has, judged or not.
        finding: of the last drift check, in words; `watch`: where the label stream of the version stands now.
        failed: its newest run that failed, while no later one of that kind has ended otherwise.
    """

    skill: str
    version: int
    task_model: str
    scorer: str
    accuracy: Accuracy
    threshold: float
    samples: int
    checked_at: datetime | None
    finding: str
    watch: str
    open: tuple[RunLine, ...]
    failed: RunLine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueItem:
    """A step that is not done: the outbox, in the order in which it was written."""

    run: int
    skill: str
    stage: str
    visit: int
    attempt: int
    state: str
    waiting_for: str
    waiting_since: datetime | None
    due_at: datetime | None
    crashes: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything at a glance."""

    skills: tuple[SkillStatus, ...]
    queue: tuple[QueueItem, ...]
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """One prompt version and how its outputs were judged."""

    version: int
    active: bool
    template: str
    variant: int | None
    created_at: datetime
    activated_at: datetime | None
    accuracy: Accuracy
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionLine:
    """One change of the configuration, or an attempt at one.

    Attributes:
        accuracy_before, accuracy_after: on samples that nothing was selected on; None where not measured.
        actor: pipeline or person; empty for a change of an earlier release.
        evidence: the counts and e-values behind it; empty for a rollback, or where there were none.
    """

    run: int
    skill: str
    kind: str
    from_version: int
    to_version: int
    state: str
    e_value: float | None
    votes: int
    accuracy_before: float | None
    accuracy_after: float | None
    reason: str
    actor: str
    evidence: dict[str, float]
    simulated: bool
    created_at: datetime
    applied_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleLine:
    """One task of the history."""

    sample: int
    task_id: str
    input: dict[str, str]
    output: str | None
    expected: str | None
    label: str | None
    source: str | None
    lost: str
    version: int | None
    split: str
    batch: str
    judged_at: datetime | None
