"""`lab power`: how large a gain a skill's tests can find, computed from its own numbers."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, Group, command, pass_call
from ops.cli.finite import FiniteRange
from ops.cli.output import number, table
from ops.cli.skill import SKILL
from ops.cli.words import SIMULATED, accuracy

if TYPE_CHECKING:
    from models.power import SkillNumbers
    from pipeline.rules import Rules

GAINS = (0.05, 0.10, 0.15)
MOST_VOTES = 1000  # as in the settings
LIVE = "live"  # the mode in which a task is given one prompt
HEAD = ("GAIN", "LABELS ALONE", "BALLOTS", "VOTES", "LIVE", "TASKS")
LEGEND = """\
LABELS ALONE: chance that the labelled tasks alone promote a prompt that is better by so much. BALLOTS and LIVE: chance of
a promotion by labelled tasks and votes together, and in live mode. VOTES and TASKS: mean number until the decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What becomes of a challenger that is better by `gain`.

    Attributes:
        discordance: share of tasks on which the two are taken to differ, at least the gain.
        by_labels: chance that the labelled tasks alone reach the mark.
        promote: chance of a promotion, with ballots.
        mean_votes: expected number of votes until the decision.
        quartiles: votes within which a quarter, half and three quarters of the tests have ended.
        live_promote: chance of a promotion in live mode; None when the accuracy would be beyond 1.
        live_mean_tasks: expected number of tasks until the decision in live mode.
        votes_needed: mean votes of a test that finds the gain with a chance of 0.8 without labelled tasks; None beyond
            a thousand votes that say something.
        votes_cap: most votes that such a test must be allowed.
        live_tasks_needed, live_tasks_cap: the same in live mode.
    """

    gain: float
    discordance: float
    by_labels: float
    promote: float
    mean_votes: float
    quartiles: tuple[int, int, int]
    live_promote: float | None
    live_mean_tasks: float | None
    votes_needed: float | None
    votes_cap: int | None
    live_tasks_needed: float | None
    live_tasks_cap: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a skill's tests can show.

    Attributes:
        choosing, confirming: labelled tasks for the replay's two parts.
        choosing_goal, confirming_enough, confirming_goal: how many of them are used at most, and how many are enough.
        replayed: tasks for confirming that a test uses.
        accuracy: of the prompt in use, in [0, 1].
        accuracy_measured, discordance_measured: whether the figure comes from the skill's history or is assumed.
        ties: share of votes that say nothing; assumed.
        policy, mode, mark, futility, max_votes, max_live_tasks: the rule that the figures are for.
        rows: by gain.
        smallest_gain: that is found with a chance of 0.8 in the mode that is set; None when 0.3 is not.
        smallest_gain_at_goal: the same with the goal's number of labelled tasks for confirming.
        more_labels: labelled tasks to add until the goal is reached, since only a part of them is for confirming.
    """

    skill: str
    version: int
    choosing: int
    choosing_goal: int
    confirming: int
    confirming_enough: int
    confirming_goal: int
    replayed: int
    accuracy: float
    accuracy_measured: bool
    discordance: float
    discordance_measured: bool
    ties: float
    policy: str
    mode: str
    mark: float
    futility: float
    max_votes: int
    max_live_tasks: int
    rows: tuple[Row, ...]
    smallest_gain: float | None
    smallest_gain_at_goal: float | None
    more_labels: int


@click.group("lab", cls=Group, examples="evoctl lab power file-naming\nevoctl lab power file-naming --gain 0.08 --json")
def lab() -> None:
    """Measure what tests of a skill can show."""


@command("power", examples="evoctl lab power file-naming\nevoctl lab power file-naming --gain 0.1 --votes 60 --json")
@SKILL
@click.option(
    "--gain", "gains", type=FiniteRange(0, 1, min_open=True), multiple=True, default=GAINS, show_default=True,
    metavar="X", help="Difference in accuracy to look for, between 0 and 1; may be given again.",
)  # fmt: skip
@click.option(
    "--votes", type=click.IntRange(0, MOST_VOTES), help="Most votes of a test; default: as in the configuration."
)
@pass_call
def power(call: Call, skill: str, *, gains: tuple[float, ...], votes: int | None) -> None:
    """Show how large a gain the tests of a skill can find.

    Computed exactly from its labelled tasks, from how often its prompts differed in earlier runs, and from the rule that
    decides. What was not measured yet is assumed, and said to be.
    """
    from models.power import skill_numbers

    overview = call.overview()
    rules = overview.rules(skill)
    with overview.read() as session:
        found = skill_numbers(session, rules)
    study = _study(rules, found, gains, votes)
    verdict = _verdict(study)
    data = {"study": study, "measured": found, "verdict": verdict}
    call.result("lab.power", data, lambda: _text(study, found, verdict, plain=call.plain))
    if study.confirming < study.confirming_goal:
        call.next(f"evoctl feedback import {skill} FILE.jsonl")


