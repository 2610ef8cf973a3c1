"""Checks and verdicts of judges: which of them still hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from models import judge_checks, judge_votes, prompts, votes
from models.judge_tables import JudgeCheckRow, JudgementRow
from models.stages.judge import load_judge, save_judge
from models.tables import VariantRow
from pipeline.domain import Choice, Ending, Fate, MutationType, Role, RunKind, SkillName, Stage
from pipeline.flow import drive
from pipeline.judge import JudgeCase, JudgeDecision, judge
from pipeline.judge_settings import Judging
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import SkillSpec
from tests.judging import SimulatedJudge

GOOD = "List the actions the speaker asks for, one per line, each starting with a verb."
TEXT = "Do it well.\n---\n{{description}}\n"


def judging(memory: Any, **changes: Any) -> None:
    """Change the settings of runs that start from now on."""
    settings = memory.rules.settings
    memory.rules = replace(memory.rules, settings=replace(settings, judging=replace(settings.judging, **changes)))


def judged(memory: Any, answerer: SimulatedJudge, *, finalists: int = 2) -> JudgeDecision:
    """Judge so many finalists of a new run and save what came of it."""
    bell = memory.run(kind=RunKind.DRIFT_CHECK)
    with memory.maker.begin() as session:
        prompts.note_version(session, memory.rules.skill, TEXT, memory.now)
        for ordinal in range(finalists):
            session.add(
                VariantRow(
                    run_id=bell.run, ordinal=ordinal, skill_name=memory.rules.skill.name, prompt_text=f"{GOOD} Rule {ordinal}.",
                    text_sha=str(ordinal), generation=0, mutation_type=MutationType.DIRECT, fate=Fate.FINALIST,
                    created_at=memory.now,
                )
            )  # fmt: skip
    mine = memory.claim(bell)
    with memory.maker() as session:
        case = load_judge(session, mine, memory.now)
    decision = drive(judge(case), answerer)
    with memory.maker.begin() as session:
        save_judge(session, mine, decision, memory.now)
    return decision


def test_a_judge_is_measured_once_a_week_and_when_it_changes(memory: Any) -> None:
    """The first run pays for the check, the second does not; a week later, another digest or another mark does again."""
    trusted = SimulatedJudge(1, 1, 1)
    calls = []
    for change in ("first", "second", "week", "digest", "mark"):
        if change == "week":
            memory.now += timedelta(days=7)
        if change == "digest":
            trusted.served_by = "simulated:1b def456 0.12.11"
        if change == "mark":
            judging(memory, pass_mark=65)
        before = len(trusted.asked)
        decision = judged(memory, trusted)
        calls.append(len(trusted.asked) - before - 2 * 7)
        assert decision.next is Stage.DEDUPE

    assert [n > 300 for n in calls] == [True, False, True, True, True]
    with memory.maker() as session:
        rows = session.scalars(select(JudgeCheckRow).order_by(JudgeCheckRow.id)).all()
        assert [(row.digest, row.trusted, row.calls) for row in rows] == [
            *[("abc123", True, 329)] * 2, *[("def456", True, 329)] * 2,
        ]  # fmt: skip
        lines = judge_checks.lines(session, memory.rules.settings.judging, memory.now)
    assert [bool(line.stale) for line in lines] == [False, True, True, True]


def test_an_advisory_judge_rejects_nobody(memory: Any) -> None:
    """All go on, are shown as advisory, and their scores have no weight in dedupe."""
    agreeable = SimulatedJudge(0.0, 0.1, 4)

    decision = judged(memory, agreeable)

    assert [verdict.passed for verdict in decision.verdicts] == [False, False]
    assert decision.next is Stage.DEDUPE
    assert "not good enough to reject" in decision.reason
    with memory.maker() as session:
        rows = session.scalars(select(JudgementRow)).all()
        fates = session.execute(select(VariantRow.fate, VariantRow.fate_reason)).all()
    assert {(row.passed, row.advisory) for row in rows} == {(False, True)}
    assert {fate for fate, _ in fates} == {Fate.PASSED}
    assert all("advisory" in reason for _, reason in fates)


def test_without_checks_by_itself_an_unmeasured_judge_counts(memory: Any) -> None:
    """The setting 0 asks no canary; a check made by hand still decides."""
    judging(memory, check_every_d=0.0)
    harsh = SimulatedJudge(0.0, 1.0, 1)

    decision = judged(memory, harsh)

    assert decision.next is Ending.NO_SURVIVOR
    assert len(harsh.asked) == 14
    assert all("not measured" in verdict.reason for verdict in decision.verdicts)
    with memory.maker() as session:
        assert session.scalars(select(JudgeCheckRow)).all() == []


def test_verdicts_of_another_digest_are_void(memory: Any) -> None:
    """They are marked and their scores are used no more; those of the same judge stay."""
    judging(memory, check_every_d=0.0)
    first = SimulatedJudge(1, 1, 1)
    judged(memory, first)
    judged(memory, first)
    first.served_by = "simulated:1b def456 0.12.11"
    judged(memory, first)

    with memory.maker() as session:
        rows = session.scalars(select(JudgementRow).order_by(JudgementRow.id)).all()
    assert [row.void for row in rows] == [True] * 4 + [False] * 2
    assert {row.protocol for row in rows} == {"checklist"}
    assert all(len(row.prompt_sha) == 64 and '"contradiction"' in row.probabilities for row in rows)


def test_the_second_judge_is_asked_where_the_first_is_unsure(memory: Any) -> None:
    """Its verdict is the one that counts; both are kept."""
    judging(memory, check_every_d=0.0, escalate_to="flow-judge:4b", escalate_protocol="rubric", escalate_within=50)
    both = SimulatedJudge(1, 1, 1)

    decision = judged(memory, both, finalists=1)

    assert {request.role for request in both.asked} == {Role.JUDGE, Role.SECOND_JUDGE}
    assert "second judge" in decision.verdicts[0].reason
    with memory.maker() as session:
        rows = session.scalars(select(JudgementRow).order_by(JudgementRow.id)).all()
    assert [(row.role, row.judge_tag, row.protocol, row.counted) for row in rows] == [
        ("judge", "qwen2.5-coder:3b", "checklist", False), ("second-judge", "flow-judge:4b", "rubric", True),
    ]  # fmt: skip


def test_a_check_alone_judges_nobody() -> None:
    """It ends with the run's own ending."""
    skill = SkillSpec(name=SkillName("x"), template="x.md")
    rules = Rules(settings=Settings(judging=Judging(protocol="rubric")), skill=skill)
    case = JudgeCase(rules=rules, seed=1, candidates=(), canaries=judge_checks.canaries(), only_check=True)

    decision = drive(judge(case), SimulatedJudge(0.96, 0.25, 1))

    assert decision.next is Ending.CHECKED
    assert len(decision.checked) == 1
    assert "advisory" in decision.reason


