"""Votes: each counts once, together they decide at once, and a job at work cannot undo what they decided."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import ballots, steps, votes
from models.runs import cancel
from models.steps import Fenced
from models.tables import BallotCardRow, BallotRow, SampleRow, VariantRow, VoteRow
from models.work_tables import RunRow, StepRow
from pipeline.ballots import Ballot, Card
from pipeline.domain import Choice, Ending, Fate, SampleId, Stage, StepState, Waiting
from pipeline.errors import BadInput, NotFound, Refused
from pipeline.policies import decide

QUICK = {"promote_e": 1.8, "min_votes": 2, "open_ballots": 1}


def cast(memory: Any, ballot: int, choice: Choice = Choice.PICK, position: int | None = 2) -> votes.Counted:
    """Cast one vote in a transaction of its own; position 2 is the first challenger's card."""
    with memory.write() as session:
        return votes.record_vote(
            session, ballot, choice, position=position, voter="v", took_ms=900, now=memory.now + timedelta(hours=1)
        )


def win(memory: Any, test: Any) -> votes.Counted:
    """Vote for the first challenger until the test is decided; return what the last vote did."""
    return next(done for ballot in test.ballots if (done := cast(memory, ballot)).verdict.next is not Waiting.FOR_VOTES)


def tally_of(memory: Any, test: Any) -> Any:
    """Read the tally."""
    with memory.maker() as session:
        return votes.tally(session, test.bell.run)


def test_a_vote_twice_on_one_ballot_counts_once(memory: Any) -> None:
    """The second answer changes nothing, also when it is another one, and says so."""
    test = memory.test()

    first, second = cast(memory, test.ballots[0]), cast(memory, test.ballots[0], Choice.TIE)

    tally = tally_of(memory, test)
    assert (first.fresh, second.fresh) == (True, False)
    assert (tally.votes, tally.arms[0].wins) == (1, 1)


def test_two_processes_on_one_ballot_count_once(memory: Any) -> None:
    """Whoever comes second, at the same moment, finds the ballot voted on."""
    test = memory.test()

    def vote(session: Any) -> votes.Counted:
        return votes.record_vote(
            session, test.ballots[0], Choice.PICK, position=1, voter="", took_ms=None, now=memory.now
        )

    results = memory.at_once(*[vote] * 4)

    assert sorted(result.fresh for result in results) == [False, False, False, True]
    assert tally_of(memory, test).votes == 1


def test_votes_at_the_same_moment_are_decided_together(memory: Any) -> None:
    """Of many votes on different ballots at once none is lost, and the one that completes the evidence decides."""
    memory.voting(promote_e=5.0, min_votes=2)
    test = memory.test(ballots=6)

    def vote(ballot: int) -> Any:
        return lambda session: votes.record_vote(
            session, ballot, Choice.PICK, position=2, voter="", took_ms=None, now=memory.now
        )

    results = memory.at_once(*map(vote, test.ballots))

    assert not [r for r in results if isinstance(r, Exception) and not isinstance(r, Refused)]
    counted = [r for r in results if isinstance(r, votes.Counted)]
    assert sum(isinstance(r.verdict.next, Stage) for r in counted) == 1
    assert memory.step(test.bell).state == StepState.DONE
    assert tally_of(memory, test).votes == len(counted)


@pytest.mark.parametrize("position", [None, 0, -1, 3, 99])
def test_a_pick_needs_a_card_of_this_ballot(memory: Any, position: int | None) -> None:
    """A position that is not on the ballot is refused, and the ballot stays open."""
    test = memory.test()

    with pytest.raises(BadInput, match="1 to 2"):
        cast(memory, test.ballots[0], position=position)

    assert tally_of(memory, test).votes == 0
    assert cast(memory, test.ballots[0]).fresh


def test_an_unknown_ballot_is_not_found(memory: Any) -> None:
    """A number that is no ballot's names none."""
    with pytest.raises(NotFound):
        cast(memory, 4711)


