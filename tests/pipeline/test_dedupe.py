"""Stage 4: a real change is never called redundant, and the ballots get the most different of the rest."""

from __future__ import annotations

from dataclasses import replace

from pipeline.dedupe import Contender, DedupeCase, DedupeDecision, dedupe
from pipeline.domain import Ending, Fate, SkillName, Stage, VariantId
from pipeline.flow import Embed, Embedded, Failed, FailureKind, Reply, Request, drive
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import SkillSpec

RULES = Rules(settings=Settings(), skill=SkillSpec(name=SkillName("x"), template="x.md"))


def _case(*texts: str, incumbent: str = "Name the file.", earlier: tuple[str, ...] = ()) -> DedupeCase:
    contenders = tuple(
        Contender(variant=VariantId(i + 1), instruction=t, fitness=1 - i / 10) for i, t in enumerate(texts)
    )
    return DedupeCase(rules=RULES, contenders=contenders, incumbent=incumbent, earlier=earlier)


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
    """A prompt that already lost a test of this skill is redundant."""
    decision = _drive(_case("Name it well.", earlier=("Name it well.",)), None)

    assert decision.next is Ending.ALL_REDUNDANT


def test_the_fittest_stays_and_the_others_are_the_most_different() -> None:
    """Of five that say something new, three go on: the fittest, and those farthest from it and each other."""
    texts = tuple(f"Rule {word}." for word in ("alpha", "beta", "gamma", "delta", "epsilon"))
    near = {
        texts[0]: (1.0, 0.0, 0.0),
        texts[1]: (0.8, 0.6, 0.0),
        texts[2]: (0.8, 0.0, 0.6),
        texts[3]: (0.0, 1.0, 0.0),
        texts[4]: (0.0, 0.0, 1.0),
    }
    case = _case(*texts, incumbent="Something else entirely.")
    decision = _drive(case, near | {"Something else entirely.": (-1.0, 0.0, 0.0)})

    assert decision.arms == (1, 4, 5)
    assert _fates(decision) == {1: Fate.ARM, 2: Fate.SURPLUS, 3: Fate.SURPLUS, 4: Fate.ARM, 5: Fate.ARM}


def test_the_guard_can_be_switched_off() -> None:
    """Under the notes' own rule a high cosine alone is redundant."""
    rules = replace(RULES, settings=replace(Settings(), deduping=replace(Settings().deduping, guard=False)))
    case = replace(_case("Name the file in 5 words.", incumbent="Name the file in 3 words."), rules=rules)

    assert _drive(case, {}).next is Ending.ALL_REDUNDANT
