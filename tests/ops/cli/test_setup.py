"""init, migrate, env and completion."""

from __future__ import annotations

import re
import shlex
import sqlite3
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from workers.home import find_home
from workers.host_config import load_host_config


def test_init_with_the_example_makes_everything(evoctl: Any, tmp_path: Path) -> None:
    """Configuration, prompts, home and database are there, and only the owner can look in."""
    config, home = tmp_path / "app" / "config.yaml", tmp_path / "home"

    said = evoctl("--home", str(home), "--config", str(config), "init", "--example", "--json")

    assert said.code == 0
    assert said.data["skills"] == ["file-naming", "audio-actions", "markdown-analysis", "code-linting-fast"]
    assert (config.parent / "skills" / "file-naming.md").is_file()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / "evolution.db").is_file()
    assert list(load_host_config(config).skills) == said.data["skills"]


def test_init_without_the_example_makes_a_form_to_fill_in(evoctl: Any, tmp_path: Path) -> None:
    """The configuration is valid, has no skill, and shows how one is written."""
    config = tmp_path / "app" / "config.yaml"

    said = evoctl("--home", str(tmp_path / "home"), "--config", str(config), "init")

    text = config.read_text(encoding="utf-8")
    assert said.code == 0
    assert load_host_config(config).skills == {}
    assert "  # file-naming:" in text
    assert "# #" not in text


def test_init_never_overwrites(evoctl: Any, host: Any) -> None:
    """A second init changes no file of the host's."""
    host.config.write_text(host.config.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in host.config.parent.rglob("*") if path.is_file()}

    said = evoctl("init", "--example", "--json")

    assert said.data["written"] == []
    assert {path: path.read_bytes() for path in host.config.parent.rglob("*") if path.is_file()} == before


def test_init_keeps_a_prompt_that_is_already_there(evoctl: Any, tmp_path: Path) -> None:
    """Only missing files are written."""
    config = tmp_path / "app" / "config.yaml"
    (config.parent / "skills").mkdir(parents=True)
    mine = config.parent / "skills" / "file-naming.md"
    mine.write_text("Mine.\n---\n{{description}}\n", encoding="utf-8")

    said = evoctl("--home", str(tmp_path / "home"), "--config", str(config), "init", "--example", "--json")

    assert mine.read_text(encoding="utf-8").startswith("Mine.")
    assert str(mine) not in said.data["written"]
    assert str(config) in said.data["written"]


def test_init_remembers_where_the_configuration_is(
    evoctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later call from another folder finds it."""
    config, home = tmp_path / "app" / "config.yaml", tmp_path / "home"
    evoctl("--home", str(home), "--config", str(config), "init", "--example")
    monkeypatch.setenv("EVOCTL_HOME", str(home))

    assert find_home().config == config
    assert evoctl("status").code == 0


def test_init_where_nothing_can_be_written_is_a_clear_error(evoctl: Any, tmp_path: Path) -> None:
    """The file that could not be written is named."""
    (tmp_path / "file").touch()

    said = evoctl("--home", str(tmp_path / "home"), "--config", str(tmp_path / "file" / "config.yaml"), "init")

    assert said.code == 2
    assert "cannot be written" in said.err


def test_migrate_makes_an_empty_database_current(evoctl: Any, host: Any) -> None:
    """--check tells by exit 6, migrate does it, and doing it twice changes nothing."""
    (host.root / "evolution.db").unlink()

    before = evoctl("migrate", "--check", "--json")
    done, again = evoctl("migrate", "--json"), evoctl("migrate")

    assert (before.code, before.data["current"]) == (6, False)
    assert (done.code, done.data["from"], done.data["current"]) == (0, None, True)
    assert again.out == f"The database is at revision {done.data['to']}.\n"
    assert evoctl("migrate", "--check").code == 0


def test_a_database_that_is_no_database_is_unreachable(evoctl: Any, host: Any) -> None:
    """A file of something else ends with a clear error, and is left as it is."""
    (host.root / "evolution.db").write_bytes(b"not a database, but long enough to be read as one" * 50)

    for words in (("migrate",), ("migrate", "--check"), ("status",)):
        said = evoctl(*words)
        assert said.code == 5, said
        assert "The database" in said.err


def test_a_locked_database_is_a_clear_error(evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waits too long says so and has written nothing."""
    monkeypatch.setattr("models.base.BUSY_TIMEOUT_S", 0.2)
    other = sqlite3.connect(host.root / "evolution.db")
    other.execute("BEGIN IMMEDIATE")
    try:
        said = evoctl("feedback", "add", "file-naming", "--task-id", "t", "--input", "description=x", "--ok")
    finally:
        other.close()

    assert said.code == 5
    assert "locked" in said.err


def test_env_prints_lines_that_a_shell_can_evaluate(evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the home, quoted, and nothing else."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{host.root}/it's.db")

    said = evoctl("env")
    done = subprocess.run(
        ["bash", "-c", f'{said.out}\necho "$EVOCTL_HOME|$RQ_REDIS_URL|$DATABASE_URL"'],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"{host.root}|redis://127.0.0.1:1/0|sqlite:///{host.root}/it's.db\n"
    assert [shlex.split(line)[1].partition("=")[0] for line in said.out.splitlines()] == [
        "EVOCTL_HOME",
        "EVOCTL_CONFIG",
        "RQ_REDIS_URL",
        "RQ_WORKER_CLASS",
        "OPENBLAS_NUM_THREADS",
        "DATABASE_URL",
    ]


def test_env_chooses_the_embedded_redis_once(evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without RQ_REDIS_URL, every process of the home gets one and the same address with a password."""
    monkeypatch.delenv("RQ_REDIS_URL")
    host.redis_url_file.unlink(missing_ok=True)

    first, second = evoctl("env", "--json").data, evoctl("env", "--json").data

    assert first == second
    assert first["RQ_REDIS_URL"].startswith("redis://:")
    assert stat.S_IMODE(host.redis_url_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.filterwarnings("ignore")  # click runs bash to learn its version
def test_completion_is_a_script_of_the_shell(evoctl: Any, shell: str) -> None:
    """The script calls evoctl back for the words."""
    assert "_EVOCTL_COMPLETE" in evoctl("completion", shell).out


def test_skills_are_completed_from_the_configuration(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell gets the names that begin so; a broken configuration gives none and no error."""
    from click.shell_completion import ShellComplete  # noqa: PLC0415 - only this test completes

    from ops.cli.main import cli  # noqa: PLC0415 - same

    complete = ShellComplete(cli, {}, "evoctl", "_EVOCTL_COMPLETE")

    assert [one.value for one in complete.get_completions(["results"], "f")] == ["file-naming"]
    host.config.write_text("skills: [", encoding="utf-8")
    assert complete.get_completions(["results"], "f") == []


def test_init_says_how_to_get_the_example_beside_a_configuration_without_skills(evoctl: Any, tmp_path: Path) -> None:
    """It never goes over a found configuration, and the command that is named instead works."""
    words = ("--home", str(tmp_path / "home"))
    evoctl(*words, "--config", str(tmp_path / "app" / "config.yaml"), "init")

    said = evoctl(*words, "--config", str(tmp_path / "app" / "config.yaml"), "init", "--example")
    advice = re.search(r"evoctl (init --example --config \S+)", said.out)

    assert "the example was not written, because this configuration is yours" in said.out
    assert advice is not None
    told = evoctl(*words, *shlex.split(advice[1]))
    assert "file-naming, audio-actions" in told.out
    assert f"it used {tmp_path / 'app' / 'config.yaml'} before" in told.err
