"""Whole tests of hand-written prompts through the real parts, with sudden deaths: they end, count every vote once, and hold.

A real home with a migrated SQLite file, the HTTP simulator, forked jobs under the kernel lock, a person who votes. `make
test` lives three of them; `make simulate` lives 200 and prints a table. Everything the database says at the end is
held against the truth: the answers against the world's, the votes against what the person remembers, the evidence against
a recount from the rows by a formula of its own.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from migrations.run import upgrade
from models.base import make_engine
from models.tables import BallotCardRow, BallotRow, PromotionRow, PromptVersionRow, SampleRow, VariantRow, VoteRow
from models.tallies import tally
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.decision_settings import Voting
from pipeline.domain import Choice, Ending, Fate, Stage, StepState
from pipeline.policies import decide
from pipeline.rules import Rules
from tests.simulation import whole_world
from tests.simulation.decision_world import SCENARIOS, seeds
from tests.simulation.whole_world import NOBODY, Life, lived

CONFIDENCE = 0.999
REPLACED_AT, SLOWLY_S = 101, 0.005  # answer from which on another model answers, and how long each takes
EQUAL, WORSE, BETTER, ARMS = "all equal", "all worse by 5", "+15", "the seeds' arms"
POPULATION = {EQUAL: 70, WORSE: 50, BETTER: 40, ARMS: 40}
HISTORY, SHORT_HISTORY = 300, 120
VOTING = Voting()


# --- what must be true of every test --------------------------------------------------------------------------------


def check(life: Life) -> Ended:
    """Hold a test's database and configuration against the truth, and say how it ended."""
    with life.evolution.database.read() as session:
        run, evolution = session.get_one(RunRow, life.run), session.get_one(EvolutionRow, life.run)
        assert run.ending in (Ending.PROMOTED, Ending.KEPT_INCUMBENT), f"{run.ending}: {run.ending_reason}"
        assert {row.state for row in session.scalars(select(StepRow))} == {StepState.DONE}
        _votes_are_those_given(session, life)
        _answers_are_the_worlds(session, life, evolution)
        evidence = _evidence_is_that_of_the_rows(session, life, run, evolution)
        promoted = run.ending == Ending.PROMOTED
        winner = _configuration_agrees(session, life, promoted=promoted)
        votes = _verdict_follows(session, life, evolution, evidence, promoted=promoted)
        life.counts["anew"] += evolution.comparison
    deaths = life.counts["killed in bandit"] + life.counts["killed in promote"]
    assert life.counts["paid twice"] <= deaths  # the call in flight, and no other
    best = winner == life.instructions[life.accuracies.index(max(life.accuracies))]
    return Ended(promoted=promoted, best=best, votes=votes, counts=life.counts)


def _votes_are_those_given(session: Session, life: Life) -> None:
    """No vote is lost, none is there twice, and none that was taken back."""
    rows = {row.ballot_id: (Choice(row.choice), row.position) for row in session.scalars(select(VoteRow))}
    assert rows == life.given
    assert len(rows) == life.counts["said"] - life.counts["undone"]
    assert set(session.scalars(select(BallotRow.id).where(BallotRow.outcome == "voted"))) == set(rows)
    assert "open" not in set(session.scalars(select(BallotRow.outcome)))


def _answers_are_the_worlds(session: Session, life: Life, evolution: EvolutionRow) -> None:
    """Every card and every replayed answer is that of its prompt on its task, by one model within a comparison."""
    tasks = {row.id: row.task_id for row in session.scalars(select(SampleRow))}
    told = {0: life.instructions[0]} | {r.variant_id: r.prompt_text for r in session.scalars(select(VariantRow))}
    cards: dict[int, list[tuple[str, str, str]]] = {}
    for card, ballot in session.execute(select(BallotCardRow, BallotRow).join(BallotRow)):
        for arm in card.arms.split(","):
            cards.setdefault(ballot.comparison, []).append((told[int(arm)], tasks[ballot.sample_id], card.output))
    for shown in cards.values():
        assert any(all(life.world.reply(t, task, r) == out for t, task, out in shown) for r in _revisions(life))
    right = [
        (told[int(variant)], tasks[int(sample)], bool(ok))
        for part in ("select", "confirm", "report")
        for variant, outcomes in json.loads(evolution.replay)[part].items()
        for sample, _, ok in outcomes
    ]
    assert len(right) >= len(life.accuracies) * 10
    assert any(all((life.world.quality(t, task, r) > 0) == ok for t, task, ok in right) for r in _revisions(life))


