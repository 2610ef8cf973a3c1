"""What a test's numbers mean, in words for a person: where it stands, what further votes may bring, what few cannot show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.algorithms.duel import outlook
from pipeline.decision import LIVE, Arm, Tally, cap, mark, replay_evidence
from pipeline.decision_settings import Voting
from pipeline.policies import SEEDS
from pipeline.power import (
    ASSUMED_ACCURACY,
    ASSUMED_DISCORDANCE,
    ASSUMED_TIES,
    stopping,
    stopping_live,
    tasks_needed_live,
    votes_needed,
)
from pipeline.rules import Rules

FIRST_TIES = (1, 3)  # prior of the share of ties: one of four votes, decision study
SELECTED_MARGIN = 0.15  # by which failures must be over-represented before a warning; ours
SELECTED_LEAST = 20  # labelled tasks from which that is looked at; ours
EXAMPLE_GAIN = 0.10  # that the cost of the live mode is told for; ours
SHOWABLE = 15  # points that a test with few labelled tasks finds, decision study A6


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What the votes that are left may bring, if the leader goes on winning at its rate.

    Attributes:
        rate: the leader's win rate, estimated as (wins + 1) / (wins + losses + 2).
        compared: comparisons that it rests on; with none it is a guess.
        promote: chance of its promotion.
        soonest, latest: further votes within which a quarter, and three quarters, of such tests are decided.
    """

    rate: float
    promote: float
    soonest: int
    latest: int
    compared: int = 1


def ahead(rules: Rules, tally: Tally, leader: Arm) -> Ahead | None:
    """Compute what the votes that are left may bring; None where votes do not decide so."""
    voting = rules.settings.voting
    if voting.policy == SEEDS or voting.mode == LIVE:
        return None
    decisive = leader.wins + leader.losses
    rate = (leader.wins + 1) / (decisive + 2)
    ties = (FIRST_TIES[0] + tally.votes - decisive) / (sum(FIRST_TIES) + tally.votes)
    found = outlook(
        rate, max(cap(rules), tally.votes), mark(rules, tally), voting.futility_e, voting.prior_wins, voting.prior_losses,
        wins=leader.wins, losses=leader.losses, votes=tally.votes, least=voting.min_votes,
        start=replay_evidence(rules, leader), ties=ties,
    )  # fmt: skip
    soonest, _, latest = found.quartiles
    return Ahead(rate=rate, promote=found.promote, soonest=soonest, latest=latest, compared=decisive)


def outlook_words(leader: str, found: Ahead) -> str:
    """Say how many more votes should decide, and with what chance for the leader."""
    if found.latest == 0:
        return "The next look decides."
    span = f"{found.soonest} to {found.latest}" if found.soonest < found.latest else str(found.latest)
    more = f"About {span} more vote{'s' if found.latest > 1 else ''} should decide"
    if not found.compared:
        return (
            f"{more}. No vote has compared {leader} yet: if it won half of its comparisons, it would be promoted with a "
            f"chance of {found.promote:.0%}."
        )
    return (
        f"{more}; if {leader} goes on winning {found.rate:.0%} of its comparisons, it is promoted with a chance of "
        f"{found.promote:.0%}."
    )


def cannot_show(rules: Rules, confirmed: int) -> str:
    """Say what this test's labelled tasks and votes cannot show; empty where they are enough."""
    voting = rules.settings.voting
    if voting.policy == SEEDS:
        return (
            "This test is decided by the research notes' rule, which promotes something in three of four tests in which "
            "all prompts are equal."
        )
    if voting.mode == LIVE:
        return live_words(voting, rules.skill.name)
    if confirmed >= voting.replay_enough:
        return ""
    had = f"on {confirmed} held-out labelled tasks" if confirmed else "without held-out labelled tasks"
    return (
        f"{had.capitalize()} (enough are {voting.replay_enough}, the goal is {voting.replay_confirm}) and at most "
        f"{voting.max_votes} votes, gains below about {SHOWABLE} points mostly go unnoticed; evoctl lab power "
        f"{rules.skill.name} computes it."
    )


def live_words(voting: Voting, skill: str) -> str:
    """Say what the live mode costs, by the rule that is set: tasks there, votes on ballots, for one gain."""
    tasks = tasks_needed_live(ASSUMED_ACCURACY, EXAMPLE_GAIN, rule=stopping_live(voting))
    votes = votes_needed(ASSUMED_DISCORDANCE, EXAMPLE_GAIN, ties=ASSUMED_TIES, rule=stopping(voting))
    if tasks is None or votes is None:
        return f"In the live mode every task tells of one prompt only (evoctl lab power {skill})."
    return (
        f"In the live mode every task tells of one prompt only: to find a gain of {100 * EXAMPLE_GAIN:.0f} points takes about {tasks:.0f} "
        f"tasks on average, where ballots take about {votes:.0f} votes (evoctl lab power {skill} computes it for this skill)."
    )


def selected_words(known: int, known_bad: int, judged: int, judged_bad: int) -> str:
    """Warn when the tasks with a known answer are not like all tasks: mostly corrections of failures, for example.

    Args:
        known: judged tasks of the prompt in use whose right answer is known.
        known_bad: those of them that went wrong.
        judged: all judged tasks.
        judged_bad: those of them that went wrong.
    """
    if known < SELECTED_LEAST or not judged:
        return ""
    there, everywhere = known_bad / known, judged_bad / judged
    if abs(there - everywhere) < SELECTED_MARGIN:
        return ""
    return (
        f"The data are selected: of the tasks with a known right answer {there:.0%} went wrong, of all judged tasks "
        f"{everywhere:.0%}. What the replay shows holds for the former."
    )


def copies_words(known: int, copies: int) -> str:
    """Say how many logged tasks count no second time, and what that cannot find; empty where there are none."""
    if not copies:
        return ""
    return (
        f"Of {known} tasks with a known right answer {copies} {'is a copy' if copies == 1 else 'are copies'} of others (the same "
        "input but for case and spaces) and left out: each input counts once. Near-copies cannot be recognised and count each: with "
        "many of them the evidence says less than it seems to."
    )


def alike_words(equal: int, tasks: int) -> str:
    """Say on how many tasks no vote can tell the prompts apart; empty where there are none."""
    if not equal:
        return ""
    return f"{equal} of {tasks} tasks got the same answer from all prompts: no vote can tell them apart there."


def no_inputs_words(skill: str, replayed: int, balloted: int, ends: datetime | None) -> str:
    """Say that a test waits for votes that cannot come, and what would bring some."""
    used = [f"the replay used {replayed} tasks of the history"] * bool(replayed)
    used += [f"{balloted} tasks were on ballots"] * bool(balloted)
    why = f": {' and '.join(used)}" if used else ""
    end = f", or the test ends on {ends:%Y-%m-%d %H:%M} UTC" if ends is not None else ""
    return (
        f"No inputs are left for ballots{why}. New tasks come by evoctl feedback add {skill}, by evoctl outcome, and by "
        f"evoctl feedback import {skill} of tasks without a verdict; a share of them (voting.show_probability) becomes "
        f"ballots{end}."
    )


def biased_words(rules: Rules, challengers: int) -> str:
    """Mark estimates whose samples were drawn by what had been seen before; empty where they were not."""
    adaptive = rules.settings.voting.mode == LIVE or challengers > rules.settings.voting.cards - 1
    if not adaptive:
        return ""
    return "The rates are biased: prompts that did badly early were shown less often and look worse than they are."
