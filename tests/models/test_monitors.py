"""Monitors: each label enters its version's stream once, when it matures, and a check costs the same with any history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from models import checks, feedback, golden, monitors, prompts, reports, samples, steps
from models.stages.detect import detect_case, save_detect
from models.tables import PromotionRow, SampleRow
from models.watch_tables import GoldenSetRow, MonitorRow
from pipeline.canary import Canary, GoldenSet
from pipeline.detect import DetectDecision
from pipeline.domain import Ending, Label, Stage
from pipeline.monitor import Monitor

TEXT = "Name the file.\n---\nDescription: {{description}}\n"


def used(memory: Any) -> None:
    """Let the configuration's version be the one in use."""
    with memory.write() as session:
        prompts.note_version(session, memory.rules.skill, TEXT, memory.now)


def current(memory: Any) -> Monitor | None:
    """Read what is remembered of the version in use."""
    with memory.maker() as session:
        return monitors.current(session, memory.rules)


def entered(memory: Any) -> list[tuple[str, int | None]]:
    """Read every sample's place in the stream."""
    with memory.maker() as session:
        rows = session.execute(select(SampleRow.task_id, SampleRow.entered).order_by(SampleRow.id))
        return [(task, place) for task, place in rows]


def test_a_label_enters_when_it_is_given_and_never_again(memory: Any) -> None:
    """A correction changes what is shown; the stream has one label of the task, the first."""
    used(memory)
    memory.tell("t1", output="a", label=Label.OK)
    memory.tell("t2", output="b")
    memory.tell("t1", label=Label.BAD)

    monitor = current(memory)

    assert monitor is not None
    assert (monitor.labels, monitor.ok) == (1, 1)
    assert entered(memory) == [("t1", 1), ("t2", None)]


def test_a_complaint_waits_for_older_tasks_that_silence_may_still_judge(memory: Any) -> None:
    """It would stand before their silence otherwise, and the first day of every prompt would be all complaints."""
    used(memory)
    memory.tell("old", output="a")
    memory.tell("complaint", output="c", label=Label.BAD, now=memory.now + timedelta(hours=1))
    memory.tell("new", output="b", now=memory.now + timedelta(hours=20))
    waiting = current(memory)
    with memory.write() as session:
        feedback.mature(session, memory.rules, memory.now + timedelta(hours=25))
    day_one = entered(memory)
    with memory.write() as session:
        feedback.mature(session, memory.rules, memory.now + timedelta(hours=45))

    monitor = current(memory)

    assert waiting is not None
    assert waiting.labels == 0
    assert day_one == [("old", 1), ("complaint", 2), ("new", None)]
    assert entered(memory) == [("old", 1), ("complaint", 2), ("new", 3)]
    assert monitor is not None
    assert (monitor.labels, monitor.ok) == (3, 2)


def test_where_silence_says_nothing_every_label_enters_at_once(memory: Any) -> None:
    """A skill whose labels are a person's and a scorer's alone waits for nobody."""
    memory.rules = replace(memory.rules, skill=replace(memory.rules.skill, labels=("person", "scorer")))
    used(memory)
    memory.tell("silent", output="a")
    memory.tell("bad", output="c", label=Label.BAD)

    assert entered(memory) == [("silent", None), ("bad", 1)]


def test_a_verdict_that_comes_to_count_enters(memory: Any) -> None:
    """A scorer's word that does not count leaves its task out; a person's on the same task brings it in."""
    memory.rules = replace(memory.rules, skill=replace(memory.rules.skill, labels=("person",)))
    used(memory)
    memory.tell("t1", output="a", expected="b")
    left_out = entered(memory)
    memory.tell("t1", label=Label.BAD)

    assert (left_out, entered(memory)) == ([("t1", None)], [("t1", 1)])


def test_labels_of_other_versions_and_of_challengers_do_not_enter(memory: Any) -> None:
    """Only what the prompt in use did says something of it."""
    used(memory)
    memory.tell("other", output="a", label=Label.BAD, version=7, history=True)
    memory.tell("no-output", label=Label.BAD)
    memory.tell("mine", output="a", label=Label.OK)

    assert [place for _, place in entered(memory)] == [None, 0, 1]


def test_a_history_enters_in_the_order_of_its_times(memory: Any) -> None:
    """An import's lines may stand in any order."""
    used(memory)
    items = [
        feedback.Feedback(
            task_id=f"t{i}", fields=(("description", "x"),), output="a", label=Label.OK, history=True,
            at=memory.now - timedelta(days=days),
        )
        for i, days in enumerate((1, 3, 2))
    ]  # fmt: skip
    with memory.write() as session:
        feedback.note_all(session, memory.rules, items, batch="b", now=memory.now)

    assert entered(memory) == [("t0", 3), ("t1", 1), ("t2", 2)]


