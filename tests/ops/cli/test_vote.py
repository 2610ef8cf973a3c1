"""Voting: blind for people, exact for programs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import click
import pytest

from ops.cli import output
from ops.cli.vote import meaning


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
    """Digits pick, t and 0 tie, n rejects all, s skips, q leaves; other keys do nothing."""
    keys("x9" + "2" + "t" + "0" + "n" + "s" + "Q")

    said = evoctl("vote", "file-naming")

    assert said.code == 0
    assert votes(trial, evoctl) == {"votes": 4, "skipped": 1}
    assert (said.out.count("Counted."), said.out.count("Skipped.")) == (4, 1)


@pytest.mark.parametrize(
    ("key", "cards", "meant"),
    [
        ("1", 3, ("pick", 1)), ("3", 3, ("pick", 3)), ("4", 3, ("", None)), ("4", 4, ("pick", 4)), ("t", 2, ("tie", None)),
        ("T", 2, ("tie", None)), ("0", 3, ("tie", None)), ("N", 3, ("none", None)), ("s", 3, ("skip", None)),
        ("u", 3, ("undo", None)), ("?", 3, ("help", None)), ("q", 3, ("quit", None)), ("", 3, ("quit", None)),
        ("12", 3, ("", None)), ("\x1b[A", 3, ("", None)), ("\r", 3, ("", None)), ("\u0661", 3, ("", None)),
        ("\u00b2", 3, ("", None)), ("-", 3, ("", None)),
    ],
)  # fmt: skip
def test_a_key_means_one_thing(key: str, cards: int, meant: tuple[str, int | None]) -> None:
    """Keys pressed together, arrows, other digits and other scripts' digits mean nothing."""
    assert meaning(key, cards) == meant


def test_the_keys_are_explained_on_request(evoctl: Any, trial: Any, keys: Any) -> None:
    """A question mark lists them all and asks again."""
    keys("?q")

    said = evoctl("vote")

    listed = said.out.partition("keys] ?\n")[2]
    assert [line[2:9].strip() for line in listed.splitlines()[:7]] == ["1 to 3", "t or 0", "n", "s", "u", "q", "?"]
    assert said.out.count("q quit, ? keys] ") == 2


def test_the_end_of_input_leaves(evoctl: Any, trial: Any, monkeypatch: pytest.MonkeyPatch, at_a_terminal: None) -> None:
    """Ctrl-D and a terminal that is gone count nothing and are no error."""

    def ctrl_d() -> str:
        raise EOFError

    for getchar in (ctrl_d, lambda: ""):
        monkeypatch.setattr(click, "getchar", getchar)
        assert evoctl("vote").code == 0
    assert votes(trial, evoctl) == {"votes": 0, "skipped": 0}


def test_undo_takes_the_votes_of_this_sitting_back(evoctl: Any, trial: Any, keys: Any) -> None:
    """The newest first; the ballot is asked again, and the next answer is the one that counts."""
    keys("2" + "1" + "u" + "u" + "t" + "q")

    said = evoctl("vote")

    asked = re.findall(r"^Ballot (\d+) of", said.out, re.MULTILINE)
    first, second, third = (str(ballot) for ballot in trial.ballots[:3])
    assert asked == [first, second, third, second, first, second]
    assert said.out.count("Taken back.") == 2
    assert votes(trial, evoctl) == {"votes": 1, "skipped": 0}


def test_a_skip_is_taken_back_like_a_vote(evoctl: Any, trial: Any, keys: Any) -> None:
    """It is an answer of this sitting too."""
    keys("s" + "u" + "q")

    evoctl("vote")

    assert votes(trial, evoctl) == {"votes": 0, "skipped": 0}


def test_undo_reaches_no_vote_of_an_earlier_sitting(evoctl: Any, trial: Any, keys: Any) -> None:
    """The key says so and names the command that does."""
    trial.vote(1)
    keys("u" + "q")

    said = evoctl("vote")

    assert "evoctl vote --ballot ID --undo" in said.out
    assert votes(trial, evoctl)["votes"] == 1


