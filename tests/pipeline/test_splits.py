"""Each sample belongs to one split, for ever, in the agreed shares."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from pipeline.domain import Split
from pipeline.splits import SHARES, split_of

SAMPLES = 10_000


def test_the_shares_sum_to_one() -> None:
    """Every place in [0, 1) belongs to a split, and each split is named once."""
    assert sum(share for _, share in SHARES) == pytest.approx(1)
    assert {split for split, _ in SHARES} == set(Split)


def test_golden_splits_never_change() -> None:
    """These assignments hold for ever; a change would show selection data to the report."""
    assert [split_of("file-naming", f"task-{index}") for index in range(8)] == GOLDEN


@pytest.mark.parametrize(("split", "share"), SHARES)
def test_the_shares_hold_within_five_standard_errors(split: Split, share: float) -> None:
    """Over 10,000 ids each split has its share within the binomial bound."""
    counts = Counter(split_of("notes", f"id-{index}") for index in range(SAMPLES))

    assert counts[split] / SAMPLES == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / SAMPLES))


def test_skills_are_split_independently() -> None:
    """The same ids fall together in two skills no more often than chance says."""
    same = sum(split_of("one", f"{index}") is split_of("two", f"{index}") for index in range(SAMPLES)) / SAMPLES
    chance = sum(share**2 for _, share in SHARES)

    assert same == pytest.approx(chance, abs=5 * math.sqrt(chance * (1 - chance) / SAMPLES))


def test_rounding_at_the_end_leaves_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place beyond the summed shares still belongs to the last split."""
    monkeypatch.setattr("pipeline.splits.SHARES", ((Split.SEARCH, 0.0), (Split.REPORT, 0.0)))

    assert split_of("skill", "id") is Split.REPORT


GOLDEN = [
    Split.SEARCH,
    Split.CONFIRM,
    Split.SEARCH,
    Split.SEARCH,
    Split.SELECT,
    Split.CONFIRM,
    Split.SEARCH,
    Split.SEARCH,
]
