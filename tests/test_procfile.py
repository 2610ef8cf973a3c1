"""The Procfile: every line is a command that exists, and none of them ends by itself."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ops.cli.call import Call
from ops.cli.main import COMMANDS, PROGRAM, cli

LINES = (Path(__file__).parent.parent / "Procfile").read_text(encoding="utf-8").splitlines()
WORDS = [shlex.split(line.partition(": ")[2]) for line in LINES]


def parsed(words: list[str]) -> click.Context:
    """Read a command line of evoctl as evoctl does, without running it."""
    assert words[0] == PROGRAM
    context = cli.make_context(PROGRAM, words[1:], obj=Call())
    name, found, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
    assert found is not None
    return found.make_context(str(name), rest, parent=context)


@pytest.mark.parametrize("words", WORDS, ids=[line.partition(":")[0] for line in LINES])
def test_every_line_is_a_supervised_command_that_exists(words: list[str]) -> None:
    """The first exit under honcho ends all: each process is kept alive by `evoctl supervise`, and its command is real."""
    context = parsed(words)
    inner = list(context.params["words"])

    assert context.info_name == "supervise"
    assert shutil.which(inner[0], path=str(Path(sys.executable).parent)) is not None
    if inner[0] == PROGRAM:
        assert inner[1] in COMMANDS
        parsed(inner)


def test_only_the_worker_is_treated_as_one() -> None:
    """A server that was restarted because Redis came back would never let Redis live."""
    workers = [words for words in WORDS if not parsed(words).params["server"]]

    assert [words[-3:] for words in workers] == [["rq", "worker", "evolution"]]


def test_the_variables_make_a_file_that_honcho_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One NAME=VALUE a line, without `export`, and a value with blanks and quotes survives the shell's rules."""
    home = tmp_path / "it's a home"
    monkeypatch.setenv("RQ_REDIS_URL", "redis://127.0.0.1:1/0")
    said = CliRunner().invoke(cli, ["--home", str(home), "env", "--file"])
    read = dict(shlex.split(line)[0].split("=", 1) for line in said.stdout.splitlines())

    assert said.exit_code == 0
    assert read["EVOCTL_HOME"] == str(home)
    assert read["RQ_REDIS_URL"] == "redis://127.0.0.1:1/0"
    assert not any(name.startswith("export") for name in read)
