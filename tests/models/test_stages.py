"""What each stage loads is what the one before saved, and a repeated or late save changes nothing that stands."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import checks, prompts, steps, votes
from models.judge_tables import JudgementRow
from models.runs import become_evolution, cancel
from models.search_tables import MutationPromptRow
from models.stages.bandit import load_bandit
from models.stages.dedupe import load_dedupe, save_dedupe
from models.stages.judge import load_judge, save_judge
from models.stages.mutate import load_mutate, save_mutate
from models.stages.promote import intend, load_promote, save_promote
from models.steps import Fenced
from models.tables import BallotRow, EmbeddingRow, PromotionRow, SampleRow, VariantRow
from models.work_tables import EvolutionRow, RunRow
from pipeline.ballots import Ballot, Card
from pipeline.dedupe import DedupeDecision, Sorted
from pipeline.domain import Ending, Fate, MutationType, Role, RunKind, SampleId, Stage, VariantId
from pipeline.flow import Publish, Published, drive
from pipeline.judge import JudgeDecision, Verdict
from pipeline.mutate import MutateDecision
from pipeline.population import Draft, Member, MutationPrompt
from pipeline.promote import PromoteDecision, promote
from pipeline.rating import Answered, Rating

TEXT = "Name the file.\n---\nDescription: {{description}}\n"


def member(ordinal: int, slot: int, fitness: float = 0.5, **changes: Any) -> Member:
    """A measured member."""
    base = Member(
        ordinal=ordinal, slot=slot, generation=0, parent=None if ordinal == 0 else 0, second_parent=None, mutation=0,
        draft=Draft(instruction=f"Member {ordinal} says this.", kind=MutationType.DIRECT, reasoning="r"),
        fitness=fitness, correct=5, n=10,
    )  # fmt: skip
    return replace(base, **changes)


def rating(score: float | None) -> Rating:
    """Return what a judge said by the checklist."""
    answers = (Answered(name="task", good=0.9), Answered(name="output", good=None, forced=True))
    return Rating(protocol="checklist", score=score, answers=answers, served_by="qwen2.5-coder:3b abc 0.12.11")


def generation(*children: Member, finalists: tuple[int, ...] = (), **changes: Any) -> MutateDecision:
    """A generation's decision."""
    base = MutateDecision(
        next=Stage.JUDGE if finalists else Stage.MUTATE, generation=0, children=children,
        mutation_prompts=(MutationPrompt(ordinal=0, text="Shorter.", parent=None),), tally=((0, 2, 1),), stale=0,
        best_fitness=0.7, finalists=finalists, reason="",
    )  # fmt: skip
    return replace(base, **changes)


@pytest.fixture(name="search")
def _search(memory: Any) -> Any:
    """Return a claim on the first generation of a search over sixty samples."""
    memory.searching(mode="promptbreeder")
    with memory.write() as session:
        prompts.note_version(session, memory.rules.skill, TEXT, memory.now)
    memory.history(60)
    bell = memory.run(Stage.MUTATE)
    with memory.write() as session:
        become_evolution(session, session.get_one(RunRow, bell.run), memory.now, 0.5, 60)
    return memory.claim(bell)


def saved(memory: Any, mine: Any, decision: Any, save: Any = save_mutate) -> Any:
    """Save a decision, hand over, and return the claim on the next step."""
    with memory.write() as session:
        save(session, mine, decision, memory.now)
        bells = steps.advance(session, mine, decision.next, memory.now)
    return memory.claim(bells[0])


def loaded(memory: Any, mine: Any, load: Any) -> Any:
    """Load a case."""
    with memory.write() as session:
        return load(session, mine, memory.now)


def test_the_first_generation_sees_history_and_no_population(memory: Any, search: Any) -> None:
    """Samples, failures and successes are all of the search split, and no newer than the run."""
    memory.tell("later", output="x", expected="y")
    case = loaded(memory, search, load_mutate)

    assert (case.generation, case.population, case.next_ordinal) == (0, (), 0)
    assert 10 <= len(case.items) <= 25
    assert len({item.sample for item in case.items}) == len(case.items)
    assert max(item.sample for item in case.items) <= 60
    assert case.failures
    assert (case.calls_left, case.minutes_left) == (1000, 600.0)