def test_what_was_judged_before_there_was_a_monitor_is_caught_up(memory: Any) -> None:
    """A home of an earlier release, or a history before the first version was noted, begins with its newest labels."""
    memory.history(30, right=25)
    assert {place for _, place in entered(memory)} == {None}
    used(memory)
    memory.tell("first", output="a", label=Label.OK)

    monitor = current(memory)

    assert monitor is not None
    assert (monitor.labels, monitor.ok) == (31, 26)


def test_taking_labels_back_counts_the_stream_again(memory: Any) -> None:
    """After an undo the state is that of the labels that are left."""
    used(memory)
    for i in range(5):
        memory.tell(f"good{i}", output="a", label=Label.OK, batch="good")
    for i in range(5):
        memory.tell(f"bad{i}", output="a", label=Label.BAD, batch="bad")
    before = current(memory)
    with memory.write() as session:
        feedback.undo(session, memory.rules, memory.now)

    after = current(memory)

    assert before is not None
    assert after is not None
    assert (before.labels, after.labels, after.ok, after.drift.alarm.total) == (10, 5, 5, 0)


def test_a_label_that_was_taken_back_enters_when_it_is_given_again(memory: Any) -> None:
    """A wrong batch, its undo and the right batch leave the right labels in the stream."""
    used(memory)
    for i in range(4):
        memory.tell(f"t{i}", output="a", batch="first")
    for i in range(4):
        memory.tell(f"t{i}", label=Label.BAD, batch="wrong")
    with memory.write() as session:
        feedback.undo(session, memory.rules, memory.now, batch="wrong")
    for i in range(4):
        memory.tell(f"t{i}", label=Label.OK, batch="right")

    monitor = current(memory)

    assert monitor is not None
    assert (monitor.labels, monitor.ok) == (4, 4)


def test_taking_a_label_back_raises_no_finding_again(memory: Any) -> None:
    """An alarm that was acted on stays down when one label of many is taken back."""
    used(memory)
    for i in range(30):
        memory.tell(f"t{i}", output="x", expected="y")
    memory.tell("late", output="x", label=Label.OK, batch="late")
    with memory.write() as session:
        monitors.acknowledge(session, memory.rules, memory.now)
        feedback.undo(session, memory.rules, memory.now, batch="late")

    monitor = current(memory)

    assert monitor is not None
    assert (monitor.labels, monitor.alarmed, monitor.warned) == (30, False, False)


def test_first_labels_at_the_same_moment_make_one_stream(memory: Any) -> None:
    """Several processes feed a version that has no monitor yet: every label enters once, under a place of its own."""
    used(memory)

    def tell(task: str) -> Any:
        said = feedback.Feedback(task_id=task, fields=(("description", "x"),), output="a", label=Label.OK)
        return lambda session: feedback.note(session, memory.rules, said, batch=task, now=memory.now)

    results = memory.at_once(*(tell(f"t{i}") for i in range(6)))

    monitor = current(memory)
    assert [r for r in results if isinstance(r, Exception)] == []
    assert monitor is not None
    assert monitor.labels == 6
    assert sorted(place or 0 for _, place in entered(memory)) == [1, 2, 3, 4, 5, 6]


def test_feeding_while_others_act_and_relabel_loses_nothing(memory: Any) -> None:
    """Labels, an acknowledgement, an undo and the maturing of silence at once neither deadlock nor overwrite each other."""
    used(memory)
    for i in range(20):
        memory.tell(f"t{i}", output="a")
    later = memory.now + timedelta(hours=30)

    def tell(task: str) -> Any:
        said = feedback.Feedback(task_id=task, label=Label.BAD)
        return lambda session: feedback.note(session, memory.rules, said, batch=task, now=later)

    results = memory.at_once(
        *(tell(f"t{i}") for i in range(4)),
        lambda session: feedback.mature(session, memory.rules, later),
        lambda session: monitors.acknowledge(session, memory.rules, later),
    )

    places = sorted(place for _, place in entered(memory) if place)
    monitor = current(memory)
    assert [r for r in results if isinstance(r, Exception)] == []
    assert monitor is not None
    assert places == list(range(1, monitor.labels + 1))
    assert monitor.labels == 20


