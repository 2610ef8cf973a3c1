"""The decision rule of a test: what replay and votes say together, and whether that is enough.

Per challenger, wins and losses against the prompt in use feed an e-process for "wins at most half of the time". The
replay on held-out tasks starts it and the votes go on: their product may be looked at after every vote, and a prompt that
is no better reaches the mark with probability at most 1/20 over all challengers together (Ville; Bonferroni over m).
P(best) is shown to people and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.algorithms.eprocess import e_value
from pipeline.algorithms.paired_drop import paired_drop
from pipeline.domain import Ending, Next, Stage, VariantId, Waiting
from pipeline.rules import Rules

INCUMBENT = VariantId(0)  # stands for the prompt in use wherever arms are listed
FEWEST_FLAGS = 20  # paired flags below which nothing is said of accuracy; ours
LIVE = "live"


@dataclass(frozen=True, slots=True)
class Paired:
    """How two prompts did on the same samples, none of which anything was selected on; counts.

    Attributes:
        both: right with both prompts; `incumbent`, `challenger`: with that one only; `neither`: with none.
    """

    both: int = 0
    incumbent: int = 0
    challenger: int = 0
    neither: int = 0

    @property
    def n(self) -> int:
        """All samples."""
        return self.both + self.incumbent + self.challenger + self.neither

    def plus(self, *, incumbent: bool, challenger: bool) -> Paired:
        """Return the counts with one more sample."""
        return Paired(
            self.both + (incumbent and challenger),
            self.incumbent + (incumbent and not challenger),
            self.challenger + (challenger and not incumbent),
            self.neither + (not incumbent and not challenger),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A challenger and what is known of it against the incumbent.

    Attributes:
        wins, losses: of blind votes, or in the live mode of pairs of tasks.
        start: evidence of the logged tasks that chose it; 1 where they are none (see `pipeline.replay`).
        replay_wins, replay_losses: held-out tasks on which it did better, and worse.
        flags: right and wrong answers on samples that nothing was selected on.
        picks, shown: votes for its card, and votes on ballots that held it.
    """

    variant: VariantId
    name: str
    instruction: str
    wins: int
    losses: int
    start: float = 1.0
    replay_wins: int = 0
    replay_losses: int = 0
    flags: Paired = Paired()
    picks: int = 0
    shown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What replay and votes say so far.

    Attributes:
        votes: all votes that count towards the cap: picks, ties and "none"; in the live mode tasks with an outcome.
        since: when voting began; None before the first ballot.
        equal, differing: tasks for ballots on which all prompts of the test gave the same answer, and on which any two of
            those that were run did not.
        picks, shown: of the prompt in use; `losses`: votes for another prompt beside it, in the live mode failures.
    """

    arms: tuple[Arm, ...]
    votes: int
    since: datetime | None
    picks: int = 0
    losses: int = 0
    shown: int = 0
    equal: int = 0
    differing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Where the test stands.

    Attributes:
        next: PROMOTE, an ending, or Waiting.FOR_VOTES.
        winner: the challenger to promote.
        evidence: per arm, in the order of the tally, its e-value.
        dropped: challengers that further ballots leave out.
        due: when the calendar may change the verdict; None when only votes can.
    """

    next: Next
    winner: VariantId | None
    evidence: tuple[float, ...]
    dropped: tuple[VariantId, ...]
    reason: str
    due: datetime | None = None


def by_evidence(rules: Rules, tally: Tally, now: datetime) -> Verdict:
    """Judge replay and votes by their evidence.

    The order of votes does not matter, and deciding later or twice changes nothing.
    """
    voting = rules.settings.voting
    evidence = tuple(evidence_of(rules, arm) for arm in tally.arms)
    dropped = tuple(
        arm.variant
        for arm, e in zip(tally.arms, evidence, strict=True)
        if min(e, vote_evidence(rules, arm)) <= voting.futility_e  # nobody is talked out of what they see by a replay
    )
    best = max(
        range(len(tally.arms)), key=lambda i: (tally.arms[i].variant not in dropped, evidence[i], -i), default=None
    )

    def verdict(to: Next, reason: str, winner: VariantId | None = None, due: datetime | None = None) -> Verdict:
        return Verdict(next=to, winner=winner, evidence=evidence, dropped=dropped, reason=reason, due=due)

    if best is None:
        return verdict(Ending.KEPT_INCUMBENT, "there is no challenger")
    first, found = tally.arms[best], f"evidence {evidence[best]:.3g} of {mark(rules, tally):g} needed"
    reached = evidence[best] >= mark(rules, tally) and first.variant not in dropped
    doubt = _doubt(rules, first) if reached else ""
    if reached and not doubt and _seasoned(rules, tally, now):
        return verdict(Stage.PROMOTE, f"{counted(rules, first)}; {found}", first.variant)
    if len(dropped) == len(tally.arms):
        return verdict(Ending.KEPT_INCUMBENT, f"every challenger lost too often to go on: {counted(rules, first)}")
    end = None if tally.since is None else tally.since + timedelta(days=voting.max_days)
    alike = "" if reached else _alike(rules, tally)
    if over := alike or _over(rules, tally, now, end, doubt):
        return verdict(Ending.KEPT_INCUMBENT, over)
    waiting = doubt or (f"a promotion waits for votes or time: {found}" if reached else f"best {found}")
    due = _due(rules, tally, end) if reached and not doubt else end
    return verdict(Waiting.FOR_VOTES, f"{waiting} after {tally.votes} {_units(rules)}", due=due)


