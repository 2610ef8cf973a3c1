"""status, stats, results, runs, show and diff."""

from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from typing import Any

import pytest
from sqlalchemy import select, update

from models import reports, searches
from models.tables import BallotCardRow, BallotRow, PromptVersionRow, SampleRow, SkillRow, VariantRow
from models.work_tables import RunRow, StepRow
from ops.cli.words import gate_line
from pipeline.algorithms.invisible import CATEGORIES
from pipeline.gate import Reason, Verdict
from pipeline.search import Tally
from workers.lock import LOCK, TICK_LOCK, Lock

HOSTILE = (
    "\x1b[2J\x1b]8;;http://evil.example\x1b\\\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e\u2066\x00\x85\u2028[/]{{x}}\U000e0041"
)


def terminal_safe(text: str) -> bool:
    """Tell whether every character of *text* is shown and not obeyed."""
    return all(unicodedata.category(c) not in CATEGORIES or c == "\n" for c in text)


def poison(trial: Any) -> None:
    """Write hostile text into every column that holds a text of others."""
    with trial.evolution.database.write() as session:
        fields = json.dumps({f"n{HOSTILE}": HOSTILE})
        session.execute(update(SampleRow).values(output=HOSTILE, expected=HOSTILE, fields=fields))
        session.execute(update(SampleRow).where(SampleRow.id == 1).values(task_id=HOSTILE))
        session.execute(update(BallotCardRow).values(output=HOSTILE))
        session.execute(
            update(VariantRow).values(prompt_text=HOSTILE, reasoning=HOSTILE, fate_reason=HOSTILE, flags=HOSTILE)
        )
        session.execute(update(RunRow).values(reason=HOSTILE))
        session.execute(update(StepRow).values(waiting_for=HOSTILE, error=HOSTILE))
        session.execute(update(SkillRow).values(check_reason=HOSTILE))
        session.execute(update(PromptVersionRow).values(text=f"{HOSTILE}\n---\n{{{{x}}}}{HOSTILE}\n", template=HOSTILE))


