"""How well evolution works: four figures with their targets, and what to do where one of them is off (mission A13)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.algorithms.beta import clopper_pearson
from pipeline.domain import MutationType

MODEL_WROTE = frozenset(MutationType) - {
    MutationType.SEED,
    MutationType.MANUAL,
    MutationType.EDIT,
    MutationType.PATTERN,
    MutationType.UNION,
    MutationType.CROSS_SKILL,
    MutationType.CROSSOVER,
    MutationType.CONTEXT_SHUFFLE,
}
"""Operators whose text a model wrote; crossover asks one in the promptbreeder mode only and is left out of both."""

ALERT_LEAST = 5  # fewer variants, evolutions or promotions raise no alert; arbitrary
MICRODOLLARS = 1_000_000  # of one dollar
_LEVEL = 0.95  # of every interval
_TINY = 1e-9  # what rounding may do to a mean of differences of accuracies


class Name(StrEnum):
    """The figures, in the order in which they are told."""

    USEFUL = "useful_variant_rate"
    CLOUD = "cloud_fallback_rate"
    COST = "cost_per_evolution"
    MINUTES = "model_minutes_per_evolution"
    CALLS = "calls_per_evolution"
    GAIN = "accuracy_improvement"


class State(StrEnum):
    """What a figure says; the value is shown to people."""

    NO_TARGET = "no target"
    UNKNOWN = "no data"
    MET = "target met"
    MISSED = "target missed"  # and no alert: not beyond its mark, or there is none, or too few
    LIKELY = "alert, likely"  # beyond the mark; the interval reaches across it, or there is none
    SURE = "alert, sure"  # the whole interval lies beyond the mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure should be; the seed documents' values.

    Attributes:
        target: to be reached, or not to be reached where *low* is good.
        alert: mark beyond which an alert is raised; None where there is none.
        low: whether a small figure is good.
    """

    target: float
    alert: float | None
    low: bool = False

    def met(self, value: float) -> bool:
        """Tell whether *value* is good enough; a small figure has to stay below its target."""
        return value < self.target if self.low else value >= self.target - _TINY

    def beyond(self, value: float) -> bool:
        """Tell whether *value* lies on the bad side of the alert's mark."""
        if self.alert is None:
            return False
        return value > self.alert if self.low else value < self.alert - _TINY


GOALS = {
    Name.USEFUL: Goal(target=0.60, alert=0.50),
    Name.CLOUD: Goal(target=0.20, alert=0.30, low=True),
    Name.COST: Goal(target=0.05 * MICRODOLLARS, alert=None, low=True),
    Name.GAIN: Goal(target=0.03, alert=0.03),
}
_ACTIONS = {
    Name.USEFUL: "Raise the threshold of the cloud fallback where one is allowed, or let a larger model write: "
    "set models.generator to qwen3:4b.",
    Name.CLOUD: "Move to Qwen3-4B as generator: set models.generator to qwen3:4b.",
    Name.GAIN: "Review the failure patterns: evoctl feedback list {skill} --only bad",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Variants that a model wrote, and how many of them were of no use.

    Attributes:
        refused: unparsable, a copy, gibberish or suspicious: never evaluated.
        rejected: by the judge, or its verdict could not be read.
        redundant: says what another prompt says.
    """

    variants: int = 0
    refused: int = 0
    rejected: int = 0
    redundant: int = 0

    @property
    def useful(self) -> int:
        """The others."""
        return self.variants - self.refused - self.rejected - self.redundant


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the evolutions cost whose search is over.

    Attributes:
        cloud: evolutions that asked a cloud model at least once.
        microdollars: of all their calls.
        calls, minutes: of local models.
    """

    evolutions: int = 0
    cloud: int = 0
    microdollars: int = 0
    calls: int = 0
    minutes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the metrics are made of; real and simulated runs are never in the same figures.

    Attributes:
        simulated: a simulated server had a part in every run that these are of.
        promotions: prompts of evolution that were put in use.
        gains: accuracy after minus accuracy before, of those promotions for which both were measured.
    """

    simulated: bool = False
    written: Written = Written()
    spending: Spending = Spending()
    promotions: int = 0
    gains: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure.

    Attributes:
        value: a share, a difference of accuracies, whole micro-dollars, calls or minutes; None without data.
        low, high: 95 % interval; None where there is none.
        n: variants, evolutions or promotions that it rests on.
    """

    name: Name
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A figure beyond its mark.

    Attributes:
        sure: whether the whole interval lies beyond it.
        action: what to do about it.
    """

    metric: Name
    sure: bool
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All metrics of one skill or of all, of real or of simulated runs."""

    figures: Figures
    metrics: tuple[Metric, ...]
    alerts: tuple[Alert, ...]


def report(figures: Figures, skill: str = "SKILL") -> Report:
    """Compute the metrics of *figures*, and say what to do where one is beyond its alert mark.

    Args:
        figures: what was counted.
        skill: named in the actions.
    """
    written, spending, n = figures.written, figures.spending, figures.spending.evolutions
    metrics = (
        _rate(Name.USEFUL, written.useful, written.variants),
        _rate(Name.CLOUD, spending.cloud, n),
        _metric(Name.COST, -(-spending.microdollars // n) if n else None, None, n),  # rounded up
        _metric(Name.MINUTES, spending.minutes / n if n else None, None, n),
        _metric(Name.CALLS, spending.calls / n if n else None, None, n),
        _gain(figures.gains),
    )
    alerts = tuple(
        Alert(metric=one.name, sure=one.state is State.SURE, action=_ACTIONS[one.name].format(skill=skill))
        for one in metrics
        if one.state in (State.LIKELY, State.SURE)
    )
    return Report(figures=figures, metrics=metrics, alerts=alerts)


def mean_interval(values: Sequence[float], level: float = _LEVEL) -> tuple[float, float] | None:
    """Return Student's interval for the mean of differences of accuracies, cut at -1 and 1.

    None for fewer than two values, and when all are equal: a spread that was not seen is no spread of zero.

    >>> mean_interval([0.1]), [round(end, 3) for end in mean_interval([0.0, 0.1, 0.2])]
    (None, [-0.148, 0.348])
    """
    if len(values) < 2 or max(values) - min(values) <= _TINY:  # noqa: PLR2004 - one value has no spread
        return None
    from scipy.special import stdtrit  # noqa: PLC0415 - importing scipy costs 0.3 s

    n = len(values)
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * error
    return max(-1.0, mean - half), min(1.0, mean + half)


def _gain(gains: Sequence[float]) -> Metric:
    mean = math.fsum(gains) / len(gains) if gains else None
    return _metric(Name.GAIN, mean, mean_interval(gains), len(gains))


def _rate(name: Name, k: int, n: int) -> Metric:
    return _metric(name, k / n if n else None, clopper_pearson(k, n, _LEVEL) if n else None, n)


def _metric(name: Name, value: float | None, interval: tuple[float, float] | None, n: int) -> Metric:
    low, high = interval or (None, None)
    return Metric(name=name, value=value, low=low, high=high, n=n, state=_state(name, value, interval, n))


def _state(name: Name, value: float | None, interval: tuple[float, float] | None, n: int) -> State:
    goal = GOALS.get(name)
    if value is None:
        return State.UNKNOWN
    if goal is None:
        return State.NO_TARGET
    if goal.beyond(value) and n >= ALERT_LEAST:
        return State.SURE if interval and all(map(goal.beyond, interval)) else State.LIKELY
    return State.MET if goal.met(value) else State.MISSED