def test_a_finding_on_a_version_that_went_is_not_written_to_its_successor(memory: Any) -> None:
    """A check that waited for a quiet moment while another prompt came into use leaves that one's watch alone."""
    used(memory)
    memory.history(60, right=50)
    with memory.maker() as session:
        items = golden.candidates(session, "file-naming", 60, 1)
    mine = memory.claim(memory.check())
    recorded = GoldenSet(items=items, reference=(True,) * 60, served_by="m 1")
    with memory.write() as session:
        prompts.note_version(session, replace(memory.rules.skill, version=2), TEXT, memory.now)
        found = DetectDecision(
            next=Ending.HEALTHY, reason="well", accuracy=1.0, judged=20, version=1, recorded=recorded
        )  # fmt: skip
        save_detect(session, mine, found, memory.now)

    with memory.maker() as session:
        assert session.scalars(select(GoldenSetRow)).all() == []


def test_a_persons_order_cancels_a_check_that_waits_for_a_quiet_moment(memory: Any) -> None:
    """It would only suggest what the person wants; a check that does not wait is left alone."""
    used(memory)
    bell = memory.check()
    with memory.write() as session:
        checks.replace_waiting(session, "file-naming", memory.now)
    untouched = memory.run_row(bell).ended_at
    mine = memory.claim(bell)
    with memory.write() as session:
        steps.release(session, mine, memory.now, waiting_for="a quiet moment")
        checks.replace_waiting(session, "file-naming", memory.now)

    assert untouched is None
    assert memory.run_row(bell).ending == Ending.CANCELLED


def test_a_promoted_version_begins_a_stream_of_its_own_and_is_watched(memory: Any) -> None:
    """Its baseline is learnt anew, and it is compared with the accuracy of the prompt that it replaced."""
    used(memory)
    memory.history(40, right=38)
    with memory.write() as session:
        session.add(
            PromotionRow(
                skill_name="file-naming", run_id=memory.run().run, kind="promote", from_version=1, to_version=2,
                state="applied", created_at=memory.now, applied_at=memory.now,
            )
        )  # fmt: skip
        prompts.note_version(session, replace(memory.rules.skill, version=2), TEXT, memory.now + timedelta(minutes=1))
    assert current(memory) is None
    memory.tell("late", output="x", label=Label.BAD, version=2, at=memory.now)  # judged before it was in use
    memory.tell("n1", output="x", label=Label.OK, version=2, now=memory.now + timedelta(hours=1))

    monitor = current(memory)

    assert monitor is not None
    assert (monitor.labels, monitor.ok) == (1, 1)
    assert monitor.guards.watch.limit > 0


def test_a_version_that_comes_back_begins_a_new_spell(memory: Any) -> None:
    """What was judged in an earlier spell in use is another story, and the places in the stream go on."""
    used(memory)
    for i in range(3):
        memory.tell(f"a{i}", output="x", label=Label.BAD)
    with memory.write() as session:
        row = prompts.version(session, "file-naming", 1)
        prompts.activate(session, row, memory.now + timedelta(days=1))
    memory.tell("b", output="x", label=Label.OK, now=memory.now + timedelta(days=2))

    monitor = current(memory)

    assert monitor is not None
    assert (monitor.labels, monitor.ok) == (1, 1)
    assert entered(memory)[-1] == ("b", 4)


def test_acting_on_a_finding_begins_the_sums_anew(memory: Any) -> None:
    """After an alarm has started an evolution it is not raised any more; a refuted warning only loses its own sum."""
    used(memory)
    for i in range(30):
        memory.tell(f"t{i}", output="x", expected="y")
    raised = current(memory)
    mine = memory.claim(memory.check())
    decision = DetectDecision(next=Stage.MUTATE, reason="alarm", accuracy=0.0, judged=20, version=1, acknowledged=True)
    with memory.write() as session:
        save_detect(session, mine, decision, memory.now)

    after = current(memory)

    assert raised is not None
    assert after is not None
    assert (raised.alarmed, after.alarmed, after.labels) == (True, False, 30)


def test_a_golden_set_is_recorded_and_checked(memory: Any) -> None:
    """Its tasks and right answers stay as they were, also when a sample is corrected later."""
    used(memory)
    memory.history(60, right=50)
    with memory.maker() as session:
        items = golden.candidates(session, "file-naming", 60, 1)
    mine = memory.claim(memory.check())
    recorded = GoldenSet(items=items, reference=tuple(i % 6 > 0 for i in range(len(items))), served_by="m 1")
    found = DetectDecision(next=Ending.HEALTHY, reason="well", accuracy=1.0, judged=20, version=1, recorded=recorded)
    with memory.write() as session:
        save_detect(session, mine, found, memory.now)
    memory.tell(memory_task(memory, int(items[0].sample)), fields=(), expected="another")
    canary = Canary(flags=(True,) * 60, broke=0, mended=10, p_value=1.0, served_by="m 2", before="m 1")
    with memory.write() as session:
        golden.note_check(session, "file-naming", 1, canary, memory.now)

    with memory.maker() as session:
        kept = golden.load_golden(session, "file-naming", 1)
        row = session.get_one(GoldenSetRow, ("file-naming", 1))

    assert len(items) == 60
    assert kept == recorded
    assert (json.loads(row.checked), row.checked_by) == ([1] * 60, "m 2")


