"""The search's promises, on whole searches at 1,000 calls with a small generator that babbles and breaks forms.

The seeds follow from the commit, so no bound may be near: each is computed so that a search whose true value is at the goal
fails less than once in a million. A clearly worse one fails all the same: one that finds a quarter of the possible gain, say, or
harms in one run of four.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

import pytest

from models import journal
from ops.simulator.worlds.records import RecordsWorld
from ops.simulator.worlds.records_generator import TALENTS
from pipeline.algorithms.streams import stream
from pipeline.domain import Ending, Stage
from pipeline.flow import Failed, FailureKind, Reply, Request, drive
from pipeline.mutate import mutate
from pipeline.search import MutateCase, MutateDecision
from pipeline.setting import to_data
from pipeline.settings import Search
from tests.searching import LABELLED, Answering, Found, Job, Trial, commit_seed, everywhere, search, seeds, trial, tried

pytestmark = pytest.mark.timeout(300)

BASE = commit_seed()
SEARCH = Search(budget_calls=1000)
RUNS = {"what": 24, "plain": 24, "score": 16}
RISK = 1e-6  # of a failure at the goal itself
SEARCHES, KILLS = 5, 5  # killed once each
OFTEN = 97  # requests between two kills of a search that is killed again and again


@pytest.fixture(name="trials", scope="module")
def _trials() -> dict[str, list[Trial]]:
    """Return all runs by what the generator is told."""
    jobs = [
        Job(seed=seed, feedback=feedback, settings=SEARCH)
        for number, (feedback, count) in enumerate(RUNS.items())
        for seed in seeds(BASE + number, count)
    ]
    done = tried(jobs)
    return {feedback: [one for one in done if one.job.feedback == feedback] for feedback in RUNS}


def slack(values: Sequence[float]) -> float:
    """Return how far a sample's mean may be off, but for one case in a million: Student's t times its standard error."""
    from scipy.stats import t  # noqa: PLC0415 - scipy.stats costs a second to import

    return float(t.isf(RISK, len(values) - 1)) * stdev(values) / len(values) ** 0.5


def most_of(runs: int, share: float) -> int:
    """Return the count that is exceeded less than once in a million when each run counts with chance *share* (binomial)."""
    from scipy.stats import binom  # noqa: PLC0415 - same

    return int(binom.isf(RISK, runs, share))


def told(what: str, values: Sequence[float]) -> str:
    """Say what was measured, and from which seeds."""
    error = stdev(values) / len(values) ** 0.5
    return f"{what}: {fmean(values):.3f}, standard error {error:.3f}, {len(values)} runs, seeds from {BASE}"


@pytest.mark.parametrize(("feedback", "goal"), [("what", 0.75), ("plain", 0.50)])
def test_most_of_the_possible_gain_is_found(trials: dict[str, list[Trial]], feedback: str, goal: float) -> None:
    """Told what was lost it finds three quarters of what the best prompt gains, told right and wrong answers half of it."""
    shares = [one.share for one in trials[feedback]]

    assert fmean(shares) + slack(shares) >= goal, told(f"share of the possible gain, {feedback}", shares)


def test_hardly_any_search_harms(trials: dict[str, list[Trial]]) -> None:
    """At most one run in a hundred ends with a prompt that is truly worse than the incumbent, whatever it is told."""
    everything = [one for some in trials.values() for one in some]
    worse = [one for one in everything if one.gain < 0]

    assert len(worse) <= most_of(len(everything), 0.01), (
        f"{len(worse)} of {len(everything)}, seeds from {BASE}: {worse}"
    )


def test_what_it_claims_is_what_is_true(trials: dict[str, list[Trial]]) -> None:
    """The accuracy it tells of its prompt is on average within two points of the exact one."""
    optimism = [one.optimism for some in trials.values() for one in some]

    assert abs(fmean(optimism)) - slack(optimism) <= 2, told("claimed less true, points", optimism)


def test_every_search_ends_with_a_decision(trials: dict[str, list[Trial]]) -> None:
    """Babble and broken forms crash nothing: every run ends within its budget, with finalists or with the words for none."""
    assert (TALENTS["small"].salad, TALENTS["small"].malformed) == (0.15, 0.10)
    for one in (one for some in trials.values() for one in some):
        assert not one.crashed, f"seeds from {BASE}, {one.job}: {one.crashed}"
        assert one.next == (Stage.JUDGE if one.finalists else Ending.NO_IMPROVEMENT), f"seeds from {BASE}: {one}"
        assert one.reason, f"seeds from {BASE}: {one}"
        assert one.calls <= SEARCH.budget_calls, f"seeds from {BASE}: {one}"


def test_racing_saves_half_of_all_evaluations(trials: dict[str, list[Trial]]) -> None:
    """The blocks of samples that all candidates are run on are at most half of what running each on all samples takes."""
    spent = [one.blocks / one.whole for some in trials.values() for one in some]

    assert fmean(spent) - slack(spent) <= 0.5, told("share of the blocks that were run", spent)


@pytest.mark.parametrize("feedback", RUNS)
def test_the_same_seed_gives_the_same_search(trials: dict[str, list[Trial]], feedback: str) -> None:
    """In another process, where texts hash to other numbers, every member does the same on every sample."""
    first = trials[feedback][0]

    assert trial(first.job) == first, f"seeds from {BASE}: {first.job}"


class Killed(Exception):
    """The process is gone."""


@dataclass(slots=True)
class Journalled:
    """A journal before the world, as a job has it: what is recorded is not asked again, what was under way is lost.

    Attributes:
        kills: numbers of live requests that are answered, and so paid, but not recorded.
        paid: how often each request of each visit was made.
    """

    inner: Answering
    kills: frozenset[int]
    visit: int = 0
    live: int = 0
    replies: dict[journal.Key, str] = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)
    paid: Counter[tuple[int, journal.Key]] = field(default_factory=Counter)

    def __call__(self, request: Request) -> Reply:
        """Answer from the journal, or live and into the journal."""
        sha = journal.request_sha(request, "")
        key = (sha, self.made[sha])
        self.made[sha] += 1
        if key in self.replies:
            return journal._read(self.replies[key])
        before = self.inner.calls
        reply = self.inner(request)
        if isinstance(reply, Failed) and reply.kind is FailureKind.BUDGET:
            return reply
        self.live += 1
        self.paid[self.visit, key] += 1
        if self.live in self.kills:
            self.inner.calls = before  # the ledger knows only what was recorded
            raise Killed
        self.replies[key] = json.dumps([type(reply).__name__, to_data(reply)], ensure_ascii=True)
        return reply

    def make(self, case: MutateCase, _: Answering) -> MutateDecision:
        """Make one visit, begun anew after every kill."""
        self.visit += 1
        self.replies.clear()
        while True:
            self.made.clear()
            try:
                return drive(mutate(case), self)
            except Killed:
                continue


def killed(job: Job, kills: frozenset[int]) -> tuple[Found, Journalled]:
    """Run one search that is killed at the live requests *kills*."""
    world = RecordsWorld(job.seed, job.profile)
    samples = world.samples(LABELLED, job.seed)
    inner = Answering(world, dict(enumerate(samples)), job.feedback, job.settings.budget_calls)
    journalled = Journalled(inner, kills)
    return search(world, samples, job.settings, job.feedback, job.seed, inner, journalled.make), journalled


def lives(job: Job) -> list[str]:
    """Kill one search at several requests, once at each and then again and again; say what came out differently."""
    whole, calm = killed(job, frozenset())
    assert max(calm.paid.values()) == 1
    rng, wrong = stream(job.seed, "kills"), []
    once = [frozenset({int(k)}) for k in rng.integers(1, calm.live + 1, size=KILLS)]
    for kills in (*once, frozenset(range(OFTEN, calm.live + 1, OFTEN))):
        found, journalled = killed(job, kills)
        twice = sum(journalled.paid.values()) - len(journalled.paid)
        if found != whole or set(journalled.paid) != set(calm.paid) or twice != len(kills):
            wrong.append(
                f"{job.feedback}, seed {job.seed}, killed at {sorted(kills)}: {twice} paid twice, {found.reason}"
            )
    return wrong


def test_a_search_killed_anywhere_ends_as_if_it_had_not_been() -> None:
    """Killed at 25 random requests, it finds the same prompt and members, and pays for nothing twice but what was under way."""
    feedbacks = ("what", "plain", "score", "what", "plain")
    jobs = [
        Job(seed=seed, feedback=feedback, settings=SEARCH)
        for seed, feedback in zip(seeds(BASE + len(RUNS), SEARCHES), feedbacks, strict=True)
    ]

    wrong = [line for lines in everywhere(lives, jobs) for line in lines]

    assert not wrong, "\n".join([f"seeds from {BASE}", *wrong])
