"""What the read-only questions answer, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import journal, report_details, report_results, reports, votes
from models.judge_tables import JudgementRow
from models.prompts import activate, note_version
from models.tables import PromotionRow, PromptVersionRow, VariantRow
from models.work_tables import CancelledCallRow, EvolutionRow, GateEventRow, RunRow
from pipeline.algorithms.duel import outlook
from pipeline.algorithms.eprocess import e_value
from pipeline.domain import Choice, Label, RunKind, Stage
from pipeline.errors import NotFound
from pipeline.flow import Failed, FailureKind, Generated

Memory = Any  # tests are no package, so the fixture's class cannot be imported


def vote(memory: Memory, ballot: int, choice: Choice, position: int | None = None) -> None:
    """Cast one vote."""
    with memory.write() as session:
        votes.record_vote(session, ballot, choice, position=position, voter="t", took_ms=None, now=memory.now)


def simulated(memory: Memory, run: int) -> None:
    """Mark a run as made with a simulated server."""
    with memory.write() as session:
        session.get_one(RunRow, run).simulated = True


def test_a_skill_without_feedback_has_an_unknown_accuracy(memory: Memory) -> None:
    """Nothing judged is no accuracy, and the interval is everything."""
    with memory.maker() as session:
        found = reports.status(session, [memory.rules])

    assert found.skills[0].accuracy.value is None
    assert (found.skills[0].accuracy.low, found.skills[0].accuracy.high) == (0.0, 1.0)
    assert found.queue == ()


def test_accuracy_says_who_judged(memory: Memory) -> None:
    """A person's word and the scorer's are counted apart."""
    memory.history(8, right=6)
    memory.tell("p", output="x", label=Label.BAD)

    with memory.maker() as session:
        found = reports.skill_status(session, memory.rules).accuracy

    assert (found.right, found.n, found.person, found.scorer, found.implicit) == (6, 9, 1, 8, 0)
    assert found.basis == "1 by person, 8 by scorer"


def test_the_window_holds_the_newest_samples_only(memory: Memory) -> None:
    """Accuracy looks at as many samples as the drift check does."""
    memory.history(30, right=10)

    with memory.maker() as session:
        found = reports.window(session, memory.rules, 1, 20)

    assert (found.right, found.n) == (0, 20)


def test_labels_that_do_not_count_are_left_out(memory: Memory) -> None:
    """A skill that listens to people only has no accuracy from its scorer."""
    from dataclasses import replace  # noqa: PLC0415 - this test alone changes the skill

    memory.history(8, right=6)
    only_people = replace(memory.rules, skill=replace(memory.rules.skill, labels=("person",)))

    with memory.maker() as session:
        assert reports.window(session, only_people, 1, None).n == 0


def test_an_open_run_is_listed_with_its_stage(memory: Memory) -> None:
    """Status and queue name the step that is ready."""
    memory.history(12)
    bell = memory.check(forced=True)

    with memory.maker() as session:
        found = reports.status(session, [memory.rules])

    line = found.skills[0].open[0]
    assert (line.run, line.kind, line.stage, line.state) == (bell.run, "drift-check", "detect", "ready")
    assert [(item.run, item.stage) for item in found.queue] == [(bell.run, "detect")]
    assert not found.simulated


def test_runs_come_newest_first_and_can_be_limited(memory: Memory) -> None:
    """The list is cut after the newest."""
    memory.history(12)
    first, second = memory.run(kind=RunKind.DRIFT_CHECK), memory.run(kind=RunKind.DRIFT_CHECK)

    with memory.maker() as session:
        assert [line.run for line in reports.runs(session)] == [second.run, first.run]
        assert [line.run for line in reports.runs(session, limit=1)] == [second.run]
        assert reports.runs(session, skill="other") == ()


def test_wins_losses_and_ties_are_counted_against_the_incumbent(memory: Memory) -> None:
    """A pick of the incumbent is a loss for both challengers, a pick of one is no loss for the other."""
    test = memory.test(arms=2, ballots=5)
    for ballot, (choice, position) in zip(
        test.ballots,
        [(Choice.PICK, 1), (Choice.PICK, 2), (Choice.PICK, 2), (Choice.TIE, None), (Choice.SKIP, None)],
        strict=True,
    ):
        vote(memory, ballot, choice, position)

    with memory.maker() as session:
        found = report_results.results(session, "file-naming", memory.now)

    assert [(a.variant, a.wins, a.losses, a.ties, a.shown) for a in found.arms] == [
        (0, 1, 2, 1, 4),
        (test.variants[0], 2, 1, 1, 4),
        (test.variants[1], 0, 1, 3, 4),
    ]
    assert (found.votes, found.skipped, found.leader) == (4, 1, "variant_a")


def test_the_evidence_is_the_e_value_and_the_mark_counts_the_challengers(memory: Memory) -> None:
    """Evidence, mark and chance agree with the algorithms that decide."""
    test = memory.test(arms=2, ballots=4)
    for ballot in test.ballots[:3]:
        vote(memory, ballot, Choice.PICK, 2)

    with memory.maker() as session:
        found = report_results.results(session, "file-naming", memory.now)

    assert found.arms[1].e_value == e_value(3, 0)
    assert found.mark == 40
    assert found.leader_rate == pytest.approx(4 / 5)
    ahead = outlook(4 / 5, 30, 40.0, wins=3, losses=0, least=5, ties=1 / 7)
    assert found.chance == pytest.approx(ahead.promote)
    assert found.more_votes == (ahead.quartiles[0], ahead.quartiles[2])
    assert sum(arm.p_best for arm in found.arms) == pytest.approx(1)


def test_an_open_test_says_what_is_missing(memory: Memory) -> None:
    """The verdict is a sentence, and the prompt in use has no evidence."""
    memory.test()

    with memory.maker() as session:
        found = report_results.results(session, "file-naming", memory.now)

    assert found.verdict == "Not decided: best evidence 1 of 20 needed after 0 votes."
    assert (found.arms[0].name, found.arms[0].fate, found.arms[0].e_value) == ("current (v1)", "incumbent", None)


def test_a_finished_test_says_why_it_ended_and_has_no_chance_left(memory: Memory) -> None:
    """After the cap the incumbent is kept, and nothing more can come."""
    memory.voting(max_votes=2)
    test = memory.test(ballots=3)
    for ballot in test.ballots[:2]:
        vote(memory, ballot, Choice.TIE)

    with memory.maker() as session:
        found = report_results.results(session, "file-naming", memory.now)

    assert found.verdict == "Ended, kept-incumbent: 2 votes did not show a better prompt."
    assert found.chance is None
    assert found.arms[1].fate != "arm"


def test_the_report_samples_stand_beside_each_prompt(memory: Memory) -> None:
    """Right answers on samples that nothing was selected on are counted per prompt."""
    test = memory.test()
    with memory.write() as session:
        evolution = session.get_one(EvolutionRow, test.bell.run)
        evolution.report = f'{{"0": [1, 0, 0], "{test.variants[0]}": [1, 1, 0]}}'

    with memory.maker() as session:
        found = report_results.results(session, "file-naming", memory.now, test.bell.run)

    assert [(arm.right, arm.tested) for arm in found.arms] == [(1, 3), (2, 3)]


def test_results_say_that_a_run_is_simulated(memory: Memory) -> None:
    """Simulated runs carry the word everywhere."""
    test = memory.test()
    simulated(memory, test.bell.run)

    with memory.maker() as session:
        assert report_results.results(session, "file-naming", memory.now).simulated
        assert reports.status(session, [memory.rules]).simulated
        assert reports.runs(session)[0].simulated
        assert report_details.run_detail(session, test.bell.run).line.simulated
        assert report_details.variant_detail(session, test.variants[0])[0].simulated


def test_a_skill_that_never_evolved_has_no_results(memory: Memory) -> None:
    """The error names the command that would start an evolution."""
    with memory.maker() as session, pytest.raises(NotFound) as caught:
        report_results.results(session, "file-naming", memory.now)

    assert caught.value.hint == "evoctl enqueue file-naming"


def test_model_calls_are_summed_by_role(memory: Memory) -> None:
    """Answered, failed and cut-off calls are told apart; tokens and time are sums."""
    bell = memory.run()
    mine = memory.claim(bell)
    reply = Generated(text="x", done_reason="stop", tokens=3, prompt_tokens=5, duration_s=0.5)
    failed = Failed(kind=FailureKind.REJECTED, message="no")
    with memory.write() as session:
        for number, one in enumerate((reply, reply, failed)):
            journal.record(session, mine, (f"{number}", 0), one, role="judge", tag="j", simulated=False, now=memory.now)
        session.add(
            CancelledCallRow(
                run_id=bell.run, stage="judge", visit=1, role="judge", tag="j", duration_ms=250.0, at=memory.now
            )
        )

    with memory.maker() as session:
        (line,) = report_details.run_detail(session, bell.run).calls

    assert (line.answered, line.failed, line.cancelled, line.tokens, line.prompt_tokens) == (2, 1, 1, 6, 10)
    assert line.seconds == pytest.approx(1.25)


def test_waits_are_summed_by_reason(memory: Memory) -> None:
    """The time waited for each reason is a sum."""
    bell = memory.run()
    with memory.write() as session:
        for seconds, cut in ((1.5, True), (2.0, False)):
            session.add(
                GateEventRow(
                    run_id=bell.run, step_id=bell.step, reason="lease", at=memory.now, waited_s=seconds, preempted=cut
                )
            )  # fmt: skip

    with memory.maker() as session:
        (wait,) = report_details.run_detail(session, bell.run).waits

    assert (wait.reason, wait.times, wait.seconds, wait.preempted) == ("lease", 2, 3.5, 1)


def test_a_variant_comes_with_its_ancestors_and_its_judgement(memory: Memory) -> None:
    """The lineage leads from the variant to the first prompt."""
    test = memory.test(arms=3, ballots=2)
    a, b, c = test.variants
    with memory.write() as session:
        session.get_one(VariantRow, c).parent_id = b
        session.get_one(VariantRow, b).parent_id = a
        session.add(JudgementRow(variant_id=c, judge_tag="j", overall=80.0, passed=True, at=memory.now))

    with memory.maker() as session:
        line = report_details.variant_detail(session, c)

    assert [one.variant for one in line] == [c, b, a]
    assert line[0].overall == 80.0


def test_a_variant_is_found_by_name_in_the_newest_run_and_by_number(memory: Memory) -> None:
    """`variant_a` means the newest run's."""
    first = memory.test()
    with memory.write() as session:
        run = session.get_one(RunRow, first.bell.run)
        run.ended_at = memory.now
    second = memory.test()

    with memory.maker() as session:
        assert report_details.find_variant(session, "variant_a", "file-naming") == second.variants[0]
        assert report_details.find_variant(session, str(first.variants[0])) == first.variants[0]
        for name in ("variant_z", "", "99999999999999999999", "-1", "0"):
            with pytest.raises(NotFound):
                report_details.find_variant(session, name, "file-naming")


