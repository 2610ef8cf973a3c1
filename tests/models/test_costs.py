"""What the arithmetic of costs goes by, as the tables tell it, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from models import costs, journal, reports
from models.runs import Bell, end_run
from models.work_tables import EvolutionRow, GateEventRow, RunRow
from pipeline.contents import content_of
from pipeline.costs import Labelled, plan
from pipeline.domain import Ending, Stage
from pipeline.flow import Generated
from pipeline.progress import Progress
from pipeline.splits import split_of

Memory = Any  # tests are no package, so the fixture's class cannot be imported


def searching(memory: Memory, **search: object) -> Bell:
    """Start an evolution that searches."""
    settings = memory.rules.settings
    memory.rules = replace(memory.rules, settings=replace(settings, search=replace(settings.search, **search)))
    bell: Bell = memory.run(stage=Stage.MUTATE)
    with memory.write() as session:
        session.add(EvolutionRow(run_id=bell.run, started_at=memory.now, generation=2, best_fitness=0.5))
    return bell


def spend(memory: Memory, bell: Bell, *calls: tuple[float, float], cut: tuple[float, float] | None = None) -> None:
    """Make calls, given as (end, seconds) with the end in seconds from now; *cut* is one that was cut off."""
    mine = memory.claim(bell)
    with memory.write() as session:
        for number, (end, seconds) in enumerate(calls):
            reply = Generated(text="x", done_reason="stop", prompt_tokens=1, tokens=1, duration_s=seconds)
            at = memory.now + timedelta(seconds=end)
            journal.record(session, mine, (f"{number}", 0), reply, role="task", tag="t", simulated=False, now=at)
        if cut is not None:
            at = memory.now + timedelta(seconds=cut[0])
            journal.record_cancelled(session, mine, role="task", tag="t", duration_s=cut[1], now=at)


def wait(memory: Memory, bell: Bell, *pauses: tuple[float, float]) -> None:
    """Write pauses down, given as (end, seconds) with the end in seconds from now."""
    with memory.write() as session:
        for end, seconds in pauses:
            at = memory.now + timedelta(seconds=end)
            session.add(
                GateEventRow(run_id=bell.run, step_id=bell.step, reason="lease", at=at, waited_s=seconds)
            )  # fmt: skip


def progress_of(memory: Memory, bell: Bell) -> Progress:
    """Ask how far a run is."""
    with memory.maker() as session:
        return costs.progress(session, session.get_one(RunRow, bell.run), memory.rules)


def test_labelled_samples_are_counted_by_split(memory: Memory) -> None:
    """Only those whose right answer is known; each is in the split that its content says."""
    memory.history(60)
    memory.tell("unknown", output="x")

    with memory.maker() as session:
        found = costs.labelled(session, "file-naming")
        other = costs.labelled(session, "audio-actions")

    splits = [split_of("file-naming", content_of({"description": f"picture {i}"})) for i in range(60)]
    assert (found.search, found.select) == (splits.count("search"), splits.count("select"))
    assert (found.confirm, found.report, found.total) == (splits.count("confirm"), splits.count("report"), 60)
    assert other == Labelled(search=0, select=0, confirm=0, report=0)


def test_a_plan_is_made_of_the_samples_that_there_are(memory: Memory) -> None:
    """The tables and the arithmetic agree."""
    memory.history(60)

    with memory.maker() as session:
        assert costs.plan(session, memory.rules) == plan(
            memory.rules.settings.search, costs.labelled(session, "file-naming")
        )


def test_progress_counts_every_call_and_the_time_it_took(memory: Memory) -> None:
    """Calls that were cut off cost too; what is left goes at the speed of those made."""
    memory.history(60)
    bell = searching(memory, budget_calls=200)
    spend(memory, bell, *((i * 3.0, 2.0) for i in range(19)), cut=(60.0, 4.0))

    found = progress_of(memory, bell)

    assert (found.calls, found.calls_most, found.waited_min) == (20, 200, 0.0)
    assert found.model_min == pytest.approx(42 / 60)
    assert found.left_min == pytest.approx(180 * 42 / 20 / 60)


def test_waiting_is_counted_apart(memory: Memory) -> None:
    """Jobs that follow one another with hardly a pause each wait together until the next call."""
    bell = searching(memory)
    spend(memory, bell, (5.0, 5.0), (700.0, 10.0), cut=(40.0, 5.0))
    wait(memory, bell, (35.0, 20.0), (40.0, 0.0), (60.0, 20.0), (80.0, 0.001), (100.0, 0.001))

    found = progress_of(memory, bell)

    assert found.waited_min == pytest.approx((20 + (690 - 40)) / 60)
    assert found.model_min == pytest.approx(20 / 60)


def test_a_wait_that_goes_on_is_counted_so_far(memory: Memory) -> None:
    """A run that has made no call yet has waited all the same."""
    bell = searching(memory)
    wait(memory, bell, (20.0, 20.0), (60.0, 0.0))

    found = progress_of(memory, bell)

    assert (found.calls, found.left_min, found.waited_min) == (0, None, pytest.approx(1.0))


def test_a_list_shows_the_progress_of_a_search_and_of_nothing_else(memory: Memory) -> None:
    """It ends with the search: a run that ended, or that puts prompts to the vote, shows none."""
    bell = searching(memory)
    with memory.maker() as session:
        open_line = reports.runs(session)[0]
    with memory.write() as session:
        end_run(session.get_one(RunRow, bell.run), Ending.CANCELLED, "", memory.now)
    memory.test()

    with memory.maker() as session:
        lines = reports.runs(session)

    assert open_line.progress is not None
    assert open_line.progress.calls == 0
    assert [line.progress for line in lines] == [None, None]
