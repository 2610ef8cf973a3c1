"""What an evolution costs is told before it starts, refused when it is too little, and shown while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from models import costs as stored_costs
from models import journal, runs, steps
from models.work_tables import EvolutionRow, GateEventRow, ModelCallRow, RunRow, StepRow
from ops.cli import evolve
from ops.cli.words import minutes
from ops.simulator.server import SimulatorServer
from ops.simulator.worlds.file_naming import FileNamingWorld
from pipeline.algorithms.invisible import CATEGORIES
from pipeline.costs import Labelled, plan
from pipeline.domain import RunKind, Stage
from pipeline.errors import BadInput
from pipeline.flow import Generated
from pipeline.rules import Rules
from pipeline.setting import About
from pipeline.settings import BUDGETS, Foreground, Search, Settings
from workers.client import Evolution
from workers.clock import now
from workers.home import Home

OWN, THEIRS = "smollm2:360m-instruct-q4_K_M", "qwen2.5-coder:3b"


def configure(host: Home, *lines: str) -> None:
    """Put *lines* right below `prompt_evolution:`."""
    text = host.config.read_text(encoding="utf-8")
    marker = "prompt_evolution:\n"
    assert marker in text
    added = "".join(f"  {line}\n" for line in lines)
    for section in {line.split(":")[0] for line in lines}:
        text = text.replace(f"  {section}:\n", f"  # {section}:\n", 1)
    host.config.write_text(text.replace(marker, marker + added, 1), encoding="utf-8")


def tables(evolution: Evolution) -> list[object]:
    """Return every row that starting a run would add to or change."""
    with evolution.database.read() as session:
        return [
            tuple(session.execute(select(*kind.__table__.columns)).all()) for kind in (RunRow, StepRow, ModelCallRow)
        ]


@pytest.fixture(name="searching")
def _searching(evolution: Evolution) -> Callable[..., int]:
    """Return a starter of evolutions that search and have made calls of 3 s each."""

    def start(calls: int, *, waited_s: float = 0.0, simulated: bool = False, ended: bool = False) -> int:
        rules, at = evolution.rules("file-naming"), now()
        with evolution.database.write() as session:
            bell = runs.start_run(
                session, rules=rules, kind=RunKind.EVOLUTION, trigger="person", stage=Stage.MUTATE, version=1, seed=1,
                now=at,
            )  # fmt: skip
            session.add(EvolutionRow(run_id=bell.run, started_at=at, generation=3, best_fitness=0.5))
            mine = steps.claim(session, bell.step, bell.attempt, at)
            assert mine is not None
            for number in range(calls):
                role, tag = ("task", THEIRS) if number % 2 else ("generator", OWN)
                reply = Generated(text="x", done_reason="stop", prompt_tokens=5, tokens=3, duration_s=3.0)
                journal.record(
                    session, mine, (f"{number}", 0), reply, role=role, tag=tag, simulated=simulated,
                    now=at + timedelta(seconds=3.0 * number),
                )  # fmt: skip
            if waited_s:
                ended_at = at + timedelta(seconds=3.0 * calls + waited_s)
                session.add(
                    GateEventRow(run_id=bell.run, step_id=bell.step, reason="lease", at=ended_at, waited_s=waited_s)
                )
            if ended:
                row = session.get_one(RunRow, bell.run)
                row.created_at, row.ended_at, row.ending = at - timedelta(days=30), at, "no-improvement"
                session.get_one(StepRow, bell.step).state = "done"
        return int(bell.run)

    return start


def test_a_dry_run_tells_what_a_run_would_cost(evoctl: Any, fill: Any) -> None:
    """Samples, proposals, calls by role, time with its basis, memory and money, each on a line."""
    fill(120, right=120)

    said = evoctl("enqueue", "file-naming", "--dry-run")

    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "Dry run for file-naming: nothing was started."
    assert lines[1].startswith("  samples  120 labelled: ")
    assert " proposals (race), of which at most 3 go to the replay and 1 to the vote" in lines[2]
    assert lines[3].startswith(
        "  votes    at most 30, on new tasks alone: the replay leaves none of the history for ballots."
    )
    assert lines[4].startswith("  calls    at most 1000: about ")
    assert "of model time (assumed), waiting apart; the search has at most 10 h" in lines[5]
    assert f"           generator {OWN}: 2.5 s a call (assumed, not measured yet)" in lines
    assert any(line.startswith(f"  memory   beside {THEIRS}: {OWN} unknown, ") for line in lines)
    assert "  money    $0.00: every model runs on this machine" in lines
    assert said.err == "Next: the same without --dry-run\n"


def test_a_dry_run_counts_the_tasks_that_are_left_for_ballots(evoctl: Any, host: Home, fill: Any) -> None:
    """Those of the held-out history beyond what the replay takes."""
    configure(host, "voting:", "  replay_confirm: 10")
    fill(120, right=120)

    held_out = evoctl("lab", "power", "file-naming", "--json").data["study"]["confirming"]
    said = evoctl("enqueue", "file-naming", "--dry-run").out

    assert f"votes    at most 30; {held_out - 10} tasks of the history are left for ballots after the replay" in said


def test_a_dry_run_starts_nothing_and_rings_nothing(evoctl: Any, evolution: Evolution, fill: Any) -> None:
    """The tables are the same before and after it, and Redis, which is away, is not missed."""
    fill(60, right=60)
    before = tables(evolution)

    for words in ((), ("--wait",), ("--force",), ("--json",), ("--budget", "heavy"), ("--calls", "10")):
        said = evoctl("enqueue", "file-naming", "--dry-run", *words)
        assert "Redis" not in said.out + said.err

    assert tables(evolution) == before
    assert evoctl("runs", "--json").data["runs"] == []


def test_a_dry_run_as_json_has_what_the_text_says(evoctl: Any, evolution: Evolution, fill: Any) -> None:
    """The plan is the arithmetic's own; numbers carry their units in their names."""
    fill(120, right=120)

    data = evoctl("enqueue", "file-naming", "--dry-run", "--json").data

    with evolution.database.read() as session:
        labelled = stored_costs.labelled(session, "file-naming")
    planned = plan(Search(), labelled)
    assert (data["dry_run"], data["skill"], data["mode"], data["refusal"]) == (True, "file-naming", "race", None)
    assert data["budget"] == {"calls": 1000, "model_min": 600.0}
    assert (data["labelled_total"], data["labelled"]["search"]) == (120, labelled.search)
    assert (data["plan"]["calls"], data["plan"]["proposals"]) == (planned.calls, planned.proposals)
    assert [(one["role"], one["call_s"], one["measured_calls"]) for one in data["speeds"]] == [
        ("generator", 2.5, 0),
        ("judge", 1.5, 0),
        ("embedder", 0.3, 0),
        ("task", 2.5, 0),
    ]
    assert data["model_time"]["search_min"] == pytest.approx((planned.generator + planned.task) * 2.5 / 60)
    assert (data["memory"]["at_once_bytes"], data["cost_usd"]) == (None, 0.0)