@pytest.mark.parametrize(
    ("choice", "wins", "losses", "counted"),
    [
        (Choice.PICK, 1, 0, 1),
        (Choice.TIE, 0, 0, 1),
        (Choice.NONE, 0, 0, 1),
        (Choice.SKIP, 0, 0, 0),
    ],
)
def test_only_picks_are_evidence_and_skips_do_not_count(
    memory: Any, choice: Choice, wins: int, losses: int, counted: int
) -> None:
    """A tie and "none" use up a vote without evidence; a skip not even that. A position beside them says nothing."""
    test = memory.test()

    cast(memory, test.ballots[0], choice, position=2)

    tally = tally_of(memory, test)
    assert (tally.arms[0].wins, tally.arms[0].losses, tally.votes) == (wins, losses, counted)


def test_a_pick_of_the_incumbent_is_a_loss_for_every_challenger_shown(memory: Any) -> None:
    """All challengers on the other cards lose against it."""
    test = memory.test(arms=2)

    cast(memory, test.ballots[0], position=1)

    assert [(arm.wins, arm.losses) for arm in tally_of(memory, test).arms] == [(0, 1), (0, 1)]


def test_a_pick_of_a_challenger_says_nothing_of_another(memory: Any) -> None:
    """The picked one wins against the incumbent; that it was preferred to the other challenger is not counted."""
    test = memory.test(arms=2)

    cast(memory, test.ballots[0], position=3)

    assert [(arm.wins, arm.losses) for arm in tally_of(memory, test).arms] == [(0, 0), (1, 0)]


@pytest.mark.parametrize(
    ("cards", "picked", "expected"),
    [
        (((0, 1), (2,)), 1, [(0, 0), (0, 1)]),  # the first challenger's result was the incumbent's own
        (((0, 1), (2,)), 2, [(0, 0), (1, 0)]),
        (((0,), (1, 2)), 2, [(1, 0), (1, 0)]),  # one result of two challengers
        (((0,), (1, 2)), 1, [(0, 1), (0, 1)]),
        (((2, 1, 0),), 1, [(0, 0), (0, 0)]),
    ],
)
def test_a_merged_card_counts_for_all_it_stands_for(
    memory: Any, cards: tuple[tuple[int, ...], ...], picked: int, expected: list[tuple[int, int]]
) -> None:
    """Identical results share a card: picking it is a win for its challengers, unless the incumbent is among them."""
    test = memory.test(arms=2)
    names = {0: 0, 1: test.variants[0], 2: test.variants[1]}
    with memory.write() as session:
        session.execute(BallotCardRow.__table__.delete().where(BallotCardRow.ballot_id == test.ballots[0]))
        for position, arms in enumerate(cards, start=1):
            ids = ",".join(str(names[arm]) for arm in arms)
            session.add(BallotCardRow(ballot_id=test.ballots[0], position=position, output="x", arms=ids))

    cast(memory, test.ballots[0], position=picked)

    assert [(arm.wins, arm.losses) for arm in tally_of(memory, test).arms] == expected


def test_enough_evidence_hands_over_to_promotion_in_the_votes_transaction(memory: Any) -> None:
    """The deciding vote ends the test, closes what is open, names the winner and makes the promotion ready."""
    memory.voting(**QUICK)
    test = memory.test(arms=1)
    last = win(memory, test)

    assert [bell.stage for bell in last.bells] == [Stage.PROMOTE]
    with memory.maker() as session:
        assert session.get_one(VariantRow, test.variants[0]).fate == Fate.WINNER
        assert not session.scalars(select(BallotRow).where(BallotRow.outcome == "open")).all()
    assert memory.step(test.bell).state == StepState.DONE


def test_the_rules_are_those_of_the_start(memory: Any) -> None:
    """A setting that changes during the test changes nothing for it."""
    memory.voting(promote_e=1000.0, min_votes=2)
    test = memory.test()
    memory.voting(**QUICK)

    counted = [cast(memory, ballot) for ballot in test.ballots[:4]]

    assert {c.verdict.next for c in counted} == {Waiting.FOR_VOTES}