def test_a_generation_comes_back_as_it_was_saved(memory: Any, search: Any) -> None:
    """Members with their drafts and parents, mutation prompts, and the count of generations without progress."""
    children = (member(0, 0), member(1, 1, 0.7, second_parent=None), member(2, 2, parent=1, second_parent=0))
    after = saved(memory, search, generation(*children, stale=3))
    case = loaded(memory, after, load_mutate)

    assert case.generation == 1
    assert case.population == children
    assert (case.next_ordinal, case.stale) == (3, 3)
    assert case.mutation_prompts == (MutationPrompt(ordinal=0, text="Shorter.", parent=None),)


def test_a_child_overwrites_the_member_in_its_slot(memory: Any, search: Any) -> None:
    """The loser stays known for choosing finalists, and is no longer in the population; a refused child overwrites none."""
    after = saved(memory, search, generation(member(0, 0), member(1, 1)))
    refused = member(3, 0, n=0, correct=0, fate=Fate.REFUSED, fate_reason="salad")
    more = generation(member(2, 1, 0.6, parent=0, generation=1), refused, mutation_prompts=(), generation=1)
    case = loaded(memory, saved(memory, after, more), load_mutate)

    assert [m.ordinal for m in case.population] == [0, 2]
    assert [m.ordinal for m in case.finished] == [0, 1, 2]
    assert case.next_ordinal == 4
    with memory.maker() as session:
        fates = session.execute(select(VariantRow.ordinal, VariantRow.fate).order_by(VariantRow.ordinal)).all()
        applied = session.scalars(select(MutationPromptRow)).one()
    assert [f for _, f in fates] == [Fate.ALIVE, Fate.REPLACED, Fate.ALIVE, Fate.REFUSED]
    assert (applied.applied, applied.improved) == (4, 2)


def test_finalists_go_to_the_judge_best_first(memory: Any, search: Any) -> None:
    """Also one that was overwritten; nobody else is judged, and a verdict decides its fate."""
    decision = generation(member(0, 0), member(1, 1, 0.6), member(2, 2, 0.9), member(3, 2, 0.8), finalists=(2, 3))
    mine = saved(memory, search, decision)
    case = loaded(memory, mine, load_judge)

    assert [c.instruction for c in case.candidates] == ["Member 2 says this.", "Member 3 says this."]
    first, second = (c.variant for c in case.candidates)
    verdicts = (
        Verdict(variant=first, ratings=((Role.JUDGE, rating(71.0)),), passed=True, reason="ok"),
        Verdict(variant=second, ratings=((Role.JUDGE, rating(None)),), passed=False, reason="unreadable"),
    )
    mine = saved(memory, mine, JudgeDecision(next=Stage.DEDUPE, verdicts=verdicts, reason=""), save_judge)

    assert [c.variant for c in loaded(memory, mine, load_dedupe).contenders] == [first]
    with memory.maker() as session:
        rows = session.scalars(select(JudgementRow).order_by(JudgementRow.id)).all()
        assert [(r.overall, r.passed, r.judge_tag) for r in rows] == [
            (71.0, True, "qwen2.5-coder:3b"),
            (None, False, "qwen2.5-coder:3b"),
        ]
        assert session.get_one(VariantRow, second).fate == Fate.UNPARSABLE


def test_arms_get_their_letters_and_vectors_are_kept_once(memory: Any, search: Any) -> None:
    """The chosen ones are variant_a and so on, in order; a text that is embedded again is stored once."""
    mine = saved(memory, search, generation(member(0, 0), member(1, 1), member(2, 2), finalists=(1, 2)))
    candidates = loaded(memory, mine, load_judge).candidates
    verdicts = tuple(
        Verdict(variant=c.variant, ratings=((Role.JUDGE, rating(90.0)),), passed=True, reason="") for c in candidates
    )
    mine = saved(memory, mine, JudgeDecision(next=Stage.DEDUPE, verdicts=verdicts, reason=""), save_judge)
    one, two = (c.variant for c in candidates)
    decision = DedupeDecision(
        next=Stage.BANDIT, fates=(Sorted(variant=one, fate=Fate.ARM, reason=""), Sorted(variant=two, fate=Fate.ARM, reason="")),
        arms=(two, one), texts=("same", "same", "other"), vectors=((1.0, 0.0), (1.0, 0.0), (0.0, 1.0)), profile="p", reason="",
    )  # fmt: skip
    mine = saved(memory, mine, decision, save_dedupe)
    case = loaded(memory, mine, load_bandit)

    assert [(arm.name, arm.variant) for arm in case.tally.arms] == [("variant_a", two), ("variant_b", one)]
    with memory.maker() as session:
        assert len(session.scalars(select(EmbeddingRow)).all()) == 2


