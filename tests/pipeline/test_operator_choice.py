"""Which operator is drawn: evenly without adaptation, by what helped with it, from a prior in the paper's order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.algorithms.streams import stream
from pipeline.domain import MutationType
from pipeline.operator_choice import GRAFT, OURS, PAPER, PRIOR, STRENGTH, WHOLE, draw
from pipeline.search import Tally

DRAWS = 2000
NAMES = (*PAPER, *OURS)


def drawn(names: tuple[str, ...], tallies: tuple[Tally, ...] = (), *, adapt: bool = True) -> Counter[str]:
    """Count what is drawn under many seeds."""
    return Counter(draw(names, tallies, stream(seed, "draw"), adapt=adapt) for seed in range(DRAWS))


def test_every_operator_has_a_place_and_a_prior() -> None:
    """All but the seed, the union and what people write can be drawn, none twice, and each prior is a share."""
    assert len(set(NAMES)) == len(NAMES)
    assert set(NAMES) == set(MutationType) - {MutationType.SEED, MutationType.UNION, MutationType.MANUAL}
    assert set(PRIOR) == {*NAMES, GRAFT, WHOLE}
    assert all(0 < share < 1 for share in PRIOR.values())


def test_the_prior_keeps_the_papers_order() -> None:
    """Zero-order hypermutation first, Lamarckian last, as measured there."""
    order = (
        MutationType.HYPER_ZERO, MutationType.LINEAGE, MutationType.HYPER_FIRST, MutationType.EDA_RANK,
        MutationType.FIRST_ORDER, MutationType.EDA, MutationType.LAMARCKIAN,
    )  # fmt: skip
    shares = [PRIOR[name] for name in order]

    assert shares == sorted(shares, reverse=True)


def test_without_adaptation_tallies_do_not_count() -> None:
    """Each name is drawn equally often, within 5 sd."""
    tallies = (Tally(name=NAMES[0], applied=500, improved=500),)

    counts = drawn(NAMES, tallies, adapt=False)

    share = 1 / len(NAMES)
    assert all(abs(counts[name] - DRAWS * share) <= 5 * (DRAWS * share * (1 - share)) ** 0.5 for name in NAMES)


def test_a_name_is_drawn_as_often_as_it_is_likely_to_be_the_best() -> None:
    """Against an oracle: the share of joint draws of three Beta posteriors in which each is the largest, within 5 sd."""
    tallies = (
        Tally(name=MutationType.EDIT, applied=30, improved=6),
        Tally(name=MutationType.PATTERN, applied=20, improved=5),
    )
    names = (MutationType.EDIT, MutationType.PATTERN, MutationType.DIRECT)
    rng, known = np.random.default_rng(7), {one.name: one for one in tallies}
    rows = []
    for name in names:
        one = known.get(name, Tally(name=name))
        rows.append(
            rng.beta(
                STRENGTH * PRIOR[name] + one.improved,
                STRENGTH * (1 - PRIOR[name]) + one.applied - one.improved,
                200_000,
            )
        )
    shares = np.bincount(np.argmax(rows, axis=0), minlength=3) / 200_000

    counts = drawn(names, tallies)

    for name, share in zip(names, shares, strict=True):
        assert abs(counts[name] - DRAWS * share) <= 5 * (DRAWS * share * (1 - share)) ** 0.5


def test_what_never_helps_is_drawn_less_and_less() -> None:
    """With every further use without a better child it gets fewer draws, and it is never ruled out for ever."""
    names = (MutationType.REFLECTIVE, MutationType.EDIT)
    counts = [drawn(names, (Tally(name=names[0], applied=uses),))[names[0]] for uses in (0, 6, 20, 60, 200)]

    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 0.9 * DRAWS
    assert 0 < counts[-1] < 0.2 * DRAWS


@pytest.mark.parametrize("adapt", [True, False])
def test_an_only_name_is_drawn(adapt: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Also one that has no prior, whatever its tally says."""
    tallies = (Tally(name="new", applied=1000, improved=1000), Tally(name="other"))

    assert draw(("new",), tallies, stream(1, "draw"), adapt=adapt) == "new"


def test_the_same_stream_gives_the_same_name() -> None:
    """Nothing but the arguments goes in."""
    for adapt in (True, False):
        names = [draw(NAMES, (), stream(3, "draw"), adapt=adapt) for _ in range(5)]

        assert len(set(names)) == 1


def test_grafting_is_preferred_at_first_and_given_up_when_it_does_not_help() -> None:
    """The two ways of taking a reply are drawn like operators."""
    first = drawn((GRAFT, WHOLE))
    later = drawn((GRAFT, WHOLE), (Tally(name=GRAFT, applied=40), Tally(name=WHOLE, applied=40, improved=20)))

    assert first[GRAFT] > first[WHOLE]
    assert later[WHOLE] > 0.95 * DRAWS
