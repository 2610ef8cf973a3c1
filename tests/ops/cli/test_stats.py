"""stats: accuracies, and the metrics with their alerts."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click
import pytest

from models.runs import end_run, start_run
from models.tables import PromotionRow, VariantRow
from models.work_tables import EvolutionRow, ModelCallRow, RunRow
from ops.cli.main import cli
from pipeline.domain import Ending, Fate, MutationType, RunKind, Stage
from pipeline.metrics import Name
from workers.client import Evolution
from workers.clock import now

HEAD = ["METRIC", "VALUE", "95 %", "TARGET", "STATE"]

Evolve = Callable[..., None]


@pytest.fixture(name="evolve")
def _evolve(evolution: Evolution) -> Evolve:
    """Return a writer of evolutions that ended: so many useful variants and refused ones, calls, and a gain."""

    def evolve(
        skill: str = "file-naming",
        *,
        useful: int = 0,
        refused: int = 0,
        calls: int = 1,
        gain: float | None = None,
        simulated: bool = False,
        days_ago: float = 0,
    ) -> None:
        at = now() - timedelta(days=days_ago)
        with evolution.database.write() as session:
            bell = start_run(
                session, rules=evolution.rules(skill), kind=RunKind.EVOLUTION, trigger="test", stage=Stage.MUTATE,
                version=1, seed=1, now=at,
            )  # fmt: skip
            run = session.get_one(RunRow, bell.run)
            run.simulated = simulated
            session.add(EvolutionRow(run_id=run.id, started_at=at))
            for ordinal in range(useful + refused):
                session.add(
                    VariantRow(
                        run_id=run.id, ordinal=ordinal, skill_name=skill, prompt_text="x", text_sha="0", generation=0,
                        mutation_type=MutationType.DIRECT, fate=Fate.DROPPED if ordinal < useful else Fate.REFUSED,
                        created_at=at,
                    )
                )  # fmt: skip
            for number in range(calls):
                session.add(
                    ModelCallRow(
                        run_id=run.id, stage=Stage.MUTATE, visit=1, request_sha=f"{number}", occurrence=0, role="task",
                        outcome="answered", duration_ms=3000.0, at=at,
                    )
                )  # fmt: skip
            if gain is not None:
                session.add(
                    PromotionRow(
                        skill_name=skill, run_id=run.id, kind="promote", from_version=1, to_version=2, state="applied",
                        accuracy_before=0.5, accuracy_after=0.5 + gain, created_at=at, applied_at=at,
                    )
                )  # fmt: skip
            end_run(run, Ending.NO_IMPROVEMENT, "", at)

    return evolve


def tables(said: Any) -> list[list[list[str]]]:
    """Return the tables of a plain output, a list of cells for each row; lines that are no row are left out."""
    parts = said.out.rstrip("\n").split("\n\n")
    rows = [[line.split("\t") for line in part.splitlines() if "\t" in line] for part in parts]
    return [one for one in rows if one]


def cells(said: Any, which: int = 1) -> dict[str, list[str]]:
    """Return the rows of a metrics table by the metric's name; the accuracies are table 0."""
    head, *rows = tables(said)[which]
    assert head == HEAD
    return {row[0]: row[1:] for row in rows}


def test_stats_fail_under_a_mark(evoctl: Any, fill: Any) -> None:
    """Exit 6 below the mark or without data, 0 at the mark."""
    fill(20, right=16)

    assert evoctl("stats", "file-naming", "--fail-under", "0.8").code == 0
    below = evoctl("stats", "file-naming", "--fail-under", "0.81", "--json")
    assert (below.code, below.data["below"]) == (6, ["file-naming"])
    assert evoctl("stats", "audio-actions", "--fail-under", "0.1").code == 6
    assert evoctl("stats", "file-naming", "--fail-under", "1.1").code == 2


def test_stats_show_the_window_and_every_version(evoctl: Any, fill: Any) -> None:
    """One row for the window, one for each version that has samples."""
    fill(30, right=20)

    head, *rows = tables(evoctl("stats", "file-naming", "--plain"))[0]

    assert head == ["SKILL", "PROMPT", "OVER", "ACCURACY", "95 %", "SAMPLES", "JUDGED"]
    assert [(row[2], row[3], row[5]) for row in rows] == [("window", "0.50", "20"), ("all", "0.67", "30")]


def test_metrics_stand_below_the_accuracies(evoctl: Any, evolve: Evolve) -> None:
    """Each with what it rests on, its interval, its target and whether that is met."""
    evolve(useful=30, refused=10, calls=40, gain=0.25)
    evolve(useful=6, refused=4, calls=20)

    rows = cells(evoctl("stats", "file-naming", "--plain"))

    assert rows == {
        "useful variant rate": ["0.72 (36 of 50)", "0.58 to 0.84", "0.60 or more", "target met"],
        "cloud fallback rate": ["0.00 (0 of 2; the cloud is not used)", "0.00 to 0.84", "below 0.20", "target met"],
        "cost per evolution": ["$0.0000 (2 evolutions)", "-", "below $0.05", "target met"],
        "model minutes per evolution": ["2 min (2 evolutions)", "-", "-", "no target"],
        "calls per evolution": ["30 (2 evolutions)", "-", "-", "no target"],
        "accuracy improvement": ["+0.25 (1 of 1 promotions measured)", "-", "+0.03 or more", "target met"],
    }


def test_a_home_that_never_evolved_has_no_figures(evoctl: Any, host: object) -> None:
    """Every metric is listed as unknown, and nothing raises an alert."""
    said = evoctl("stats", "--plain")

    assert all(row[0] == "-" and row[-1] == "no data" for row in cells(said).values())
    assert "Alert" not in said.out


