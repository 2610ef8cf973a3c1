"""The drift alarm's promises, on seeded streams through the product's own monitor, with computed bounds.

What each bound is computed from: the exact chain (`average_run_length`, `run_length`), the binomial distribution, or
four standard errors of the sample itself. The same claims on many more streams run with the marker `simulate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.algorithms.chance_limits import estimated_limits
from pipeline.algorithms.cusum import Limits, average_run_length, known_limits, run_length
from pipeline.monitor import Entry, Monitor, Thresholds, acknowledged, begin, enter

BASELINE = 100
NEVER = 10**9  # labels of baseline of a monitor that stays with the floor's limits
WINDOW, THRESHOLD = 20, 0.80  # the seed documents' rule
HEALTHY = (0.80, 0.85, 0.90, 0.95)
ERRORS = 4  # standard errors
NEGLIGIBLE = 1e-9  # chance of a baseline that is left out
IMPLICIT_H, TOLD_H = 24.0, 2.5  # silence that counts as right; mean time until a failure is told


def labels(seed: tuple[int, ...], *parts: tuple[int, float]) -> Iterator[bool]:
    """Yield right and wrong labels, part by part: how many, and how often right."""
    rng = np.random.default_rng(seed)
    for count, accuracy in parts:
        yield from (rng.random(count) < accuracy).tolist()


def alarms(monitor: Monitor, entries: Iterator[bool]) -> tuple[Monitor, list[int]]:
    """Enter labels, acknowledging each alarm; return the labels that alarmed, counted from the first one here."""
    start, found = monitor.labels, []
    for ok in entries:
        monitor = enter(monitor, Entry(ok=ok))
        if monitor.alarmed:
            found.append(monitor.labels - start)
            monitor = acknowledged(monitor)
    return monitor, found


def error(values: Sequence[float]) -> float:
    """Return the standard error of the mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def binomial(n: int, p: float) -> list[float]:
    """Return the chances of 0 ... n successes."""
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def chosen(accuracy: float) -> Iterator[tuple[float, Limits]]:
    """Yield the limits that a baseline of 100 labels may lead to, each with its chance."""
    for ok, chance in enumerate(binomial(BASELINE, accuracy)):
        if chance > NEGLIGIBLE:
            yield chance, estimated_limits(ok, BASELINE - ok)


@cache
def expected_alarms(accuracy: float, count: int) -> float:
    """Return how many alarms the first *count* labels after a baseline of 100 labels raise on average, exactly.

    Each alarm begins anew, so the chance of one at label t is that of a first one there, or of one before it and a
    first one as much later.
    """
    total = 0.0
    for chance, limits in chosen(accuracy):
        first = np.diff(run_length(accuracy, limits.m, limits.alarm, count), prepend=0)
        at = np.zeros(count)
        for label in range(count):
            at[label] = first[label] + first[:label] @ at[:label][::-1]
        total += chance * float(at.sum())
    return total


@cache
def expected_delay(healthy: float, drifted: float) -> NDArray[np.float64]:
    """Return the chance of an alarm within 1, 2, ... 400 labels after a fall, exactly."""
    total = np.zeros(400)
    for chance, limits in chosen(healthy):
        total += chance * run_length(drifted, limits.m, limits.alarm, total.size)
    return total


# Run lengths


def run_lengths_agree(accuracy: float, runs: int) -> None:
    """Compare monitors that stay with the limits of 0.92 with the equations, at a true accuracy."""
    steady = begin(Thresholds(baseline_labels=NEVER, floor=0.92))
    limits = known_limits(0.92)
    exact = average_run_length(accuracy, limits.m, limits.alarm)
    found = []
    for run in range(runs):
        monitor, rng = steady, np.random.default_rng((1, run, round(1000 * accuracy)))
        while not monitor.alarmed:
            monitor = enter(monitor, Entry(ok=bool(rng.random() < accuracy)))
        found.append(monitor.drift.alarmed_at)

    assert abs(np.mean(found) - exact) <= ERRORS * error(found)


@pytest.mark.parametrize(("accuracy", "runs"), [(0.92, 60), (0.85, 200), (0.78, 300)])
def test_run_lengths_are_those_of_the_equations(accuracy: float, runs: int) -> None:
    """The mean number of labels until the alarm at limits for 0.92 agrees with the exact one within four errors."""
    run_lengths_agree(accuracy, runs)


@pytest.mark.simulate
@pytest.mark.parametrize(("accuracy", "runs"), [(0.92, 1500), (0.85, 5000), (0.78, 10_000)])
def test_run_lengths_are_those_of_the_equations_in_many_runs(accuracy: float, runs: int) -> None:
    """The same in 25 times as many runs."""
    run_lengths_agree(accuracy, runs)


# False alarms


