"""One comparison of a test: its replay, its ballots' life, votes taken back, and what makes it begin anew."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import ballots, checks, prompts, replays, steps, votes
from models.replays import replay_of, replayed_samples
from models.runs import Bell
from models.stages.bandit import load_bandit, save_bandit
from models.tables import AssignmentRow, BallotCardRow, BallotRow, PromotionRow, SampleRow, VariantRow, VoteRow
from models.tallies import tally
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.ballots import Ballot, Card
from pipeline.bandit import BanditDecision
from pipeline.decision import INCUMBENT, Paired, Verdict
from pipeline.domain import Choice, Ending, Fate, SampleId, Stage, StepState, VariantId, Waiting
from pipeline.errors import NotFound, Refused
from pipeline.population import Outcome
from pipeline.replay import Replay, Replayed

TEXT = "Name the file.\n---\nDescription: {{description}}\n"
EDITED = "Name the file with care.\n---\nDescription: {{description}}\n"
WAITING = Verdict(next=Waiting.FOR_VOTES, winner=None, evidence=(), dropped=(), reason="")


def begun(memory: Any, *instructions: str, samples: int = 60) -> Any:
    """Start a test by hand, with a history of labelled samples, and claim its first visit."""
    memory.history(samples, right=samples // 2)
    with memory.write() as session:
        bell = checks.start_manual(session, memory.rules, TEXT, instructions, memory.now, "a test")
    return memory.claim(bell)


def outcomes(*flags: bool, start: int = 1) -> tuple[Outcome, ...]:
    """Right and wrong on samples from *start* on."""
    return tuple(Outcome(sample=SampleId(start + i), value=float(ok), correct=ok) for i, ok in enumerate(flags))


def variants_of(memory: Any, run: int) -> list[int]:
    """Read the challengers' ids."""
    with memory.maker() as session:
        return list(session.scalars(select(VariantRow.variant_id).where(VariantRow.run_id == run)))


def saved(memory: Any, mine: Any, **decision: Any) -> None:
    """Save a decision of the bandit stage and go where it says."""
    made = BanditDecision(**{"next": Waiting.FOR_VOTES, "verdict": WAITING, **decision})
    with memory.write() as session:
        save_bandit(session, mine, made, memory.now)
        steps.advance(session, mine, made.next, memory.now, reason=made.reason, due=made.due)


def bell_of(mine: Any, attempt: int) -> Bell:
    """Return the bell of a later attempt at the same visit."""
    return Bell(step=mine.step, run=mine.run, skill=mine.skill, stage=mine.stage, visit=mine.visit, attempt=attempt)


def cast(memory: Any, ballot: int, position: int, minutes: int = 1) -> votes.Counted:
    """Vote for a card."""
    with memory.write() as session:
        return votes.record_vote(
            session, ballot, Choice.PICK, position=position, voter="", took_ms=None,
            now=memory.now + timedelta(minutes=minutes),
        )  # fmt: skip


def counted(memory: Any, run: int) -> Any:
    """Read the tally."""
    with memory.maker() as session:
        return tally(session, run)


# --- the replay ----------------------------------------------------------------------------------------------------


def test_the_first_visit_replays_logged_tasks_of_three_parts(memory: Any) -> None:
    """Each part of the history for one purpose, none of the search's, and ballots of none that is replayed."""
    mine = begun(memory, "Style one.")

    with memory.maker() as session:
        case = load_bandit(session, mine, memory.now)
        splits = {row.id: row.split for row in session.scalars(select(SampleRow))}

    parts = {"select": case.select_items, "confirm": case.confirm_items, "report": case.report_items}
    assert all({splits[int(i.sample)] for i in items} == {name} for name, items in parts.items())
    assert not {t.sample for t in case.tasks} & {i.sample for i in case.confirm_items}
    assert (case.replayed, case.unseen) == (False, True)


