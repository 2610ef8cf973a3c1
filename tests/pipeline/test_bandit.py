"""Stage 5: what a ballot shows, what a vote says, and when the test is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from pipeline.ballots import Making, Task, draw
from pipeline.bandit import BanditCase, BanditDecision, bandit
from pipeline.decision import INCUMBENT, Arm, Tally, Verdict
from pipeline.domain import Ending, SampleId, SkillName, Stage, VariantId, Waiting
from pipeline.fitness import Item
from pipeline.flow import Failed, FailureKind, Generate, Generated, Reply, Request, drive
from pipeline.policies import decide
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import PromptTemplate, SkillSpec

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = Rules(settings=Settings(), skill=SkillSpec(name=SkillName("x"), template="x.md", scorer="exact"))


def _tally(*counts: tuple[int, int], votes: int | None = None, since: datetime | None = NOW) -> Tally:
    arms = tuple(
        Arm(variant=VariantId(i + 1), name=f"variant_{i + 1}", instruction=f"Rule {i + 1}.", wins=won, losses=lost)
        for i, (won, lost) in enumerate(counts)
    )
    return Tally(arms=arms, votes=sum(map(sum, counts)) if votes is None else votes, since=since)


def _case(tally: Tally, tasks: int = 3, **changes: object) -> BanditCase:
    case = BanditCase(
        rules=RULES, seed=5, now=NOW, template=PromptTemplate("Old.", "Word: {{a}}"), tally=tally,
        tasks=tuple(Task(sample=SampleId(i), fields=(("a", f"w{i}"),)) for i in range(tasks)), open_ballots=0,
        expiring=None, made={}, select_items=(), confirm_items=(), report_items=(), known={}, replayed=True,
    )  # fmt: skip
    return replace(case, **changes)  # type: ignore[arg-type]


def _making(tally: Tally, verdict: Verdict, rules: Rules = RULES) -> Making:
    return Making(rules=rules, seed=5, templates={}, tally=tally, verdict=verdict, made={})


def _drive(case: BanditCase, outputs: dict[str, str] | None = None) -> tuple[BanditDecision, list[Generate]]:
    """Answer each prompt by its instruction's own output, or by the instruction itself."""
    asked: list[Generate] = []

    def answer(request: Request) -> Reply:
        assert isinstance(request, Generate)
        asked.append(request)
        instruction = request.prompt.partition("\n")[0]
        text = instruction if outputs is None else outputs.get(instruction, instruction)
        if text == "fail":
            return Failed(kind=FailureKind.UNFINISHED)
        return Generated(text=text, done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.1)

    return drive(bandit(case), answer), asked


def test_every_ballot_holds_the_incumbent_and_at_most_two_challengers() -> None:
    """Three cards at most, the prompt in use on each ballot, in an order that varies."""
    decision, _ = _drive(_case(_tally((0, 0), (0, 0), (0, 0)), tasks=5))

    arms = [[arm for card in ballot.cards for arm in card.arms] for ballot in decision.ballots]
    assert all(INCUMBENT in shown and len(shown) == 3 for shown in arms)
    assert len({shown.index(INCUMBENT) for shown in arms}) > 1
    assert decision.next is Waiting.FOR_VOTES


def test_equal_results_share_a_card_and_need_no_vote_when_all_are_equal() -> None:
    """Identical texts are one card with both arms; a ballot of one card does not count as open."""
    outputs = {"Old.": "same", "Rule 1.": "same"}
    decision, _ = _drive(_case(_tally((0, 0)), tasks=7), outputs)

    assert len(decision.ballots) == 7
    assert all(len(b.cards) == 1 and set(b.cards[0].arms) == {0, 1} for b in decision.ballots)


def test_answers_that_never_differ_end_the_test_in_the_visit_that_shows_it() -> None:
    """The hundredth task with equal answers decides; with one that differs before, the test goes on."""
    outputs = {"Old.": "same", "Rule 1.": "same"}

    ended, _ = _drive(_case(replace(_tally((0, 0)), equal=93), tasks=7), outputs)
    short, _ = _drive(_case(replace(_tally((0, 0)), equal=92), tasks=7), outputs)
    other, _ = _drive(_case(replace(_tally((0, 0)), equal=93, differing=1), tasks=7), outputs)

    assert (ended.next, len(ended.ballots)) == (Ending.KEPT_INCUMBENT, 7)
    assert "answered alike on all of 100 tasks" in ended.reason
    assert (short.next, other.next) == (Waiting.FOR_VOTES, Waiting.FOR_VOTES)


def test_an_equal_answer_counts_only_where_all_prompts_of_the_test_gave_it() -> None:
    """With three challengers a ballot of two of them says nothing of the third; one that differs counts in any case."""
    same = {"Old.": "same", "Rule 1.": "same", "Rule 2.": "same", "Rule 3.": "same"}
    tally = replace(_tally((0, 0), (0, 0), (0, 0)), equal=99)

    unsure, _ = _drive(_case(tally, tasks=7), same)

    assert all(len(one.cards) == 1 and len(one.cards[0].arms) == 3 for one in unsure.ballots)
    assert unsure.next is Waiting.FOR_VOTES