def test_a_second_judge_is_counted(evoctl: Any, host: Home, fill: Any) -> None:
    """It is asked five questions by Flow Judge's protocol, of as many finalists as the first one, at most."""
    fill(120, right=120)
    before = evoctl("enqueue", "file-naming", "--dry-run", "--json").data["second_judge"]
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(
        text.replace("\n  search:\n", "\n  judging: {escalate_to: flow-judge}\n  search:\n", 1), "utf-8"
    )

    data = evoctl("enqueue", "file-naming", "--dry-run", "--json").data

    finalists = plan(Search(), Labelled(**data["labelled"])).judge
    assert (before, data["second_judge"]) == (0, 5 * finalists)
    assert finalists > 0
    assert f"at most {data['second_judge']} of the second judge" in evoctl("enqueue", "file-naming", "--dry-run").out


def test_speeds_are_measured_where_there_are_calls(evoctl: Any, fill: Any, searching: Any) -> None:
    """A run of before says how fast this machine is; the roles that it did not use stay assumed."""
    fill(120, right=120)
    searching(60, ended=True)

    said = evoctl("enqueue", "file-naming", "--dry-run", "--force")

    assert f"task {THEIRS}: 3 s a call (measured, 30 calls)" in said.out
    assert f"judge {THEIRS}: 1.5 s a call (assumed, not measured yet)" in said.out
    assert "of model time (partly assumed)" in said.out


def test_a_simulated_run_measures_nothing(evoctl: Any, fill: Any, searching: Any) -> None:
    """The simulator's speed is no model's."""
    fill(120, right=120)
    searching(60, ended=True, simulated=True)

    assert "measured, 30 calls" not in evoctl("enqueue", "file-naming", "--dry-run", "--force").out


