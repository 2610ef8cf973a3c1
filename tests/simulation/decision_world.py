"""A population of tests: prompts with a latent quality, logged tasks with a metric, and a person who votes.

One latent quality per prompt and task: u = m + sqrt(rho) z + sqrt(1 - rho) e with a z shared by all prompts of the task; an
answer is right when u > 0. A person prefers the higher u + noise, sees no difference within the tie zone, and sometimes
clicks the first card without looking (decision study A6). Everything that decides is the product's own code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from pipeline.algorithms.streams import stream
from pipeline.ballots import Making, Task, arrangement, draw
from pipeline.decision import INCUMBENT, Arm, Paired, Tally
from pipeline.domain import SampleId, SkillName, Stage, VariantId, Waiting
from pipeline.fitness import Item
from pipeline.policies import SEEDS, decide
from pipeline.population import Outcome
from pipeline.replay import Replay, ReplayCase, Replayed, choose, starts
from pipeline.rules import Rules
from pipeline.settings import Settings, Voting
from pipeline.skills import PromptTemplate, SkillSpec

NOW = datetime(2026, 5, 4, tzinfo=UTC)
SCENARIOS: dict[str, tuple[float, ...]] = {
    "all equal": (0.78, 0.78, 0.78, 0.78),
    "all equal at .90": (0.90, 0.90, 0.90, 0.90),
    "all worse by 5": (0.78, 0.73, 0.73, 0.73),
    "mixed": (0.78, 0.70, 0.75, 0.83),
    "+5": (0.78, 0.78, 0.78, 0.83),
    "+10": (0.78, 0.78, 0.78, 0.88),
    "+15": (0.78, 0.78, 0.78, 0.93),
    "the seeds' arms": (0.78, 0.82, 0.87, 0.91),
}


@dataclass(frozen=True, kw_only=True)
class World:
    """What a test meets.

    Attributes:
        accuracies: of the prompt in use and of each challenger.
        select, confirm: logged tasks of the two parts of the replay; `report`: samples that the notes' rule measures on.
        rho: latent correlation of two prompts' success on one task.
        noise: standard deviation of what a person perceives; `tie_zone`: differences that are none to a person.
        lazy: share of votes that go to the first card unseen.
        metric_error: share of right and wrong that the scorer confuses.
        unseen: no search has chosen by the select part before, as with prompts that a person wrote.
    """

    accuracies: tuple[float, ...]
    select: int = 60
    confirm: int = 100
    report: int = 24
    rho: float = 0.5
    noise: float = 0.5
    tie_zone: float = 0.3
    lazy: float = 0.1
    metric_error: float = 0.0
    unseen: bool = True
    voting: Voting = field(default_factory=Voting)

    @property
    def rules(self) -> Rules:
        """The rules of such a test."""
        return Rules(
            settings=replace(Settings(), voting=self.voting), skill=SkillSpec(name=SkillName("s"), template="s.md")
        )

    def qualities(self, rng: np.random.Generator, tasks: int) -> np.ndarray:
        """Draw the latent quality of every prompt on *tasks* tasks: shape (tasks, prompts)."""
        from scipy.special import ndtri  # noqa: PLC0415 - scipy costs 0.3 s to import

        shared = rng.standard_normal((tasks, 1)) * self.rho**0.5
        own = rng.standard_normal((tasks, len(self.accuracies))) * (1 - self.rho) ** 0.5
        means: np.ndarray = ndtri(np.array(self.accuracies))
        return means + shared + own


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one test ended.

    Attributes:
        winner: index of the challenger promoted, 1 or higher; 0 when the prompt in use stays.
        votes: votes cast until then.
        evidence_votes: votes after which the evidence alone had decided, without the least number before a promotion.
    """

    winner: int
    votes: int
    evidence_votes: int


def run(world: World, seed: int) -> Ended:
    """Run one test from its replay to its end."""
    rng, rules = np.random.default_rng(seed), world.rules
    if world.voting.policy == SEEDS:
        arms = _reported(world, rng)
    else:
        arms = _replayed(world, rng, rules) if world.select or world.confirm else _unmeasured(world, rng)
    if not arms:
        return Ended(winner=0, votes=0, evidence_votes=0)
    eager = replace(world, voting=replace(world.voting, min_votes=0)).rules
    votes, decided = 0, -1
    picks, losses, shown = 0, 0, 0
    while True:
        tally = Tally(arms=arms, votes=votes, since=NOW, picks=picks, losses=losses, shown=shown)
        verdict = decide(rules, tally, NOW)
        if decided < 0 and decide(eager, tally, NOW).next is not Waiting.FOR_VOTES:
            decided = votes
        if verdict.next is not Waiting.FOR_VOTES:
            winner = int(verdict.winner) if verdict.next is Stage.PROMOTE and verdict.winner else 0
            return Ended(winner=winner, votes=votes, evidence_votes=max(decided, 0))
        making = Making(rules=rules, seed=seed, templates={}, tally=tally, verdict=verdict, made={})
        cards = draw(making, Task(sample=SampleId(votes), fields=()))
        picked = _pick(world, rng, cards, arrangement(seed, len(cards), votes))
        votes += 1
        if INCUMBENT in cards:
            picks, losses, shown = picks + (picked == INCUMBENT), losses + (picked not in (INCUMBENT, None)), shown + 1
        arms = tuple(_counted(arm, cards, picked) for arm in arms)


