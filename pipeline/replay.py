"""Replay: the prompts of a test on logged tasks whose right answers are known, before anybody is asked to vote.

Two parts of the history are used, each for one purpose. *Select* chooses: the challengers that beat the prompt in use
most often go on. *Confirm* was seen by no search, no judge and no selection; the wins and losses on it are the evidence
that the votes start from. The prompt in use is run afresh on the same tasks with the same options: its recorded answers
would favour any challenger on tasks that were chosen because it failed on them.

The select part is evidence too, where no search has chosen by it before, at a price: of m0 challengers compared with m kept,
one that is kept starts with (1 - SHARE) + SHARE m/m0 e(wins, losses on select). Summed over all challengers that are no
better this is m on average at most, so that the promise of the mark (Ville, Bonferroni) holds; in simulated tests it finds
six points more of the good ones at the same rate of false promotions (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.algorithms.eprocess import e_value
from pipeline.algorithms.paired import lead, wins_losses
from pipeline.decision import INCUMBENT, Paired
from pipeline.domain import VariantId
from pipeline.fitness import Item, evaluate
from pipeline.flow import Flow, Generated, Reply, Request, T
from pipeline.population import Outcome, values_of
from pipeline.rules import Rules
from pipeline.skills import PromptTemplate

SHARE = 0.5  # of the select part's evidence in what a challenger starts with, the rest is certain; ours, simulated
ENOUGH_TO_STOP = 40  # tasks of the selection from which "none is better" ends the test; decision study


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How one prompt did on the tasks of a replay.

    Attributes:
        select, confirm, report: its outcomes on each part; empty where it was not run.
    """

    variant: VariantId
    select: tuple[Outcome, ...] = ()
    confirm: tuple[Outcome, ...] = ()
    report: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay found.

    Attributes:
        prompts: the prompt in use first, then the challengers in the order of the test.
        kept: challengers that go on, best first.
        served_by: model digest and server version of every answer; more than one means that it changed on the way.
        reason: why nobody goes on; empty when somebody does.
        starts: evidence of the select part, per challenger that goes on.
    """

    prompts: tuple[Replayed, ...]
    kept: tuple[VariantId, ...]
    served_by: tuple[str, ...]
    reason: str = ""
    starts: tuple[tuple[VariantId, float], ...] = ()

    def start(self, variant: VariantId) -> float:
        """Return the evidence of the select part that *variant* starts with; 1 where that says nothing."""
        return dict(self.starts).get(variant, 1.0)

    def wins_losses(self, variant: VariantId) -> tuple[int, int]:
        """Count the held-out tasks on which *variant* did better than the prompt in use, and worse."""
        ours, theirs = self._of(variant), self._of(INCUMBENT)
        return wins_losses(values_of(ours.confirm), values_of(theirs.confirm))

    def flags(self, variant: VariantId) -> Paired:
        """Count right and wrong answers of both prompts on the samples that nothing was selected on."""
        ours, theirs = self._of(variant), self._of(INCUMBENT)
        right = {o.sample: o.correct for o in (*theirs.confirm, *theirs.report)}
        paired = Paired()
        for outcome in (*ours.confirm, *ours.report):
            if outcome.sample in right:
                paired = paired.plus(incumbent=right[outcome.sample], challenger=outcome.correct)
        return paired

    def _of(self, variant: VariantId) -> Replayed:
        return next((one for one in self.prompts if one.variant == variant), Replayed(variant=variant))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCase:
    """What is replayed.

    Attributes:
        templates: the prompt in use under INCUMBENT, and the challengers in the order of the test.
        known: per prompt, outcomes on the select part that this very run has measured under the same model.
        challengers: how many go on.
        unseen: nobody has chosen by the select part before, so that it is evidence too.
    """

    rules: Rules
    seed: int
    templates: Mapping[VariantId, PromptTemplate]
    select: tuple[Item, ...]
    confirm: tuple[Item, ...]
    report: tuple[Item, ...]
    known: Mapping[VariantId, tuple[Outcome, ...]]
    challengers: int
    unseen: bool = False


def replay(case: ReplayCase) -> Flow[Replay]:
    """Choose the challengers on the select part, then run them and the prompt in use on the held-out tasks."""
    served: set[str] = set()
    selected: dict[VariantId, tuple[Outcome, ...]] = {}
    for variant in case.templates if _chooses(case) else ():
        selected[variant] = yield from _run(case, variant, case.select, served)
    kept, reason = choose(case, selected)
    found: list[Replayed] = []
    for variant in case.templates:
        held = variant == INCUMBENT or variant in kept
        confirm = (yield from _run(case, variant, case.confirm, served)) if held and kept else ()
        report = (yield from _run(case, variant, case.report, served)) if held and kept else ()
        select = selected.get(variant, ())
        found.append(Replayed(variant=variant, select=select, confirm=confirm, report=report))
    return Replay(
        prompts=tuple(found), kept=kept, served_by=tuple(sorted(served)), reason=reason,
        starts=starts(case, selected, kept),
    )  # fmt: skip


def choose(case: ReplayCase, selected: Mapping[VariantId, tuple[Outcome, ...]]) -> tuple[tuple[VariantId, ...], str]:
    """Keep those furthest ahead of the prompt in use; without a measurement the first ones of the test."""
    challengers = [variant for variant in case.templates if variant != INCUMBENT]
    if not selected:
        return tuple(challengers[: case.challengers]), ""
    base = values_of(selected[INCUMBENT])
    leads = {variant: lead(values_of(selected[variant]), base) for variant in challengers}
    ahead = sorted(challengers, key=lambda variant: (-leads[variant], challengers.index(variant)))
    n = len(selected[INCUMBENT])
    if n >= ENOUGH_TO_STOP:
        ahead = [variant for variant in ahead if leads[variant] > 0]
    if not ahead:
        return (), f"no challenger did better than the prompt in use on {n} logged tasks"
    return tuple(ahead[: case.challengers]), ""


def starts(
    case: ReplayCase, selected: Mapping[VariantId, tuple[Outcome, ...]], kept: tuple[VariantId, ...]
) -> tuple[tuple[VariantId, float], ...]:
    """Return the evidence that those who go on start with; nothing where somebody has chosen by these tasks before."""
    if not (case.unseen and selected):
        return ()
    voting, base = case.rules.settings.voting, values_of(selected[INCUMBENT])
    found: list[tuple[VariantId, float]] = []
    for variant in kept:
        wins, losses = wins_losses(values_of(selected[variant]), base)
        seen = e_value(wins, losses, voting.prior_wins, voting.prior_losses) * len(kept) / (len(selected) - 1)
        found.append((variant, 1 - SHARE + SHARE * seen))
    return tuple(found)


def watched(flow: Flow[T], served: set[str]) -> Flow[T]:
    """Drive *flow* and note who served each of its answers."""
    reply: Reply | None = None
    try:
        request: Request = next(flow)
        while True:
            reply = yield request
            if isinstance(reply, Generated) and reply.served_by:
                served.add(reply.served_by)
            request = flow.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


def _chooses(case: ReplayCase) -> bool:
    """Tell whether the select part has anything to decide: whom to keep, or whether to go on at all."""
    several = len(case.templates) - 1 > case.challengers
    return bool(case.select) and (several or len(case.select) >= ENOUGH_TO_STOP)


def _run(case: ReplayCase, variant: VariantId, items: tuple[Item, ...], served: set[str]) -> Flow[tuple[Outcome, ...]]:
    """Run one prompt on *items*, except where this run has done so before."""
    done = {outcome.sample: outcome for outcome in case.known.get(variant, ())}
    left = tuple(item for item in items if item.sample not in done)
    result = yield from watched(evaluate(case.rules, case.templates[variant], left, case.seed), served)
    fresh = {outcome.sample: outcome for outcome in result.outcomes}
    return tuple(found for item in items if (found := done.get(item.sample) or fresh.get(item.sample)) is not None)
