"""Stage 5 of 6 — bandit: replay, blind ballots, and a decision that few votes cannot fool.

The first visit replays the prompts on logged tasks: the part *select* leaves one challenger (or more, by setting), the
held-out part *confirm* gives the evidence that the votes start from. Later visits keep the set number of ballots open
until the votes, or the calendar, have decided. Whatever changes the comparison (the prompt in use, the task model's digest,
the server's version) starts it anew: its old votes were about something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline.ballots import Ballot, Making, Task, ballot
from pipeline.decision import INCUMBENT, LIVE, Tally, Verdict
from pipeline.domain import Ending, Next, Stage, VariantId, Waiting
from pipeline.fitness import Item
from pipeline.flow import Flow
from pipeline.policies import SEEDS, decide
from pipeline.population import Outcome
from pipeline.replay import Replay, ReplayCase, replay, watched
from pipeline.rules import Rules
from pipeline.skills import PromptTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditCase:
    """The test and what may be put to the vote.

    Attributes:
        template: of the prompt in use.
        tally: what replay and votes say; before the replay all challengers, each without counts.
        tasks: inputs not yet balloted, new ones before those of the history, none of them used in search or replay.
        more: there are perhaps more such inputs than one visit looks at.
        open_ballots: ballots that wait for a vote; `expiring`: when the oldest of them expires.
        made: how many ballots of the run have so many cards.
        select_items, confirm_items, report_items: logged tasks of the replay, each part for one purpose.
        known: per prompt, what the search measured on the select part under the same model.
        unseen: nobody has chosen by the select part before.
        replayed: that has been done, or was decided against.
        served_by: model digest and server version of the comparison so far; empty before its first answer.
        changed: what has changed the comparison since; empty when nothing has.
    """

    rules: Rules
    seed: int
    now: datetime
    template: PromptTemplate
    tally: Tally
    tasks: tuple[Task, ...]
    open_ballots: int
    expiring: datetime | None
    made: Mapping[int, int]
    select_items: tuple[Item, ...]
    confirm_items: tuple[Item, ...]
    report_items: tuple[Item, ...]
    known: Mapping[VariantId, tuple[Outcome, ...]]
    replayed: bool
    more: bool = False
    unseen: bool = False
    served_by: str = ""
    changed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditDecision:
    """New ballots, the verdict, and what the replay found.

    Attributes:
        replay: None where none was made in this visit.
        served_by: who answered; empty when nobody was asked.
        restart: why the comparison begins anew; empty when it goes on.
        due: when the calendar looks again.
    """

    next: Next
    verdict: Verdict
    ballots: tuple[Ballot, ...] = ()
    replay: Replay | None = None
    served_by: str = ""
    restart: str = ""
    due: datetime | None = None

    @property
    def reason(self) -> str:
        """Why it goes where it goes."""
        return self.restart or self.verdict.reason


def bandit(case: BanditCase) -> Flow[BanditDecision]:
    """Replay once, then keep the set number of ballots open until the test is decided."""
    case = replace(case, tally=replace(case.tally, since=case.tally.since or case.now))  # the calendar runs from here
    verdict, found = decide(case.rules, case.tally, case.now), None
    if case.changed:
        return _anew(verdict, case.changed)
    if verdict.next is Waiting.FOR_VOTES and not case.replayed:
        found = yield from replay(_replay_case(case))
        if len(found.served_by) > 1:
            return _anew(verdict, "the task model or Ollama changed during the replay")
        case = replace(case, tally=with_replay(case.tally, found), served_by="".join(found.served_by) or case.served_by)
        verdict = decide(case.rules, case.tally, case.now)
        if found.reason:
            verdict = replace(verdict, next=Ending.KEPT_INCUMBENT, reason=found.reason)
    served: set[str] = set()
    ballots: tuple[Ballot, ...] = ()
    if verdict.next is Waiting.FOR_VOTES and case.rules.settings.voting.mode != LIVE:
        ballots = yield from watched(_ballots(case, verdict), served)
        verdict = decide(case.rules, _with_ballots(case.tally, ballots), case.now)
    if len(served | {case.served_by} - {""}) > 1:
        return _anew(verdict, "the task model or Ollama changed")
    return BanditDecision(
        next=verdict.next, verdict=verdict, ballots=ballots, replay=found, due=_due(case, verdict, ballots),
        served_by="".join(served) or case.served_by,
    )  # fmt: skip


def with_replay(tally: Tally, found: Replay) -> Tally:
    """Return the tally with the challengers that go on and what the replay says of them."""
    arms = {arm.variant: arm for arm in tally.arms}
    kept = sorted(found.kept, key=lambda variant: arms[variant].name)
    counted = {variant: found.wins_losses(variant) for variant in kept}
    return replace(
        tally,
        arms=tuple(
            replace(
                arms[v],
                start=found.start(v),
                replay_wins=counted[v][0],
                replay_losses=counted[v][1],
                flags=found.flags(v),
            )
            for v in kept
        ),
    )


def _with_ballots(tally: Tally, made: tuple[Ballot, ...]) -> Tally:
    """Return the tally with new ballots: whether the prompts answered alike is known before any vote."""
    everyone = {INCUMBENT, *(arm.variant for arm in tally.arms)}
    equal = sum(len(one.cards) == 1 and everyone <= set(one.cards[0].arms) for one in made)
    differing = sum(len(one.cards) > 1 for one in made)
    return replace(tally, equal=tally.equal + equal, differing=tally.differing + differing)


def _anew(verdict: Verdict, why: str) -> BanditDecision:
    return BanditDecision(next=Stage.BANDIT, verdict=verdict, restart=why)


def _replay_case(case: BanditCase) -> ReplayCase:
    """Under the research notes' policy nothing is selected and nothing replayed but the samples of the report."""
    voting = case.rules.settings.voting
    seeds = voting.policy == SEEDS
    return ReplayCase(
        rules=case.rules,
        seed=case.seed,
        templates=_templates(case),
        select=() if seeds else case.select_items,
        confirm=() if seeds else case.confirm_items,
        report=case.report_items,
        known=case.known,
        challengers=len(case.tally.arms) if seeds else voting.challengers,
        unseen=case.unseen,
    )