def test_a_replay_is_kept_whole_and_counts(memory: Any) -> None:
    """Who goes on, its wins and losses, its start and its flags are read back as they were found."""
    mine = begun(memory, "Style one.", "Style two.")
    first, second = (VariantId(v) for v in variants_of(memory, mine.run))
    found = Replay(
        prompts=(
            Replayed(variant=INCUMBENT, confirm=outcomes(True, False, False), report=outcomes(True, start=10)),
            Replayed(variant=second, confirm=outcomes(False, True, True), report=outcomes(True, start=10)),
        ),
        kept=(second,), served_by=("m 1",), starts=((second, 1.25),),
    )  # fmt: skip

    saved(memory, mine, replay=found, served_by="m 1")

    with memory.maker() as session:
        evolution = session.get_one(EvolutionRow, mine.run)
        fates = {row.variant_id: row.fate for row in session.scalars(select(VariantRow))}
        again = replay_of(evolution)
    (arm,) = counted(memory, mine.run).arms
    assert fates == {first: Fate.BEHIND, second: Fate.ARM}
    assert (arm.variant, arm.start, arm.replay_wins, arm.replay_losses) == (second, 1.25, 2, 1)
    assert arm.flags == Paired(both=1, incumbent=1, challenger=2)
    assert again is not None
    assert again.wins_losses(second) == (2, 1)
    assert replayed_samples(evolution) == {1, 2, 3, 10}
    assert evolution.served_by == "m 1"


def test_a_replay_without_anybody_better_ends_the_test(memory: Any) -> None:
    """Nobody goes on: the prompt in use is kept, with the replay's reason."""
    mine = begun(memory, "Style one.")
    verdict = Verdict(next=Ending.KEPT_INCUMBENT, winner=None, evidence=(), dropped=(), reason="none was better")

    saved(
        memory, mine, next=Ending.KEPT_INCUMBENT, verdict=verdict,
        replay=Replay(prompts=(), kept=(), served_by=(), reason="none was better"),
    )  # fmt: skip

    with memory.maker() as session:
        run = session.get_one(RunRow, mine.run)
        assert (run.ending, run.ending_reason) == (Ending.KEPT_INCUMBENT, "none was better")
        assert session.scalars(select(VariantRow.fate)).one() == Fate.UNDECIDED


def test_a_test_whose_votes_began_before_there_was_a_replay_goes_on_without(memory: Any) -> None:
    """What an earlier release left is neither replayed nor read as one."""
    test = memory.test()
    with memory.write() as session:
        session.get_one(EvolutionRow, test.bell.run).replay = '{"skipped": "begun before"}'
        again = steps.wake(session, test.bell.run, Stage.BANDIT, memory.now)
    mine = memory.claim(again)

    with memory.maker() as session:
        case = load_bandit(session, mine, memory.now)
        assert replay_of(session.get_one(EvolutionRow, mine.run)) is None

    assert case.replayed
    assert len(case.tally.arms) == 1


def test_what_the_search_measured_is_known(memory: Any) -> None:
    """Only outcomes on the select part, the seed variant's as the prompt in use's."""
    mine = begun(memory, "Style one.")

    with memory.maker() as session:
        assert replays.known(session, mine.run) == {}


# --- ballots and votes ---------------------------------------------------------------------------------------------


def test_right_and_wrong_on_ballots_count_whatever_was_voted(memory: Any) -> None:
    """Where the right answer is known, every ballot adds to the flags; the picked card's is kept beside the choice."""
    mine = begun(memory, "Style one.")
    (variant,) = variants_of(memory, mine.run)
    cards = (
        Card(output="a", arms=(INCUMBENT,), correct=False),
        Card(output="b", arms=(VariantId(variant),), correct=True),
    )
    with memory.maker() as session:
        ids = list(session.scalars(select(SampleRow.id)))[:2]

    saved(
        memory, mine, replay=Replay(prompts=(), kept=(VariantId(variant),), served_by=()),
        ballots=tuple(Ballot(sample=SampleId(i), cards=cards) for i in ids),
    )  # fmt: skip
    cast(memory, 1, 2)

    assert counted(memory, mine.run).arms[0].flags == Paired(challenger=2)
    with memory.maker() as session:
        assert session.get_one(VoteRow, 1).task_success is True


def test_the_newest_vote_can_be_taken_back(memory: Any) -> None:
    """Its ballot is open again, nothing of it counts, and that it happened is kept."""
    test = memory.test()
    cast(memory, test.ballots[0], 2, 1)
    cast(memory, test.ballots[1], 2, 2)

    with memory.write() as session:
        assert votes.undo_vote(session, test.ballots[1])

    now = counted(memory, test.bell.run)
    assert (now.votes, now.arms[0].wins) == (1, 1)
    with memory.maker() as session:
        ballot = session.get_one(BallotRow, test.ballots[1])
        assert (ballot.outcome, ballot.closed_at, ballot.undone) == ("open", None, 1)
    assert cast(memory, test.ballots[1], 1, 3).fresh