COMMANDS = (
    ("status",),
    ("stats",),
    ("runs",),
    ("runs", "file-naming"),
    ("results", "file-naming"),
    ("show", "r1"),
    ("show", "r1", "--all"),
    ("show", "file-naming"),
    ("show", "variant_a"),
    ("diff", "file-naming", "v1", "variant_a"),
    ("vote",),
    ("feedback", "list", "file-naming"),
    ("promote", "file-naming", "variant_a", "--dry-run"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_hostile_texts_never_reach_the_terminal(evoctl: Any, trial: Any, words: tuple[str, ...]) -> None:
    """Prompts, outputs, inputs and reasons of others are shown with escapes, as tables, tabs and ASCII JSON."""
    poison(trial)

    for extra in ((), ("--plain",), ("--json",)):
        said = evoctl(*words, *extra)

        assert said.code == 0, said
        assert terminal_safe(said.out.replace("\t", "") if extra == ("--plain",) else said.out)
        assert terminal_safe(said.err)
        assert extra != ("--json",) or (said.out.isascii() and said.data)


def test_an_error_with_hostile_words_is_harmless(evoctl: Any, host: object) -> None:
    """What a person typed is shown with escapes as well."""
    for words in (
        ("show", HOSTILE),
        ("results", HOSTILE),
        (HOSTILE,),
        ("cancel", HOSTILE),
        ("diff", "file-naming", "v1", HOSTILE),
        ("feedback", "import", "file-naming", HOSTILE),
        ("feedback", "import", "file-naming", "\udcff"),
        ("create", "file-naming", "--variant-a", HOSTILE),
    ):
        for extra in ((), ("--json",)):
            said = evoctl(*words, *extra)
            assert said.code in (2, 3), said
            assert terminal_safe(said.err)
            assert said.out == ""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_json_is_exactly_one_document(evoctl: Any, trial: Any, words: tuple[str, ...]) -> None:
    """One line, one object, with the schema of the command, and nothing on standard error."""
    said = evoctl(*words, "--json")

    assert said.out.count("\n") == 1
    assert said.err == ""
    document = json.loads(said.out)
    assert set(document) == {"schema", "ok", "data"}
    assert document["schema"].startswith(f"evoctl.{words[0]}")
    assert document["schema"].endswith("/1")


def test_status_names_skills_runs_queue_and_gate(evoctl: Any, trial: Any) -> None:
    """What runs and what it waits for is one line each; ballots lead to the vote."""
    said = evoctl("status")

    assert "file-naming        v1  accuracy 1.00 over 20 samples (0.84 to 1.00; 20 by person)" in said.out
    assert "r1 evolution: bandit waiting, 0 of at most 30 votes, " in said.out
    assert "Queue: 0 running, 0 ready, 1 waiting." in said.out
    assert "Gate: open" in said.out
    assert said.err == "Next: evoctl vote\n"


def test_status_as_json_has_what_the_text_says(evoctl: Any, trial: Any) -> None:
    """Version, accuracy with its basis, open run, queue and gate."""
    data = evoctl("status", "--json").data

    skill = data["skills"][0]
    assert (skill["skill"], skill["version"], skill["accuracy"]["n"], skill["accuracy"]["person"]) == (
        "file-naming",
        1,
        20,
        20,
    )
    assert (skill["open"][0]["stage"], skill["open"][0]["waiting_for"]) == ("bandit", "votes")
    assert (data["queue"][0]["run"], data["gate"]["open"], data["simulated"]) == (trial.run, True, False)


def test_what_is_simulated_says_so(evoctl: Any, trial: Any) -> None:
    """Every report of a simulated run has the word."""
    with trial.evolution.database.write() as session:
        session.get_one(RunRow, trial.run).simulated = True

    for words in (("status",), ("runs",), ("results", "file-naming"), ("show", "r1"), ("show", "variant_a")):
        assert "simulated" in evoctl(*words).out, words


def test_quiet_says_nothing_beside_the_result(evoctl: Any, trial: Any) -> None:
    """-q leaves standard error empty."""
    for words in (("status",), ("results", "file-naming"), ("vote",)):
        assert evoctl("-q", *words).err == ""


def test_runs_say_when_there_is_none(evoctl: Any, host: object) -> None:
    """An empty list is a sentence for people and an empty array for programs."""
    assert evoctl("runs").out == "There is no run yet.\n"
    assert evoctl("runs", "--json").data == {"runs": []}


def test_status_says_that_nothing_runs_and_calls_no_dead_step_running(evoctl: Any, trial: Any, host: Any) -> None:
    """Without a lock that is held no step runs, whatever its row says; with a tick the line goes."""
    with trial.evolution.database.write() as session:
        session.execute(update(StepRow).values(state="running", waiting_for=""))
    alone, data = evoctl("status"), evoctl("status", "--json").data
    locks = [Lock(host.locks / LOCK), Lock(host.locks / TICK_LOCK)]
    for lock in locks:
        assert lock.take(1)
    at_work = evoctl("status")
    for lock in locks:
        lock.release()

    assert "Queue: 0 running, 1 ready, 0 waiting.\n" in alone.out
    assert "\nNothing runs here: evoctl up\n" in alone.out
    assert (data["attended"], data["skills"][0]["open"][0]["state"], data["queue"][0]["state"]) == (
        False,
        "ready",
        "ready",
    )
    assert "Queue: 1 running, 0 ready, 0 waiting.\n" in at_work.out
    assert "Nothing runs" not in at_work.out


def test_status_and_gate_name_who_waits_at_an_open_gate(evoctl: Any, trial: Any) -> None:
    """A run that nobody asked for wants a longer quiet than the gate's own line goes by."""
    with trial.evolution.database.write() as session:
        session.execute(update(StepRow).values(state="ready", waiting_for="used less than 1800 s ago"))
    with trial.evolution.database.read() as session:
        queue = reports.queue(session)
    verdict = Verdict(open=True, reason=Reason.OPEN, detail="Nobody uses the model.")
    told = gate_line(verdict, queue)

    status, gate = evoctl("status"), evoctl("gate", "--json")

    elsewhere = [dataclasses.replace(one, due_at=one.waiting_since) for one in queue]  # it waits for Ollama, until then
    assert told == "Gate: open for what a person asked for and what has begun, not for r1. Nobody uses the model."
    assert gate_line(verdict, elsewhere) == "Gate: open. Nobody uses the model."
    assert "waiting since" in status.out
    assert "Queue: 0 running, 0 ready, 1 waiting." in status.out
    assert gate.data["queue"][0]["waiting_for"] == "used less than 1800 s ago"
    assert "r1 bandit waits since" in evoctl("gate").out


def test_results_of_a_skill_that_never_evolved_are_not_found(evoctl: Any, host: object) -> None:
    """The error leads to enqueue."""
    said = evoctl("results", "file-naming")

    assert said.code == 3
    assert "evoctl enqueue file-naming" in said.err


def test_results_put_words_beside_the_figures(evoctl: Any, trial: Any) -> None:
    """Counts, evidence and mark in the tables; verdict, outlook and what few votes cannot show as sentences."""
    trial.vote(2, 2, 1, None)

    said = evoctl("results", "file-naming")

    rows = [one for one in said.out.splitlines() if one.startswith("variant_a")]
    assert rows[0].split()[1:4] == ["2", "1", "1"]
    assert " of 40 " in rows[1]
    assert "Votes    4 of at most 30, day 0.0 of 7; " in said.out
    assert "Not decided: best evidence" in said.out
    assert re.search(
        r"About \d+(?: to \d+)? more votes should decide; if variant_a goes on winning 60% of its", said.out
    )
    assert "Without held-out labelled tasks (enough are 100, the goal is 200)" in said.out


def test_before_the_first_vote_no_win_rate_is_told(evoctl: Any, trial: Any) -> None:
    """What further votes may bring is said of a supposed rate, and of none that somebody goes on with."""
    del trial

    said = evoctl("results", "file-naming")

    assert "No vote has compared variant_a yet: if it won half of its comparisons" in said.out
    assert "goes on winning" not in said.out


def test_tasks_with_equal_answers_and_copies_are_told(evoctl: Any, evolution: Any, trial: Any) -> None:
    """`results` and `status` say on how many tasks no vote can tell the prompts apart; a test out of inputs says so."""
    with evolution.database.write() as session:
        session.execute(update(BallotRow).values(outcome="equal"))
        session.execute(update(SampleRow).values(split="report"))

    results, status, vote = evoctl("results", "file-naming"), evoctl("status"), evoctl("vote")

    n = len(trial.ballots)
    assert f"{n} of {n} tasks got the same answer from all prompts: no vote can tell them apart there." in results.out
    assert f"{n} of {n} tasks got the same answer from all prompts" in status.out
    for said in (results, status, vote):
        assert "No inputs are left for ballots" in said.out
    assert "more votes should decide" not in results.out


def test_results_of_a_named_run(evoctl: Any, trial: Any) -> None:
    """r1 and 1 are the same run; another number is not found, another word is misuse."""
    assert evoctl("results", "file-naming", "--run", "r1").out == evoctl("results", "file-naming", "--run", "1").out
    assert evoctl("results", "file-naming", "--run", "r99").code == 3
    assert evoctl("results", "file-naming", "--run", "first").code == 2


def test_show_tells_runs_variants_and_skills_apart(evoctl: Any, trial: Any) -> None:
    """r1 is a run, variant_a and a number are variants, anything else is a skill."""
    assert json.loads(evoctl("show", "r1", "--json").out)["schema"] == "evoctl.show.run/1"
    for name in ("variant_a", str(trial.variants[0])):
        said = evoctl("show", name, "--json")
        assert said.data["variant"]["text"] == "Name the file shortly."
    assert evoctl("show", "file-naming", "--json").data["versions"][0]["version"] == 1
    for missing in ("r99", "999", "variant_z", "no-skill", "-1x", "R1"):
        assert evoctl("show", "--", missing).code == 3


def test_show_a_run_has_its_steps_and_variants(evoctl: Any, trial: Any) -> None:
    """The timeline and the variants with their fates are in the text."""
    said = evoctl("show", "r1")

    assert "Run r1 of file-naming: evolution, asked for by person" in said.out
    assert "Variants (2 of 2 shown)" in said.out
    assert said.out.count("manual") == 2


def test_show_a_variant_says_how_sure_its_writer_was_and_what_is_odd(evoctl: Any, trial: Any) -> None:
    """Perplexity, the least sure token and each flag on a line of its own; nothing where nothing is known."""
    plain = evoctl("show", str(trial.variants[0]))
    with trial.evolution.database.write() as session:
        row = session.get_one(VariantRow, trial.variants[0])
        row.mean_logprob, row.min_logprob = -0.5, -6.25
        row.flags = "chatter (a closing)\nrelevance (0.01 like its parent; at least 0.06)"
        session.get_one(VariantRow, trial.variants[1]).mean_logprob = -50.0
    said, data = evoctl("show", str(trial.variants[0])), evoctl("show", str(trial.variants[0]), "--json").data

    assert "Sure     perplexity 1.6 as its writer saw it, least sure token 0.2%" in said.out
    assert "Flag     chatter (a closing)\nFlag     relevance (0.01 like its parent; at least 0.06)\n" in said.out
    assert (data["variant"]["mean_logprob"], len(data["variant"]["flags"])) == (-0.5, 2)
    assert "perplexity above 22026" in evoctl("show", str(trial.variants[1])).out
    assert "Sure" not in plain.out
    assert "Flag" not in plain.out


def test_show_a_run_counts_refusals_by_their_detector(evoctl: Any, trial: Any) -> None:
    """Whatever was measured of each."""
    with trial.evolution.database.write() as session:
        for variant, share in zip(trial.variants, (34, 51), strict=True):
            row = session.get_one(VariantRow, variant)
            row.fate, row.fate_reason = "refused", f"loop ({share}% of its word trigrams occurred before; at most 22%)"

    assert "Refused before they were run: loop 2" in evoctl("show", "r1", "--all").out


def test_show_a_run_counts_its_operators_and_its_fresh_samples(evoctl: Any, trial: Any) -> None:
    """How often each operator was applied and helped, and what a variant did on samples it was not bred on."""
    with trial.evolution.database.write() as session:
        searches.add_tallies(session, 1, [Tally(name="reflective", applied=8, improved=2)])
        row = session.get_one(VariantRow, trial.variants[0])
        row.fitness_score, row.fitness_correct, row.fitness_n = 0.61, 50, 80
        row.confirm_correct, row.confirm_n = 36, 40

    run, variant = evoctl("show", "r1"), evoctl("show", str(trial.variants[0]))

    assert "reflective        8         2  0.25" in run.out
    assert "36 of 40" in run.out
    assert "50 of 80 right; on fresh samples 36 of 40 (95 % interval 0.77 to 0.96)" in variant.out


def test_diff_marks_what_changed(evoctl: Any, trial: Any) -> None:
    """Removed and added lines are marked, the same prompt has no lines."""
    said = evoctl("diff", "file-naming", "current", "variant_a")

    assert "-Generate a descriptive filename based on visual content." in said.out.splitlines()
    assert "+Name the file shortly." in said.out.splitlines()
    same = evoctl("diff", "file-naming", "v1", "current", "--json")
    assert (same.data["same"], same.data["diff"]) == (True, [])


def test_diff_sees_a_file_that_a_person_edited(evoctl: Any, host: Any, trial: Any) -> None:
    """`current` is the file as it is, `v1` as it was remembered."""
    file = host.config.parent / "skills" / "file-naming.md"
    file.write_text(file.read_text(encoding="utf-8").replace("Generate", "Write"), encoding="utf-8")

    assert not evoctl("diff", "file-naming", "v1", "current", "--json").data["same"]


def test_diff_of_an_unknown_prompt_is_not_found(evoctl: Any, trial: Any) -> None:
    """A version, a variant and a pointer that do not exist."""
    for name in ("v9", "variant_z", "9999", "previous", "nonsense"):
        assert evoctl("diff", "file-naming", "v1", name).code == 3


def test_nothing_that_only_looks_writes(evoctl: Any, trial: Any) -> None:
    """The tables are the same before and after every report."""

    def tables() -> list[object]:
        with trial.evolution.database.read() as session:
            kinds = (RunRow, StepRow, SampleRow, VariantRow, BallotCardRow, SkillRow, PromptVersionRow)
            return [tuple(session.execute(select(*kind.__table__.columns)).all()) for kind in kinds]

    before = tables()
    for words in COMMANDS:
        evoctl(*words)

    assert tables() == before
