"""enqueue, create, cancel, promote and rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from models.work_tables import RunRow
from ops.cli import output
from pipeline.errors import Refused
from pipeline.rules import Rules
from workers.client import Evolution
from workers.lease import foreground


def version(host: Any) -> int:
    """Return the version that the configuration names."""
    with Evolution(host) as evolution:
        return evolution.rules("file-naming").skill.version


@pytest.fixture(name="at_a_terminal")
def _at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the command believe that a person sits there; return the questions asked, all answered with yes."""
    asked: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return True

    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setattr(click, "confirm", confirm)
    return asked


def test_enqueue_starts_a_run_with_the_plan_of_its_options(evoctl: Any, fill: Any, evolution: Evolution) -> None:
    """Options override the configuration for this run; a Redis that is away loses nothing."""
    fill(30, right=30)

    said = evoctl(
        "enqueue", "file-naming", "--variants", "5", "--generations", "4", "--population", "6", "--calls", "99",
        "--seed", "7",
    )  # fmt: skip

    assert said.code == 0
    assert said.out.startswith("Queued run r1 for file-naming: learning the baseline: 30 of 100 labels; accuracy 1.00")
    assert "at most 4 rounds of 4 proposals, 99 model calls, 600 min of model time; 5 variants" in said.out
    assert "Redis is away; the run is kept" in said.err
    with evolution.database.read() as session:
        row = session.get_one(RunRow, 1)
    search = Rules.from_json(row.rules).settings.search
    assert (search.variants, search.generations, search.population, search.budget_calls, row.seed) == (5, 4, 6, 99, 7)


def test_evolve_is_enqueue(evoctl: Any, fill: Any) -> None:
    """Both words start an evolution; as JSON it has run, plan and gate."""
    fill(30, right=30)

    data = evoctl("evolve", "file-naming", "--json").data

    assert (data["run"]["run"], data["plan"]["generations"], data["gate"]["open"], data["rung"]) == (1, 30, True, False)


def test_enqueue_tells_what_the_gate_waits_for(evoctl: Any, fill: Any, host: Any) -> None:
    """While a foreground command runs, the run will wait, and enqueue says so."""
    fill(30, right=30)

    with foreground(host.root):
        said = evoctl("enqueue", "file-naming")

    assert "gate  closed: A foreground command runs." in said.out


@pytest.mark.parametrize(
    "words",
    [("--variants", "0"), ("--variants", "11"), ("--generations", "x"), ("--calls", "1"), ("--seed", "-1")],
)
def test_a_plan_out_of_range_is_misuse(evoctl: Any, fill: Any, words: tuple[str, ...]) -> None:
    """Nothing is started with an impossible number."""
    fill(30, right=30)

    assert evoctl("enqueue", "file-naming", *words).code == 2
    assert evoctl("runs", "--json").data["runs"] == []


def test_enqueue_is_refused_by_the_rules(evoctl: Any, host: object, fill: Any) -> None:
    """Too little feedback, a second run, a poor candidate; --force is named where it helps."""
    few = evoctl("enqueue", "audio-actions")
    poor = evoctl("enqueue", "code-linting-fast")
    fill(30, right=30)
    evoctl("enqueue", "file-naming")
    second = evoctl("enqueue", "file-naming")

    assert [one.code for one in (few, poor, second)] == [4, 4, 4]
    assert "evoctl feedback import audio-actions FILE.jsonl" in few.err


