"""Tasks are named by what they look like, counted in little space, and two mixes are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.strata import OTHER, STRATA, Counts, counted, difference, stratum_of

COUNTS = st.lists(st.integers(0, 60), min_size=2, max_size=8)


def mix(counts: list[int]) -> Counts:
    """Name counts a, b, c, ..."""
    return tuple((chr(ord("a") + place), count) for place, count in enumerate(counts))


@pytest.mark.parametrize(
    ("fields", "stratum"),
    [
        ((("file", "IMG_2041.JPG"),), ".jpg/short"),
        ((("path", "/home/me/Über uns.tar.gz "), ("note", "x" * 300)), ".gz/medium"),
        ((("text", "It ends with a full stop."),), "-/short"),
        ((("text", "version 3.50"),), "-/short"),
        ((("text", "clip.mp4"),), ".mp4/short"),
        ((("text", "a" * 5000 + ".jpg"),), "-/long"),
        ((("one", "no"), ("two", "b.md"), ("three", "c.txt")), ".md/short"),
        ((), "-/short"),
    ],
)
def test_the_first_file_name_and_the_length_name_the_stratum(fields: tuple[tuple[str, str], ...], stratum: str) -> None:
    """An extension has a letter and ends a short value; lengths are those of all values together."""
    assert stratum_of(fields) == stratum


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=400)), max_size=4))
def test_any_fields_have_a_short_plain_name(fields: list[tuple[str, str]]) -> None:
    """The name is ASCII and short, whatever is in the fields, and always the same."""
    name = stratum_of(tuple(fields))

    assert name == stratum_of(tuple(fields))
    assert name.isascii()
    assert len(name) <= 16


@given(st.lists(st.sampled_from([f"kind {n}" for n in range(30)]), max_size=300))
def test_at_most_twelve_strata_have_a_name(names: list[str]) -> None:
    """Every task is counted once, and beyond twelve names it counts as one of the rest."""
    counts: Counts = ()
    for name in names:
        counts = counted(counts, name)

    assert sum(count for _, count in counts) == len(names)
    assert len([name for name, _ in counts if name != OTHER]) <= STRATA


def test_what_had_no_name_before_gets_none_later() -> None:
    """A stratum that was one of the rest in the earlier period is one of the rest in the later one as well."""
    earlier: Counts = ()
    for number in range(STRATA + 5):
        earlier = counted(earlier, f"kind {number}")

    assert counted((), f"kind {STRATA + 1}", earlier) == ((OTHER, 1),)
    assert counted((), "kind 3", earlier) == (("kind 3", 1),)


def test_a_new_stratum_is_named_while_there_is_room() -> None:
    """With one stratum in the earlier period a second one is counted under its own name."""
    assert counted((), "new", (("old", 90),)) == (("new", 1),)


def test_old_counts_fade() -> None:
    """At twenty tasks all counts are halved, and a count of one is forgotten."""
    counts: Counts = (("a", 18), ("b", 1))

    assert counted(counts, "a", halve_at=20) == (("a", 9),)
    assert counted(counts, "a") == (("a", 19), ("b", 1))


@settings(deadline=None)  # the first one imports scipy
@given(COUNTS, COUNTS)
def test_the_p_value_is_scipys_where_no_cell_is_rare(one: list[int], other: list[int]) -> None:
    """Where each cell may expect five tasks it is the plain chi-square test of homogeneity."""
    from scipy.stats import chi2_contingency  # noqa: PLC0415 - scipy.stats costs a second to import

    width = min(len(one), len(other))
    table = np.array([one[:width], other[:width]]) + 20
    expected = chi2_contingency(table, correction=False)

    assert expected.expected_freq.min() >= 5
    assert difference(mix(table[0].tolist()), mix(table[1].tolist())) == pytest.approx(float(expected.pvalue), abs=1e-9)


@settings(deadline=None)  # the first one imports scipy
@given(COUNTS, COUNTS)
def test_the_order_of_periods_and_strata_does_not_matter(one: list[int], other: list[int]) -> None:
    """It is a probability, and the same both ways round and with the strata in another order."""
    p = difference(mix(one), mix(other))

    assert 0 <= p <= 1
    assert difference(mix(other), mix(one)) == pytest.approx(p, abs=1e-12)
    assert difference(mix(one)[::-1], mix(other)) == pytest.approx(p, abs=1e-12)


def test_nothing_is_said_of_too_little() -> None:
    """No tasks, one stratum, or three recent tasks of another kind show nothing."""
    assert difference((), ()) == difference((("a", 50),), ()) == difference((("a", 50),), (("a", 9),)) == 1.0
    assert difference((("a", 50),), (("b", 3),)) == 1.0


def test_equal_mixes_are_called_different_as_often_as_the_level_says() -> None:
    """Of 2,000 pairs of periods with one mix about 5 % have a p-value of at most 0.05 (within four standard errors)."""
    rng = np.random.default_rng(20260901)
    shares, pairs = [0.5, 0.2, 0.15, 0.1, 0.05], 2000
    first, second = rng.multinomial(100, shares, pairs).tolist(), rng.multinomial(80, shares, pairs).tolist()

    small = sum(difference(mix(a), mix(b)) <= 0.05 for a, b in zip(first, second, strict=True)) / pairs

    assert small == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / pairs) ** 0.5)


def test_another_mix_is_seen() -> None:
    """Half of the tasks of a kind that was one in ten is no chance."""
    assert difference((("a", 90), ("b", 10)), (("a", 40), ("b", 40))) < 1e-6
