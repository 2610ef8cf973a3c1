"""What looking for drift costs with a million samples. Figures are printed (`make bench`); only ratios are asserted.

Two homes on real SQLite files are compared in the same run, one with a thousand samples of the skill and one with a
million: the version in use has nine tenths of the labels, has just been promoted and has none, or no right answer is known.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest
from sqlalchemy import select, text, update

from migrations.run import upgrade
from models import checks, feedback, prompts
from models.base import make_engine
from models.feedback import Feedback
from models.stages.detect import detect_case
from models.tables import PromotionRow, SampleRow
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.detect import DetectDecision, look
from pipeline.domain import Ending, Label, StepState
from pipeline.rules import Rules
from workers.client import Batch, Evolution
from workers.clock import now
from workers.home import Home

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

FEW, MANY = 1_000, 1_000_000
RUNS = 60  # of each measurement
GOAL_MS = 5.0
MOST_TIMES = 3.0  # what the large home may cost against the small one
DAYS = 730  # over which the samples came in
SKILL = "colours"
NOBODY = "redis://127.0.0.1:1/0"  # a port that nothing listens on
TEMPLATE = "Name the colour in style {version}.\n---\nTask: {{{{task}}}}\n"
CONFIG = """
skills:
  colours:
    prompt_template: skills/colours-v{version}.md
    prompt_version: {version}
    scorer: exact
"""

LABELLED, PROMOTED = "nine tenths of the labels are of the version in use", "the version in use has no label yet"
UNKNOWN, UNJUDGED = "no right answer is known", "right answers are known and nobody judged"
SITUATIONS = {LABELLED: (20, True), PROMOTED: (0, True), UNKNOWN: (0, False)}
"""Judged samples that a look then sees, and whether a search could be fed."""

# Nine tenths of the labels, the newest, are of version 2. One in ten is a person's, one in ten tasks was audited. The
# right answer of every task is known; the last day brought nothing that still waits for a verdict.
FILLED = """
INSERT INTO samples (skill_name, task_id, fields, output, expected, label, label_source, lost, version, split,
                     ballot_wanted, batch, entered, audit, known, created_at, judged_at)
WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :rows)
SELECT :skill, 'task-' || i, '{"task": "a longer description of what is wanted, number ' || i || '"}', 'red', 'red',
       CASE WHEN i % 13 = 0 THEN 'bad' ELSE 'ok' END, CASE WHEN i % 10 = 0 THEN 'person' ELSE 'scorer' END, '',
       CASE WHEN i * 10 > :rows THEN 2 ELSE 1 END,
       CASE WHEN i % 20 < 7 THEN 'search' WHEN i % 20 < 11 THEN 'select' WHEN i % 20 < 18 THEN 'confirm' ELSE 'report' END,
       i % 2, 'b0', i, i % 10 = 1, 1,
       datetime(:end, '-' || ((:rows - i) * :seconds / :rows) || ' seconds') || '.000000',
       datetime(:end, '-' || ((:rows - i) * :seconds / :rows) || ' seconds') || '.000000'