def _ballots(case: BanditCase, verdict: Verdict) -> Flow[tuple[Ballot, ...]]:
    """Make ballots until enough wait for a vote, or no task is left; equal results need none and do not count."""
    made: list[Ballot] = []
    counts, waiting = dict(case.made), case.open_ballots
    for task in case.tasks:
        if waiting >= case.rules.settings.voting.open_ballots:
            break
        making = Making(
            rules=case.rules, seed=case.seed, templates=_templates(case), tally=case.tally, verdict=verdict, made=counts
        )
        one = yield from ballot(making, task)
        if one is not None:
            made.append(one)
            counts[len(one.cards)] = counts.get(len(one.cards), 0) + 1
            waiting += len(one.cards) > 1
    return tuple(made)


def _due(case: BanditCase, verdict: Verdict, made: tuple[Ballot, ...]) -> datetime:
    """Return when to look again: at the end of the days, when a promotion may go ahead, or when a ballot expires.

    At once where this visit's inputs gave nothing to vote on, nothing else waits for a vote, and there may be more inputs.
    """
    voting = case.rules.settings.voting
    if case.more and made and not case.open_ballots and all(len(one.cards) == 1 for one in made):
        return case.now
    times = [verdict.due or case.now + timedelta(days=voting.max_days)]
    if case.expiring is not None:
        times.append(case.expiring)
    elif any(len(one.cards) > 1 for one in made):
        times.append(case.now + timedelta(hours=voting.ballot_expiry_h))
    return min(times)


def _templates(case: BanditCase) -> dict[VariantId, PromptTemplate]:
    arms = {arm.variant: case.template.with_instruction(arm.instruction) for arm in case.tally.arms}
    return {INCUMBENT: case.template, **arms}
