"""`lab power`: what a skill's tests can show, as text and as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.power import SkillNumbers
from models.report_values import Accuracy
from models.search_tables import EvaluationRow
from models.tables import VariantRow
from ops.cli.lab import _finds, _points, _study, _text, _verdict
from pipeline import power
from pipeline.contents import content_of
from pipeline.domain import Fate, MutationType, SkillName, Split
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import SkillSpec
from pipeline.splits import split_of
from workers.clock import now

RULES = Rules(
    settings=Settings(), skill=SkillSpec(name=SkillName("file-naming"), template="skills/file-naming.md", scorer="exact")
)  # fmt: skip
RULE = power.stopping(RULES.settings.voting)
GAINS = (0.05, 0.10, 0.15)


def measured(*, confirming: int = 42, right: int = 0, n: int = 0, discordance: float | None = None) -> SkillNumbers:
    """Return what a history may say."""
    found = Accuracy(right=right, n=n, value=right / n if n else None, low=0.0, high=1.0, person=n)
    return SkillNumbers(
        choosing=24, confirming=confirming, accuracy=found, discordance=discordance, pairs=120, runs=2, simulated=False
    )  # fmt: skip


def voting(**given: object) -> Rules:
    """Return rules with other settings of the vote."""
    changed = replace(RULES.settings.voting, **given)  # type: ignore[arg-type]  # keyword tables of tests
    return replace(RULES, settings=replace(RULES.settings, voting=changed))


def test_a_skill_without_history_is_told_what_is_assumed(evoctl: Any, host: object) -> None:
    """No labelled task, nothing measured: every assumption is named, and the next step is to import feedback."""
    said = evoctl("lab", "power", "file-naming")

    assert said.code == 0
    assert "0 for choosing (goal 60), 0 for confirming (enough 100, goal 200)" in said.out
    assert "accuracy 0.80, assumed" in said.out
    assert "differ on 0.20 of the tasks, assumed" in said.out
    assert "0.60 of them ties, assumed" in said.out
    assert "+15 points" in said.out
    assert "With 0 labelled tasks for confirming only a gain of 19 points or more is found in 8 of 10 tests" in said.out
    assert said.err == "Next: evoctl feedback import file-naming FILE.jsonl\n"


def test_json_has_the_figures_of_the_core(evoctl: Any, host: object) -> None:
    """Each row is what the core computes from the same numbers."""
    data = evoctl("lab", "power", "file-naming", "--json").data

    assert [row["gain"] for row in data["study"]["rows"]] == list(GAINS)
    for row in data["study"]["rows"]:
        expected = power.power(0, 0.2, row["gain"], ties=power.ASSUMED_TIES, rule=RULE)
        assert (row["promote"], row["mean_votes"]) == pytest.approx((expected.promote, expected.mean_votes))
        assert row["votes_needed"] == pytest.approx(power.votes_needed(0.2, row["gain"], ties=0.6, rule=RULE))
        assert row["live_tasks_needed"] == pytest.approx(power.tasks_needed_live(0.8, row["gain"]))
    assert data["measured"]["discordance"] is None
    assert not data["study"]["discordance_measured"]
    assert data["verdict"].startswith("With 0 labelled tasks")


def test_labelled_tasks_are_counted_by_what_they_are_for(evoctl: Any, fill: Any) -> None:
    """Of 120 labelled tasks, those of the select and the confirm part, and the accuracy of the prompt in use."""
    fill(120, right=90)

    data = evoctl("lab", "power", "file-naming", "--json").data

    parts = [
        split_of("file-naming", content_of({"description": f"picture {i}", "original_name": "a.png"}))
        for i in range(120)
    ]
    study = data["study"]
    assert (study["choosing"], study["confirming"]) == (parts.count(Split.SELECT), parts.count(Split.CONFIRM))
    assert study["replayed"] == study["confirming"]
    assert (data["measured"]["accuracy"]["n"], study["accuracy_measured"]) == (20, True)
    assert study["rows"][1]["promote"] > study["rows"][1]["by_labels"] > 0


def test_the_discordance_of_earlier_runs_is_used(evoctl: Any, evolution: Any) -> None:
    """Results of a variant and of the prompt in use on the same fresh samples, told with what they rest on."""
    run = evolution.create("file-naming", ("Name the file shortly.",), reason="a test").run
    with evolution.database.write() as session:
        for ordinal, wrong in ((50, 0), (51, 8)):
            row = VariantRow(
                run_id=run, ordinal=ordinal, skill_name="file-naming", prompt_text="x", text_sha="", generation=0,
                mutation_type=MutationType.DIRECT if wrong else MutationType.SEED, fate=Fate.ALIVE, created_at=now(),
            )  # fmt: skip
            session.add(row)
            session.flush()
            session.add_all(
                EvaluationRow(variant_id=row.variant_id, sample_id=i, split=Split.SELECT, value=0.0, correct=i >= wrong)
                for i in range(25)
            )

    said, data = evoctl("lab", "power", "file-naming"), evoctl("lab", "power", "file-naming", "--json").data

    assert "differ on 0.32 of the tasks, measured on 25 pairs of results of 1 run" in said.out
    assert (data["study"]["discordance"], data["study"]["discordance_measured"]) == (0.32, True)


def test_gains_and_votes_can_be_given(evoctl: Any, host: object) -> None:
    """Each gain is a row, once and in order; more votes find more."""
    data = evoctl("lab", "power", "file-naming", "--gain", "0.3", "--gain", "0.08", "--gain", "0.3", "--json").data
    more = evoctl("lab", "power", "file-naming", "--gain", "0.08", "--votes", "60", "--json").data

    assert [(row["gain"], row["discordance"]) for row in data["study"]["rows"]] == [(0.08, 0.2), (0.3, 0.3)]
    assert more["study"]["max_votes"] == 60
    assert more["study"]["rows"][0]["promote"] > data["study"]["rows"][0]["promote"]


@pytest.mark.parametrize(
    "words", [("--gain", "0"), ("--gain", "1.2"), ("--votes", "-1"), ("--votes", "1001"), ("--gain", "much")]
)
def test_impossible_gains_and_caps_are_misuse(evoctl: Any, host: object, words: tuple[str, ...]) -> None:
    """Exit code 2, and nothing on standard output."""
    said = evoctl("lab", "power", "file-naming", *words)

    assert (said.code, said.out) == (2, "")


def test_an_unknown_skill_is_not_found(evoctl: Any, host: object) -> None:
    """Exit code 3."""
    assert evoctl("lab", "power", "no-such-skill").code == 3


def test_enough_labelled_tasks_leave_nothing_to_add() -> None:
    """At the goal the sentence ends with what is found; more tasks than the goal are not run."""
    study = _study(RULES, measured(confirming=260), GAINS, None)

    assert (study.replayed, study.more_labels) == (200, 0)
    assert _verdict(study) == "With 260 labelled tasks for confirming a gain of 9 points or more is found in 8 of 10 tests with ballots."  # fmt: skip


def test_the_labels_to_add_are_all_of_them_not_only_those_for_confirming() -> None:
    """Only 35 in 100 labelled tasks are for confirming: 158 more of these are 452 more of all."""
    study = _study(RULES, measured(confirming=42), GAINS, None)

    assert study.more_labels == 452
    assert _verdict(study) == (
        "With 42 labelled tasks for confirming only a gain of 14 points or more is found in 8 of 10 tests with ballots; "
        "with 452 more labelled tasks, about 158 of them for confirming, 9 points would do."
    )


def test_a_prompt_that_is_nearly_always_right_leaves_little_to_gain() -> None:
    """What cannot be gained is said; live mode cannot have it either."""
    study = _study(RULES, measured(right=19, n=20), GAINS, None)

    assert "right in 95% of its tasks, so that it cannot be beaten by more than 5 points." in _verdict(study)
    assert [row.live_promote is None for row in study.rows] == [False, True, True]
    assert "the prompt in use is too good for it" in _text(study, measured(right=19, n=20), "", plain=False)


def test_in_live_mode_the_verdict_is_that_of_live_mode() -> None:
    """The gain is the one that pairs of tasks find, within the set number of tasks."""
    rules = voting(mode="live", live_max_tasks=120)
    study = _study(rules, measured(), GAINS, None)

    live = power.stopping_live(rules.settings.voting)
    assert study.smallest_gain == power.smallest_gain_live(42, 0.2, 0.8, rule=live)
    assert "8 of 10 tests in live mode" in _finds(study, only=True)


def test_what_no_test_would_find_is_said() -> None:
    """With four votes and no labels nothing is found, and with the goal's labels something is."""
    study = _study(RULES, measured(confirming=0), GAINS, 4)

    assert study.smallest_gain is None
    assert _verdict(study).startswith(
        "With 0 labelled tasks for confirming not even the largest gain that was looked at would be found"
    )
    assert _verdict(study).endswith("points would do.")


