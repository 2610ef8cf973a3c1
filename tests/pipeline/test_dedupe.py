"""Stage 4: a real change is never called redundant, and the ballots get the most different of the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.embeddings import kit
from pipeline.algorithms.vectors import unit_rows
from pipeline.dedupe import Contender, DedupeCase, DedupeDecision, Earlier, Remembered, dedupe
from pipeline.domain import Ending, Fate, SkillName, Stage, VariantId
from pipeline.flow import Embed, Embedded, Failed, FailureKind, Reply, Request, drive
from pipeline.redundancy import HASHED
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import SkillSpec

RULES = Rules(settings=Settings(), skill=SkillSpec(name=SkillName("x"), template="x.md"))


def _case(*texts: str, incumbent: str = "Name the file.", earlier: tuple[str, ...] = ()) -> DedupeCase:
    contenders = tuple(
        Contender(variant=VariantId(i + 1), instruction=t, fitness=1 - i / 10) for i, t in enumerate(texts)
    )
    past = tuple(Earlier(text, "lost its votes in r1") for text in earlier)
    return DedupeCase(rules=RULES, contenders=contenders, incumbent=incumbent, earlier=past)


def _drive(case: DedupeCase, vectors: dict[str, tuple[float, ...]] | None) -> DedupeDecision:
    def answer(request: Request) -> Reply:
        assert isinstance(request, Embed)
        if vectors is None:
            return Failed(kind=FailureKind.REJECTED, message="no such model")
        return Embedded(vectors=tuple(vectors.get(t, (1.0, 0.0, 0.0)) for t in request.texts), profile="p")

    return drive(dedupe(case), answer)


def _fates(decision: DedupeDecision) -> dict[int, Fate]:
    return {int(sorted_.variant): sorted_.fate for sorted_ in decision.fates}


def test_a_close_paraphrase_is_redundant() -> None:
    """A cosine of 1 and nothing hard that differs: the variant says what the prompt in use says."""
    decision = _drive(_case("Give each file a fitting name.", incumbent="Give every file a fitting name."), {})

    assert decision.next is Ending.ALL_REDUNDANT
    assert _fates(decision) == {1: Fate.REDUNDANT}


def test_a_changed_number_or_negation_is_never_redundant() -> None:
    """A cosine of 1 does not outweigh a hard difference."""
    decision = _drive(
        _case("Name the file in 5 words.", "Do not name the file in 3 words.", incumbent="Name the file in 3 words."),
        {},
    )

    assert decision.next is Stage.BANDIT
    assert set(_fates(decision).values()) == {Fate.ARM}


def test_equal_words_are_redundant_without_any_vector() -> None:
    """Where the embedder fails, only equal texts are dropped, and the reason says so."""
    decision = _drive(_case("name  the FILE.", "Name the picture.", "Name the picture."), None)

    assert _fates(decision) == {1: Fate.REDUNDANT, 2: Fate.ARM, 3: Fate.REDUNDANT}
    assert "no such model" in decision.reason
    assert decision.vectors == ()


def test_an_earlier_loser_is_not_put_to_the_vote_again() -> None:
    """A prompt that already lost a test of this skill is redundant, and the old verdict comes back."""
    decision = _drive(_case("Name it well.", earlier=("Name it well.",)), None)

    assert decision.next is Ending.ALL_REDUNDANT
    assert decision.fates[0].reason.startswith("lost its votes in r1")


def test_the_fittest_stays_and_the_others_are_the_most_different() -> None:
    """Of five that say something new, three go on: the fittest, and those farthest from the prompt in use and each other."""
    texts = tuple(f"Rule {word}." for word in ("alpha", "beta", "gamma", "delta", "epsilon"))
    near = {
        texts[0]: (1.0, 0.0, 0.0, 0.0),
        texts[1]: (0.8, 0.6, 0.0, 0.0),
        texts[2]: (0.8, 0.0, 0.6, 0.0),
        texts[3]: (0.0, 1.0, 0.0, 0.0),
        texts[4]: (0.0, 0.0, 1.0, 0.0),
    }
    case = _case(*texts, incumbent="Something else entirely.")
    decision = _drive(case, near | {"Something else entirely.": (0.0, 0.0, 0.0, 1.0)})

    assert decision.arms == (1, 4, 5)
    assert _fates(decision) == {1: Fate.ARM, 2: Fate.SURPLUS, 3: Fate.SURPLUS, 4: Fate.ARM, 5: Fate.ARM}


def test_the_judges_score_counts_among_those_that_differ_equally() -> None:
    """Of four that are equally far from everything, the two that the judge likes best go on beside the fittest."""
    texts = tuple(f"Rule {word}." for word in ("alpha", "beta", "gamma", "delta", "epsilon"))
    axes = {text: tuple(float(i == j) for j in range(6)) for i, text in enumerate((*texts, "In use."))}
    case = _case(*texts, incumbent="In use.")
    scored = tuple(replace(one, score=s) for one, s in zip(case.contenders, (10, 20, 90, 80, 30), strict=True))

    assert _drive(replace(case, contenders=scored), axes).arms == (1, 3, 4)


def _outputs(n: int, differing: int = 0) -> dict[int, str]:
    return {task: f"file-{task}{'-other' * (task < differing)}.png" for task in range(n)}


@pytest.mark.parametrize(
    ("tasks", "differing", "redundant"),
    [(20, 0, True), (20, 1, False), (27, 1, True), (60, 3, True), (60, 4, False), (17, 0, False)],
)
def test_equal_outputs_make_another_wording_redundant(*, tasks: int, differing: int, redundant: bool) -> None:
    """Twenty equal ones, or one in twenty of more that differs; the words do not matter then."""
    case = _case(
        "Say in a few words what the picture shows and keep its ending.", incumbent="Name the file in 3 words."
    )
    one = replace(case.contenders[0], outputs=_outputs(tasks, differing))
    case = replace(case, contenders=(one,), incumbent_outputs=_outputs(tasks))

    assert (_drive(case, {}).next is Ending.ALL_REDUNDANT) == redundant


def test_different_outputs_keep_what_the_words_would_drop() -> None:
    """Behaviour is the authority: a paraphrase whose outputs differ is a real change."""
    case = _case("Give each file a fitting name.", incumbent="Give every file a fitting name.")
    one = replace(case.contenders[0], outputs=_outputs(8, 2))

    assert _drive(case, {}).next is Ending.ALL_REDUNDANT
    different = replace(case, contenders=(one,), incumbent_outputs=_outputs(8))
    assert _drive(different, {}).next is Stage.BANDIT


def test_known_vectors_are_not_asked_for_again() -> None:
    """Those of the same profile; others are made anew, and vectors of two profiles never meet."""
    asked: list[tuple[str, ...]] = []

    def answer(request: Request) -> Reply:
        assert isinstance(request, Embed)
        asked.append(request.texts)
        return Embedded(vectors=tuple((1.0, 0.0) for _ in request.texts), profile="now")

    case = _case("A new rule.", earlier=("Old one.", "Old two."))
    past = Remembered("now", {"Old one.": 0}, unit_rows([[0.0, 1.0]]))
    other = Remembered("before", {"Old two.": 0}, unit_rows([[1.0, 0.0]]))
    drive(dedupe(replace(case, remembered=(other, past))), answer)

    assert asked == [("Name the file.", "A new rule."), ("Old two.",)]


def test_an_embedder_that_is_replaced_meanwhile_is_not_mixed() -> None:
    """Then hashed letters compare, and the reason says so."""
    profiles = iter(("one", "two"))

    def answer(request: Request) -> Reply:
        assert isinstance(request, Embed)
        return Embedded(vectors=tuple((1.0, 0.0) for _ in request.texts), profile=next(profiles))

    decision = drive(dedupe(_case("A new rule.", earlier=("Old one.",))), answer)

    assert decision.profile == HASHED
    assert "replaced" in decision.reason


def test_without_an_embedder_no_model_is_asked() -> None:
    """Hashed letters compare, calibrated on the same pairs."""
    rules = replace(RULES, settings=replace(Settings(), models=replace(Settings().models, embedder="")))
    case = replace(_case("Give each file a fitting name.", incumbent="Give every file a fitting name."), rules=rules)
    decision = drive(dedupe(replace(case, pairs=kit())), lambda request: pytest.fail(f"asked {request}"))

    assert decision.next is Ending.ALL_REDUNDANT
    assert decision.limits is not None
    assert decision.limits.profile == HASHED
    assert decision.vectors == ()


def test_the_notes_rule_can_be_chosen_and_is_told_beside_ours() -> None:
    """Under it a cosine above 0.90 alone is redundant, a changed number or not."""
    rules = replace(RULES, settings=replace(Settings(), deduping=replace(Settings().deduping, policy="seeds")))
    case = _case("Name the file in 5 words.", incumbent="Name the file in 3 words.")

    assert _drive(replace(case, rules=rules), {}).next is Ending.ALL_REDUNDANT
    assert "a cosine above 0.9 alone would have dropped 1" in _drive(case, {}).reason


def test_a_long_history_is_looked_through() -> None:
    """Of 20,000 earlier variants with known vectors the one that says the same is found, by its words or its vector."""
    rng = np.random.default_rng(3)
    texts = [f"Earlier rule that says thing number {number}." for number in range(20_000)]
    known = Remembered("p", {text: row for row, text in enumerate(texts)}, unit_rows(rng.normal(size=(20_000, 16))))
    twin = texts[12_345].replace("says thing", "names thing")
    case = _case(twin, texts[777].upper(), "Something new.", earlier=tuple(texts))
    vectors = {
        twin: tuple(map(float, known.vectors[12_345])),
        "Something new.": tuple(map(float, unit_rows([[1.0] * 16])[0])),
    }

    def answer(request: Request) -> Reply:
        assert isinstance(request, Embed)
        assert len(request.texts) == 4
        return Embedded(vectors=tuple(vectors.get(t, (0.0,) * 15 + (1.0,)) for t in request.texts), profile="p")

    decision = drive(dedupe(replace(case, remembered=(known,))), answer)

    assert _fates(decision) == {1: Fate.REDUNDANT, 2: Fate.REDUNDANT, 3: Fate.ARM}
    assert all("lost its votes" in one.reason for one in decision.fates if one.fate is Fate.REDUNDANT)
