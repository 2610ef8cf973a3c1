"""The judge check on simulated judges of set rates: every figure here is simulated, none is a real model's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from models.judge_checks import canaries
from pipeline.domain import Role
from pipeline.flow import Failed, FailureKind, Reply, Request, drive
from pipeline.judge_check import LOWER, NOT_HIGHER, Canary, CheckReport, check, measure
from pipeline.judge_settings import Judging
from pipeline.judge_texts import QUESTIONS, Subject
from pipeline.rating import Rating
from tests.judging import SimulatedJudge

RUBRIC = Judging(protocol="rubric")
CHECKLIST = Judging()
SEEDS = 200
LEAST_COVERED = (
    186  # of 200, if each interval covers with 95 % or more: fewer have a chance of 8 %, and exact ones cover more
)


def _report(judge: SimulatedJudge, judging: Judging = RUBRIC) -> CheckReport:
    return drive(check(judging, canaries(), Role.JUDGE, judging.protocol), judge).report


def test_there_are_enough_canaries_of_every_kind_and_skill() -> None:
    """At least 28 bad ones, seven of each skill, and each kind of bad ones for every skill."""
    bad = [one for one in canaries() if not one.good]

    assert len(bad) >= 28
    assert set(Counter(one.skill for one in bad).values()) == {7}
    assert all(n == 4 for n in Counter(one.kind for one in bad).values())
    assert len({one.id for one in canaries()}) == len({one.subject.instruction for one in canaries()}) == 40
    assert all(one.twin in {other.id for other in canaries()} for one in canaries() if one.twin)


@pytest.mark.parametrize(("tpr", "tnr"), [(0.96, 0.25), (0.9, 0.7), (0.95, 0.95)])
def test_the_report_recovers_the_rates_inside_its_intervals(tpr: float, tnr: float) -> None:
    """Over 200 simulated judges the intervals hold the set rates, J and kappa in 93 % of cases or more."""
    covered: Counter[str] = Counter()
    bad, good = 28, 12
    observed = (good * tpr + bad * tnr) / (good + bad)
    yes = (good * tpr + bad * (1 - tnr)) / (good + bad)
    by_chance = (yes * good + (1 - yes) * bad) / (good + bad)
    truth = {"tpr": tpr, "tnr": tnr, "youden": tpr + tnr - 1, "kappa": (observed - by_chance) / (1 - by_chance)}
    for seed in range(SEEDS):
        report = _report(SimulatedJudge(tpr, tnr, seed))
        for name, value in truth.items():
            figure = getattr(report, name)
            covered[name] += figure.low - 1e-12 <= value <= figure.high + 1e-12

    assert min(covered.values()) >= LEAST_COVERED, covered


def test_an_agreeable_judge_becomes_advisory_and_a_good_one_is_trusted() -> None:
    """Of 60 simulated judges of .96/.25 none is trusted; of those of .95/.95 nearly all are."""
    agreeable = sum(_report(SimulatedJudge(0.96, 0.25, seed)).trusted(RUBRIC) for seed in range(60))
    good = sum(_report(SimulatedJudge(0.95, 0.95, seed)).trusted(RUBRIC) for seed in range(60))

    assert agreeable == 0
    assert good >= 57


def test_a_check_by_the_checklist_is_about_three_hundred_calls_of_one_token() -> None:
    """Seven questions on 40 canaries and on the seven that are asked twice, and nothing else."""
    judge = SimulatedJudge(0.95, 0.95, 3)

    found = drive(check(CHECKLIST, canaries(), Role.JUDGE, "checklist"), judge)

    assert len(judge.asked) == found.calls == 7 * (40 + 7)
    assert {request.sampling.num_predict for request in judge.asked} == {1}
    assert found.report.trusted(CHECKLIST)
    assert found.report.retest.value == 1.0
    assert found.report.unsure.value == 0.0
    assert found.digest == "abc123"


def test_a_check_without_log_probabilities_says_so() -> None:
    """Every canary is then judged by the rubric."""
    found = drive(check(CHECKLIST, canaries(), Role.JUDGE, "checklist"), SimulatedJudge(1, 1, 1, logprobs=False))

    assert found.report.fell_back == 40
    assert found.report.tnr.value == found.report.tpr.value == 1.0


def test_a_check_in_which_calls_failed_measures_nothing() -> None:
    """A judge whose server dies after ten canaries has caught none of the later ones."""
    judge = SimulatedJudge(0.95, 0.95, 3)

    def dies(request: Request) -> Reply:
        return judge(request) if len(judge.asked) < 70 else Failed(kind=FailureKind.CRASHED, message="away")

    found = drive(check(CHECKLIST, canaries(), Role.JUDGE, "checklist"), dies)

    assert found.failed == 30 + 7
    assert not found.whole


def test_a_twin_must_not_gain() -> None:
    """A padded copy above its original, or a spoilt one not below it, is a violation; a point of slack is none."""
    subject = Subject(instruction="x", about="y")
    good = Canary(id="a", skill="s", kind="good", subject=subject, good=True)
    padded = replace(good, id="b", kind="twin", twin="a", relation=NOT_HIGHER)
    spoilt = replace(good, id="c", kind="contradictory", good=False, twin="a", relation=LOWER)
    scores = [80.0, 80.9, 80.0], [80.0, 81.1, 40.0], [80.0, 80.0, 40.0]

    broken = [
        measure(
            CHECKLIST, (good, padded, spoilt), [Rating(protocol="checklist", score=score) for score in three], {}
        ).twins.value
        for three in scores
    ]

    assert broken == [0.5, 0.5, 0.0]


def test_a_canary_without_a_verdict_counts_as_rejected() -> None:
    """So silence helps nobody: it catches the bad ones and loses the good ones."""
    told = [Rating(protocol="checklist", score=None) for _ in canaries()]

    report = measure(CHECKLIST, canaries(), told, {})

    assert (report.tpr.value, report.tnr.value, report.unreadable) == (0.0, 1.0, 40)
    assert not report.trusted(CHECKLIST)


def test_about_half_of_the_questions_are_good_when_denied() -> None:
    """So that a judge who says Yes to everything gets a middling score and a veto."""
    assert Counter(one.good for one in QUESTIONS) == {"Yes": 3, "No": 4}
    assert sum(one.veto for one in QUESTIONS) == 2