def test_prompts_are_named_by_version_pointer_or_variant(memory: Memory) -> None:
    """v1, current, previous and variant_a give whole templates."""
    test = memory.test()
    with memory.write() as session:
        newer = PromptVersionRow(
            skill_name="file-naming", version=2, template="skills/file-naming-v2.md", text="New.\n---\n{{d}}\n",
            sha="s", created_at=memory.now,
        )  # fmt: skip
        session.add(newer)
        session.flush()
        activate(session, newer, memory.now)
        session.add(
            PromotionRow(
                skill_name="file-naming", run_id=test.bell.run, kind="promote", from_version=1, to_version=2,
                state="applied", created_at=memory.now,
            )
        )  # fmt: skip

    with memory.maker() as session:
        named = {
            name: report_details.named_prompt(session, "file-naming", name)
            for name in ("v1", "v2", "current", "previous", "variant_a")
        }
        history = reports.promotions(session, skill="file-naming")
        with pytest.raises(NotFound):
            report_details.named_prompt(session, "file-naming", "v9")

    assert [named[n].name for n in ("v1", "v2", "current", "previous", "variant_a")] == [
        "v1",
        "v2",
        "v2",
        "v1",
        "variant_a",
    ]
    assert named["variant_a"].text == "Name the file in style 0.\n---\nDescription: {{description}}\n"
    assert [(line.from_version, line.to_version, line.state) for line in history] == [(1, 2, "applied")]