def memory_task(memory: Any, sample: int) -> str:
    """Return the host's name of a sample's task."""
    with memory.maker() as session:
        return session.get_one(SampleRow, sample).task_id


def test_the_audit_counts_the_answers_of_people_who_were_asked(memory: Any) -> None:
    """Drawn from the task's id, asked about while nobody judged it, and counted right and wrong."""
    used(memory)
    for i in range(200):
        memory.tell(f"t{i}", output="x")
    with memory.maker() as session:
        open_ = [row.task_id for row in samples.audit_open(session, "file-naming", memory.now, 50)]
    for index, task in enumerate(open_[:6]):
        memory.tell(task, label=Label.OK if index % 3 else Label.BAD)

    with memory.maker() as session:
        answers = samples.audited(session, "file-naming", 1, memory.now)
        left = samples.audit_open(session, "file-naming", memory.now, 50)

    assert 8 <= len(open_) <= 35  # 10 % of 200, within 4 standard deviations
    assert answers == (4, 2)
    assert len(left) == len(open_) - 6


@contextmanager
def statements(memory: Any) -> Iterator[list[str]]:
    """Collect the statements that are executed meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(memory.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(memory.engine, "before_cursor_execute", note)


@pytest.mark.parametrize("size", [5, 400])
def test_a_check_asks_as_little_of_a_long_history_as_of_a_short_one(memory: Any, size: int) -> None:
    """The number of statements is the same, and each reads a bounded number of rows."""
    used(memory)
    memory.history(size, right=size)
    with memory.maker() as session, statements(memory) as seen:
        detect_case(session, memory.rules, memory.now)

    assert len(seen) <= 15
    unbounded = [s for s in seen if "samples" in s and "LIMIT" not in s]
    assert unbounded == []


def test_a_monitor_is_one_row_of_a_version(memory: Any) -> None:
    """Four hundred labels leave one row of at most 2,500 bytes."""
    used(memory)
    memory.history(400, right=350)
    memory.tell("last", output="x", label=Label.OK)

    with memory.maker() as session:
        rows = session.scalars(select(MonitorRow)).all()

    assert len(rows) == 1
    assert len(rows[0].state) <= 2500


def test_a_check_that_is_not_worth_a_run_starts_none(memory: Any) -> None:
    """A healthy stream after feedback makes no run, an alarm does."""
    used(memory)
    memory.history(20, right=20)
    with memory.write() as session:
        healthy = checks.start_if_worth(session, memory.rules, TEXT, memory.now)
    for i in range(20):
        memory.tell(f"bad{i}", output="x", expected="y")
    with memory.write() as session:
        alarmed = checks.start_if_worth(session, memory.rules, TEXT, memory.now)

    assert healthy is None
    assert alarmed is not None


def watched(memory: Any) -> str:
    """Read what status says of the label stream."""
    with memory.maker() as session:
        return str(reports.skill_status(session, memory.rules).watch)


def test_status_says_which_labels_wait_for_older_tasks(memory: Any) -> None:
    """Complaints wait for an older task that silence may still judge: how many, and until when."""
    used(memory)
    memory.tell("silent", output="x", at=memory.now)
    for i in range(3):
        memory.tell(f"bad{i}", output="x", label=Label.BAD, at=memory.now + timedelta(minutes=1))

    until = memory.now + timedelta(hours=24)
    assert f"3 labels wait for older tasks without a verdict, until {until:%Y-%m-%d %H:%M} UTC" in watched(memory)


def test_status_knows_a_version_that_came_back_without_a_label_since(memory: Any) -> None:
    """Its judged samples are of an earlier spell: it is not said that it never had any, and enqueue says the same."""
    used(memory)
    for i in range(3):
        memory.tell(f"a{i}", output="x", label=Label.BAD)
    memory.history(40, right=0)
    with memory.write() as session:
        prompts.activate(session, prompts.version(session, "file-naming", 1), memory.now + timedelta(days=1))
        finding = checks.examine(session, memory.rules, memory.now + timedelta(days=1))

    assert watched(memory).startswith("none yet of the labels since v1 came back into use on ")
    assert finding.reason == (
        "accuracy 0.00 over 20 samples (20 by scorer); the watch of v1 has taken in none since it came into use"
    )