def test_waiting_ends_when_votes_are_wanted(evoctl: Any, trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """--wait returns at the ballots, and at the end of a run that is cancelled."""
    from workers.client import Started  # noqa: PLC0415 - this test stands in for the start

    monkeypatch.setattr(Evolution, "enqueue", lambda *_, **__: Started(run=trial.run, rung=True))

    said = evoctl("enqueue", "file-naming", "--wait")
    evoctl("cancel", "r1")
    ended = evoctl("enqueue", "file-naming", "--wait", "--json")

    assert said.code == 0
    state = "Run r1: bandit waiting, 0 of at most 30 votes, 8 ballots open, waiting since 20"
    assert said.out.startswith(state)
    assert said.out.endswith(" UTC: votes\n")
    assert (ended.code, ended.data["run"]["ending"]) == (0, "cancelled")


def test_create_takes_instructions_and_whole_templates(evoctl: Any, host: object, tmp_path: Path, fill: Any) -> None:
    """The frame of a template is left out; variants are named in order."""
    fill(30, right=30)
    (tmp_path / "a.md").write_text("\ufeffName it\r\nshortly.\r\n", encoding="utf-8", newline="")
    (tmp_path / "b.md").write_text("Name it at length.\n---\nText: {{other}}\n", encoding="utf-8")

    said = evoctl(
        "create", "file-naming", "--variant-a", str(tmp_path / "a.md"), "--variant-b", str(tmp_path / "b.md"), "--json"
    )

    assert said.data["variants"] == ["variant_a", "variant_b"]
    assert evoctl("show", "variant_a", "--json").data["variant"]["text"] == "Name it\nshortly."
    assert evoctl("show", "variant_b", "--json").data["variant"]["text"] == "Name it at length."


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xff\xfe", b"a\0b", b"x" * 300_000, b"---\n{{x}}\n"])
def test_a_file_that_is_no_prompt_is_refused(evoctl: Any, host: object, tmp_path: Path, content: bytes) -> None:
    """Empty, binary, too long, or without an instruction."""
    (tmp_path / "a.md").write_bytes(content)

    assert evoctl("create", "file-naming", "--variant-a", str(tmp_path / "a.md")).code == 2
    assert evoctl("runs", "--json").data["runs"] == []


def test_create_wants_files_in_order(evoctl: Any, host: object, tmp_path: Path) -> None:
    """A gap, a folder, a missing file and no file at all are misuse."""
    (tmp_path / "a.md").write_text("Name it.", encoding="utf-8")
    good = ("--variant-a", str(tmp_path / "a.md"))

    for words in ((), (*good, "--variant-c", good[1]), ("--variant-a", str(tmp_path)), ("--variant-a", "missing.md")):
        assert evoctl("create", "file-naming", *words).code == 2


def test_create_beside_an_open_test_is_refused(evoctl: Any, trial: Any, tmp_path: Path) -> None:
    """One test a skill."""
    (tmp_path / "a.md").write_text("Another way.", encoding="utf-8")

    assert evoctl("create", "file-naming", "--variant-a", str(tmp_path / "a.md")).code == 4


def test_cancel_ends_a_run_once(evoctl: Any, trial: Any) -> None:
    """Cancelled, refused the second time, not found for another number."""
    assert evoctl("cancel", "r1", "--reason", "wrong data", "--json").data == {"run": 1, "reason": "wrong data"}
    assert evoctl("cancel", "1").code == 4
    assert evoctl("cancel", "r2").code == 3
    assert evoctl("runs", "--json").data["runs"][0]["ending_reason"] == "wrong data"


def test_promote_shows_the_change_and_asks(evoctl: Any, host: Any, trial: Any, at_a_terminal: list[str]) -> None:
    """On a terminal the diff comes first, then the question, then the new version."""
    said = evoctl("promote", "file-naming", "variant_a", "--reason", "mine")

    assert said.code == 0, said
    assert at_a_terminal == ["Put variant_a in use for file-naming?"]
    assert "+Name the file shortly." in said.err
    assert said.out == "file-naming now uses variant_a as version 2.\n"
    assert version(host) == 2
    assert evoctl("show", "file-naming", "--json").data["promotions"][0]["to_version"] == 2


def test_promote_without_a_person_needs_yes(evoctl: Any, host: Any, trial: Any) -> None:
    """Off a terminal and under --json nothing is changed without --yes."""
    for words in ((), ("--json",)):
        said = evoctl("promote", "file-naming", "variant_a", *words)
        assert said.code == 2
        assert "--yes" in said.err
    assert version(host) == 1

    assert evoctl("promote", "file-naming", str(trial.variants[1]), "--yes", "--json").data["ending"] == "promoted"
    assert version(host) == 2


def test_a_no_changes_nothing(
    evoctl: Any, host: Any, trial: Any, monkeypatch: pytest.MonkeyPatch, at_a_terminal: list[str]
) -> None:
    """Declining ends with 130, and the test goes on."""

    def decline(*_: object, **__: object) -> None:
        raise click.Abort

    monkeypatch.setattr(click, "confirm", decline)

    assert evoctl("promote", "file-naming", "variant_a").code == 130
    assert version(host) == 1
    assert evoctl("runs", "--json").data["runs"][0]["ending"] == ""


def test_a_dry_run_changes_nothing(evoctl: Any, host: Any, trial: Any) -> None:
    """The diff is the result; file, database and test stay as they are."""
    before = host.config.read_bytes()

    said = evoctl("promote", "file-naming", "variant_a", "--dry-run")
    data = evoctl("promote", "file-naming", "variant_a", "--dry-run", "--json").data

    assert "+Name the file shortly." in said.out
    assert (data["dry_run"], "+Name the file shortly." in data["diff"]) == (True, True)
    assert host.config.read_bytes() == before
    assert evoctl("runs", "--json").data["runs"][0]["ending"] == ""


def test_the_prompt_in_use_is_not_promoted_again(evoctl: Any, host: Any, trial: Any, evolution: Evolution) -> None:
    """The command, its dry run and the client refuse; there is no further version, and no further promotion is counted."""
    assert evoctl("promote", "file-naming", "variant_a", "--yes").code == 0
    number = version(host)

    again = evoctl("promote", "file-naming", "variant_a", "--yes")
    with pytest.raises(Refused, match="uses already"):
        evolution.promote("file-naming", trial.variants[0], force=True)

    assert (again.code, evoctl("promote", "file-naming", "variant_a", "--dry-run").code) == (4, 4)
    assert f"variant_a is the prompt that file-naming uses already (v{number})." in again.err
    assert version(host) == number


def test_promote_an_unknown_variant_is_not_found(evoctl: Any, trial: Any) -> None:
    """Neither a name nor a number that does not exist, nor another skill's variant."""
    for skill, name in (("file-naming", "variant_z"), ("file-naming", "99"), ("audio-actions", "variant_a")):
        assert evoctl("promote", skill, name, "--yes").code == 3


def test_rollback_goes_back_and_can_go_anywhere(evoctl: Any, host: Any, trial: Any, at_a_terminal: list[str]) -> None:
    """Without --to the version before the promotion, with it any version."""
    evoctl("promote", "file-naming", "variant_a", "--yes")

    said = evoctl("rollback", "file-naming")
    assert (said.code, said.out) == (0, "file-naming uses version 1 again.\n")
    assert at_a_terminal == ["Put v1 back in use for file-naming?"]
    assert version(host) == 1

    assert evoctl("rollback", "file-naming", "--to", "v2", "--yes", "--json").data["version"] == 2
    assert evoctl("rollback", "file-naming", "--to", "1", "--dry-run", "--json").data["dry_run"] is True
    assert version(host) == 2


def test_rollback_that_has_nothing_to_go_back_to_is_refused(evoctl: Any, trial: Any) -> None:
    """No promotion is a refusal, no such version is not found, a word is misuse."""
    assert evoctl("rollback", "file-naming", "--yes").code == 4
    assert evoctl("rollback", "file-naming", "--to", "v9", "--yes").code == 3
    assert evoctl("rollback", "file-naming", "--to", "first", "--yes").code == 2
    assert evoctl("rollback", "file-naming", "--to", "v1", "--yes").code == 4


def test_a_configuration_that_was_edited_meanwhile_is_not_overwritten(evoctl: Any, host: Any, trial: Any) -> None:
    """A read-only configuration refuses a promotion and stays as it is."""
    host.config.chmod(0o400)
    before = host.config.read_bytes()

    said = evoctl("promote", "file-naming", "variant_a", "--yes")

    assert said.code == 4
    assert host.config.read_bytes() == before