def false_alarms(accuracy: float, monitors: int, count: int) -> tuple[list[float], list[float]]:
    """Return each monitor's alarms in *count* labels after its baseline, and its alarms while learning."""
    after, during = [], []
    for seed in range(monitors):
        entries = labels((2, seed, round(1000 * accuracy)), (BASELINE + count, accuracy))
        monitor, early = alarms(begin(), (next(entries) for _ in range(BASELINE)))
        _, late = alarms(monitor, entries)
        after.append(float(len(late)))
        during.append(float(len(early)))
    return after, during


def false_alarms_keep_to_the_goal(accuracy: float, monitors: int, count: int) -> None:
    """Hold what is measured against what is exact, and that against one in 1,000."""
    after, during = false_alarms(accuracy, monitors, count)
    expected, limits = expected_alarms(accuracy, count), known_limits(0.80)
    early = BASELINE / average_run_length(accuracy, limits.m, limits.alarm)

    assert expected <= count / 1000
    assert abs(np.mean(after) - expected) <= ERRORS * error(after)
    assert np.mean(during) <= early + ERRORS * math.sqrt(early / monitors)


@pytest.mark.parametrize("accuracy", HEALTHY)
def test_a_healthy_prompt_has_at_most_one_false_alarm_in_1000_labels(accuracy: float) -> None:
    """After a baseline of 100 labels, at any healthy accuracy, as was computed exactly."""
    false_alarms_keep_to_the_goal(accuracy, 40, 1000)


@pytest.mark.simulate
@pytest.mark.parametrize("accuracy", [0.80, 0.82, 0.85, 0.88, 0.90, 0.92, 0.95])
def test_a_healthy_prompt_has_at_most_one_false_alarm_in_1000_labels_of_two_million(accuracy: float) -> None:
    """The same on 1,000 monitors of 2,000 labels each."""
    false_alarms_keep_to_the_goal(accuracy, 1000, 2000)


# Delays


def delays(healthy: float, drifted: float, monitors: int) -> list[int]:
    """Return how many labels after the fall each monitor alarms; 401 where it does not within 400."""
    found = []
    for seed in range(monitors):
        monitor, _ = alarms(begin(), labels((3, seed), (BASELINE, healthy)))
        late = 401
        for after, ok in enumerate(labels((4, seed), (400, drifted)), start=1):
            monitor = enter(monitor, Entry(ok=ok))
            if monitor.alarmed:
                late = after
                break
        found.append(late)
    return found


def half_are_found_within(bound: int, healthy: float, drifted: float, monitors: int) -> None:
    """Hold the share of falls found within *bound* labels against the exact one, and that against one half."""
    exact = float(expected_delay(healthy, drifted)[bound - 1])
    found = np.mean([delay <= bound for delay in delays(healthy, drifted, monitors)])

    assert exact >= 0.5
    assert abs(found - exact) <= ERRORS * math.sqrt(exact * (1 - exact) / monitors)


def test_half_of_the_falls_from_92_to_78_are_found_within_45_labels() -> None:
    """With a baseline of 100 labels; exactly the median is 40 labels."""
    half_are_found_within(45, 0.92, 0.78, 250)

    assert int(np.searchsorted(expected_delay(0.92, 0.78), 0.5)) + 1 == 40


@pytest.mark.simulate
@pytest.mark.parametrize(
    ("healthy", "drifted", "bound"), [(0.92, 0.78, 45), (0.95, 0.81, 35), (0.85, 0.65, 40), (0.92, 0.70, 25)]
)
def test_half_of_other_falls_are_found_soon_as_well(healthy: float, drifted: float, bound: int) -> None:
    """The same on 4,000 monitors, and for other falls."""
    half_are_found_within(bound, healthy, drifted, 4000)


def test_the_slow_evidence_is_later_than_the_alarm() -> None:
    """Of falls from 0.92 to 0.78 after 200 labels ADWIN finds fewer in 500 labels than the alarm does in 100."""
    alarmed, adwin = 0, 0
    for seed in range(60):
        monitor, _ = alarms(begin(), labels((5, seed), (200, 0.92)))
        before = monitor.adwin_drifts
        for after, ok in enumerate(labels((6, seed), (500, 0.78)), start=1):
            monitor = enter(monitor, Entry(ok=ok))
            alarmed += monitor.drift.alarmed_at == monitor.labels and after <= 100
        adwin += monitor.adwin_drifts > before

    exact = float(expected_delay(0.92, 0.78)[99])
    assert alarmed / 60 >= exact - ERRORS * math.sqrt(exact * (1 - exact) / 60)
    assert adwin < alarmed


# The seed documents' rule, for comparison