def test_only_the_newest_vote_can_be_taken_back(memory: Any) -> None:
    """An earlier one, one that was never given, and one of no ballot."""
    test = memory.test()
    cast(memory, test.ballots[0], 2, 1)
    cast(memory, test.ballots[1], 2, 2)

    with memory.write() as session:
        with pytest.raises(Refused, match="newest"):
            votes.undo_vote(session, test.ballots[0])
        assert votes.undo_vote(session, test.ballots[2]) is False
        with pytest.raises(NotFound):
            votes.undo_vote(session, 999)


def test_a_vote_that_decided_cannot_be_taken_back(memory: Any) -> None:
    """What follows from it is under way; the refusal says how to go back."""
    memory.voting(promote_e=1.8, min_votes=2, open_ballots=1)
    test = memory.test()
    cast(memory, test.ballots[0], 2, 1)
    cast(memory, test.ballots[1], 2, 2)

    with memory.write() as session, pytest.raises(Refused, match="decided its test"):
        votes.undo_vote(session, test.ballots[1])


def test_old_ballots_expire_and_make_room(memory: Any) -> None:
    """After 72 hours an open ballot counts no more among those that wait, and the next save closes it."""
    test = memory.test(ballots=3)
    later = memory.now + timedelta(hours=73)
    with memory.write() as session:
        again = steps.wake(session, test.bell.run, Stage.BANDIT, later)
    mine = memory.claim(again)
    with memory.maker() as session:
        case = load_bandit(session, mine, later)

    with memory.write() as session:
        save_bandit(session, mine, BanditDecision(next=Waiting.FOR_VOTES, verdict=WAITING), later)

    with memory.maker() as session:
        assert (case.open_ballots, case.expiring) == (0, None)
        assert set(session.scalars(select(BallotRow.outcome))) == {"expired"}


def test_a_ballot_tells_how_many_more_votes_should_decide(memory: Any) -> None:
    """Whoever votes sees a span, and nothing of who is ahead."""
    test = memory.test()
    cast(memory, test.ballots[0], 2)

    with memory.maker() as session:
        shown = ballots.next_ballot(session, None)

    assert shown is not None
    assert shown.outlook is not None
    assert 0 < shown.outlook[0] <= shown.outlook[1] <= 29


def test_new_tasks_become_ballots_with_the_set_probability(memory: Any) -> None:
    """Drawn from their ids: about half of those that came in after the test began, of any part of the history."""
    mine = begun(memory, "Style one.", samples=10)
    for i in range(100):
        memory.tell(f"new{i}", output="x")

    with memory.maker() as session:
        case = load_bandit(session, mine, memory.now)
        rows = {row.id: row for row in session.scalars(select(SampleRow))}
    new = [rows[int(t.sample)] for t in case.tasks if rows[int(t.sample)].task_id.startswith("new")]

    assert 30 <= len(new) <= 60  # at most 60 are looked at in one visit
    assert all(row.ballot_wanted for row in new)
    assert {row.split for row in new} == {"search", "select", "confirm", "report"}


def test_a_new_task_wakes_a_test_that_lacks_ballots(memory: Any) -> None:
    """However the task comes in; while ballots enough are open, or no test is, nothing is woken."""
    with memory.write() as session:
        assert votes.news(session, "file-naming", memory.now) == []
    test = memory.test(ballots=2)
    for i in range(4):
        memory.tell(f"new{i}", output="x")

    with memory.write() as session:
        bells = votes.news(session, "file-naming", memory.now)

    assert [bell.stage for bell in bells] == [Stage.BANDIT]
    assert memory.step(test.bell).state == StepState.READY


# --- a comparison that begins anew ---------------------------------------------------------------------------------