def test_losers_of_earlier_tests_are_remembered(memory: Any) -> None:
    """A prompt that lost its votes is compared with in every later run of the skill; one that nobody decided on is not."""
    memory.voting(futility_e=0.5, max_votes=2)
    lost = memory.test(arms=2)
    for ballot in lost.ballots[:2]:
        with memory.write() as session:
            votes.record_vote(session, ballot, votes.Choice.PICK, position=1, voter="", took_ms=None, now=memory.now)
    with memory.write() as session:
        undecided = checks.start_manual(session, memory.rules, TEXT, ("Nobody said anything of it.",), memory.now, "r")
        cancel(session, session.get_one(RunRow, undecided.run), "stop", memory.now)
    mine = memory.claim(memory.run(Stage.DEDUPE))

    assert {(one.instruction, one.verdict) for one in loaded(memory, mine, load_dedupe).earlier} == {
        ("Name the file in style 0.", "lost its votes in r1"),
        ("Name the file in style 1.", "lost its votes in r1"),
    }


def test_ballots_are_never_made_of_samples_that_the_search_saw(memory: Any) -> None:
    """Tasks come from the selection and confirmation splits, new ones first, and each at most once in a test."""
    test = memory.test(ballots=3)
    memory.tell("wanted", output="x")
    with memory.write() as session:
        again = steps.wake(session, test.bell.run, Stage.BANDIT, memory.now)
    case = loaded(memory, memory.claim(again), load_bandit)

    with memory.maker() as session:
        taken = set(session.scalars(select(BallotRow.sample_id)))
        splits = {row.id: row.split for row in session.scalars(select(SampleRow))}
    assert {splits[task.sample] for task in case.tasks} <= {"select", "confirm"}
    assert not taken & {int(task.sample) for task in case.tasks}
    assert {splits[item.sample] for item in case.report_items} <= {"report"}


def test_a_replay_is_made_once_even_when_there_was_nothing_to_replay(memory: Any) -> None:
    """Without logged tasks it is made once all the same, and not again at every visit."""
    test = memory.test(ballots=1)
    with memory.write() as session:
        again = steps.wake(session, test.bell.run, Stage.BANDIT, memory.now)

    assert loaded(memory, memory.claim(again), load_bandit).replayed


# --- promotion ------------------------------------------------------------------------------------------------------


def won(memory: Any) -> Any:
    """Let the only challenger of a test win, and return the claim on its promotion."""
    memory.voting(promote_e=1.8, min_votes=2, open_ballots=1)
    test = memory.test()
    with memory.write() as session:
        session.get_one(EvolutionRow, test.bell.run).report = json.dumps(
            {"0": [1, 0, 0, 0], str(test.variants[0]): [1] * 4}
        )
    for ballot in test.ballots:
        with memory.write() as session:
            counted = votes.record_vote(
                session, ballot, votes.Choice.PICK, position=2, voter="", took_ms=None, now=memory.now
            )
        if counted.bells:
            return memory.claim(counted.bells[0])
    raise AssertionError


def asked(memory: Any, mine: Any, *, ok: bool = True) -> tuple[Publish, PromoteDecision]:
    """Load the case as it is now and drive it; return what is asked of the configuration, and the decision."""
    requests: list[Publish] = []

    def answer(request: Any) -> Published:
        requests.append(request)
        return Published(ok=ok, template=request.template, message="" if ok else "a person was faster")

    decision = drive(promote(loaded(memory, mine, load_promote)), answer)
    return requests[0], decision


def test_a_promotion_replaces_the_version_that_was_voted_on(memory: Any) -> None:
    """Its frame is kept, its number expected, the next one given, and both accuracies told."""
    request, decision = asked(memory, won(memory))

    assert (request.version, request.expected_version) == (2, 1)
    assert request.template == "skills/file-naming-v2.md"
    assert request.text == "Name the file in style 0.\n---\nDescription: {{description}}\n"
    assert (request.previous_accuracy, request.current_accuracy) == (0.25, 1.0)
    assert decision.next is Ending.PROMOTED


def test_a_version_that_a_person_switched_to_is_not_replaced(memory: Any) -> None:
    """The test was about version 1: a person's version 5, noted meanwhile, is not what the request expects."""
    mine = won(memory)
    with memory.write() as session:
        prompts.note_version(session, replace(memory.rules.skill, version=5), "Mine.\n---\n{{description}}", memory.now)

    request, _ = asked(memory, mine)

    assert request.expected_version == 1
    assert request.text.startswith("Name the file in style 0.")