def _replayed(world: World, rng: np.random.Generator, rules: Rules) -> tuple[Arm, ...]:
    """Run the prompts on the logged tasks and keep whom the product's own choice keeps."""
    parts = {}
    for part, n in (("select", world.select), ("confirm", world.confirm)):
        right = world.qualities(rng, n) > 0
        seen = right ^ (rng.random(right.shape) < world.metric_error)
        parts[part] = [
            tuple(Outcome(sample=SampleId(i), value=float(ok), correct=bool(ok)) for i, ok in enumerate(column))
            for column in seen.T
        ]
    variants = [VariantId(i) for i in range(len(world.accuracies))]
    case = ReplayCase(
        rules=rules, seed=0, templates={v: PromptTemplate("", "") for v in variants},
        select=tuple(Item(sample=SampleId(i), fields=(), expected="") for i in range(world.select)), confirm=(),
        report=(), known={}, challengers=world.voting.challengers, unseen=world.unseen,
    )  # fmt: skip
    selected = dict(zip(variants, parts["select"], strict=True)) if world.select else {}
    kept, _ = choose(case, selected)
    found = Replay(
        prompts=tuple(Replayed(variant=v, confirm=parts["confirm"][v]) for v in variants), kept=kept, served_by=(),
        starts=starts(case, selected, kept),
    )  # fmt: skip
    counts = {v: found.wins_losses(v) for v in kept}
    return tuple(
        Arm(
            variant=v, name=f"variant_{v}", instruction="", wins=0, losses=0, start=found.start(v), replay_wins=counts[v][0],
            replay_losses=counts[v][1], flags=found.flags(v),
        )
        for v in sorted(kept)
    )  # fmt: skip


def _reported(world: World, rng: np.random.Generator) -> tuple[Arm, ...]:
    """Run all prompts on the samples of the report, as the research notes' policy does."""
    right = world.qualities(rng, world.report) > 0
    arms = []
    for i in range(1, len(world.accuracies)):
        flags = Paired()
        for row in right:
            flags = flags.plus(incumbent=bool(row[0]), challenger=bool(row[i]))
        arms.append(Arm(variant=VariantId(i), name=f"variant_{i}", instruction="", wins=0, losses=0, flags=flags))
    return tuple(arms)


def _unmeasured(world: World, rng: np.random.Generator) -> tuple[Arm, ...]:
    """Without a logged task nobody knows which challengers are the better ones: any of them go on."""
    chosen = rng.permutation(len(world.accuracies) - 1)[: world.voting.challengers] + 1
    return tuple(
        Arm(variant=VariantId(int(i)), name=f"variant_{i}", instruction="", wins=0, losses=0) for i in sorted(chosen)
    )


def _pick(
    world: World, rng: np.random.Generator, cards: tuple[VariantId, ...], order: tuple[int, ...]
) -> VariantId | None:
    """Let the person choose; None is no difference."""
    quality = world.qualities(rng, 1)[0]
    felt = {card: quality[card] + world.noise * rng.standard_normal() for card in cards}
    if rng.random() < world.lazy:
        return cards[order[0]]
    best, second = sorted(felt.values(), reverse=True)[:2]
    if best - second < world.tie_zone:
        return None
    return max(cards, key=lambda card: felt[card])


def _counted(arm: Arm, cards: tuple[VariantId, ...], picked: VariantId | None) -> Arm:
    if arm.variant not in cards:
        return arm
    won = picked == arm.variant
    beside = INCUMBENT in cards
    return replace(
        arm, wins=arm.wins + (won and beside), losses=arm.losses + (picked == INCUMBENT), picks=arm.picks + won,
        shown=arm.shown + 1,
    )  # fmt: skip


def seeds(name: str, count: int) -> list[int]:
    """Draw *count* seeds for the scenario *name*."""
    return [int(x) for x in stream(20260504, "tests", name).integers(1, 2**31 - 1, size=count)]