def test_another_policy_is_not_described() -> None:
    """The figures are the evidence rule's, and a host that decides otherwise is told."""
    rules = voting(policy="seeds")
    found = measured(discordance=0.3)

    said = _text(_study(rules, found, GAINS, None), replace(found, simulated=True), "verdict", plain=True)

    assert "decides by the policy seeds, which these figures do not describe" in said
    assert "How often two prompts differ is simulated" in said
    assert "GAIN\tLABELS ALONE\tBALLOTS\tVOTES\tLIVE\tTASKS" in said


def test_points_are_rounded_up() -> None:
    """A gain is never said to be smaller than it must be, but for a thousandth."""
    assert [_points(gain) for gain in (0.0100, 0.0104, 0.0891, 0.14, 0.1404)] == [
        "1 point", "1 point", "9 points", "14 points", "14 points",
    ]  # fmt: skip


def test_a_mean_number_of_votes_names_the_cap_that_it_needs(evoctl: Any, host: object) -> None:
    """The mean is below the cap; a test that is allowed so many votes finds the gain, one that is allowed the mean does not."""
    said, data = evoctl("lab", "power", "file-naming").out, evoctl("lab", "power", "file-naming", "--json").data
    row = data["study"]["rows"][-1]

    assert (
        f"{row['votes_needed']:.0f} votes on average, if up to about {row['votes_cap']} are allowed (voting.max_votes)"
        in said
    )
    rules = [power.stopping(Settings().voting, votes) for votes in (round(row["votes_needed"]), row["votes_cap"])]
    short, long = (power.power(0, row["discordance"], row["gain"], ties=0.6, rule=rule).promote for rule in rules)
    assert short < 0.65
    assert long > 0.7
    assert row["live_tasks_cap"] > row["live_tasks_needed"]