def window_fires(accuracy: float) -> float:
    """Return the chance that one look at the last 20 labels finds less than 0.80, exactly."""
    fewest = math.ceil(WINDOW * THRESHOLD)
    return sum(binomial(WINDOW, accuracy)[:fewest])


@pytest.mark.parametrize(("accuracy", "chance"), [(0.92, 0.018), (0.85, 0.17), (0.80, 0.37)])
def test_one_look_at_a_window_fires_as_published(accuracy: float, chance: float) -> None:
    """Less than 0.80 of the last 20 labels, on a prompt whose accuracy does not change."""
    assert window_fires(accuracy) == pytest.approx(chance, abs=0.0005 if chance < 0.1 else 0.005)


def test_the_window_rule_gives_sixteen_false_alarms_where_the_monitor_gives_one() -> None:
    """At a steady 0.85 it fires 15.7 times in 1,000 labels, looked at after each and begun anew after firing."""
    rates = []
    for seed in range(100):
        window: list[bool] = []
        fired = 0
        for ok in labels((7, seed), (2000, 0.85)):
            window = [*window[1 - WINDOW :], ok]
            if len(window) == WINDOW and sum(window) < THRESHOLD * WINDOW:
                fired, window = fired + 1, []
        rates.append(fired / 2)

    assert np.mean(rates) == pytest.approx(15.7, abs=ERRORS * error(rates))
    assert expected_alarms(0.85, 1000) <= 1