def test_scores_are_held_against_later_votes(memory: Any) -> None:
    """A judge whose scores rise with the votes has a rank correlation of one; void verdicts are left out."""
    test = memory.test(arms=3, ballots=6)
    scores, fates = (40.0, 70.0, 90.0), (Fate.LOSER, Fate.LOSER, Fate.WINNER)
    for ballot, position in zip(test.ballots, (2, 3, 3, 4, 4, 4), strict=True):
        with memory.write() as session:
            votes.record_vote(
                session,
                ballot,
                Choice.PICK,
                position=position,
                voter="v",
                took_ms=900,
                now=memory.now + timedelta(hours=1),
            )
    with memory.write() as session:
        for variant, score, fate in zip(test.variants, scores, fates, strict=True):
            session.get_one(VariantRow, variant).fate = fate
            session.add(said(memory, variant, score, void=False))
            session.add(said(memory, variant, 100 - score, void=True))

    with memory.maker() as session:
        (found,) = judge_votes.agreement(session, memory.rules.skill.name)
    assert (found.rank.value, found.rank.n, found.winners.value) == (1.0, 3, 1.0)
    assert not found.simulated


def said(memory: Any, variant: int, score: float, *, void: bool) -> JudgementRow:
    """Return a verdict."""
    return JudgementRow(
        variant_id=variant, judge_tag=f"judge-{void}", overall=score, passed=True, at=memory.now, void=void
    )