def test_an_edited_prompt_begins_the_comparison_anew(memory: Any) -> None:
    """A person's edit of the prompt in use is noticed, wakes the test, and empties what was counted; rows stay."""
    test = memory.test()
    cast(memory, test.ballots[0], 2)
    with memory.write() as session:
        checks.notice(session, memory.rules, EDITED, memory.now)
    mine = memory.claim(replace(test.bell, attempt=memory.step(test.bell).attempt))
    with memory.maker() as session:
        case = load_bandit(session, mine, memory.now)

    saved(memory, mine, next=Stage.BANDIT, restart=case.changed)

    now = counted(memory, test.bell.run)
    assert "the prompt in use was changed" in case.changed
    assert (now.votes, now.since, now.arms[0].wins) == (0, None, 0)
    with memory.maker() as session:
        evolution = session.get_one(EvolutionRow, test.bell.run)
        assert (evolution.comparison, evolution.replay, evolution.restarted) == (1, "", case.changed)
        assert len(session.scalars(select(VoteRow)).all()) == 1
        assert "open" not in set(session.scalars(select(BallotRow.outcome)))
        assert prompts.version(session, "file-naming", 1).text == EDITED


def test_a_switched_version_is_the_new_prompt_to_beat(memory: Any) -> None:
    """The run then compares with the version that the person switched to, and a promotion replaces that one."""
    mine = begun(memory, "Style one.")
    (variant,) = variants_of(memory, mine.run)
    saved(memory, mine, replay=Replay(prompts=(), kept=(VariantId(variant),), served_by=()))
    with memory.write() as session:
        prompts.note_version(session, replace(memory.rules.skill, version=2), EDITED, memory.now)
    with memory.maker() as session:
        step = session.get_one(StepRow, mine.step)
    again = memory.claim(bell_of(mine, step.attempt))
    with memory.maker() as session:
        case = load_bandit(session, again, memory.now)

    saved(memory, again, next=Stage.BANDIT, restart=case.changed)

    with memory.maker() as session:
        assert session.get_one(RunRow, mine.run).version == 2
    assert step.state == StepState.READY  # the switch had woken it


def test_a_challenger_left_behind_has_its_chance_in_a_new_comparison(memory: Any) -> None:
    """Against another prompt another challenger may be the best: all of them are replayed again."""
    mine = begun(memory, "Style one.", "Style two.")
    _, second = variants_of(memory, mine.run)
    saved(memory, mine, replay=Replay(prompts=(), kept=(VariantId(second),), served_by=()))
    with memory.write() as session:
        again = steps.wake(session, mine.run, Stage.BANDIT, memory.now)

    saved(memory, memory.claim(again), next=Stage.BANDIT, restart="the task model or Ollama changed")

    assert len(counted(memory, mine.run).arms) == 2


def test_no_vote_decides_against_a_prompt_that_is_no_longer_in_use(memory: Any) -> None:
    """Between the edit and the next look of the worker a vote is kept, and promotes nothing."""
    memory.voting(promote_e=1.8, min_votes=2, open_ballots=1)
    test = memory.test()
    cast(memory, test.ballots[0], 2, 1)
    with memory.write() as session:
        checks.notice(session, memory.rules, EDITED, memory.now)

    done = cast(memory, test.ballots[1], 2, 2)

    assert (done.fresh, done.verdict.next) == (True, Waiting.FOR_VOTES)
    assert "was changed" in done.verdict.reason
    assert memory.step(test.bell).state == StepState.READY


# --- the live mode -------------------------------------------------------------------------------------------------


def outcome(memory: Any, run: int, number: int, variant: int | None, *, ok: bool | None) -> None:
    """Give a prompt a task and record how it went, or that nobody has said so yet; its outcome comes hours later."""
    at = memory.now + timedelta(minutes=number)
    with memory.write() as session:
        session.add(
            AssignmentRow(
                skill_name="file-naming", task_id=f"o{number}", run_id=run, variant_id=variant, version=1, created_at=at,
                outcome=None if ok is None else "ok" if ok else "bad", outcome_at=at + timedelta(hours=24 if ok else 1),
            )
        )  # fmt: skip


def played(memory: Any, plan: list[tuple[bool, bool | None]], hours: float) -> Any:
    """Play tasks of a live test, the challenger's where the first flag says so; count them so many hours later."""
    memory.voting(mode="live")
    test = memory.test()
    for number, (challenger, ok) in enumerate(plan):
        outcome(memory, test.bell.run, number, test.variants[0] if challenger else None, ok=ok)
    with memory.maker() as session:
        return tally(session, test.bell.run, memory.now + timedelta(hours=hours))