@pytest.mark.parametrize(
    ("words", "calls", "most_min"),
    [
        ((), 700, 70.0),
        (("--budget", "light"), *BUDGETS["light"]),
        (("--budget", "heavy"), *BUDGETS["heavy"]),
        (("--calls", "500"), 500, 70.0),
        (("--minutes", "50.5"), 700, 50.5),
        (("--budget", "light", "--calls", "500"), 500, BUDGETS["light"][1]),
        (("--minutes", "50", "--budget", "light"), BUDGETS["light"][0], 50.0),
        (("--budget", "medium", "--minutes", "50", "--calls", "500"), 500, 50.0),
    ],
)
def test_figures_win_over_names_and_names_over_the_configuration(
    evoctl: Any, host: Home, fill: Any, words: tuple[str, ...], calls: int, most_min: float
) -> None:
    """In a dry run and in the run itself."""
    configure(host, "search: {budget_calls: 700, budget_min: 70}")
    fill(60, right=60)

    told = evoctl("enqueue", "file-naming", "--dry-run", "--json", *words).data["budget"]
    started = evoctl("enqueue", "file-naming", "--json", *words).data["plan"]

    assert told == {"calls": calls, "model_min": most_min}
    assert (started["budget_calls"], started["budget_min"]) == (calls, most_min)


def test_the_mode_is_an_option(evoctl: Any, evolution: Evolution, fill: Any) -> None:
    """It is told before, and frozen in the run's rules."""
    fill(60, right=60)

    told = evoctl("enqueue", "file-naming", "--mode", "promptbreeder", "--dry-run")
    evoctl("enqueue", "file-naming", "--mode", "promptbreeder")

    with evolution.database.read() as session:
        row = session.get_one(RunRow, 1)
    assert " proposals (promptbreeder)" in told.out
    assert Rules.from_json(row.rules).settings.search.mode == "promptbreeder"


def test_the_options_know_every_budget_and_mode() -> None:
    """What help lists without loading the settings is what the settings have."""
    about = next(f for f in Search.__dataclass_fields__.values() if f.name == "mode").metadata["about"]
    assert isinstance(about, About)

    assert tuple(BUDGETS) == evolve.BUDGET_NAMES
    assert about.choices == evolve.MODES


@pytest.mark.parametrize(
    "words",
    [("--minutes", "nan"), ("--minutes", "inf"), ("--minutes", "0"), ("--minutes", "-1"), ("--minutes", "x"),
     ("--calls", "9"), ("--budget", "huge"), ("--mode", "random"), ("--budget-calls", "100")],
)  # fmt: skip
def test_a_budget_out_of_range_is_misuse(evoctl: Any, fill: Any, words: tuple[str, ...]) -> None:
    """Nothing is told or started with an impossible figure."""
    fill(30, right=30)

    for extra in ((), ("--dry-run",)):
        said = evoctl("enqueue", "file-naming", *words, *extra)
        assert (said.code, said.out) == (2, "")
    assert evoctl("runs", "--json").data["runs"] == []


def test_few_samples_are_said_to_be_few(evoctl: Any, fill: Any) -> None:
    """One sentence below the setting's number, none from it on."""
    sentence = (
        "With fewer than 60 labelled samples a prompt's fitness is a rough guess: judge, patterns and votes decide."
    )

    fill(59, right=59)
    few = evoctl("enqueue", "file-naming", "--dry-run")
    fill(60, right=60)
    enough = evoctl("enqueue", "file-naming", "--dry-run")

    assert sentence in few.out.splitlines()
    assert sentence not in enough.out.splitlines()


def test_a_budget_too_small_for_three_proposals_is_refused(evoctl: Any, fill: Any) -> None:
    """The error names the fewest calls that are enough, and they are."""
    fill(120, right=120)

    said = evoctl("enqueue", "file-naming", "--calls", "60", "--json")

    error = said.error["error"]
    assert (said.code, error["kind"]) == (2, "BadInput")
    assert error["what"] == "The budget of 60 calls cannot test three proposals."
    assert evoctl("runs", "--json").data["runs"] == []
    assert evoctl(*error["hint"].split()[1:]).code == 0


