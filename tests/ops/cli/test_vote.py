"""Voting: blind for people, exact for programs."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from typing import Any

import click
import pytest

from ops.cli import output


@pytest.fixture(name="at_a_terminal")
def _at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command believe that a person sits there."""
    monkeypatch.setattr(output, "is_terminal", lambda: True)


@pytest.fixture(name="keys")
def _keys(monkeypatch: pytest.MonkeyPatch, at_a_terminal: None) -> Any:
    """Return a function that types keys; when they are used up, the person presses Ctrl-C."""

    def press(keys: str) -> None:
        left = list(keys)

        def getchar() -> str:
            if not left:
                raise KeyboardInterrupt
            return left.pop(0)

        monkeypatch.setattr(click, "getchar", getchar)

    return press


def votes(trial: Any, evoctl: Any) -> dict[str, int]:
    """Return what has been counted."""
    data = evoctl("results", "file-naming", "--json").data
    return {"votes": data["votes"], "skipped": data["skipped"]}


def test_keys_vote_until_the_person_leaves(evoctl: Any, trial: Any, keys: Any) -> None:
    """Digits pick, t ties, n rejects all, s skips, q leaves; other keys do nothing."""
    keys("x9" + "2" + "t" + "n" + "s" + "Q")

    said = evoctl("vote", "file-naming")

    assert said.code == 0
    assert votes(trial, evoctl) == {"votes": 3, "skipped": 1}
    assert said.out.count("Counted.") == 4


def test_the_ballot_is_blind(evoctl: Any, trial: Any, keys: Any) -> None:
    """Neither names of variants nor prompts nor the word current are shown."""
    keys("q")

    said = evoctl("vote")

    assert "result 0" in said.out
    assert "description: picture" in said.out
    for word in ("variant", "current", "incumbent", "Name the file shortly", "v1"):
        assert word not in said.out


def test_count_ends_the_round(evoctl: Any, trial: Any, keys: Any) -> None:
    """After N ballots the command returns."""
    keys("11111")

    evoctl("vote", "--count", "2")

    assert votes(trial, evoctl)["votes"] == 2


def test_ctrl_c_leaves_with_130_and_keeps_the_votes(evoctl: Any, trial: Any, keys: Any) -> None:
    """What was voted before stays counted."""
    keys("1")

    assert evoctl("vote").code == 130
    assert votes(trial, evoctl)["votes"] == 1


def test_voting_goes_on_until_the_test_is_decided(
    evoctl: Any, trial: Any, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no ballot is left, the command says so."""
    keys("1" * 20)

    said = evoctl("vote")

    assert said.code == 0
    assert "No further ballot is ready." in said.out


def test_hostile_results_are_harmless_while_voting(evoctl: Any, trial: Any, keys: Any) -> None:
    """A result that clears the screen or copies to the clipboard is shown as text."""
    trial.outputs("\x1b[2J\x1b]52;c;eA==\x07\u202e\nfake ballot")
    keys("q")

    said = evoctl("vote")

    assert "\x1b" not in said.out
    assert "\\x1b[2J" in said.out
    assert "\n   fake ballot" in said.out


def test_json_prints_the_next_ballot_without_arms(evoctl: Any, trial: Any) -> None:
    """Programs get input and results in the order of their positions."""
    ballot = evoctl("vote", "--json").data["ballot"]

    assert set(ballot) == {"ballot", "run", "skill", "fields", "cards", "votes", "cap"}
    assert ballot["cards"] == ["result 0", "result 1", "result 2"]
    assert (ballot["votes"], ballot["cap"]) == (0, 30)


def test_without_a_terminal_the_ballot_is_only_shown(evoctl: Any, trial: Any) -> None:
    """Nobody is asked, nothing is counted, and the way to answer is named."""
    said = evoctl("vote")

    assert "1:\n   result 0" in said.out
    assert "--pick N" in said.err
    assert votes(trial, evoctl)["votes"] == 0


@pytest.mark.parametrize(
    ("answer", "choice", "counted"),
    [(("--pick", "2"), "pick", 1), (("--tie",), "tie", 1), (("--none",), "none", 1), (("--skip",), "skip", 0)],
)
def test_programs_answer_one_ballot(
    evoctl: Any, trial: Any, answer: tuple[str, ...], choice: str, counted: int
) -> None:
    """Each answer is counted once; the second time nothing changes."""
    words = ("vote", "--ballot", str(trial.ballots[0]), *answer, "--json")

    first, second = evoctl(*words), evoctl(*words)

    assert (first.data["choice"], first.data["counted"], first.data["decided"]) == (choice, True, False)
    assert second.data["counted"] is False
    assert votes(trial, evoctl)["votes"] == counted


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--pick", "1"), 2),
        (("--ballot", "1"), 2),
        (("--ballot", "1", "--tie", "--none"), 2),
        (("--ballot", "1", "--tie", "--pick", "1"), 2),
        (("--ballot", "1", "--pick", "9"), 2),
        (("--ballot", "0", "--tie"), 2),
        (("--ballot", "99999", "--tie"), 3),
        (("--ballot", "99999999999999999999", "--tie"), 2),
    ],
)
def test_an_answer_that_fits_no_ballot_is_refused(evoctl: Any, trial: Any, words: tuple[str, ...], code: int) -> None:
    """No ballot, no answer, two answers, a position that is not there."""
    assert evoctl("vote", *words).code == code
    assert votes(trial, evoctl)["votes"] == 0


def test_nothing_to_vote_on_is_no_error(evoctl: Any, host: object, at_a_terminal: None) -> None:
    """The sentence for people, null for programs."""
    assert evoctl("vote").out == "There is nothing to vote on.\n"
    assert evoctl("vote", "--json").data == {"ballot": None}


def test_the_vote_that_decides_says_so(evoctl: Any, trial: Any) -> None:
    """The answer carries the verdict in words."""
    said = [evoctl("vote", "--ballot", str(ballot), "--pick", "1", "--json") for ballot in trial.ballots]
    decided = [one.data for one in said if one.code == 0 and one.data["decided"]]

    assert [one["reason"] for one in decided] == ["every challenger lost too often to go on"]
    assert {one.code for one in said} == {0, 4}
    assert evoctl("runs", "--json").data["runs"][0]["ending"] == "kept-incumbent"


def test_a_closed_ballot_is_refused(evoctl: Any, trial: Any) -> None:
    """After the test nothing is counted."""
    evoctl("cancel", "r1")

    said = evoctl("vote", "--ballot", str(trial.ballots[0]), "--tie")

    assert said.code == 4


def test_voting_at_a_real_terminal(trial: Any) -> None:
    """One key is enough, without Enter, and the screen receives no byte that a result wrote."""
    trial.outputs("\x1b[2J")
    here, there = pty.openpty()
    words = [sys.executable, "-m", "ops.cli", "vote", "--count", "1"]
    process = subprocess.Popen(words, stdin=there, stdout=there, stderr=there, start_new_session=True)
    os.close(there)
    seen, end = b"", time.monotonic() + 30
    try:
        with contextlib.suppress(OSError):  # the terminal is gone when the process has ended
            while time.monotonic() < end:
                if select.select([here], [], [], 0.3)[0]:
                    seen += os.read(here, 4096)
                elif b"q quit" in seen:  # a key that is pressed before the prompt is thrown away
                    os.write(here, b"2")
        code = process.wait(5)
    finally:
        process.kill()
        process.wait()
    os.close(here)

    assert code == 0
    assert b"\x1b[2J" not in seen
    assert b"\\x1b[2J 1" in seen
    assert b"Counted." in seen
