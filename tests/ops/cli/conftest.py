"""A host with the example skills and a migrated database, and `evoctl` as a function."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from models.feedback import Feedback
from models.stages.bandit import save_bandit
from models.steps import advance, claim
from models.tables import BallotCardRow, BallotRow, SampleRow, VariantRow
from models.work_tables import StepRow
from ops.cli.main import cli
from pipeline.ballots import Ballot, Card
from pipeline.bandit import BanditDecision
from pipeline.decision import INCUMBENT, Verdict
from pipeline.domain import Choice, Label, SampleId, VariantId, Waiting
from pipeline.replay import Replay
from workers.client import Evolution
from workers.clock import now
from workers.home import Home

NOBODY = "redis://127.0.0.1:1/0"  # a port that nothing listens on


@dataclass(frozen=True)
class Said:
    """What one call of evoctl printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The data of the one JSON document on standard output."""
        document = json.loads(self.out)
        assert document["ok"] is True
        return document["data"]

    @property
    def error(self) -> dict[str, Any]:
        """The one JSON line on standard error."""
        assert self.err.count("\n") == 1, self.err
        document = json.loads(self.err)
        assert (document["schema"], document["ok"]) == ("evoctl.error/1", False)
        return dict(document)


Evoctl = Callable[..., Said]


@pytest.fixture(name="evoctl")
def _evoctl() -> Evoctl:
    """Return evoctl as a function: words in, exit code and output out."""

    def call(*words: str, given: str | bytes | None = None) -> Said:
        result = CliRunner().invoke(cli, list(words), input=given)
        return Said(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(name="set_up", scope="session")
def _set_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set a home up once; every test gets a copy."""
    folder = tmp_path_factory.mktemp("set-up")
    result = CliRunner().invoke(
        cli, ["--home", str(folder / "home"), "--config", str(folder / "host" / "config.yaml"), "init", "--example"]
    )
    assert result.exit_code == 0, result.output
    config = folder / "host" / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("# ollama_url: http://127.0.0.1:11434", "ollama_url: http://127.0.0.1:1"), "utf-8")
    return folder


@pytest.fixture(name="clean_environment", autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Keep the developer's own settings out, and every file inside the test's folder."""
    for name in ("DATABASE_URL", "EVOCTL_HOME", "EVOCTL_CONFIG", "NO_COLOR", "_EVOCTL_COMPLETE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RQ_REDIS_URL", NOBODY)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield
    os.environ.pop("RQ_WORKER_CLASS", None)  # `supervise` sets it for the process that it becomes


@pytest.fixture(name="host")
def _host(set_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a home that is set up, with a host of four skills, named by the environment."""
    shutil.copytree(set_up / "home", tmp_path / "home")
    shutil.copytree(set_up / "host", tmp_path / "host")
    (tmp_path / "home").chmod(0o700)
    monkeypatch.setenv("EVOCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EVOCTL_CONFIG", str(tmp_path / "host" / "config.yaml"))
    return Home(tmp_path / "home", tmp_path / "host" / "config.yaml")


@dataclass(frozen=True)
class Trial:
    """A test of two challengers that waits for votes."""

    run: int
    ballots: tuple[int, ...]
    variants: tuple[int, ...]
    evolution: Evolution

    def vote(self, *positions: int | None) -> None:
        """Vote on the next ballots: a position picks, None is a tie."""
        for position in positions:
            ballot = self.evolution.next_ballot()
            assert ballot is not None
            choice = Choice.TIE if position is None else Choice.PICK
            self.evolution.vote(ballot.ballot, choice, position=position)

    def outputs(self, text: str) -> None:
        """Make every result of every ballot begin with *text*."""
        with self.evolution.database.write() as session:
            for card in session.scalars(select(BallotCardRow)):
                card.output = f"{text} {card.position}"


@pytest.fixture(name="evolution")
def _evolution(host: Home) -> Iterator[Evolution]:
    """Return the pipeline of the host."""
    with Evolution(host) as evolution:
        yield evolution


@pytest.fixture(name="fill")
def _fill(evolution: Evolution) -> Callable[..., None]:
    """Return a writer of histories, in which the first *right* outputs are right."""

    def fill(count: int, *, right: int = 0) -> None:
        evolution.feedback(
            "file-naming",
            [
                Feedback(
                    task_id=f"t{i}", fields=(("description", f"picture {i}"), ("original_name", "a.png")),
                    output="red-barn-in-snow.png" if i < right else "x.png", expected="red-barn-in-snow.png",
                    label=Label.OK if i < right else Label.BAD,
                )
                for i in range(count)
            ],
        )  # fmt: skip

    return fill


@pytest.fixture(name="trial")
def _trial(evolution: Evolution, fill: Callable[..., None]) -> Trial:
    """Start a test of two challengers with ballots: the incumbent's result first, then theirs."""
    fill(30, right=30)  # a healthy history, so that no drift check begins
    started = evolution.create("file-naming", ("Name the file shortly.", "Name the file at length."), reason="a test")
    at = now()
    with evolution.database.write() as session:
        variants = list(session.scalars(select(VariantRow.variant_id).where(VariantRow.run_id == started.run)))
        samples = list(session.scalars(select(SampleRow.id).where(SampleRow.split == "confirm")))[:8]
        step = session.scalars(select(StepRow.id).where(StepRow.run_id == started.run)).one()
        mine = claim(session, step, 1, at)
        assert mine is not None
        cards = tuple(
            Card(output=f"result {i}", arms=(arm,)) for i, arm in enumerate((INCUMBENT, *map(VariantId, variants)))
        )
        verdict = Verdict(next=Waiting.FOR_VOTES, winner=None, evidence=(), dropped=(), reason="")
        made = tuple(Ballot(sample=SampleId(sample), cards=cards) for sample in samples)
        found = Replay(prompts=(), kept=tuple(map(VariantId, variants)), served_by=())
        decision = BanditDecision(next=verdict.next, verdict=verdict, ballots=made, replay=found)
        save_bandit(session, mine, decision, at)
        advance(session, mine, verdict.next, at)
        ballots = tuple(session.scalars(select(BallotRow.id).where(BallotRow.run_id == started.run)))
    return Trial(started.run, ballots, tuple(variants), evolution)