def test_hopeless_challengers_end_the_test(memory: Any) -> None:
    """When every challenger is below the futility mark, the incumbent stays and the run ends."""
    memory.voting(futility_e=0.5)
    test = memory.test(arms=2)

    ends = [cast(memory, ballot, position=1).verdict.next for ballot in test.ballots[:2]]

    assert ends == [Waiting.FOR_VOTES, Ending.KEPT_INCUMBENT]
    run = memory.run_row(test.bell)
    assert (run.ending, memory.step(test.bell).state) == (Ending.KEPT_INCUMBENT, StepState.DONE)
    with memory.maker() as session:
        assert {v.fate for v in session.scalars(select(VariantRow))} == {Fate.LOSER}


@pytest.mark.parametrize("choice", [Choice.PICK, Choice.SKIP])
def test_a_vote_after_the_end_is_refused(memory: Any, choice: Choice) -> None:
    """A ballot that was left on a screen while the test ended takes no vote any more."""
    memory.voting(max_votes=1)
    test = memory.test()
    cast(memory, test.ballots[0])

    with pytest.raises(Refused, match="closed"):
        cast(memory, test.ballots[1], choice)

    assert tally_of(memory, test).votes == 1


def test_a_repeated_vote_after_the_end_is_still_no_error(memory: Any) -> None:
    """The press that ended the test may arrive twice: the second one learns the verdict, and no bell rings again."""
    memory.voting(max_votes=1)
    test = memory.test()
    cast(memory, test.ballots[0])

    again = cast(memory, test.ballots[0])

    assert (again.fresh, again.bells, again.verdict.next) == (False, (), Ending.KEPT_INCUMBENT)


def test_a_vote_on_a_cancelled_test_is_refused(memory: Any) -> None:
    """Cancelling closes the test for every ballot."""
    test = memory.test()
    with memory.write() as session:
        cancel(session, session.get_one(RunRow, test.bell.run), "stop", memory.now)

    with pytest.raises(Refused):
        cast(memory, test.ballots[0])


def test_a_deciding_vote_fences_the_job_that_makes_ballots(memory: Any) -> None:
    """The job was still asking models when the vote decided: its ballots and its verdict are not written."""
    memory.voting(**QUICK)
    test = memory.test()
    with memory.write() as session:
        again = steps.wake(session, test.bell.run, Stage.BANDIT, memory.now)
    mine = memory.claim(again)
    win(memory, test)
    new = Ballot(sample=SampleId(1), cards=(Card(output="late", arms=(0,)),))

    with pytest.raises(Fenced):
        memory.launch(mine, (new,))

    with memory.maker() as session:
        assert not session.scalars(select(BallotCardRow).where(BallotCardRow.output == "late")).all()
        stages = session.scalars(select(StepRow.stage).where(StepRow.run_id == test.bell.run).order_by(StepRow.id))
        assert list(stages) == [Stage.BANDIT, Stage.PROMOTE]


def test_a_vote_and_the_calendar_at_once_decide_once(memory: Any) -> None:
    """A job that ends the test by the calendar and a vote that ends it otherwise: exactly one of them does."""
    memory.voting(**QUICK)
    test = memory.test()
    cast(memory, test.ballots[0])
    with memory.write() as session:
        again = steps.wake(session, test.bell.run, Stage.BANDIT, memory.now)
    mine = memory.claim(again)
    late = memory.now + timedelta(days=15)

    def by_calendar(session: Any) -> str:
        steps.fence(session, mine)
        verdict = decide(mine.rules, votes.tally(session, test.bell.run), late)
        votes.close_test(session, session.get_one(RunRow, test.bell.run), verdict, late)
        steps.advance(session, mine, verdict.next, late, reason=verdict.reason)
        return "calendar"

    def by_vote(session: Any) -> str:
        votes.record_vote(session, test.ballots[1], Choice.PICK, position=2, voter="", took_ms=None, now=memory.now)
        return "vote"

    results = memory.at_once(by_calendar, by_vote)

    errors = [r for r in results if isinstance(r, Exception)]
    assert all(isinstance(e, Refused | Fenced) for e in errors)
    run = memory.run_row(test.bell)
    with memory.maker() as session:
        promotions = session.scalars(select(StepRow).where(StepRow.stage == Stage.PROMOTE)).all()
    assert (run.ending == Ending.KEPT_INCUMBENT) != bool(promotions)