def test_a_refused_budget_of_the_configuration_is_named_by_its_line(evoctl: Any, host: Home, fill: Any) -> None:
    """Who did not give it on the command line learns where it stands."""
    configure(host, "search: {budget_calls: 50}")
    fill(120, right=120)
    line = next(
        number
        for number, text in enumerate(host.config.read_text(encoding="utf-8").splitlines(), 1)
        if "budget_calls: 50" in text
    )

    said = evoctl("enqueue", "file-naming")

    assert said.code == 2
    assert f"search.budget_calls (config.yaml line {line}); " in said.err


def test_the_client_refuses_it_too(evolution: Evolution, fill: Any) -> None:
    """A host program is told the same."""
    fill(120, right=120)

    with pytest.raises(BadInput, match="The budget of 40 calls cannot test three proposals"):
        evolution.enqueue(
            "file-naming", settings=Settings(search=Search(budget_calls=40), foreground=Foreground(options=()))
        )


def test_a_drift_still_starts_a_run_with_a_small_budget(host: Home, evolution: Evolution, fill: Any) -> None:
    """Nobody is there who could be refused: the configuration is followed."""
    configure(host, "search: {budget_calls: 10, budget_min: 0.1}")

    fill(120)

    with evolution.database.read() as session:
        assert session.scalar(select(func.count()).select_from(RunRow)) == 1


def test_too_few_minutes_are_refused_once_the_speed_is_measured(evoctl: Any, fill: Any, searching: Any) -> None:
    """The fewest minutes that are enough are named, and they are."""
    fill(120, right=120)
    searching(60, ended=True)

    said = evoctl("enqueue", "file-naming", "--force", "--minutes", "1", "--json")

    error = said.error["error"]
    assert (said.code, error["what"]) == (2, "The budget of 1 min of model time cannot test three proposals.")
    assert "min on this machine" in error["why"]
    assert evoctl(*error["hint"].split()[1:], "--force").code == 0


def test_by_assumed_speeds_too_few_minutes_are_only_told(evoctl: Any, fill: Any) -> None:
    """An assumption refuses nobody; the dry run says what it would mean."""
    fill(120, right=120)

    told = evoctl("enqueue", "file-naming", "--minutes", "1", "--dry-run")

    assert told.code == 0
    assert "which end it before its calls do" in told.out
    assert "At these speeds, which are partly assumed, 1 min of model time cannot test three proposals." in told.out
    assert evoctl("enqueue", "file-naming", "--minutes", "1").code == 0


def test_what_would_be_refused_is_told_with_the_estimate(evoctl: Any, host: Home, fill: Any) -> None:
    """Too little feedback, a poor candidate, a small budget and a second run, with their codes."""
    fill(120, right=120)
    few = evoctl("enqueue", "audio-actions", "--dry-run")
    poor = evoctl("enqueue", "code-linting-fast", "--dry-run", "--json")
    small = evoctl("enqueue", "file-naming", "--dry-run", "--calls", "30")
    evoctl("enqueue", "file-naming")
    second = evoctl("enqueue", "file-naming", "--dry-run")

    assert [one.code for one in (few, poor, small, second)] == [4, 4, 2, 4]
    for said in (few, small, second):
        assert "  calls    at most " in said.out
        assert "\nRefused: " in said.out
        assert said.err == ""
    assert "  Try: evoctl feedback import audio-actions FILE.jsonl" in few.out
    assert "no proposal on samples (race)" in few.out
    assert (poor.data["refusal"]["kind"], poor.data["refusal"]["exit_code"]) == ("Refused", 4)
    assert poor.data["refusal"]["hint"] == "evoctl enqueue code-linting-fast --force"


def test_a_skill_that_does_not_exist_has_no_estimate(evoctl: Any, host: Home) -> None:
    """It is not found, as by every command."""
    said = evoctl("enqueue", "file-namin", "--dry-run")

    assert (said.code, said.out) == (3, "")
    assert "Did you mean 'file-naming'?" in said.err


def test_the_memory_is_the_servers_own_figure(evoctl: Any, host: Home, fill: Any) -> None:
    """Of models that are not loaded Ollama's prediction is made; the user's model is there anyway."""
    fill(60, right=60)
    with SimulatorServer(FileNamingWorld()) as server:
        text = host.config.read_text(encoding="utf-8")
        host.config.write_text(text.replace("http://127.0.0.1:1", server.url), encoding="utf-8")

        said = evoctl("enqueue", "file-naming", "--dry-run")
        data = evoctl("enqueue", "file-naming", "--dry-run", "--json").data["memory"]

    sizes = {one["tag"]: one["memory_bytes"] for one in data["models"]}
    assert set(sizes) == {OWN, "embeddinggemma:300m"}
    assert data["at_once_bytes"] == max(sizes.values())
    assert f"{OWN} {sizes[OWN] / 1e9:.2g} GB predicted" in said.out
    assert " GB at once" in said.out


