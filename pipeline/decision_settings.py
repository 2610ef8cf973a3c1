"""Settings of the drift alarm, of the test of new prompts, and of promotion and rollback."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.setting import Status
from pipeline.setting import setting as _set

_SEED, _MEASURED, _PUBLISHED = "seed documents", Status.MEASURED, Status.PUBLISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """When a skill is looked at, and when it evolves."""

    policy: str = _set(
        "cusum",
        "cusum: two-tier CUSUM against the prompt's own baseline; seeds: accuracy of the last samples below the threshold",
        source="drift study",
        status=_MEASURED,
        choices=("cusum", "seeds"),
    )
    accuracy_threshold: float = _set(
        0.80,
        "below it a skill is not healthy, whatever its baseline",
        unit="accuracy",
        source=_SEED,
        low=0.5,
        high=0.97,
    )
    sample_size: int = _set(
        20, "judged samples of the window that is shown", unit="samples", source=_SEED, low=5, high=1000
    )
    baseline_labels: int = _set(
        100, "first labels of a prompt that its baseline is frozen from", unit="labels", source="drift study", low=20
    )
    false_alarm_labels: int = _set(
        1000, "labels between two false alarms, on average", unit="labels", source="drift study", low=50
    )
    warn_labels: int = _set(
        300, "labels between two false warnings, on average", unit="labels", source="drift study", low=20
    )
    canary_samples: int = _set(
        60,
        "frozen tasks that a warning runs the prompt in use on",
        unit="samples",
        source="drift study",
        low=0,
        high=500,
    )
    audit_probability: float = _set(
        0.10, "share of tasks on which a person is asked, whatever happened", source="drift study", low=0, high=1
    )
    check_every_h: float = _set(24.0, "time between drift checks", unit="h", source=_SEED, low=0.001)
    cooldown_h: float = _set(
        168.0,
        "shortest time between two evolutions; for a person's order too, unless --force",
        unit="h",
        source=_SEED,
        low=0,
    )
    implicit_ok_h: float = _set(
        24.0, "an output nobody complained of counts as ok after this", unit="h", source="drift study", low=0
    )
    implicit_ok: bool = _set(True, "whether silence counts as an implicit ok", source="drift study")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voting:
    """The test of new prompts: replay, blind votes and the stopping rule."""

    policy: str = _set(
        "evidence",
        "evidence: an e-process against the prompt in use; seeds: P(best), then votes times accuracy",
        source="decision study",
        status=_MEASURED,
        choices=("evidence", "seeds"),
    )
    mode: str = _set(
        "ballots",
        "ballots: a person compares results, blind; live: each task is given one prompt and reports how it went",
        source="decision study",
        status=_MEASURED,
        choices=("ballots", "live"),
    )
    challengers: int = _set(
        1, "challengers that the replay leaves for the vote", unit="prompts", source="decision study",
        status=_MEASURED, low=1, high=9,
    )  # fmt: skip
    replay_select: int = _set(
        60, "logged tasks that choose the challengers", unit="samples", source="decision study", status=_MEASURED,
        low=0, high=1000,
    )  # fmt: skip
    replay_confirm: int = _set(
        200, "held-out tasks whose evidence the votes start from, at most", unit="samples", source="decision study",
        status=_MEASURED, low=0, high=2000,
    )  # fmt: skip
    replay_enough: int = _set(
        100,
        "held-out tasks below which it is said what they cannot show",
        unit="samples",
        source="decision study",
        low=0,
    )
    show_probability: float = _set(
        0.5,
        "share of new tasks that become ballots; of an import, of those without a verdict or assigned before",
        source=_SEED,
        low=0,
        high=1,
    )
    cards: int = _set(3, "most results on a ballot, the incumbent's among them", source=_SEED, low=2, high=4)
    from_history: bool = _set(True, "whether past inputs become ballots too, when new tasks are too few")
    open_ballots: int = _set(10, "ballots kept ready to be voted on", unit="ballots", source="issue", low=1, high=100)
    ballot_expiry_h: float = _set(72.0, "after it an open ballot is replaced by a newer one", unit="h", low=0.001)
    max_votes: int = _set(30, "votes after which the incumbent is kept", unit="votes", source=_SEED, low=1, high=1000)
    live_max_tasks: int = _set(
        400, "tasks after which the incumbent is kept (live)", unit="tasks", source="decision study", low=10
    )
    equal_tasks: int = _set(
        100, "tasks with equal answers, and none with others, after which the incumbent is kept; 0 is never", unit="tasks",
        source="rule of three: they differ on at most 3 % of tasks", status=_PUBLISHED, low=0,
    )  # fmt: skip
    max_days: float = _set(7.0, "days after which the incumbent is kept", unit="d", source=_SEED, low=0.0001)
    promote_e: float = _set(
        20.0, "evidence that promotes, per challenger", unit="e-value", source="Ville: 1/0.05", status=_PUBLISHED, low=1
    )
    futility_e: float = _set(
        0.2, "evidence at which a challenger is dropped", unit="e-value", source="decision study", low=0, high=1
    )
    min_votes: int = _set(
        5, "votes before a promotion, unless promote_after_h is over", unit="votes", source="decision study", low=0
    )
    promote_after_h: float = _set(
        48.0, "time after which a promotion needs no votes any more", unit="h", source="decision study", low=0
    )
    prior_wins: float = _set(
        12.0, "mixture Beta(a, b) over the win rate: a", source="decision study", status=_MEASURED, low=1
    )
    prior_losses: float = _set(
        6.0, "mixture Beta(a, b) over the win rate: b", source="decision study", status=_MEASURED, low=1
    )
    seeds_confidence: float = _set(0.95, "P(best) that ends a test (seeds)", source=_SEED, low=0.5, high=1)
    seeds_improvement: float = _set(
        0.05, "measured gain in accuracy that a winner needs (seeds)", unit="accuracy", source=_SEED, low=-1, high=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Guards before a promotion, and the rollback after it."""

    max_drop: float = _set(
        0.05,
        "a challenger that may be this much worse on fresh samples is not promoted",
        unit="accuracy",
        low=0,
        high=1,
    )
    max_drop_probability: float = _set(0.2, "chance of such a drop that blocks", source="decision study", low=0, high=1)
    rollback_threshold: float = _set(
        0.70, "below it the previous version comes back", unit="accuracy", source=_SEED, low=0, high=1
    )
    rollback_min_samples: int = _set(10, "judged samples of the new version before that", unit="samples", low=1)
    rollback_confidence: float = _set(
        0.90,
        "chance that accuracy is below the threshold that rolls back",
        source="Beta(1, 1) posterior",
        low=0.5,
        high=1,
    )