# Labels that come late


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks at an even pace: when each was done, whether it was right, and when that is known, in hours."""

    done: NDArray[np.float64]
    ok: NDArray[np.bool_]
    known: NDArray[np.float64]


def tasks(seed: tuple[int, ...], per_day: int, days: int, accuracy: float = 0.92) -> Tasks:
    """Return tasks whose failures are told after some hours and whose successes are known by a day of silence."""
    rng = np.random.default_rng(seed)
    done = (np.arange(per_day * days) + rng.random()) * 24 / per_day
    ok = rng.random(done.size) < accuracy
    return Tasks(done, ok, done + np.where(ok, IMPLICIT_H, rng.exponential(TOLD_H, done.size)))


def newest_by_task_time(per_day: int) -> float:
    """Return the chance that a check of the 20 newest labelled tasks fires at a steady 0.92, exactly.

    Of a task less than a day old a label is known only if it failed and that was told; averaged over when in the pace
    of tasks the check falls.
    """
    phases = (np.arange(40) + 0.5) / 40
    total = 0.0
    for phase in phases:
        visible = np.array([1.0])
        for age in (np.arange(per_day) + phase) * 24 / per_day:
            chance = 0.08 * (1 - math.exp(-age / TOLD_H))
            visible = np.append(visible * (1 - chance), 0) + np.append(0, visible * chance)
        for failures, share in enumerate(visible[: WINDOW + 1]):
            older = binomial(WINDOW - failures, 0.92)
            total += share * sum(older[: math.ceil(WINDOW * THRESHOLD)])
    return total / phases.size


@pytest.mark.parametrize(("per_day", "published"), [(5, 0.036), (10, 0.065), (20, 0.159)])
def test_the_newest_tasks_look_worse_than_they_are(per_day: int, published: float) -> None:
    """Daily checks by task time fire two to nine times as often as on mature labels, as published and as computed."""
    exact = newest_by_task_time(per_day)
    fired = []
    for seed in range(8):
        all_tasks = tasks((8, seed, per_day), per_day, 400)
        for day in range(30, 400):
            seen = (all_tasks.done <= 24 * day) & (all_tasks.known <= 24 * day)
            fired.append(float(np.mean(all_tasks.ok[seen][-WINDOW:]) < THRESHOLD))

    assert exact == pytest.approx(published, rel=0.05)
    assert exact > 1.9 * window_fires(0.92)
    assert np.mean(fired) == pytest.approx(exact, abs=2 * ERRORS * error(fired))  # the windows of two days overlap


@pytest.mark.parametrize("per_day", [5, 10, 20])
def test_in_the_order_of_maturity_late_labels_raise_no_alarms(per_day: int) -> None:
    """At a steady 0.92 the monitor has one false alarm in 1,000 labels, though failures are known a day earlier."""
    found, count = [], 800
    for seed in range(25):
        all_tasks = tasks((9, seed, per_day), per_day, (BASELINE + count) // per_day)
        order = np.argsort(all_tasks.known, kind="stable")
        entries = iter(all_tasks.ok[order].tolist())
        monitor, early = alarms(begin(), (next(entries) for _ in range(BASELINE)))
        _, late = alarms(monitor, entries)
        found.append(1000 * (len(early) + len(late)) / count)

    assert np.mean(found) - ERRORS * error(found) <= 1
    assert np.mean(found) <= 1 + ERRORS * math.sqrt(1000 / count / 25)


def early_alarms(order: Callable[[Tasks], NDArray[np.float64]]) -> int:
    """Return how many of twenty monitors of 200 tasks a day alarm within 100 labels entered in an order."""
    count = 0
    for seed in range(20):
        all_tasks = tasks((10, seed), 200, 3)
        first = np.argsort(order(all_tasks), kind="stable")[:BASELINE]
        count += bool(alarms(begin(), iter(all_tasks.ok[first].tolist()))[1])
    return count


def test_a_first_day_of_failures_alarms_unless_they_wait_as_well() -> None:
    """At 200 tasks a day the first labels to be known are failures; entered a day after each task they raise nothing."""
    assert early_alarms(lambda all_tasks: all_tasks.known) == 20
    assert early_alarms(lambda all_tasks: np.maximum(all_tasks.known, all_tasks.done + IMPLICIT_H)) == 0


# Labels that are biased


@dataclass(frozen=True, slots=True)
class Person:
    """Tells of a right result, and of a wrong one, with these chances; silence counts as right."""

    right: float
    wrong: float


def told(seed: tuple[int, ...], *parts: tuple[int, float, Person]) -> Iterator[Entry]:
    """Yield labels of tasks, part by part: how many, how often right, and who tells."""
    rng = np.random.default_rng(seed)
    for count, accuracy, person in parts:
        for ok, chance in zip((rng.random(count) < accuracy).tolist(), rng.random(count).tolist(), strict=True):
            explicit = chance < (person.right if ok else person.wrong)
            yield Entry(ok=ok or not explicit, explicit=explicit)


@pytest.mark.parametrize("factor", [0.5, 2.0, 5.0])
def test_a_constant_bias_raises_no_alarms(factor: float) -> None:
    """Failures told f times as often as successes, silence an implicit ok: one false alarm in 1,000 labels at most."""
    found = []
    for seed in range(30):
        monitor = begin()
        count = 0
        for entry in told((11, seed, round(10 * factor)), (BASELINE + 700, 0.92, Person(0.15, 0.15 * factor))):
            monitor = enter(monitor, entry)
            if monitor.alarmed:
                count, monitor = count + 1, acknowledged(monitor)
        found.append(count / 0.8)

    assert np.mean(found) - ERRORS * error(found) <= 1
    assert np.mean(found) <= 1 + ERRORS * math.sqrt(1 / 0.8 / 30)


@pytest.mark.parametrize(("factor", "seen", "floor"), [(0.5, 0.958, 0.80), (2, 0.852, 0.80), (5, 0.697, 0.60)])
def test_a_constant_bias_of_explicit_labels_is_part_of_the_baseline(factor: float, seen: float, floor: float) -> None:
    """Where only explicit labels count, 0.92 looks as published, and alarms stay within the goal, exactly.

    A bias of five puts it below the usual floor of 0.80: then it counts as never healthy, and only a lower floor helps.
    """
    looks = 0.92 / (0.92 + 0.08 * factor)
    rate = 0.0
    for ok, chance in enumerate(binomial(BASELINE, looks)):
        limits = estimated_limits(ok, BASELINE - ok, floor)
        rate += 1000 * chance / average_run_length(looks, limits.m, limits.alarm)

    assert looks == pytest.approx(seen, abs=0.0005)
    assert rate <= 1
    if floor < 0.80:
        assert average_run_length(looks, 4, 24) < 100


def shifts(before: Person, after: Person, monitors: int) -> tuple[float, float]:
    """Return the shares of monitors that say "another share of labels" in 150 labels: with the change, and without."""
    changed = steady = 0
    for seed in range(monitors):
        for person in (after, before):
            monitor = begin()
            for entry in told((12, seed), (BASELINE, 0.92, before), (150, 0.92, person)):
                monitor = enter(monitor, entry)
            changed += person is after and monitor.rate_shifted
            steady += person is before and monitor.rate_shifted
    return changed / monitors, steady / monitors


@pytest.mark.parametrize(("before", "after"), [(0.15, 0.30), (0.30, 0.15)])
def test_another_habit_of_telling_is_noticed(before: float, after: float) -> None:
    """Everything told twice, or half, as often is noticed in 150 labels by two of three monitors, else by few."""
    changed, steady = shifts(Person(before, 2 * before), Person(after, 2 * after), 50)
    most = 1000 * 0.15 / 1000  # at one false signal per 1,000 labels

    assert changed >= 2 / 3
    assert steady <= most + ERRORS * math.sqrt(most / 50)


def test_a_bias_towards_failures_alone_hides_in_the_share_of_labels() -> None:
    """Failures told four times as often, and successes as before, hardly change who labels: the audit must catch it."""
    changed, _ = shifts(Person(0.15, 0.15), Person(0.15, 0.60), 50)

    assert changed <= 0.5