def _evidence_is_that_of_the_rows(
    session: Session, life: Life, run: RunRow, evolution: EvolutionRow
) -> dict[int, tuple[float, float]]:
    """Recount replay and votes from the rows: the product's tally and verdict say the same.

    Returns:
        By challenger that went on, its evidence and the part of it that is the votes'.
    """
    replay = json.loads(evolution.replay)
    counted = tally(session, life.run)
    verdict = decide(Rules.from_json(run.rules), counted, run.ended_at or run.created_at)
    votes = _recounted(session, life, evolution.comparison)
    evidence: dict[int, tuple[float, float]] = {}
    for arm, told in zip(counted.arms, verdict.evidence, strict=True):
        variant = int(arm.variant)
        start, replayed = _start(replay, variant), _compared(replay["confirm"], variant)
        assert (arm.wins, arm.losses) == votes[variant]
        assert (arm.replay_wins, arm.replay_losses) == replayed
        assert arm.start == pytest.approx(start, rel=1e-9)
        evidence[variant] = start * mixture(*replayed) * mixture(*votes[variant]), mixture(*votes[variant])
        assert told == pytest.approx(evidence[variant][0], rel=1e-6)
    return evidence


def _configuration_agrees(session: Session, life: Life, *, promoted: bool) -> str:
    """Database, configuration and files say the same, and nothing was promoted twice; return the winner, or nothing."""
    rows = session.scalars(select(PromotionRow)).all()
    skills = life.home.config.parent / "skills"
    version = session.scalars(select(PromptVersionRow).where(PromptVersionRow.active)).one()
    winners = session.scalars(select(VariantRow).where(VariantRow.fate == Fate.WINNER)).all()
    files = {file.name: file.read_text(encoding="utf-8") for file in skills.iterdir()}
    assert len(rows) == len(winners) == len(files) - 1 == version.version - 1 == int(promoted)
    assert f"prompt_version: {version.version}\n" in life.home.config.read_text(encoding="utf-8")
    assert files[Path(version.template).name] == version.text
    assert files["colours.md"].startswith(life.instructions[0])
    if not promoted:
        return ""
    assert rows[0].state == "applied"
    assert version.text.startswith(winners[0].prompt_text)
    return winners[0].prompt_text


def _verdict_follows(
    session: Session, life: Life, evolution: EvolutionRow, evidence: dict[int, tuple[float, float]], *, promoted: bool
) -> int:
    """The ending is that of the rule, looked at from outside: enough evidence and votes, or not; return the votes."""
    votes = tally(session, life.run).votes
    best = max((found for found, _ in evidence.values()), default=0.0)
    promotions = select(StepRow).where(StepRow.stage == Stage.PROMOTE)
    assert len(session.scalars(promotions).all()) == int(promoted)
    assert votes <= VOTING.max_votes
    if promoted:
        row = session.scalars(select(PromotionRow)).one()
        assert best >= VOTING.promote_e * len(evidence)
        assert votes >= VOTING.min_votes
        assert row.votes == votes
        assert row.e_value == pytest.approx(best, rel=1e-6)
        return votes
    nobody_ahead = not json.loads(evolution.replay)["kept"]
    all_lost = all(min(found) <= VOTING.futility_e for found in evidence.values())
    assert nobody_ahead or all_lost or votes == VOTING.max_votes
    return votes


# --- recounting -----------------------------------------------------------------------------------------------------


def mixture(wins: int, losses: int) -> float:
    """Return the e-value of a Beta(12, 6) mixture over win rates above 1/2, by scipy's functions instead of whole numbers."""
    from scipy.special import betaincc, betaln  # noqa: PLC0415 - scipy costs 0.3 s to import

    a, b = VOTING.prior_wins, VOTING.prior_losses
    grown = math.exp((wins + losses) * math.log(2) + betaln(a + wins, b + losses) - betaln(a, b))
    return float(grown * betaincc(a + wins, b + losses, 0.5) / betaincc(a, b, 0.5))


def _start(replay: dict[str, Any], variant: int) -> float:
    """Return what the choice on the select part is worth: half of it is certain, half goes with its evidence."""
    challengers = len(replay["select"]) - 1
    if variant not in replay["kept"] or challengers < 1:
        return 1.0
    kept = len(replay["kept"])
    return 0.5 + 0.5 * kept / challengers * mixture(*_compared(replay["select"], variant))


def _compared(part: dict[str, list[list[float]]], variant: int) -> tuple[int, int]:
    """Count the tasks of a part on which *variant* did better than the prompt in use, and worse."""
    base = {sample: value for sample, value, _ in part.get("0", ())}
    pairs = [(value, base[sample]) for sample, value, _ in part.get(str(variant), ())]
    return sum(ours > theirs for ours, theirs in pairs), sum(ours < theirs for ours, theirs in pairs)


def _recounted(session: Session, life: Life, comparison: int) -> dict[int, tuple[int, int]]:
    """Count wins and losses of the newest comparison from what the person remembers and from the cards."""
    wins, losses = Counter[int](), Counter[int]()
    newest = set(session.scalars(select(BallotRow.id).where(BallotRow.comparison == comparison)))
    for ballot in newest & set(life.given):
        choice, position = life.given[ballot]
        cards = session.scalars(select(BallotCardRow).where(BallotCardRow.ballot_id == ballot)).all()
        arms = {card.position: {int(arm) for arm in card.arms.split(",")} for card in cards}
        picked = arms[position] if choice is Choice.PICK and position else set[int]()
        others = set[int]().union(*arms.values()) - picked
        (losses if 0 in picked else wins).update(others if 0 in picked else picked)
    variants = session.scalars(select(VariantRow.variant_id))
    return {variant: (wins[variant], losses[variant]) for variant in variants}