FROM numbers
"""


class Filled:
    """A home with *rows* samples of one skill, whose version 2 is in use."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.rows, self._host, self._new = rows, folder / "host", count(1)
        self._home = Home(folder / "home", self._host / "config.yaml").ensure()
        (self._host / "skills").mkdir(parents=True)
        engine = make_engine(self._home.database_url)
        upgrade(engine)
        engine.dispose()
        self.evolution = Evolution(self._home)
        self.use(1)
        self._promote(2)
        began = time.perf_counter()
        with self.evolution.database.write() as session:
            end = (now() - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S")
            given = {"rows": rows, "skill": SKILL, "end": end, "seconds": DAYS * 86_400}
            session.execute(text(FILLED), given)
        self.tell()  # the stream of version 2 begins
        self.filled_s = time.perf_counter() - began

    @property
    def rules(self) -> Rules:
        """The skill's rules."""
        return self.evolution.rules(SKILL)

    def use(self, version: int) -> None:
        """Let the configuration name a version, and remember it as the one in use."""
        told = TEMPLATE.format(version=version)
        (self._host / "skills" / f"colours-v{version}.md").write_text(told, encoding="utf-8")
        self._home.config.write_text(CONFIG.format(version=version), encoding="utf-8")
        with self.evolution.database.write() as session:
            prompts.note_version(session, self.rules.skill, told, now())

    def enter(self, situation: str) -> None:
        """Go on to another of the `SITUATIONS`; there is no way back to an earlier one."""
        if situation == PROMOTED:
            self._promote(3)
        elif situation == UNKNOWN:
            self._change(known=False, expected=None)
        elif situation == UNJUDGED:
            self._change(label=None, label_source=None, judged_at=None, entered=None, expected="red", version=3)

    def start_test(self) -> None:
        """Open a test that waits for votes."""
        run = self.evolution.create(SKILL, ("Name the colour in one word.",), reason="a benchmark").run
        with self.evolution.database.write() as session:
            session.get_one(EvolutionRow, run).voting_since = now()
            session.scalars(select(StepRow).where(StepRow.run_id == run)).one().state = StepState.WAITING

    def look(self) -> DetectDecision:
        """Look for drift as every feedback does."""
        with self.evolution.database.read() as session:
            return look(detect_case(session, self.rules, now()))

    def check(self) -> DetectDecision:
        """Look for drift as the job of a timed check does, which draws golden tasks where there are none."""
        with self.evolution.database.read() as session:
            return look(detect_case(session, self.rules, now(), run=0, seed=1))

    def tell(self) -> Batch:
        """Write one new sample with a person's word on it, as a host does after a task."""
        number = next(self._new)
        said = Feedback(task_id=f"new-{number}", fields=(("task", f"{number}"),), output="red", label=Label.OK)
        return self.evolution.feedback(SKILL, [said])

    def mature(self) -> int:
        """Let silence count, as `evoctl tick` does every ten seconds; returns for how many samples it did."""
        with self.evolution.database.write() as session:
            return feedback.mature(session, self.rules, now())

    def _change(self, **values: object) -> None:
        with self.evolution.database.write() as session:
            session.execute(update(SampleRow).values(**values))

    def _promote(self, version: int) -> None:
        self.use(version)
        with self.evolution.database.write() as session:
            bell = checks.start_check(
                session, self.rules, TEMPLATE.format(version=version), now(), trigger="timer", forced=False
            )
            session.get_one(RunRow, bell.run).ended_at = now()
            session.get_one(StepRow, bell.step).state = StepState.DONE
            session.add(
                PromotionRow(
                    skill_name=SKILL, run_id=bell.run, kind="promote", from_version=version - 1, to_version=version,
                    state="applied", created_at=now(), applied_at=now(),
                )
            )  # fmt: skip


Homes: TypeAlias = tuple[Filled, Filled]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Processor and wall time of one piece of work, in milliseconds: medians and the largest."""

    cpu: float
    most_cpu: float
    wall: float
    most_wall: float

    def __str__(self) -> str:
        return f"CPU {self.cpu:.2f} (most {self.most_cpu:.2f}), wall {self.wall:.2f} (most {self.most_wall:.2f})"


def cost_of(work: Callable[[], object]) -> Cost:
    """Measure *work*, after one time that does not count."""
    work()
    cpu, wall = [], []
    for _ in range(RUNS):
        began, began_cpu = time.perf_counter_ns(), time.process_time_ns()
        work()
        cpu.append((time.process_time_ns() - began_cpu) / 1e6)
        wall.append((time.perf_counter_ns() - began) / 1e6)
    return Cost(cpu=statistics.median(cpu), most_cpu=max(cpu), wall=statistics.median(wall), most_wall=max(wall))


def times_as_much(what: str, homes: Homes, work: Callable[[Filled], object]) -> float:
    """Measure the same work in both homes, print the figures, and return how many times the large one costs."""
    small, large = (cost_of(partial(work, home)) for home in homes)
    print(  # noqa: T201 - a benchmark reports
        f"\n{what}, ms, {RUNS} times\n  {MANY:9,} samples: {large}\n  {FEW:9,} samples: {small}"
    )
    return large.cpu / small.cpu


@pytest.fixture(name="homes", scope="module")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homes]:
    """Fill a small and a large home; the tests change them in the order in which they stand."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "EVOCTL_HOME", "EVOCTL_CONFIG"):
            patch.delenv(name, raising=False)
        patch.setenv("RQ_REDIS_URL", NOBODY)
        small, large = (Filled(tmp_path_factory.mktemp("home"), rows) for rows in (FEW, MANY))
        print(f"\n{MANY:,} samples written in {large.filled_s:.0f} s")  # noqa: T201 - a benchmark reports
        with small.evolution, large.evolution:
            yield small, large


def test_feedback(homes: Homes) -> None:
    """One sample with a label costs the same whatever the history, the look for drift after it included."""
    assert times_as_much("feedback of one sample", homes, Filled.tell) <= MOST_TIMES


def test_nothing_to_mature(homes: Homes) -> None:
    """Where nothing is silent, finding that out costs the same whatever the history."""
    assert [home.mature() for home in homes] == [0, 0]
    assert times_as_much("a round of maturing with nothing to do", homes, Filled.mature) <= MOST_TIMES


def test_a_timed_check_that_draws_golden_tasks(homes: Homes) -> None:
    """The first check of a version, which looks for tasks to freeze, costs the same whatever the history."""
    assert times_as_much("a timed check that draws golden tasks", homes, Filled.check) <= MOST_TIMES


@pytest.mark.parametrize("situation", [LABELLED, PROMOTED, UNKNOWN])
def test_a_check(homes: Homes, situation: str) -> None:
    """A look for drift costs the same whatever the history, with labels of the version in use or without."""
    for home in homes:
        home.enter(situation)

    times = times_as_much(f"a look for drift, {situation} (goal {GOAL_MS:g})", homes, Filled.look)

    judged, known = SITUATIONS[situation]
    for home in homes:
        decision = home.look()
        assert decision.judged == judged
        assert (decision.next is not Ending.TOO_FEW_SAMPLES or "known right answer" not in decision.reason) == known
    assert times <= MOST_TIMES


def test_samples_that_nobody_judged(homes: Homes) -> None:
    """A skill with a scorer of its own has right answers without labels: they cost a look and a round of maturing nothing."""
    for home in homes:
        home.enter(UNJUDGED)

    looked = times_as_much("a look for drift, no sample judged", homes, Filled.look)
    matured = times_as_much("a round of maturing, no sample judged", homes, Filled.mature)

    assert looked <= MOST_TIMES
    assert matured <= MOST_TIMES


def test_feedback_during_a_test(homes: Homes) -> None:
    """While a test waits for votes, feedback also looks for tasks to put to the vote, as every vote does."""
    for home in homes:
        home.start_test()

    assert times_as_much("feedback of one sample during a test", homes, Filled.tell) <= MOST_TIMES