def test_a_vote_taken_back_makes_room_for_another_one(evoctl: Any, trial: Any, keys: Any) -> None:
    """The count is of answers that stand."""
    keys("1" + "u" + "1" + "1" + "1")

    evoctl("vote", "--count", "2")

    assert votes(trial, evoctl)["votes"] == 2


def test_a_vote_that_was_taken_back_elsewhere_is_no_error(
    evoctl: Any, trial: Any, monkeypatch: pytest.MonkeyPatch, at_a_terminal: None
) -> None:
    """The page took it back while the command waited for a key."""

    def keys() -> Iterator[str]:
        yield "1"
        trial.evolution.undo_vote(trial.ballots[0])
        yield from "uq"

    monkeypatch.setattr(click, "getchar", keys().__next__)

    said = evoctl("vote")

    assert said.code == 0
    assert "That vote was taken back before; nothing was changed." in said.out


def test_a_test_that_is_decided_elsewhere_does_not_end_the_sitting(
    evoctl: Any, trial: Any, monkeypatch: pytest.MonkeyPatch, at_a_terminal: None
) -> None:
    """Neither the ballot on the screen nor the votes before it can be changed then, and the command says why."""

    def keys() -> Iterator[str]:
        yield "1"
        trial.evolution.cancel(trial.run, "stopped")
        yield "2"

    monkeypatch.setattr(click, "getchar", keys().__next__)

    said = evoctl("vote")

    assert said.code == 0
    assert f"Ballot {trial.ballots[1]} is closed." in said.out
    assert "No further ballot is ready." in said.out


def test_what_can_be_done_next_is_named_at_the_end(evoctl: Any, trial: Any, keys: Any) -> None:
    """The results, and how to take the last vote back."""
    keys("11")

    said = evoctl("vote", "--count", "2")

    assert said.err == f"Next: evoctl results file-naming      evoctl vote --ballot {trial.ballots[1]} --undo\n"


@pytest.mark.parametrize(("columns", "beside"), [("120", True), ("80", False), ("20", False), ("1", False)])
def test_the_layout_follows_the_terminal(
    evoctl: Any, trial: Any, keys: Any, monkeypatch: pytest.MonkeyPatch, columns: str, *, beside: bool
) -> None:
    """Side by side where three results have room; the line of keys is short where it would not fit."""
    monkeypatch.setenv("COLUMNS", columns)
    keys("q")

    out = evoctl("vote").out

    assert bool(re.search(r"^result 0 +\| result 1 +\| result 2$", out, re.MULTILINE)) is beside
    assert ("   result 0\n2:" in out) is not beside
    assert ("t no difference" in out) is (int(columns) >= 80)


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


def test_voting_goes_on_until_the_test_is_decided(evoctl: Any, trial: Any, keys: Any) -> None:
    """When no ballot is left, the command says so, and offers no undo of the vote that decided."""
    keys("1" * 20)

    said = evoctl("vote")

    assert said.code == 0
    assert "No further ballot is ready." in said.out
    assert said.err == "Next: evoctl results file-naming\n"


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

    assert set(ballot) == {"ballot", "run", "skill", "fields", "cards", "votes", "cap", "outlook"}
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
        (("--undo",), 2),
        (("--ballot", "1"), 2),
        (("--ballot", "1", "--undo", "--tie"), 2),
        (("--ballot", "99999", "--undo"), 3),
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


def test_programs_take_a_vote_back(evoctl: Any, trial: Any) -> None:
    """The newest one of its test; a ballot without a vote is no error, and nothing is changed."""
    ballot = str(trial.ballots[0])
    evoctl("vote", "--ballot", ballot, "--pick", "2")

    first = evoctl("vote", "--ballot", ballot, "--undo", "--json")
    second = evoctl("vote", "--ballot", ballot, "--undo")

    assert first.data == {"ballot": trial.ballots[0], "undone": True}
    assert second.out == f"Ballot {ballot} has no vote; nothing was changed.\n"
    assert votes(trial, evoctl)["votes"] == 0
    assert evoctl("vote", "--json").data["ballot"]["ballot"] == trial.ballots[0]


def test_a_vote_of_a_decided_test_cannot_be_taken_back(evoctl: Any, trial: Any) -> None:
    """What follows from it is under way."""
    evoctl("vote", "--ballot", str(trial.ballots[0]), "--pick", "2")
    evoctl("cancel", "r1")

    said = evoctl("vote", "--ballot", str(trial.ballots[0]), "--undo")

    assert said.code == 4
    assert votes(trial, evoctl)["votes"] == 1


