"""Stage 5 of 6 — bandit: blind ballots, Thompson allocation, and a decision that few votes cannot fool.

Each ballot holds the incumbent's result and those of challengers drawn by Thompson sampling. A pick of the incumbent is a
loss for every challenger shown, a pick of a challenger is a win for it, anything else says nothing. Per challenger the
wins and losses feed an e-process for "wins at most half of the time": it may be looked at after every vote, and a prompt
that is no better reaches the mark with probability at most 1/20 over all challengers together (Ville; Bonferroni over m).
P(best) is shown to people and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.algorithms.beta import thompson
from pipeline.algorithms.eprocess import e_value
from pipeline.algorithms.streams import seed32, stream
from pipeline.domain import Ending, Next, SampleId, Stage, VariantId, Waiting
from pipeline.fitness import Item, Result, evaluate, task_request
from pipeline.flow import Failed, Flow, generate
from pipeline.rules import Rules
from pipeline.skills import PromptTemplate

INCUMBENT = VariantId(0)  # stands for the prompt in use wherever arms are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A challenger and its conditional counts against the incumbent."""

    variant: VariantId
    name: str
    instruction: str
    wins: int
    losses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the votes say so far.

    Attributes:
        votes: all votes that count towards the cap: picks, ties and "none".
        since: when voting began; None before the first ballot.
    """

    arms: tuple[Arm, ...]
    votes: int
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Where the test stands.

    Attributes:
        next: PROMOTE, an ending, or Waiting.FOR_VOTES.
        winner: the challenger to promote.
        evidence: per arm, in the order of the tally, its e-value.
        dropped: challengers that further ballots leave out.
    """

    next: Next
    winner: VariantId | None
    evidence: tuple[float, ...]
    dropped: tuple[VariantId, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An input that may become a ballot."""

    sample: SampleId
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditCase:
    """The test and what may be put to the vote.

    Attributes:
        tasks: inputs not yet balloted, new ones before those of the history, none of them used in the search.
        open_ballots: ballots that wait for a vote.
        report_items: samples nothing was selected on; every arm is run on them once, on the first visit.
        reported: that has been done.
    """

    rules: Rules
    seed: int
    now: datetime
    template: PromptTemplate
    tally: Tally
    tasks: tuple[Task, ...]
    open_ballots: int
    report_items: tuple[Item, ...]
    reported: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One distinct result; identical results share a card, so that no look tells them apart."""

    output: str
    arms: tuple[VariantId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """A task's results in the order they are shown; a single card needs no vote."""

    sample: SampleId
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditDecision:
    """New ballots, the verdict, and how every arm did on the samples for the report."""

    next: Next
    verdict: Verdict
    ballots: tuple[Ballot, ...]
    report: tuple[tuple[VariantId, Result], ...]
    due: datetime | None

    @property
    def reason(self) -> str:
        """Why it goes where it goes."""
        return self.verdict.reason


def bandit(case: BanditCase) -> Flow[BanditDecision]:
    """Report once, then keep the set number of ballots open until the votes decide."""
    verdict = decide(case.rules, case.tally, case.now)
    report: tuple[tuple[VariantId, Result], ...] = ()
    ballots: tuple[Ballot, ...] = ()
    if verdict.next is Waiting.FOR_VOTES:
        if not case.reported:
            report = yield from _report(case)
        ballots = yield from _ballots(case, verdict)
    due = (case.tally.since or case.now) + timedelta(days=case.rules.settings.voting.max_days)
    return BanditDecision(next=verdict.next, verdict=verdict, ballots=ballots, report=report, due=due)


def decide(rules: Rules, tally: Tally, now: datetime) -> Verdict:
    """Judge the votes; called in the transaction of every vote.

    The order of votes does not matter, and deciding later or twice changes nothing.
    """
    voting, m = rules.settings.voting, max(1, len(tally.arms))
    evidence = tuple(e_value(arm.wins, arm.losses, voting.prior_wins, voting.prior_losses) for arm in tally.arms)
    mark = voting.promote_e * m
    dropped = tuple(arm.variant for arm, e in zip(tally.arms, evidence, strict=True) if e <= voting.futility_e)
    best = max(range(len(tally.arms)), key=lambda i: (evidence[i], -i), default=None)

    def verdict(to: Next, reason: str, winner: VariantId | None = None) -> Verdict:
        return Verdict(next=to, winner=winner, evidence=evidence, dropped=dropped, reason=reason)

    if best is None:
        return verdict(Ending.KEPT_INCUMBENT, "there is no challenger")
    if evidence[best] >= mark and tally.votes >= voting.min_votes:
        leader = tally.arms[best]
        return verdict(
            Stage.PROMOTE,
            f"{leader.name} won {leader.wins} of {leader.wins + leader.losses} against the prompt in use; "
            f"evidence {evidence[best]:.3g} of {mark:g} needed",
            leader.variant,
        )
    if len(dropped) == len(tally.arms):
        return verdict(Ending.KEPT_INCUMBENT, "every challenger lost too often to go on")
    if tally.votes >= voting.max_votes:
        return verdict(Ending.KEPT_INCUMBENT, f"{tally.votes} votes did not show a better prompt")
    if tally.since is not None and now >= tally.since + timedelta(days=voting.max_days):
        return verdict(
            Ending.KEPT_INCUMBENT, f"{voting.max_days:g} days brought {tally.votes} votes: not enough to tell"
        )
    return verdict(
        Waiting.FOR_VOTES, f"best evidence {evidence[best]:.3g} of {mark:g} needed after {tally.votes} votes"
    )


def _report(case: BanditCase) -> Flow[tuple[tuple[VariantId, Result], ...]]:
    """Run the incumbent afresh and every challenger on the same untouched samples."""
    results: list[tuple[VariantId, Result]] = []
    for variant, template in _templates(case).items():
        result = yield from evaluate(case.rules, template, case.report_items, case.seed)
        results.append((variant, result))
    return tuple(results)


def _ballots(case: BanditCase, verdict: Verdict) -> Flow[tuple[Ballot, ...]]:
    """Make ballots until enough wait for a vote, or no task is left; equal results need none and do not count."""
    made: list[Ballot] = []
    waiting = case.open_ballots
    for task in case.tasks:
        if waiting >= case.rules.settings.voting.open_ballots:
            break
        ballot = yield from _ballot(case, task, verdict)
        if ballot is not None:
            made.append(ballot)
            waiting += len(ballot.cards) > 1
    return tuple(made)


def _ballot(case: BanditCase, task: Task, verdict: Verdict) -> Flow[Ballot | None]:
    """Run the incumbent and the drawn challengers on one task; None when a call failed."""
    templates = _templates(case)
    outputs: dict[str, list[VariantId]] = {}
    for variant in (INCUMBENT, *draw(case, task, verdict)):
        seed = seed32(case.seed, "task", task.sample)
        reply = yield from generate(task_request(case.rules, templates[variant], task.fields, seed))
        if isinstance(reply, Failed):
            return None
        outputs.setdefault(_keepable(reply.text).strip(), []).append(variant)
    cards = [Card(output=output, arms=tuple(arms)) for output, arms in outputs.items()]
    order = stream(case.seed, "order", task.sample).permutation(len(cards))
    return Ballot(sample=task.sample, cards=tuple(cards[int(i)] for i in order))


def draw(case: BanditCase, task: Task, verdict: Verdict) -> tuple[VariantId, ...]:
    """Draw the challengers of one ballot by Thompson sampling from Beta(1 + wins, 1 + losses)."""
    arms = [arm for arm in case.tally.arms if arm.variant not in verdict.dropped]
    rng = stream(case.seed, "thompson", task.sample, case.tally.votes)
    draws = thompson(rng, tuple(arm.wins for arm in arms), tuple(arm.losses for arm in arms))
    best = sorted(range(len(arms)), key=lambda i: -draws[i])[: case.rules.settings.voting.cards - 1]
    return tuple(arms[i].variant for i in best)


def _keepable(text: str) -> str:
    """Replace what no database keeps as text: zero bytes, and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _templates(case: BanditCase) -> dict[VariantId, PromptTemplate]:
    arms = {arm.variant: case.template.with_instruction(arm.instruction) for arm in case.tally.arms}
    return {INCUMBENT: case.template, **arms}