def test_hostile_tags_never_reach_the_terminal(evoctl: Any, host: Home, fill: Any) -> None:
    """What the configuration calls a model, or a server, is shown with escapes."""
    fill(60, right=60)
    hostile = r'ollama_url: "http://127.0.0.1:1/\u2066"' + "\n    " + r'generator: "a\u202eb:1b"'
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("ollama_url: http://127.0.0.1:1", hostile), encoding="utf-8")

    for words in ((), ("--plain",), ("--json",)):
        said = evoctl("enqueue", "file-naming", "--dry-run", *words)

        assert said.code == 0, said
        assert all(unicodedata.category(c) not in CATEGORIES or c == "\n" for c in said.out + said.err)


def test_a_dry_run_in_a_process_of_its_own_asks_neither_redis_nor_the_client(host: Home, fill: Any) -> None:
    """It loads nothing that could ring a bell or ask a model."""
    fill(60, right=60)
    code = (
        "import sys\nfrom ops.cli.main import cli\n"
        "try:\n    cli.main(['enqueue', 'file-naming', '--dry-run', '--json'])\nexcept SystemExit as end:\n"
        "    print(end.code, sorted({'rq', 'redis', 'ollama', 'httpx'} & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "0 []\n"
    assert json.loads(done.stdout)["data"]["dry_run"] is True


@pytest.mark.parametrize("words", [("status",), ("runs",), ("show", "r1"), ("show", "file-naming")], ids=" ".join)
def test_a_search_shows_its_calls_and_the_time_left(
    evoctl: Any, fill: Any, searching: Any, words: tuple[str, ...]
) -> None:
    """Model time at the run's own speed, and apart from it what it waited."""
    fill(120, right=120)
    searching(40, waited_s=840.0)

    said = evoctl(*words)

    assert "generation 3 of 30, calls 40 of 1000, about 48 min of model time left, waiting apart" in said.out
    assert "waited 14 min so far, best fitness 0.50" in said.out


def test_progress_as_json_has_units_in_its_names(evoctl: Any, fill: Any, searching: Any) -> None:
    """The same figures for programs, in minutes."""
    fill(120, right=120)
    searching(40, waited_s=840.0)

    (line,) = evoctl("runs", "--json").data["runs"]

    assert (line["progress"]["calls"], line["progress"]["calls_most"]) == (40, 1000)
    assert line["progress"]["model_min"] == pytest.approx(2.0)
    assert line["progress"]["left_min"] == pytest.approx(48.0)
    assert line["progress"]["waited_min"] == pytest.approx(14.0)
    assert evoctl("status", "--json").data["skills"][0]["open"][0]["progress"] == line["progress"]


def test_a_search_that_has_hardly_begun_foretells_nothing(evoctl: Any, fill: Any, searching: Any) -> None:
    """Calls are counted from the first on; the time left comes later, and who never waited is not said to have."""
    fill(120, right=120)
    searching(3)

    said = evoctl("status")

    assert "generation 3 of 30, calls 3 of 1000, best fitness 0.50" in said.out


def test_waiting_elsewhere_than_on_a_terminal_is_one_line_a_change(
    evoctl: Any, fill: Any, searching: Any, monkeypatch: pytest.MonkeyPatch, evolution: Evolution
) -> None:
    """A log is not filled with call counts."""
    from workers.client import Started  # noqa: PLC0415 - this test stands in for the start

    fill(120, right=120)
    run = searching(40)
    monkeypatch.setattr(Evolution, "enqueue", lambda *_, **__: Started(run=run, rung=True))
    monkeypatch.setattr("time.sleep", lambda _: evolution.cancel(run, "enough"))

    said = evoctl("enqueue", "file-naming", "--wait")

    assert said.err.splitlines()[:2] == [
        "r1 mutate running, generation 3 of 30, best fitness 0.50",
        "r1 cancelled: enough",
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0 s"), (0.4, "24 s"), (22.3, "22 min"), (119.0, "119 min"), (312.0, "5.2 h"), (600, "10 h")],
)
def test_times_are_written_in_the_unit_that_is_easily_read(value: float, words: str) -> None:
    """Seconds, minutes, hours."""
    assert minutes(value) == words