def test_nothing_to_vote_on_is_no_error(evoctl: Any, host: object, at_a_terminal: None) -> None:
    """The sentence for people, null for programs."""
    assert evoctl("vote").out == "There is nothing to vote on.\n"
    assert evoctl("vote", "--json").data == {"ballot": None, "why": []}


def test_the_vote_that_decides_says_so(evoctl: Any, trial: Any) -> None:
    """The answer carries the verdict in words."""
    said = [evoctl("vote", "--ballot", str(ballot), "--pick", "1", "--json") for ballot in trial.ballots]
    decided = [one.data for one in said if one.code == 0 and one.data["decided"]]

    assert [one["reason"].partition(":")[0] for one in decided] == ["every challenger lost too often to go on"]
    assert {one.code for one in said} == {0, 4}
    assert evoctl("runs", "--json").data["runs"][0]["ending"] == "kept-incumbent"


def test_a_closed_ballot_is_refused(evoctl: Any, trial: Any) -> None:
    """After the test nothing is counted."""
    evoctl("cancel", "r1")

    said = evoctl("vote", "--ballot", str(trial.ballots[0]), "--tie")

    assert said.code == 4


def at_a_terminal_of(
    columns: int, *keys: str, until: bytes = b"? keys] ", environment: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Run `evoctl vote` at a terminal of *columns*, press a key at each prompt; return the exit code and the screen."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    words = [sys.executable, "-m", "ops.cli", "vote"]
    given = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "TERM", "NO_COLOR")}
    given |= {"TERM": "xterm-256color", **(environment or {})}
    process = subprocess.Popen(words, stdin=there, stdout=there, stderr=there, start_new_session=True, env=given)
    os.close(there)
    seen, left, end = b"", list(keys), time.monotonic() + 30
    try:
        with contextlib.suppress(OSError):  # the terminal is gone when the process has ended
            while time.monotonic() < end:
                if select.select([here], [], [], 0.3)[0]:
                    seen += os.read(here, 65536)
                elif left and seen.endswith(until):  # a key that is pressed before the prompt is thrown away
                    os.write(here, left.pop(0).encode())
        code = process.wait(5)
    finally:
        process.kill()
        process.wait()
        os.close(here)
    return code, seen


@pytest.mark.parametrize("columns", [80, 120])
def test_voting_at_a_real_terminal(trial: Any, columns: int) -> None:
    """One key is enough, without Enter; undo asks again; the screen receives no byte that a result wrote."""
    trial.outputs("\x1b[2J\x1b]0;owned\x07\u202e名")

    code, seen = at_a_terminal_of(columns, "2", "u", "t", "q")

    screen = seen.decode()
    own = ("\x1b[1m", "\x1b[0m")
    assert code == 0
    assert set(re.findall(r"\x1b\[?[0-9;]*[A-Za-z]?", screen)) <= set(own)
    assert "\x07" not in screen
    assert "\u202e" not in screen
    assert r"\x1b[2J\x1b]0;owned\x07\u202e名 1" in " ".join(screen.split())
    assert (screen.count("Counted."), screen.count("Taken back.")) == (2, 1)
    assert bool(re.search(r"1 +\x1b\[0m \| \x1b\[1m2", screen)) is (columns == 120)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours_gets_none(trial: Any, environment: dict[str, str]) -> None:
    """The layout is the same, and not one escape is written."""
    code, seen = at_a_terminal_of(120, "1", "q", environment=environment)

    assert code == 0
    assert b"\x1b" not in seen
    assert re.search(rb"\n1 +\| 2 +\| 3 *\r", seen)
    assert b"Counted." in seen


def test_ctrl_c_at_a_real_terminal_leaves_with_130(trial: Any) -> None:
    """The terminal is as it was before, and what was voted stays counted."""
    code, seen = at_a_terminal_of(80, "1", "\x03")

    assert code == 130
    assert b"Interrupted." in seen
    assert trial.evolution.next_ballot().ballot == trial.ballots[1]
