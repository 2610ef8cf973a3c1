"""A migrated database per test, on SQLite and on PostgreSQL, with what most tests of the tables begin with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from migrations.run import upgrade
from models import checks, feedback, runs, steps
from models.base import make_engine, sessions
from models.feedback import Feedback, Noted
from models.runs import Bell
from models.stages.bandit import save_bandit
from models.steps import Claim
from models.tables import BallotRow, SampleRow, VariantRow
from models.tallies import arm_rows
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.ballots import Ballot, Card
from pipeline.bandit import BanditDecision
from pipeline.decision import INCUMBENT, Verdict
from pipeline.domain import RunKind, SampleId, SkillName, Stage, VariantId, Waiting
from pipeline.machine_settings import Work
from pipeline.replay import Replay
from pipeline.rules import Rules
from pipeline.settings import Settings, Voting
from pipeline.skills import SkillSpec

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
TEXT = "Name the file.\n---\nDescription: {{description}}\n"
T = TypeVar("T")


@dataclass
class Memory:
    """A database with one skill's rules."""

    engine: Engine
    maker: sessionmaker[Session]
    rules: Rules
    now: datetime = NOW

    def write(self) -> AbstractContextManager[Session]:
        """Open a transaction that is committed at the end."""
        return self.maker.begin()

    def searching(self, **given: object) -> None:
        """Change the search's rules for runs that start from now on."""
        search = replace(self.rules.settings.search, **given)  # type: ignore[arg-type]  # keyword tables of tests
        self.rules = replace(self.rules, settings=replace(self.rules.settings, search=search))

    def voting(self, **given: object) -> None:
        """Change the voting rules for runs that start from now on."""
        self.rules = replace(self.rules, settings=replace(self.rules.settings, voting=Voting(**given)))  # type: ignore[arg-type]  # keyword tables of tests

    def tell(self, task_id: str, *, batch: str = "b1", now: datetime | None = None, **given: object) -> Noted:
        """Note one piece of feedback in a transaction of its own; the input is made up when none is given."""
        given.setdefault("fields", (("description", f"picture {task_id}"),))
        with self.write() as session:
            said = Feedback(task_id=task_id, **given)  # type: ignore[arg-type]  # same
            return feedback.note(session, self.rules, said, batch=batch, now=now or self.now)

    def history(self, count: int, *, right: int = 0) -> None:
        """Note *count* samples with a known right answer, the first *right* of them answered so."""
        with self.write() as session:
            for i in range(count):
                said = Feedback(
                    task_id=f"t{i}", fields=(("description", f"picture {i}"),), expected=f"name-{i}",
                    output=f"name-{i}" if i < right else "wrong",
                )  # fmt: skip
                feedback.note(session, self.rules, said, batch="history", now=self.now)

    def check(self, *, forced: bool = False, trigger: str = "feedback") -> Bell:
        """Start a drift check."""
        with self.write() as session:
            return checks.start_check(session, self.rules, TEXT, self.now, trigger=trigger, forced=forced)

    def run(self, stage: Stage = Stage.JUDGE, kind: RunKind = RunKind.EVOLUTION) -> Bell:
        """Start a bare run at *stage*."""
        with self.write() as session:
            return runs.start_run(
                session, rules=self.rules, kind=kind, trigger="test", stage=stage, version=1, seed=1, now=self.now
            )

    def claim(self, bell: Bell) -> Claim:
        """Take a step that must be there to be taken."""
        with self.write() as session:
            mine = steps.claim(session, bell.step, bell.attempt, self.now)
        assert mine is not None
        return mine

    def step(self, bell: Bell) -> StepRow:
        """Read a step's row."""
        with self.maker() as session:
            return session.get_one(StepRow, bell.step)

    def run_row(self, bell: Bell) -> RunRow:
        """Read a run's row."""
        with self.maker() as session:
            return session.get_one(RunRow, bell.run)

    def test(self, arms: int = 1, ballots: int = 8) -> Test:
        """Start a test of *arms* challengers whose ballots show one card for each prompt, the incumbent's first."""
        self.history(ballots * 4)
        instructions = tuple(f"Name the file in style {i}." for i in range(arms))
        with self.write() as session:
            bell = checks.start_manual(session, self.rules, TEXT, instructions, self.now, "a test")
        with self.write() as session:
            variants = list(session.scalars(select(VariantRow.variant_id).where(VariantRow.run_id == bell.run)))
            samples = list(session.scalars(select(SampleRow.id).where(SampleRow.split == "confirm")))[:ballots]
        mine, parts = self.claim(bell), (INCUMBENT, *(VariantId(v) for v in variants))
        cards = tuple(Card(output=f"answer {i}", arms=(arm,)) for i, arm in enumerate(parts))
        made = tuple(Ballot(sample=SampleId(sample), cards=cards) for sample in samples)
        self.launch(mine, made)
        with self.maker() as session:
            ids = list(session.scalars(select(BallotRow.id).where(BallotRow.run_id == bell.run).order_by(BallotRow.id)))
        assert len(ids) == ballots
        return Test(bell, tuple(ids), tuple(variants))

    def launch(self, mine: Claim, ballots: tuple[Ballot, ...]) -> None:
        """Save *ballots* as the bandit stage does, and wait for votes."""
        verdict = Verdict(next=Waiting.FOR_VOTES, winner=None, evidence=(), dropped=(), reason="")
        due = self.now + timedelta(days=14)
        with self.write() as session:
            begun = session.get_one(EvolutionRow, mine.run).replay
            arms = tuple(VariantId(row.variant_id) for row in arm_rows(session, mine.run))
            found = None if begun else Replay(prompts=(), kept=arms, served_by=())
            decision = BanditDecision(next=verdict.next, verdict=verdict, ballots=ballots, replay=found, due=due)
            save_bandit(session, mine, decision, self.now)
            steps.advance(session, mine, decision.next, self.now, due=due)

    def at_once(self, *work: Callable[[Session], T]) -> list[T | Exception]:
        """Do each piece of work in its own transaction and thread, all at the same time; an error is a result."""

        def one(piece: Callable[[Session], T]) -> T | Exception:
            try:
                with self.maker.begin() as session:
                    return piece(session)
            except Exception as error:  # noqa: BLE001 - which error it is, is what the test looks at
                return error

        with ThreadPoolExecutor(len(work)) as pool:
            return list(pool.map(one, work))


@dataclass(frozen=True)
class Test:
    """A test that waits for votes: its bandit step, its ballots, its challengers."""

    __test__ = False

    bell: Bell
    ballots: tuple[int, ...]
    variants: tuple[int, ...]


@pytest.fixture(name="empty_sqlite", scope="session")
def _empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate one SQLite file; every test gets a copy."""
    path = tmp_path_factory.mktemp("migrated") / "evolution.db"
    engine = make_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture(name="memory")
def _memory(database_url: str, empty_sqlite: Path, request: pytest.FixtureRequest) -> Iterator[Memory]:
    """Return a migrated database with one skill's rules."""
    if database_url.startswith("sqlite"):
        shutil.copy(empty_sqlite, database_url.removeprefix("sqlite:///"))
    engine = make_engine(database_url)
    if not database_url.startswith("sqlite"):
        upgrade(engine)
    skill = SkillSpec(name=SkillName("file-naming"), template="skills/file-naming.md", scorer="exact")
    yield Memory(engine, sessions(engine), Rules(settings=Settings(work=Work(max_crashes=2)), skill=skill))
    engine.dispose()
