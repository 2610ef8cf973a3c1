"""`create`, `stats` and `lab power`: what their options refuse, and hints that work as they are printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from workers.home import Home


@pytest.fixture(name="prompt")
def _prompt(host: Home) -> str:
    """Return a file with an instruction."""
    assert host
    Path("shorter.md").write_text("Name the file after what it shows, in three words.", encoding="utf-8")
    return "shorter.md"


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf", "1e999"])
@pytest.mark.parametrize(
    "line", ["create file-naming --variant-a shorter.md --days", "lab power file-naming --gain", "stats --fail-under",
             "enqueue file-naming --dry-run --minutes"]
)  # fmt: skip
def test_a_number_that_is_none_is_refused(evoctl: Any, prompt: str, line: str, number: str) -> None:
    """Neither "nan" nor infinity is a number of days, minutes, or a share."""
    said = evoctl(*line.split(), number)

    assert prompt
    assert said.code == 2
    assert "Invalid value for" in said.err


def test_the_hint_after_a_live_test_works_as_it_is_printed(evoctl: Any, prompt: str) -> None:
    """Both commands of the hint run, with words in the places of the capitals."""
    said = evoctl("create", "file-naming", "--variant-a", prompt, "--live", "--days", "2")

    assert said.code == 0
    hints = [line.strip() for line in said.err.removeprefix("Next: ").split("evoctl ") if line.strip()]
    wanted = [line for line in hints if line.startswith(("assign", "outcome"))]
    assert len(wanted) == 2
    for hint in wanted:
        words = [word.replace("TEXT", "a cat").replace("ID", "t1") for word in shlex.split(hint)]
        assert evoctl(*words).code == 0, words


def test_votes_are_not_promised_to_a_live_test(evoctl: Any, prompt: str, host: Home) -> None:
    """--votes would count nothing there, so it is refused, by the option and by the configuration alike."""
    line = ["create", "file-naming", "--variant-a", prompt, "--votes", "9"]
    by_option = evoctl(*line, "--live")
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("  voting:\n", "  voting:\n    mode: live\n"), "utf-8")

    by_setting = evoctl(*line)

    assert [(said.code, "has none" in said.err) for said in (by_option, by_setting)] == [(2, True), (2, True)]
    assert "live_max_tasks" in by_option.err
    assert evoctl("runs", "--json").data["runs"] == []


@pytest.mark.parametrize(("word", "hint"), [("balots", "Did you mean 'ballots'?"), ("x", "Write ballots or live.")])
def test_a_wrong_word_in_the_configuration_has_the_choices(evoctl: Any, host: Home, word: str, hint: str) -> None:
    """A setting of few words names them, and the nearest one."""
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("  voting:\n", f"  voting:\n    mode: {word}\n"), "utf-8")

    said = evoctl("stats")

    assert said.code == 2
    assert f"Try:  {hint}" in said.err
