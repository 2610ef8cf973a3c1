"""The command as a whole: help, loading, errors and exit codes."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest

from ops.cli.call import Call
from ops.cli.failures import exit_code
from ops.cli.main import COMMANDS, PROGRAM, cli
from pipeline.errors import (
    BadInput,
    Blocked,
    ConfigError,
    EvolutionError,
    ModelMissing,
    NotFound,
    Refused,
    Unreachable,
)

HEAVY = ("sqlalchemy", "scipy", "numpy", "ollama", "rq", "redis", "flask", "alembic", "rich", "ruamel", "psutil")


def every_command() -> Iterator[tuple[list[str], click.Command]]:
    """Yield every command with the words that call it."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        yield [name], command
        if isinstance(command, click.Group):
            for inner, sub in command.commands.items():
                yield [name, inner], sub


ALL = [pytest.param(words, command, id="-".join(words)) for words, command in every_command()]


def test_help_loads_nothing_heavy() -> None:
    """`evoctl --help` imports neither the database nor numerics nor servers."""
    code = (
        "import sys\nfrom ops.cli.main import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[]\n"
    assert "EVOLVE" in done.stdout


def test_completion_of_commands_loads_nothing_heavy() -> None:
    """Completing a command's name is as cheap as help."""
    code = (
        "import os, sys\nos.environ.update(_EVOCTL_COMPLETE='bash_complete', COMP_WORDS='evoctl en', COMP_CWORD='1')\n"
        "from ops.cli.main import cli\n"
        "try:\n    cli.main([])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[]\n"
    assert "plain,enqueue" in done.stdout
    assert "plain,env" in done.stdout


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_command_has_help_and_an_example_that_parses(
    evoctl: Any, words: list[str], command: click.Command
) -> None:
    """The help ends with examples, and each of them is a line that evoctl would take."""
    said = evoctl(*words, "--help")

    assert said.code == 0
    assert re.search(r"^Examples?:\n  \$ ", said.out, re.MULTILINE)
    assert "--json" in said.out
    for line in command.examples:  # type: ignore[attr-defined]  # every command of ours has them
        for part in re.split(r"[|>]", line.removeprefix('eval "$(').removesuffix(')"')):
            given = shlex.split(part)
            if given[:1] != [PROGRAM]:
                continue
            context = cli.make_context(PROGRAM, given[1:], resilient_parsing=False, obj=Call())
            name, found, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
            if isinstance(found, click.Group):
                context = found.make_context(str(name), rest, parent=context)
                name, found, rest = found.resolve_command(context, [*context._protected_args, *context.args])
            assert found is not None
            assert found.make_context(str(name), rest, parent=context)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_help_is_the_commands_own(name: str) -> None:
    """The table that spares the imports says what the commands say."""
    entry = COMMANDS[name]
    module, _, attribute = entry.place.partition(":")
    command = getattr(importlib.import_module(f"ops.cli.{module}"), attribute)
    first = " ".join((command.help or "").split("\n\n")[0].split())

    assert entry.line.replace(" (also: evolve)", "") == first
    assert len(entry.line) <= 66


def test_help_has_its_sections_and_exit_codes(evoctl: Any) -> None:
    """Every section and the exit codes stand in the help, and no line is too long for a terminal."""
    said = evoctl("--help")

    assert re.findall(r"^([A-Z]+):$", said.out, re.MULTILINE) == [
        "START",
        "EVOLVE",
        "DECIDE",
        "SEE",
        "FEED",
        "LAB",
        "RUN",
    ]
    assert "130 interrupted" in " ".join(said.out.split())
    assert max(map(len, said.out.splitlines())) <= 80
    assert evoctl("-h").out == said.out


def test_the_version_is_the_distributions(evoctl: Any) -> None:
    """`--version` prints name and version."""
    assert re.fullmatch(r"evoctl \d+\.\d+\.\d+\S*\n", evoctl("--version").out)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("enqeue",), "enqueue"),
        (("stauts",), "status"),
        (("feedback", "imprt", "x", "y"), "import"),
        (("status", "--jsno"), "--json"),
        (("stats", "file-namin"), "file-naming"),
    ],
)
def test_a_misspelt_word_is_answered_by_the_one_that_was_meant(
    evoctl: Any, host: object, words: tuple[str, ...], meant: str
) -> None:
    """Commands, sub-commands, options and skills are suggested."""
    said = evoctl(*words)

    assert said.code in (2, 3)
    assert re.search(rf"Did you mean .*{meant}", said.err)
    assert said.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EvolutionError("x"), 1),
        (ConfigError("x"), 2),
        (BadInput("x"), 2),
        (NotFound("x"), 3),
        (Refused("x"), 4),
        (Unreachable("x"), 5),
        (ModelMissing("x"), 5),
        (Blocked("x"), 8),
        (click.UsageError("x"), 2),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (RuntimeError("x"), 1),
    ],
)
def test_each_error_has_its_exit_code(
    evoctl: Any, host: object, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """The code is the class's, in words and as JSON."""

    def fail(_: Call) -> None:
        raise error

    monkeypatch.setattr(Call, "overview", fail)

    assert exit_code(error) == code
    assert evoctl("status").code == code
    said = evoctl("status", "--json")
    assert (said.code, said.out, said.error["exit_code"]) == (code, "", code)


def test_an_error_says_what_why_and_what_to_try(evoctl: Any, host: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three parts stand on their own lines, on standard error."""

    def fail(_: Call) -> None:
        raise Refused("It is too early.", why="cooldown_h is 168\nin config.yaml", hint="evoctl enqueue x --force")

    monkeypatch.setattr(Call, "overview", fail)

    assert evoctl("status").err == (
        "Error: It is too early.\n  Why:  cooldown_h is 168\n        in config.yaml\n  Try:  evoctl enqueue x --force\n"
    )


def test_an_unexpected_error_is_one_line_with_an_id_and_a_log(
    evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback goes to the log, one event a line, and to the terminal only with -v."""

    def fail(_: Call) -> None:
        raise RuntimeError("secret \x1b[2J text")

    monkeypatch.setattr(Call, "overview", fail)
    said = evoctl("status")
    log = host.log_dir / "evoctl.log"

    name = re.match(r"Error: Unexpected error (e[0-9a-f]{6}) \(RuntimeError\)\.\n", said.err)
    assert name is not None
    assert "Traceback" not in said.err
    assert "secret" not in said.err
    text = log.read_text(encoding="utf-8")
    assert all(f"evoctl.{name[1]}" in line for line in text.splitlines())
    assert "secret \\x1b[2J text" in text
    assert log.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in evoctl("-v", "status").err


def test_a_log_that_cannot_be_written_is_no_second_error(
    evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is told all the same."""

    def fail(_: Call) -> None:
        raise RuntimeError("x")

    monkeypatch.setattr(Call, "overview", fail)
    (host.log_dir / "evoctl.log").mkdir()

    said = evoctl("status")

    assert said.code == 1
    assert "The log cannot be written" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ("enqeue",),
        ("status", "--nope"),
        ("vote", "--ballot"),
        ("cancel", "x"),
        ("feedback", "add", "s", "--input", "x"),
    ],
)
def test_misuse_is_one_json_line_too(evoctl: Any, words: tuple[str, ...]) -> None:
    """A program that misuses a command reads one JSON line, wherever --json stands."""
    for said in (evoctl("--json", *words), evoctl(*words, "--json")):
        assert said.code == 2
        assert said.out == ""
        assert said.error["error"]["kind"] == "Usage"


def test_options_may_stand_before_or_after_the_command(evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """--json, --home and --config mean the same on both sides."""
    monkeypatch.delenv("EVOCTL_HOME")
    monkeypatch.delenv("EVOCTL_CONFIG")
    places = ("--home", str(host.root), "--config", str(host.config))

    before, after = evoctl(*places, "--json", "runs"), evoctl("runs", *places, "--json")

    assert before.out == after.out
    assert before.data == {"runs": []}


def test_evoctl_alone_says_how_to_start(evoctl: Any) -> None:
    """Without a configuration, three commands are named."""
    said = evoctl()

    assert said.code == 0
    assert [word in said.out for word in ("evoctl demo", "evoctl init --example", "evoctl up")] == [True] * 3


def test_evoctl_alone_shows_the_status_when_set_up(evoctl: Any, host: object) -> None:
    """With a configuration, the status comes at once, also as JSON."""
    assert evoctl().out == evoctl("status").out
    assert json.loads(evoctl("--json").out)["schema"] == "evoctl.status/1"


def test_a_reader_that_has_seen_enough_is_no_failure(host: object) -> None:
    """`evoctl ... | head` ends quietly."""
    script = f"{shlex.quote(sys.executable)} -m ops.cli status | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) in {("0\n", ""), ("0\n", done.stderr)}
    assert "BrokenPipe" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}])
def test_nothing_is_coloured_when_colour_is_not_wanted(
    evoctl: Any, trial: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """NO_COLOR, TERM=dumb and --no-color hold even where click would colour."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_, **__: False)
    words = ("diff", "file-naming", "current", "variant_a")

    assert "\x1b" not in evoctl(*(() if variables else ("--no-color",)), *words).out


def test_a_broken_configuration_is_named_with_its_line(evoctl: Any, host: Any) -> None:
    """A wrong setting ends with exit 2, file and line."""
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("enabled: true", "enabled: maybe"), encoding="utf-8")

    said = evoctl("status")

    assert said.code == 2
    assert "config.yaml line" in said.err


def test_a_database_of_another_release_is_told_apart(evoctl: Any, host: Any) -> None:
    """Without tables the hint is to migrate."""
    (host.root / "evolution.db").unlink()

    said = evoctl("status")

    assert said.code == 1
    assert "Try:  evoctl migrate" in said.err


def test_closed_streams_are_no_error(host: Any) -> None:
    """Who closes standard output, or standard error too, wants the exit code only."""
    script = f"{shlex.quote(sys.executable)} -m ops.cli.main status"
    for closed in (">&-", ">&- 2>&-"):
        done = subprocess.run(["bash", "-c", f"{script} {closed}"], capture_output=True, text=True, check=False)
        assert (done.returncode, "Unexpected" in done.stderr) == (0, False), done


def test_an_interrupted_wait_says_that_the_run_goes_on(host: Any) -> None:
    """Ctrl-C ends the waiting and not the run: its name, and what ends it, are said."""
    words = [sys.executable, "-m", "ops.cli.main", "enqueue", "file-naming", "--force", "--wait"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        while "r1 detect" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        code = process.wait()

    assert (code, told) == (
        130,
        "Error: Interrupted: nobody waits any more, but run r1 goes on.\n  Try:  evoctl cancel r1 ends it\n",
    )