def test_the_next_inputs_are_looked_at_at_once_where_these_gave_nothing_to_vote_on() -> None:
    """Equal answers to all inputs of a visit do not make the rest wait for news; enough open ballots, or no more inputs, do."""
    outputs = {"Old.": "same", "Rule 1.": "same"}

    again, _ = _drive(_case(_tally((0, 0)), tasks=7, more=True), outputs)
    last, _ = _drive(_case(_tally((0, 0)), tasks=7), outputs)
    enough, _ = _drive(_case(_tally((0, 0)), tasks=20, more=True))
    some, _ = _drive(_case(_tally((0, 0)), tasks=7, more=True, open_ballots=1), outputs)

    assert again.due == NOW
    assert last.due is not None
    assert last.due > NOW
    assert enough.due is not None
    assert enough.due > NOW
    assert some.due is not None
    assert some.due > NOW


def test_no_more_ballots_than_wanted_are_made() -> None:
    """Seven open ones of ten leave room for three."""
    decision, _ = _drive(_case(_tally((0, 0)), tasks=20, open_ballots=7))

    assert len(decision.ballots) == 3


def test_a_task_on_which_a_prompt_fails_makes_no_ballot() -> None:
    """A missing result cannot be compared."""
    decision, _ = _drive(_case(_tally((0, 0))), {"Rule 1.": "fail"})

    assert decision.ballots == ()


def test_the_report_runs_those_that_go_on_once_on_the_same_items() -> None:
    """On the first visit the prompt in use and the challenger that goes on answer the untouched samples."""
    items = (Item(sample=SampleId(90), fields=(("a", "w"),), expected="Rule 1."),)
    decision, _ = _drive(_case(_tally((0, 0), (0, 0)), tasks=0, report_items=items, replayed=False))

    assert decision.replay is not None
    reported = {int(p.variant): [o.correct for o in p.report] for p in decision.replay.prompts}
    assert reported == {0: [False], 1: [True], 2: []}


def test_the_mark_is_twenty_per_challenger() -> None:
    """8 : 0 is evidence of 28.5 or so: enough against one challenger's mark, not against three."""
    assert decide(RULES, _tally((9, 0)), NOW).next is Stage.PROMOTE
    assert decide(RULES, _tally((9, 0), (0, 0), (0, 0)), NOW).next is Waiting.FOR_VOTES


def test_no_promotion_before_five_votes() -> None:
    """Evidence that an odd prior could bring at once still waits for the least number of votes."""
    rules = replace(RULES, settings=replace(RULES.settings, voting=replace(RULES.settings.voting, promote_e=1.0)))

    assert decide(rules, _tally((4, 0)), NOW).next is Waiting.FOR_VOTES
    assert decide(rules, _tally((5, 0)), NOW).next is Stage.PROMOTE


def test_a_challenger_that_loses_is_dropped_and_shown_no_more() -> None:
    """Evidence of 0.2 or less ends a challenger; when it was the last one, the test is over."""
    tally = _tally((0, 6), (1, 1))
    verdict = decide(RULES, tally, NOW)

    assert verdict.dropped == (1,)
    assert draw(_making(tally, verdict), Task(sample=SampleId(1), fields=())) == (INCUMBENT, 2)
    assert decide(RULES, _tally((0, 6)), NOW).next is Ending.KEPT_INCUMBENT


@pytest.mark.parametrize(
    ("tally", "now"),
    [
        (_tally((3, 3), votes=30), NOW),
        (_tally((1, 1)), NOW + timedelta(days=7)),
        (Tally(arms=(), votes=0, since=NOW), NOW),
    ],
)
def test_cap_calendar_and_no_challenger_keep_the_incumbent(tally: Tally, now: datetime) -> None:
    """30 votes, 7 days or nobody to choose: the prompt in use stays."""
    assert decide(RULES, tally, now).next is Ending.KEPT_INCUMBENT


def test_the_thirtieth_vote_may_still_promote() -> None:
    """Evidence goes before the cap."""
    assert decide(RULES, _tally((25, 5)), NOW).next is Stage.PROMOTE


def test_the_verdict_does_not_depend_on_the_order_of_arms() -> None:
    """Whoever stands first, the same challenger wins."""
    arms = _tally((12, 0), (3, 3), (0, 2)).arms
    winners = {decide(RULES, Tally(arms=tuple(order), votes=20, since=NOW), NOW).winner for order in permutations(arms)}

    assert winners == {1}


def test_thompson_sampling_shows_the_better_challenger_more() -> None:
    """Over many tasks the arm with the better record is on more ballots, and the other not on none."""
    tally = _tally((6, 1), (2, 3), (2, 3))
    verdict = decide(RULES, tally, NOW)
    rules = replace(RULES, settings=replace(RULES.settings, voting=replace(RULES.settings.voting, cards=2)))
    making = _making(tally, verdict, rules)
    shown = [draw(making, Task(sample=SampleId(i), fields=()))[1] for i in range(200)]

    assert shown.count(VariantId(1)) > 120
    assert {1, 2, 3} == set(shown)


def test_a_decided_test_asks_no_model() -> None:
    """When the calendar has decided, the job ends without a call."""
    decision, asked = _drive(_case(_tally((1, 1)), now=NOW + timedelta(days=15)))

    assert decision.next is Ending.KEPT_INCUMBENT
    assert asked == []