def test_a_vote_while_ballots_are_made_makes_the_job_look_again(memory: Any) -> None:
    """A vote that leaves too few ballots marks the running step dirty: it goes on instead of waiting."""
    memory.voting(open_ballots=20)
    test = memory.test(ballots=2)
    cast(memory, test.ballots[0])
    with memory.write() as session:
        mine = steps.claim(session, test.bell.step, 2, memory.now)
    assert mine is not None

    cast(memory, test.ballots[1], Choice.TIE)

    with memory.write() as session:
        bells = steps.advance(session, mine, Waiting.FOR_VOTES, memory.now)
    assert [bell.attempt for bell in bells] == [3]


def test_the_oldest_open_ballot_is_shown_first_and_blind(memory: Any) -> None:
    """A person sees the input and the results, in their order, and nothing that names a prompt."""
    test = memory.test(arms=2)
    with memory.write() as session:
        shown = ballots.next_ballot(session, "file-naming")

    assert shown.ballot == test.ballots[0]
    assert shown.cards == ("answer 0", "answer 1", "answer 2")
    assert not re.search(r"variant|style|incumbent", repr(shown))
    with memory.write() as session:
        assert ballots.next_ballot(session, "another-skill") is None


def test_no_ballot_of_an_ended_run_is_shown(memory: Any) -> None:
    """A ballot that somehow stayed open after its run ended is not offered."""
    test = memory.test()
    with memory.write() as session:
        session.get_one(RunRow, test.bell.run).ended_at = memory.now

    with memory.write() as session:
        assert ballots.next_ballot(session, None) is None


def test_a_sample_becomes_a_ballot_once_in_a_test(memory: Any) -> None:
    """Saving the same ballot again, after a crash in between, adds nothing; equal results are closed at once."""
    test = memory.test(ballots=2)
    with memory.write() as session:
        taken = session.get_one(BallotRow, test.ballots[0]).sample_id
        other = session.scalars(select(SampleRow.id).where(SampleRow.split == "select")).first()
        again = steps.wake(session, test.bell.run, Stage.BANDIT, memory.now)
    equal = Ballot(sample=SampleId(other), cards=(Card(output="same", arms=(0, test.variants[0])),))

    memory.launch(
        memory.claim(again), (Ballot(sample=SampleId(taken), cards=(Card(output="x", arms=(0,)),)), equal, equal)
    )

    with memory.maker() as session:
        rows = session.execute(select(BallotRow.sample_id, BallotRow.outcome).order_by(BallotRow.id)).all()
    assert len(rows) == 3
    assert rows[-1] == (other, "equal")


def test_the_clock_of_a_test_starts_with_its_first_launch(memory: Any) -> None:
    """Later launches leave the date from which the days are counted."""
    test = memory.test()
    began = tally_of(memory, test).since
    with memory.write() as session:
        again = steps.wake(session, test.bell.run, Stage.BANDIT, memory.now)
    memory.now += timedelta(days=3)
    memory.launch(memory.claim(again), ())

    assert tally_of(memory, test).since == began


def test_every_vote_is_kept_with_what_it_said(memory: Any) -> None:
    """The choice, its position, the voter (clipped) and the time it took stand in the history."""
    test = memory.test()
    with memory.write() as session:
        votes.record_vote(
            session, test.ballots[0], Choice.TIE, position=2, voter="x" * 300, took_ms=1234, now=memory.now
        )

    with memory.maker() as session:
        row = session.get_one(VoteRow, test.ballots[0])
        assert (row.choice, row.position, len(row.voter), row.took_ms) == ("tie", None, 100, 1234)


def test_saving_and_voting_use_the_same_counts(memory: Any) -> None:
    """The tally is counted from the votes themselves each time: reading it twice gives the same."""
    test = memory.test(arms=3)
    for index, ballot in enumerate(test.ballots):
        cast(memory, ballot, position=index % 4 + 1)

    first, second = tally_of(memory, test), tally_of(memory, test)

    assert first == second
    assert first.votes == len(test.ballots)