lab.add_command(power)


def _study(rules: Rules, found: SkillNumbers, gains: tuple[float, ...], votes: int | None) -> Study:
    from pipeline import power as numbers
    from pipeline.domain import Split
    from pipeline.splits import SHARES

    voting = rules.settings.voting
    rule, ties = numbers.stopping(voting, votes), numbers.ASSUMED_TIES
    known = numbers.ASSUMED_DISCORDANCE if found.discordance is None else found.discordance
    right = numbers.ASSUMED_ACCURACY if found.accuracy.value is None else found.accuracy.value
    goal = min(voting.replay_confirm, numbers.MOST_COMPARISONS)
    replayed = min(found.confirming, goal)

    def smallest(tasks: int) -> float | None:
        if voting.mode == LIVE:
            return numbers.smallest_gain_live(tasks, known, right, rule=numbers.stopping_live(voting))
        return numbers.smallest_gain(tasks, known, ties=ties, rule=rule)

    return Study(
        skill=rules.skill.name, version=rules.skill.version, choosing=found.choosing, choosing_goal=voting.replay_select,
        confirming=found.confirming, confirming_enough=min(voting.replay_enough, goal), confirming_goal=goal,
        replayed=replayed, accuracy=right, accuracy_measured=found.accuracy.value is not None, discordance=known,
        discordance_measured=found.discordance is not None, ties=ties, policy=voting.policy, mode=voting.mode,
        mark=rule.mark, futility=rule.futility, max_votes=rule.votes, max_live_tasks=voting.live_max_tasks,
        rows=tuple(_row(rules, replayed, max(known, gain), gain, (right, votes)) for gain in sorted(set(gains))),
        smallest_gain=smallest(replayed), smallest_gain_at_goal=smallest(goal),
        more_labels=math.ceil((goal - replayed) / dict(SHARES)[Split.CONFIRM]),
    )  # fmt: skip


def _row(rules: Rules, replayed: int, discordance: float, gain: float, given: tuple[float, int | None]) -> Row:
    from pipeline import power as numbers

    accuracy_now, votes = given
    voting, ties = rules.settings.voting, numbers.ASSUMED_TIES
    rule, live = numbers.stopping(voting, votes), numbers.stopping_live(voting)
    ballots = numbers.power(replayed, discordance, gain, ties=ties, rule=rule)
    pairs = numbers.live_pairs(accuracy_now, gain)
    in_live = (
        numbers.power(replayed, discordance, gain, ties=1 - pairs[0], vote_rate=pairs[1], rule=live) if pairs else None
    )
    return Row(
        gain=gain, discordance=discordance, by_labels=ballots.by_replay, promote=ballots.promote,
        mean_votes=ballots.mean_votes, quartiles=ballots.quartiles, live_promote=in_live.promote if in_live else None,
        live_mean_tasks=2 * in_live.mean_votes if in_live else None,
        votes_needed=numbers.votes_needed(discordance, gain, ties=ties, rule=rule),
        votes_cap=_cap(numbers.comparisons_cap(numbers.win_rate(discordance, gain), rule=rule), 1 - ties),
        live_tasks_needed=numbers.tasks_needed_live(accuracy_now, gain, rule=live),
        live_tasks_cap=_cap(numbers.comparisons_cap(pairs[1], rule=live), pairs[0] / 2) if pairs else None,
    )  # fmt: skip


def _cap(comparisons: int | None, share: float) -> int | None:
    """Return about how many votes or tasks bring so many comparisons, where *share* of them does."""
    return None if comparisons is None else math.ceil(comparisons / share)