def test_versions_are_listed_newest_first_with_their_accuracy(memory: Memory) -> None:
    """Each version is judged by its own samples."""
    memory.history(4, right=3)
    with memory.write() as session:
        note_version(session, memory.rules.skill, "Name.\n---\n{{d}}\n", memory.now)

    with memory.maker() as session:
        (line,) = reports.versions(session, memory.rules)

    assert (line.version, line.active, line.accuracy.right, line.accuracy.n) == (1, True, 3, 4)


def test_samples_come_newest_first_and_by_label(memory: Memory) -> None:
    """The list can be cut and filtered; known tasks are found in any number."""
    memory.history(6, right=4)

    with memory.maker() as session:
        newest = reports.samples(session, "file-naming", limit=2)
        bad = reports.samples(session, "file-naming", only=Label.BAD)
        known = reports.known_tasks(session, "file-naming", tuple(f"t{i}" for i in range(1200)))

    assert [one.task_id for one in newest] == ["t5", "t4"]
    assert {one.task_id for one in bad} == {"t4", "t5"}
    assert newest[0].input == {"description": "picture 5"}
    assert known == {f"t{i}" for i in range(6)}


def test_asking_writes_nothing(memory: Memory) -> None:
    """Every question leaves the session clean."""
    test = memory.test()

    with memory.maker() as session:
        reports.status(session, [memory.rules])
        report_results.results(session, "file-naming", memory.now + timedelta(days=30))
        report_details.run_detail(session, test.bell.run)
        assert not session.dirty
        assert not session.new
        assert session.scalar(select(RunRow.ended_at).where(RunRow.id == test.bell.run)) is None


def test_an_unknown_run_or_variant_is_not_found(memory: Memory) -> None:
    """Numbers beyond every table are not found either."""
    with memory.maker() as session:
        for ask in (report_details.run_detail, report_details.variant_detail):
            for number in (1, 2**40):
                with pytest.raises(NotFound):
                    ask(session, number)


def test_a_run_in_search_shows_its_generation(memory: Memory) -> None:
    """Before the ballots a run shows how far its search is, and no votes."""
    bell = memory.run(stage=Stage.MUTATE)
    with memory.write() as session:
        session.add(EvolutionRow(run_id=bell.run, started_at=memory.now, generation=3, best_fitness=0.5))

    with memory.maker() as session:
        line = reports.runs(session)[0]
        found = report_results.results(session, "file-naming", memory.now)

    assert (line.generation, line.generations, line.best_fitness, line.votes) == (3, 30, 0.5, None)
    assert found.arms == ()
    assert found.verdict == "The run is at mutate; there is nothing to vote on yet."