def test_a_killed_promotion_makes_the_same_request_again(memory: Any) -> None:
    """Killed after the configuration was changed: whatever any command noted of it, the repeated request is the same."""
    mine = won(memory)
    request, _ = asked(memory, mine)
    with memory.write() as session:
        intend(session, mine, request, "before", memory.now)
    spec = replace(memory.rules.skill, version=2, template=request.template)
    with memory.write() as session:
        prompts.note_version(session, spec, request.text, memory.now + timedelta(minutes=1))

    again, decision = asked(memory, mine)
    with memory.write() as session:
        intend(session, mine, again, "after", memory.now)
        save_promote(session, mine, decision, memory.now)

    assert again == request
    with memory.maker() as session:
        (row,) = session.scalars(select(PromotionRow)).all()
        assert (row.state, row.to_version, row.config_before) == ("applied", 2, "before")
        assert prompts.active(session, "file-naming").version == 2
        assert prompts.active(session, "file-naming").variant_id is not None


def test_an_intention_needs_the_newest_claim(memory: Any) -> None:
    """A process that was taken over touches neither the history nor the configuration."""
    mine = won(memory)
    request, _ = asked(memory, mine)
    with memory.write() as session:
        steps.release(session, mine, memory.now, waiting_for="")

    with pytest.raises(Fenced), memory.write() as session:
        intend(session, mine, request, "", memory.now)


def test_a_refused_promotion_changes_no_version(memory: Any) -> None:
    """The history says that it was refused and why; the version in use stays."""
    mine = won(memory)
    request, decision = asked(memory, mine, ok=False)
    with memory.write() as session:
        intend(session, mine, request, "", memory.now)
        save_promote(session, mine, decision, memory.now)

    with memory.maker() as session:
        row = session.scalars(select(PromotionRow)).one()
        assert (row.state, row.reason, row.applied_at) == ("refused", "a person was faster", None)
        assert prompts.active(session, "file-naming").version == 1


def rolled_back(memory: Any) -> Any:
    """Promote version 2, then begin the rollback that a drift check found; return its claim."""
    mine = won(memory)
    request, decision = asked(memory, mine)
    with memory.write() as session:
        intend(session, mine, request, "", memory.now)
        save_promote(session, mine, decision, memory.now)
        steps.advance(session, mine, decision.next, memory.now)
    memory.rules = replace(memory.rules, skill=replace(memory.rules.skill, version=2, template=request.template))
    with memory.write() as session:
        bell = checks.start_rollback(session, memory.rules, request.text, None, memory.now, "worse")
    return memory.claim(bell)


def test_a_rollback_points_back_at_the_version_before(memory: Any) -> None:
    """No text is written: the old file is there, and the old number comes back with it."""
    request, decision = asked(memory, rolled_back(memory))

    assert (request.text, request.template) == (
        TEXT.replace("Name the file.", "Name the file."),
        "skills/file-naming.md",
    )
    assert (request.version, request.expected_version, decision.next) == (1, 2, Ending.ROLLED_BACK)


def test_a_rollback_ends_a_test_against_the_prompt_that_went(memory: Any) -> None:
    """Its variants were compared with a prompt that is no longer in use: it is cancelled, and its ballots are closed."""
    mine = rolled_back(memory)
    with memory.write() as session:
        other = checks.start_manual(session, memory.rules, TEXT, ("Another one.",), memory.now, "r")
    second = memory.claim(other)
    with memory.maker() as session:
        sample = session.scalars(select(SampleRow.id)).first()
    memory.launch(second, (Ballot(sample=SampleId(sample), cards=(Card(output="a", arms=(VariantId(0),)),) * 2),))
    request, decision = asked(memory, mine)
    with memory.write() as session:
        intend(session, mine, request, "", memory.now)
        save_promote(session, mine, decision, memory.now)
        steps.advance(session, mine, decision.next, memory.now)

    run = memory.run_row(other)
    assert (run.ending, run.ending_reason) == (Ending.CANCELLED, f"run r{mine.run} put another prompt in use")
    with memory.maker() as session:
        assert not session.scalars(select(BallotRow).where(BallotRow.outcome == "open")).all()


def test_there_is_no_way_back_from_the_first_version(memory: Any) -> None:
    """A rollback before any promotion has no target, and asks nothing of the configuration."""
    with memory.write() as session:
        bell = checks.start_rollback(session, memory.rules, TEXT, None, memory.now, "r")
    case = loaded(memory, memory.claim(bell), load_promote)

    assert case.target is None
    assert drive(promote(case), lambda _: pytest.fail("asked")).next is Ending.REFUSED
    assert case.kind is RunKind.ROLLBACK