def _verdict(study: Study) -> str:
    """Say in one sentence what the skill's tests find, and what would change it."""
    few = study.confirming < study.confirming_goal
    said = f"With {_tasks(study.confirming)} for confirming {_finds(study, only=few)}"
    if few:
        need = study.confirming_goal - study.confirming
        then = "nothing would change" if _same(study) else f"{_points(study.smallest_gain_at_goal)} would do"
        said += f"; with {study.more_labels} more labelled tasks, about {need} of them for confirming, {then}"
    room = 1 - study.accuracy
    if study.accuracy_measured and (study.smallest_gain is None or study.smallest_gain > room):
        right = f"The prompt in use is right in {study.accuracy:.0%} of its tasks"
        said += f". {right}, so that it cannot be beaten by more than {_points(room)}"
    return said + "."


def _finds(study: Study, *, only: bool) -> str:
    tests = "tests in live mode" if study.mode == LIVE else "tests with ballots"
    if study.smallest_gain is None:
        return f"not even the largest gain that was looked at would be found in 8 of 10 {tests}"
    return f"{'only ' if only else ''}a gain of {_points(study.smallest_gain)} or more is found in 8 of 10 {tests}"


def _same(study: Study) -> bool:
    return study.smallest_gain_at_goal is None or _points(study.smallest_gain_at_goal) == _points(study.smallest_gain)


def _points(gain: float | None) -> str:
    """Write a gain in whole points, rounded up; a thousandth does not count."""
    points = math.ceil(round(100 * (gain or 0.0), 1))
    return "1 point" if points == 1 else f"{points} points"


def _tasks(count: int) -> str:
    return "1 labelled task" if count == 1 else f"{count} labelled tasks"


def _text(study: Study, found: SkillNumbers, verdict: str, *, plain: bool) -> str:
    measured = f"measured on {found.pairs} pairs of results of {_runs(found.runs)}"
    how = measured if study.discordance_measured else "assumed: too little was measured"
    right = accuracy(found.accuracy) if study.accuracy_measured else f"{study.accuracy:.2f}, assumed"
    confirming = f"{study.confirming} for confirming (enough {study.confirming_enough}, goal {study.confirming_goal})"
    rows = [
        (
            f"+{row.gain * 100:g} points", number(row.by_labels), number(row.promote), number(row.mean_votes, ".0f"),
            number(row.live_promote), number(row.live_mean_tasks, ".0f"),
        )
        for row in study.rows
    ]  # fmt: skip
    lines = [
        f"What tests of {study.skill} v{study.version} can show",
        f"Labelled tasks  {study.choosing} for choosing (goal {study.choosing_goal}), {confirming}",
        f"Prompt in use   accuracy {right}",
        f"Two prompts     differ on {study.discordance:.2f} of the tasks, {how}",
        f"Ballots         at most {study.max_votes} votes, {study.ties:.2f} of them ties, assumed",
        f"Live mode       at most {study.max_live_tasks} tasks, half of them by either prompt",
        "", table(HEAD, rows, plain=plain), "", LEGEND, "", *map(_needed, study.rows), "", verdict,
    ]  # fmt: skip
    if study.policy != "evidence":
        lines.append(f"The configuration decides by the policy {study.policy}, which these figures do not describe.")
    if found.simulated and study.discordance_measured:
        lines.append(f"How often two prompts differ is {SIMULATED}: it is no real model's figure.")
    return "\n".join(lines)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _on_average(mean: float | None, cap: int | None, what: str, setting: str) -> str:
    """Say how long a test is on average, and the most that it must be allowed; its own cap may be far lower."""
    if mean is None or cap is None:
        return f"more {what} than were computed"
    return f"{mean:.0f} {what} on average, if up to about {cap} are allowed ({setting})"


def _needed(row: Row) -> str:
    """Say what finding a gain costs where there are no labelled tasks."""
    votes = _on_average(row.votes_needed, row.votes_cap, "votes", "voting.max_votes")
    tasks = _on_average(row.live_tasks_needed, row.live_tasks_cap, "tasks", "voting.live_max_tasks")
    live = "the prompt in use is too good for it" if row.live_promote is None else f"in live mode {tasks}"
    return f"+{row.gain * 100:g} points without labelled tasks, to be found in 8 of 10 tests: {votes}; {live}."