def leader(rules: Rules, tally: Tally) -> Arm | None:
    """Return the challenger with the most evidence; the first of equals, None where there is none."""
    return max(tally.arms, key=lambda arm: evidence_of(rules, arm), default=None)


def evidence_of(rules: Rules, arm: Arm) -> float:
    """Return a challenger's evidence: that of the replay times that of the votes."""
    return replay_evidence(rules, arm) * vote_evidence(rules, arm)


def replay_evidence(rules: Rules, arm: Arm) -> float:
    """Return the evidence that the votes start from: of the logged tasks that chose, times the e-value of the held-out ones."""
    voting = rules.settings.voting
    return arm.start * e_value(arm.replay_wins, arm.replay_losses, voting.prior_wins, voting.prior_losses)


def vote_evidence(rules: Rules, arm: Arm) -> float:
    """Return the e-value of the votes; 1 before the first."""
    voting = rules.settings.voting
    return e_value(arm.wins, arm.losses, voting.prior_wins, voting.prior_losses)


def mark(rules: Rules, tally: Tally) -> float:
    """Return the evidence that promotes: it grows with the number of challengers that began."""
    return rules.settings.voting.promote_e * max(1, len(tally.arms))


def cap(rules: Rules) -> int:
    """Return the votes, in the live mode the tasks, after which the prompt in use is kept."""
    voting = rules.settings.voting
    return voting.live_max_tasks if voting.mode == LIVE else voting.max_votes


def drop_chance(rules: Rules, arm: Arm) -> float | None:
    """Return the chance that a challenger is less accurate by more than the set drop; None where too little is known."""
    if arm.flags.n < FEWEST_FLAGS:
        return None
    flags = arm.flags
    return paired_drop(flags.both, flags.incumbent, flags.challenger, flags.neither, rules.settings.promotion.max_drop)


def counted(rules: Rules, arm: Arm) -> str:
    """Say a challenger's counts in words."""
    what = "pairs of tasks" if rules.settings.voting.mode == LIVE else "votes"
    votes = f"{arm.name} won {arm.wins} of {arm.wins + arm.losses} {what} against the prompt in use"
    replayed = arm.replay_wins + arm.replay_losses
    if not replayed:
        return votes
    return f"{votes} and {arm.replay_wins} of {replayed} replayed tasks on which they differ"


def _over(rules: Rules, tally: Tally, now: datetime, end: datetime | None, doubt: str) -> str:
    """Say that votes or days are used up; empty while some are left."""
    if tally.votes >= cap(rules):
        few = f"{tally.votes} {_units(rules)} did not show a better prompt"
        return f"{few}: {doubt}" if doubt else few
    if end is None or now < end:
        return ""
    late = f"{rules.settings.voting.max_days:g} days brought {tally.votes} {_units(rules)}: not enough to tell"
    return f"{late}; {doubt}" if doubt else late


def _alike(rules: Rules, tally: Tally) -> str:
    """Say that the prompts have never answered differently, on enough tasks to be sure; empty when they have or may.

    Only while no task of the comparison differed at all: looked at again and again, a long run of equal answers among
    others would come by chance.
    """
    least = rules.settings.voting.equal_tasks
    replayed = any(arm.replay_wins or arm.replay_losses for arm in tally.arms)
    if not least or tally.differing or replayed or tally.equal < least:
        return ""
    most = 1 - 0.05 ** (1 / tally.equal)  # exact; about 3 / n
    return (
        f"the prompts answered alike on all of {tally.equal} tasks: they differ on at most {most:.1%} of tasks, with 95 % "
        "confidence"
    )


def _doubt(rules: Rules, arm: Arm) -> str:
    """Say why a challenger with enough evidence must not be promoted; empty when it may."""
    chance, limit = drop_chance(rules, arm), rules.settings.promotion.max_drop_probability
    if chance is None or chance <= limit:
        return ""
    worse = rules.settings.promotion.max_drop
    return f"{arm.name} may be more than {worse:.2f} less accurate with probability {chance:.2f} (limit {limit:.2f})"


def _seasoned(rules: Rules, tally: Tally, now: datetime) -> bool:
    """Tell whether enough votes were cast, or enough time has passed, for anybody to object."""
    voting = rules.settings.voting
    if tally.votes >= min(voting.min_votes, cap(rules)):
        return True
    return tally.since is not None and now >= tally.since + timedelta(hours=voting.promote_after_h)


def _due(rules: Rules, tally: Tally, end: datetime | None) -> datetime | None:
    if tally.since is None or end is None:
        return end
    return min(end, tally.since + timedelta(hours=rules.settings.voting.promote_after_h))


def _units(rules: Rules) -> str:
    return "tasks" if rules.settings.voting.mode == LIVE else "votes"
