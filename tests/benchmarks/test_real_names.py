"""The race on real data: 230 descriptions of pictures and the names that people gave the files; the models are simulated.

The samples are split as the product splits them, so nothing was bred, selected or voted on with those of the report. Figures are
printed (`make bench`). What they say about real models is nothing: the simulated ones obey rules that they were made to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path
from statistics import fmean
from typing import cast

import pytest

from ops.demo.scene import SKILL, load_pairs, write_host
from ops.simulator.skill_world import SkillWorld
from ops.simulator.worlds.file_naming import FileNamingWorld
from pipeline.algorithms.splits import fraction
from pipeline.algorithms.streams import stream
from pipeline.domain import SampleId, Split
from pipeline.fitness import Item, evaluate
from pipeline.flow import drive
from pipeline.population import Outcome
from pipeline.rules import Rules
from pipeline.search import MutateCase
from pipeline.settings import Search, Settings
from pipeline.skills import PromptTemplate, parse_template
from pipeline.splits import split_of
from tests.searching import Answering, commit_seed, seeds, visited
from workers.host_config import load_host_config, read_template

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]

BASE = commit_seed()
BUDGET = 1000
SEARCHES = 10
DRAWS = 10_000  # of the bootstrap


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One search on the pairs, and what its prompt does on samples that it never saw.

    Attributes:
        before, after: outcomes of the incumbent and of the prompt found, by the same samples in the same order, per split.
    """

    seed: int
    instruction: str
    calls: int
    reason: str
    before: dict[Split, tuple[Outcome, ...]]
    after: dict[Split, tuple[Outcome, ...]]


@dataclass(frozen=True, slots=True)
class Paired:
    """Two prompts on the same samples: wins and losses by right and wrong, and the mean difference of scores in points."""

    n: int
    right_before: int
    right_after: int
    wins: int
    losses: int
    difference: float
    low: float
    high: float

    @property
    def p_value(self) -> float:
        """Return the exact two-sided p-value of the discordant pairs (McNemar's test as a sign test)."""
        n, k = self.wins + self.losses, max(self.wins, self.losses)
        return min(1.0, 2 * sum(comb(n, i) for i in range(k, n + 1)) / 2**n)


@pytest.fixture(name="skill", scope="module")
def _skill(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rules, PromptTemplate]:
    """Return the example's skill with its first prompt, and default settings."""
    host = tmp_path_factory.mktemp("host")
    write_host(host, "")
    spec = load_host_config(host / "config.yaml").skill(SKILL)
    settings = replace(Settings(), search=Search(budget_calls=BUDGET))
    template = parse_template(read_template(Path(host / "config.yaml"), spec.template))
    return Rules(settings=settings, skill=spec), template


def parts(seed: int) -> dict[Split, tuple[Item, ...]]:
    """Split the pairs, each part in the order of the seed."""
    found: dict[Split, list[Item]] = {split: [] for split in Split}
    pairs = sorted(enumerate(load_pairs()), key=lambda pair: fraction(f"{seed}:{pair[1].id}"))
    for number, pair in pairs:
        item = Item(sample=SampleId(number), fields=pair.fields, expected=pair.accepted_name)
        found[split_of(SKILL, pair.id)].append(item)
    return {split: tuple(items) for split, items in found.items()}


def searched(rules: Rules, template: PromptTemplate, seed: int) -> Found:
    """Run one search, then both prompts on the two splits that it did not touch."""
    world, here = cast("SkillWorld", FileNamingWorld(seed)), parts(seed)
    case = MutateCase(
        rules=rules, seed=seed, generation=0, template=template, population=(), finished=(), mutation_prompts=(),
        items=here[Split.SEARCH], failures=(), successes=(), next_ordinal=0, stale=0, calls_left=BUDGET, minutes_left=1e9,
        confirm_items=here[Split.SELECT], labelled=sum(map(len, here.values())),
    )  # fmt: skip
    answering = Answering(world, {}, "what", BUDGET)
    case, decision, _ = visited(case, answering)
    calls, answering.budget = answering.calls, 10**9
    best = next((m for m in case.finished if decision.finalists and m.ordinal == decision.finalists[0]), None)
    instruction = best.draft.instruction if best else template.instruction
    untouched = (Split.REPORT, Split.CONFIRM)

    def outcomes(prompt: str) -> dict[Split, tuple[Outcome, ...]]:
        chosen = template.with_instruction(prompt)
        return {split: drive(evaluate(rules, chosen, here[split], seed), answering).outcomes for split in untouched}

    return Found(
        seed=seed, instruction=instruction, calls=calls, reason=decision.reason, before=outcomes(template.instruction),
        after=outcomes(instruction),
    )  # fmt: skip


def paired(before: Sequence[Outcome], after: Sequence[Outcome], seed: int) -> Paired:
    """Compare two prompts on the same samples, the difference with a 95 % interval of the paired bootstrap."""
    pairs = list(zip(before, after, strict=True))
    values = [100 * (new.value - old.value) for old, new in pairs]
    rng = stream(seed, "bootstrap")
    means = sorted(fmean(values[int(i)] for i in draw) for draw in rng.integers(len(values), size=(DRAWS, len(values))))
    return Paired(
        n=len(pairs), right_before=sum(old.correct for old, _ in pairs), right_after=sum(new.correct for _, new in pairs),
        wins=sum(new.correct and not old.correct for old, new in pairs),
        losses=sum(old.correct and not new.correct for old, new in pairs), difference=fmean(values),
        low=means[DRAWS // 40], high=means[-DRAWS // 40 - 1],
    )  # fmt: skip


def say(line: str = "") -> None:
    """Print a line of a report."""
    print(line)  # noqa: T201 - a benchmark reports


def line(name: str, one: Paired) -> str:
    """Write a line of the table."""
    return (
        f"{name:<22}{one.n:>5}{one.right_before:>8}{one.right_after:>7}{one.wins:>8}{one.losses:>7}{one.p_value:>11.2g}"
        f"{one.difference:>+12.1f}   [{one.low:+.1f}, {one.high:+.1f}]"
    )


def test_a_race_on_real_names(skill: tuple[Rules, PromptTemplate]) -> None:
    """In each of ten searches the found prompt does no worse on the untouched samples than the incumbent, and on average better."""
    found = [searched(*skill, seed) for seed in seeds(BASE, SEARCHES)]
    head = ("search", "n", "before", "after", "better", "worse", "p (exact)", "score", "95 % interval, points")
    say(f"\nreal file names, SIMULATED MODELS, {BUDGET} calls, seeds from {BASE}")
    say("right answers of the prompt in use and of the one found, on samples that the search did not touch")
    say("{:<22}{:>5}{:>8}{:>7}{:>8}{:>7}{:>11}{:>12}   {}".format(*head))
    compared: dict[Split, list[Paired]] = {Split.REPORT: [], Split.CONFIRM: []}
    for split, some in compared.items():
        for one in found:
            some.append(paired(one.before[split], one.after[split], one.seed))
            say(line(f"{split} {one.seed}", some[-1]))
    say(f"\nincumbent: {skill[1].instruction}")
    for one in found:
        say(f"{one.seed}, {one.calls} calls, {one.reason}:\n    {one.instruction}")

    for some in compared.values():
        assert fmean(one.difference for one in some) > 0
        assert not any(one.high < 0 for one in some)
