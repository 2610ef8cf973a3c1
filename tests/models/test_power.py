"""What a skill's history says of its tests: labelled samples by part, and how often two prompts differed."""

from __future__ import annotations

from typing import Any

import pytest

from models.power import LEAST_PAIRS, RUNS, skill_numbers
from models.search_tables import EvaluationRow
from models.tables import VariantRow
from models.work_tables import RunRow
from pipeline.contents import content_of
from pipeline.domain import Fate, Label, MutationType, Split
from pipeline.splits import split_of


def numbers(memory: Any) -> Any:
    """Return the skill's numbers."""
    with memory.write() as session:
        return skill_numbers(session, memory.rules)


def searched(memory: Any, *variants: str, split: Split = Split.SELECT, simulated: bool = False) -> int:
    """Write a run whose variants did each sample right (1) or wrong (0), the prompt in use first; a blank is no result."""
    run = memory.run().run
    with memory.write() as session:
        row = session.get_one(RunRow, run)
        row.simulated, row.ended_at = simulated, memory.now
        for ordinal, results in enumerate(variants):
            variant = VariantRow(
                run_id=run, ordinal=ordinal, skill_name="file-naming", prompt_text=f"{run}, {ordinal}", text_sha="",
                generation=0, mutation_type=MutationType.DIRECT if ordinal else MutationType.SEED, fate=Fate.ALIVE,
                created_at=memory.now,
            )  # fmt: skip
            session.add(variant)
            session.flush()
            for sample, correct in enumerate(results, start=1):
                if correct != " ":
                    session.add(
                        EvaluationRow(
                            variant_id=variant.variant_id, sample_id=sample, split=split, value=float(correct),
                            correct=correct == "1",
                        )
                    )  # fmt: skip
    return int(run)


def test_labelled_samples_are_counted_by_part(memory: Any) -> None:
    """Those for choosing are the select part, those for confirming the confirm part; unlabelled ones do not count."""
    memory.history(40)
    for i in range(40, 60):
        memory.tell(f"t{i}", fields=(("description", f"picture {i}"),), output="some-name")

    found = numbers(memory)

    parts = [split_of("file-naming", content_of({"description": f"picture {i}"})) for i in range(40)]
    assert (found.choosing, found.confirming) == (parts.count(Split.SELECT), parts.count(Split.CONFIRM))
    assert min(found.choosing, found.confirming) > 0


def test_nothing_measured_is_none(memory: Any) -> None:
    """A skill without history has no accuracy and no discordance."""
    found = numbers(memory)

    assert (found.choosing, found.confirming, found.accuracy.value, found.discordance) == (0, 0, None, None)
    assert (found.pairs, found.runs, found.simulated) == (0, 0, False)


def test_the_accuracy_is_that_of_the_prompt_in_use(memory: Any) -> None:
    """Judged outputs of the version in use, as the drift check sees them."""
    for i in range(10):
        memory.tell(
            f"t{i}", fields=(("description", "x"),), output="a", version=1, label=Label.OK if i < 7 else Label.BAD
        )

    found = numbers(memory)

    assert (found.accuracy.right, found.accuracy.n) == (7, 10)


def test_the_discordance_is_the_share_of_samples_on_which_a_variant_differs(memory: Any) -> None:
    """Every variant against the run's own seed on the same samples; samples that one of them lacks are left out."""
    searched(
        memory,
        "1111111111" + "0000000000" + "1 ",
        "1111111100" + "0000000001" + "01",
        "1111111111" + "1100000000" + "  ",
    )

    found = numbers(memory)

    assert (found.pairs, found.runs) == (21 + 20, 1)
    assert found.discordance == pytest.approx((2 + 1 + 1 + 2) / 41)


def test_the_searchs_own_samples_do_not_count(memory: Any) -> None:
    """Variants were bred on them."""
    searched(memory, "1" * 30, "0" * 30, split=Split.SEARCH)

    assert numbers(memory).pairs == 0


def test_few_pairs_are_no_measurement(memory: Any) -> None:
    """Below the least number the share is not told, the number of pairs is."""
    searched(memory, "1" * (LEAST_PAIRS - 1), "0" * (LEAST_PAIRS - 1))

    found = numbers(memory)

    assert (found.pairs, found.discordance) == (LEAST_PAIRS - 1, None)


def test_only_the_newest_runs_count(memory: Any) -> None:
    """An old run that differed everywhere is forgotten; a run without fresh samples takes no place."""
    searched(memory, "1" * 20, "0" * 20, simulated=True)
    for _ in range(RUNS):
        searched(memory, "1" * 20, "1" * 19 + "0")
        searched(memory, "1" * 20, "0" * 20, split=Split.SEARCH)

    found = numbers(memory)

    assert (found.runs, found.pairs, found.simulated) == (RUNS, RUNS * 20, False)
    assert found.discordance == pytest.approx(1 / 20)


def test_a_simulated_run_is_told(memory: Any) -> None:
    """Its figures are no real model's."""
    searched(memory, "1" * 20, "0" * 20, simulated=True)

    assert numbers(memory).simulated