def test_in_the_live_mode_the_kth_outcomes_are_pairs(memory: Any) -> None:
    """In the order of the tasks: third against third, and the one too many waits for its partner."""
    plan = [(False, True), (True, True), (True, True), (False, False), (True, False), (True, True), (False, True)]

    now = played(memory, plan, 1)

    # pairs: (ok, ok), (bad, ok), (ok, bad); the challenger's fourth outcome has no partner yet
    assert (now.arms[0].wins, now.arms[0].losses) == (1, 1)
    assert (now.votes, now.picks, now.losses, now.shown) == (7, 2, 1, 3)
    assert (now.arms[0].picks, now.arms[0].shown) == (3, 4)


def test_a_task_that_may_still_be_complained_of_holds_its_prompts_later_ones_back(memory: Any) -> None:
    """Failures are told first; after the time of silence the task is passed over."""
    plan = [(False, None), (True, True), (False, False), (True, True), (False, False), (True, True)]

    early, late = played(memory, plan, 1), None
    with memory.maker() as session:
        late = tally(session, 1, memory.now + timedelta(hours=25))

    assert (early.arms[0].wins, early.votes) == (0, 5)
    assert late.arms[0].wins == 2


def test_a_live_comparison_that_begins_anew_forgets_its_tasks(memory: Any) -> None:
    """Before its own replay nothing counts, and afterwards only tasks that were given since."""
    memory.voting(mode="live")
    test = memory.test()
    for number in range(20):
        outcome(memory, test.bell.run, number, test.variants[0] if number % 2 else None, ok=bool(number % 2))
    with memory.write() as session:
        again = steps.wake(session, test.bell.run, Stage.BANDIT, memory.now)
    saved(memory, memory.claim(again), next=Stage.BANDIT, restart="the prompt in use was changed (v1)")
    forgotten = counted(memory, test.bell.run)
    with memory.write() as session:
        session.get_one(EvolutionRow, test.bell.run).voting_since = memory.now + timedelta(minutes=15)

    assert (forgotten.votes, forgotten.arms[0].wins) == (0, 0)
    assert counted(memory, test.bell.run).votes == 5


def test_a_live_outcome_decides_in_its_own_transaction(memory: Any) -> None:
    """Pairs enough, and the promotion's step is there when the outcome is."""
    memory.voting(mode="live", promote_e=1.8, min_votes=2)
    test = memory.test()
    for number in range(8):
        outcome(memory, test.bell.run, number, test.variants[0] if number % 2 else None, ok=bool(number % 2))

    with memory.write() as session:
        bells = votes.news(session, "file-naming", memory.now)

    assert [bell.stage for bell in bells] == [Stage.PROMOTE]
    assert memory.step(test.bell).state == StepState.DONE


# --- history -------------------------------------------------------------------------------------------------------


def test_a_promotion_keeps_the_counts_behind_it(memory: Any) -> None:
    """Evidence of replay and votes, and who decided, stand in the history before the file is touched."""
    from models.stages.promote import intend, load_promote  # noqa: PLC0415 - only this test is about promotion
    from pipeline.promote import promote  # noqa: PLC0415 - same

    memory.voting(promote_e=1.8, min_votes=2, open_ballots=1)
    test = memory.test()
    with memory.write() as session:
        session.get_one(VariantRow, test.variants[0]).replay_wins = 3
    cast(memory, test.ballots[0], 2, 1)
    bells = cast(memory, test.ballots[1], 2, 2).bells
    mine = memory.claim(bells[0])
    with memory.maker() as session:
        request = next(promote(load_promote(session, mine, memory.now)))

    with memory.write() as session:
        intend(session, mine, request, "", memory.now)

    with memory.maker() as session:
        row = session.scalars(select(PromotionRow)).one()
        kept = json.loads(row.evidence)
        assert session.scalars(select(BallotCardRow)).first() is not None
    assert (row.actor, kept["wins"], kept["replay_wins"], kept["challengers"]) == ("pipeline", 2, 3, 1)
    assert kept["e_value"] == pytest.approx(kept["replay_e"] * kept["votes_e"])