def _revisions(life: Life) -> range:
    return range(life.world.revision + 1)


# --- populations ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one test ended.

    Attributes:
        promoted: a challenger is in use; `best`: it is the most accurate of all.
        votes: that counted.
        counts: what happened on the way, by name.
    """

    promoted: bool
    best: bool
    votes: int
    counts: Counter[str]


@pytest.fixture(name="live")
def _live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], Ended]:
    """Return what lives one test of a scenario with a seed and a history, and checks it."""
    for name in ("DATABASE_URL", "EVOCTL_HOME", "EVOCTL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RQ_REDIS_URL", NOBODY)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    engine = make_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    upgrade(engine)
    engine.dispose()

    def live(name: str, seed: int, history: int) -> Ended:
        folder = tmp_path / f"test-{seed}"
        with lived(folder, tmp_path / "empty.db", SCENARIOS[name], seed, history) as life:
            ended = check(life)
        shutil.rmtree(folder)
        return ended

    return live


@pytest.mark.parametrize("name", [EQUAL, BETTER, ARMS])
def test_a_whole_test_survives_sudden_deaths(live: Callable[[str, int, int], Ended], name: str) -> None:
    """With processes killed, votes sent twice and votes taken back, a test ends as its rows and its rule say."""
    (seed,) = seeds(f"one whole test, {name}", 1)

    ended = live(name, seed, SHORT_HISTORY)

    assert ended.counts["said"] - ended.counts["undone"] >= ended.votes


def test_a_model_replaced_while_a_job_works_begins_the_comparison_anew(
    live: Callable[[str, int, int], Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest changes in the middle of the replay, which takes seconds: no comparison mixes two models."""
    answer, asked = whole_world.WholeWorld.answer, count(1)

    def replaced(world: whole_world.WholeWorld, ask: Any) -> Any:
        world.revision += next(asked) == REPLACED_AT
        time.sleep(SLOWLY_S)
        return answer(world, ask)

    monkeypatch.setattr(whole_world.WholeWorld, "answer", replaced)
    monkeypatch.setattr(whole_world, "KILLED", 0.0)
    monkeypatch.setattr(whole_world, "CHANGED", 0.0)
    monkeypatch.setattr(whole_world, "EARLY", 1.0)

    ended = live(BETTER, 4, HISTORY)

    assert ended.counts["anew"] == 1


@pytest.mark.simulate
@pytest.mark.timeout(3000)
def test_two_hundred_whole_tests(live: Callable[[str, int, int], Ended], capsys: pytest.CaptureFixture[str]) -> None:
    """All end and agree with their rows; prompts that are no better are promoted in at most 5 %, much better ones mostly."""
    found: dict[str, list[Ended]] = {}
    for name, tests in POPULATION.items():
        began = time.perf_counter()
        found[name] = [live(name, seed, HISTORY) for seed in seeds(f"whole tests, {name}", tests)]
        with capsys.disabled():
            show(name, found[name], time.perf_counter() - began)

    promoted = {name: sum(one.promoted for one in ended) for name, ended in found.items()}
    for name in (EQUAL, WORSE):
        assert at_least(promoted[name], POPULATION[name]) <= 0.05
    assert at_least(promoted[EQUAL] + promoted[WORSE], POPULATION[EQUAL] + POPULATION[WORSE]) <= 0.05
    assert at_least(promoted[BETTER], POPULATION[BETTER]) >= 0.5
    assert at_most(promoted[ARMS], POPULATION[ARMS]) >= 0.79


def show(name: str, ended: list[Ended], took_s: float) -> None:
    """Print a line of the table."""
    counts: Counter[str] = sum((one.counts for one in ended), Counter())
    tests, what = len(ended), ("killed in bandit", "killed in promote", "jobs", "twice", "undone", "anew", "paid twice")
    print(  # noqa: T201 - a measurement
        f"{name:16} {tests:3} tests  promoted {sum(o.promoted for o in ended):2}  the best {sum(o.best for o in ended):2}  "
        f"votes {fmean(o.votes for o in ended):4.1f}  {took_s / tests:.1f} s each  "
        + "  ".join(f"{one} {counts[one]}" for one in what)
    )


def at_least(found: int, of: int) -> float:
    """Return the lower end of the exact one-sided interval for a share (Clopper and Pearson)."""
    from scipy.special import betaincinv  # noqa: PLC0415 - scipy costs 0.3 s to import

    return float(betaincinv(found, of - found + 1, 1 - CONFIDENCE)) if found else 0.0


def at_most(found: int, of: int) -> float:
    """Return its upper end."""
    return 1 - at_least(of - found, of)