def test_an_alert_is_one_line_with_its_action(evoctl: Any, evolve: Evolve) -> None:
    """It says how sure it is, what is wrong and what to do; --json has the same."""
    for gain in (-0.25, -0.125, -0.25, -0.25, -0.125):
        evolve(useful=2, refused=3, gain=gain)

    said = evoctl("stats", "file-naming")
    (found,) = evoctl("stats", "file-naming", "--json").data["skills"][0]["metrics"]

    useful, gains = [line for line in said.out.splitlines() if line.startswith("Alert")]
    assert useful.startswith("Alert, likely: useful variant rate of file-naming is below 0.50: 0.400 (10 of 25). ")
    assert "set models.generator to qwen3:4b" in useful
    assert gains.startswith("Alert, sure: accuracy improvement of file-naming is below 0.03: -0.200 (5 of 5 promotions")
    assert [(one["metric"], one["sure"]) for one in found["alerts"]] == [
        (Name.USEFUL, False),
        (Name.GAIN, True),
    ]


def test_the_action_of_an_alert_is_a_command_that_parses(evoctl: Any, evolve: Evolve) -> None:
    """What it says to type is a line that evoctl takes."""
    for _ in range(5):
        evolve(gain=-0.25)

    out = evoctl("stats", "file-naming").out

    words = shlex.split(out.rpartition("Review the failure patterns: ")[2].splitlines()[0])
    assert words == ["evoctl", "feedback", "list", "file-naming", "--only", "bad"]
    assert evoctl(*words[1:]).code == 0


def test_an_alert_of_one_skill_is_not_told_again_of_all(evoctl: Any, evolve: Evolve) -> None:
    """Over all skills an alert is told only where no skill has it by itself."""
    evolve(useful=0, refused=10)
    one = evoctl("stats")
    for skill in ("file-naming", "audio-actions", "markdown-analysis"):
        evolve(skill, gain=-0.25)
        evolve(skill, gain=-0.25)

    both = evoctl("stats")

    assert [line.partition(":")[2].split(" is ")[0] for line in one.out.splitlines() if line[:5] == "Alert"] == [
        " useful variant rate of file-naming"
    ]
    assert [line.partition(":")[2].split(" is ")[0] for line in both.out.splitlines() if line[:5] == "Alert"] == [
        " useful variant rate of file-naming",
        " accuracy improvement of all skills",
    ]


def test_json_has_the_metrics_of_every_skill_and_of_all(evoctl: Any, evolve: Evolve) -> None:
    """In the order of the metrics, with numbers instead of words."""
    evolve(useful=3, refused=1, calls=7)

    data = evoctl("stats", "--json").data

    (mine,) = next(one["metrics"] for one in data["skills"] if one["skill"] == "file-naming")
    others = [one["metrics"] for one in data["skills"] if one["skill"] != "file-naming"]
    assert [one["name"] for one in mine["metrics"]] == list(Name)
    assert (mine["metrics"][0]["value"], mine["metrics"][0]["n"], mine["metrics"][0]["state"]) == (
        0.75,
        4,
        "target met",
    )
    assert mine["figures"]["written"] == {"variants": 4, "refused": 1, "rejected": 0, "redundant": 0}
    assert data["metrics"] == [mine]
    assert all(one[0]["metrics"][0]["value"] is None for one in others)


def test_simulated_runs_are_counted_apart_and_say_so(evoctl: Any, evolve: Evolve) -> None:
    """With both kinds there are two tables, and nobody could take the sum for a real model's."""
    evolve(useful=9, refused=1)
    evolve(useful=1, refused=9, simulated=True)

    said = evoctl("stats", "file-naming")

    plain = evoctl("stats", "file-naming", "--plain")
    assert cells(plain)["useful variant rate"][0] == "0.90 (9 of 10)"
    assert cells(plain, 2)["useful variant rate"][0] == "0.10 (1 of 10)"
    assert "Metrics of file-naming\n" in said.out
    assert "Metrics of file-naming (simulated: no figure here is a real model's)\n" in said.out
    assert "Real and simulated runs are counted apart." in said.out
    assert "Alert, sure: useful variant rate of file-naming (simulated) is below 0.50" in said.out


def test_since_leaves_out_what_is_older(evoctl: Any, evolve: Evolve) -> None:
    """A span of hours, days or weeks; the text and the document say since when."""
    evolve(useful=1, days_ago=8)
    evolve(useful=1, days_ago=2)

    counts = {
        given: evoctl("stats", "file-naming", "--since", given, "--json").data
        for given in ("24h", "7d", "2w", "99999w")
    }

    values = {given: data["skills"][0]["metrics"][0]["metrics"][0]["n"] for given, data in counts.items()}
    assert values == {"24h": 0, "7d": 1, "2w": 2, "99999w": 2}
    assert counts["7d"]["since"].endswith("Z")
    assert "Metrics of file-naming since 20" in evoctl("stats", "file-naming", "--since", "7d").out


@pytest.mark.parametrize("given", ["", "7", "d", "0d", "-1d", "7m", "1.5d", "٣d", "999999d", "7 d", "\x1b[2Jd"])
def test_a_span_that_cannot_be_read_is_misuse(evoctl: Any, host: object, given: str) -> None:
    """The error shows how one is written."""
    said = evoctl("stats", "--since", given)

    assert said.code == 2
    assert "36h, 30d or 8w" in said.err
    assert "\x1b" not in said.err


def test_the_command_is_where_the_table_of_commands_says(evoctl: Any) -> None:
    """Its help names the options of both halves."""
    command = cli.get_command(click.Context(cli), "stats")

    assert command is not None
    assert {"--since", "--fail-under"} <= set(evoctl("stats", "--help").out.split())
