"""Where the home, the configuration, the database and Redis are found."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from migrations.run import upgrade
from models.base import make_engine
from ops.cli import background
from ops.cli.logs import write_error
from ops.supervise import Process
from pipeline.errors import ConfigError
from workers.home import Home, find_home, remember_config, remember_redis
from workers.llm.memory import MemoryFile


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EVOCTL_HOME", "EVOCTL_CONFIG", "DATABASE_URL", "RQ_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A path handed in is used, whatever the environment says."""
    monkeypatch.setenv("EVOCTL_HOME", "/elsewhere")
    monkeypatch.setenv("EVOCTL_CONFIG", "/elsewhere/config.yaml")

    home = find_home(str(tmp_path / "h"), str(tmp_path / "c.yaml"))

    assert home == Home(tmp_path / "h", tmp_path / "c.yaml")


def test_the_environment_wins_over_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """EVOCTL_HOME and EVOCTL_CONFIG are used when no argument is given."""
    monkeypatch.setenv("EVOCTL_HOME", str(tmp_path / "h"))
    monkeypatch.setenv("EVOCTL_CONFIG", "my.yaml")

    assert find_home() == Home(tmp_path / "h", tmp_path / "work" / "my.yaml")


@pytest.mark.skipif(sys.platform != "linux", reason="the folder differs by platform")
def test_the_default_home_is_the_users_data_folder(tmp_path: Path) -> None:
    """Without a word from anybody, the home is the platform's data folder."""
    assert find_home().root == tmp_path / "data" / "tinyarms-evolution"


def test_a_configuration_in_the_current_folder_is_found(tmp_path: Path) -> None:
    """The project's own config.yaml comes before a remembered one."""
    (tmp_path / "work" / "config.yaml").touch()
    remember_config(find_home(config="/elsewhere/config.yaml"))

    assert find_home().config == tmp_path / "work" / "config.yaml"


def test_a_remembered_configuration_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was used last is used again where there is no config.yaml."""
    remember_config(find_home(config=str(tmp_path / "host" / "config.yaml")))
    monkeypatch.chdir(tmp_path)

    assert find_home().config == tmp_path / "host" / "config.yaml"


def test_the_last_resort_is_a_configuration_in_the_home() -> None:
    """Nothing named and nothing remembered: the home's own file."""
    home = find_home()

    assert home.config == home.root / "config.yaml"


def test_a_remembered_path_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    """Rubbish in the note is as good as no note."""
    home = find_home(str(tmp_path / "h")).ensure()
    (home.root / "config.path").write_bytes(b"\xff\xfe\x00")

    assert find_home(str(tmp_path / "h")).config == home.root / "config.yaml"


def test_a_tilde_is_the_users_folder(tmp_path: Path) -> None:
    """`~` is expanded, because a shell does not always do it."""
    assert find_home("~/h").root == tmp_path / "h"


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "what?", "a\udcff", "~no-such-user-here/x"])
def test_an_impossible_home_is_refused(path: str) -> None:
    """Control characters, '?' (it would cut the database's URL) and unknown users are refused by name."""
    with pytest.raises(ConfigError):
        find_home(path)


def test_the_folders_are_made_for_their_owner_only(tmp_path: Path) -> None:
    """Every folder that ensure creates has mode 0700, and a second call changes nothing."""
    home = find_home(str(tmp_path / "h")).ensure().ensure()

    folders = (home.root, home.locks, home.log_dir, home.pid_dir)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 4


def test_a_folder_with_other_things_is_neither_closed_nor_used(tmp_path: Path) -> None:
    """`--home /` would shut everybody else out of the machine: refused, with not a bit or a file changed."""
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared" / "theirs.txt").write_text("theirs", encoding="utf-8")

    with pytest.raises(ConfigError, match="holds other things"):
        find_home(str(tmp_path / "shared")).ensure()

    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["theirs.txt"]


@pytest.mark.parametrize("mark", [None, "locks", "evolution.db"])
def test_an_empty_folder_or_an_older_home_is_closed_to_others(tmp_path: Path, mark: str | None) -> None:
    """Nothing in such a folder is anybody else's."""
    (tmp_path / "h").mkdir(mode=0o755)
    if mark:
        (tmp_path / "h" / mark).mkdir()

    assert stat.S_IMODE(find_home(str(tmp_path / "h")).ensure().root.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    """A file in the way is told with the way out."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="EVOCTL_HOME"):
        find_home(str(tmp_path / "file" / "h")).ensure()


def test_the_database_is_a_file_in_the_home(tmp_path: Path) -> None:
    """The default URL names evolution.db by its absolute path."""
    assert find_home(str(tmp_path)).database_url == f"sqlite:///{tmp_path}/evolution.db"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/db", "postgresql://u:p@h/db"),
        ("postgresql://u:p@h/db", "postgresql://u:p@h/db"),
        ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_the_database_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    """DATABASE_URL is used, with the short scheme of hosting providers spelt out."""
    monkeypatch.setenv("DATABASE_URL", given)

    assert find_home().database_url == used


def test_redis_is_on_its_usual_port() -> None:
    """Without a word, Redis is where it always is."""
    assert find_home().redis_url == "redis://127.0.0.1:6379/0"


def test_the_private_redis_is_found_by_the_other_processes(tmp_path: Path) -> None:
    """The note of a private Redis is readable by its owner only, and used."""
    home = find_home(str(tmp_path / "h"))
    remember_redis(home, "unix:///tmp/x.sock")

    assert home.redis_url == "unix:///tmp/x.sock"
    assert stat.S_IMODE(home.redis_url_file.stat().st_mode) == 0o600


def test_the_environment_wins_over_the_private_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RQ_REDIS_URL is what rq itself goes by, so we do."""
    home = find_home(str(tmp_path / "h"))
    remember_redis(home, "unix:///tmp/x.sock")
    monkeypatch.setenv("RQ_REDIS_URL", "redis://other:1/2")

    assert home.redis_url == "redis://other:1/2"


def test_importing_home_loads_no_other_package() -> None:
    """Every process begins with this module, so it may cost nothing."""
    code = "import sys, workers.home; print(sorted({m.split('.')[0] for m in sys.modules}))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert not any(
        f"'{name}'" in loaded for name in ("platformdirs", "ruamel", "filelock", "sqlalchemy", "rq", "click")
    )


def test_what_we_create_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """The database, wherever it lies, what SQLite puts beside it, the gate's notes, logs and pids: whatever the umask."""
    before = os.umask(0o022)
    home = Home(tmp_path / "home", tmp_path / "config.yaml").ensure()
    try:
        engine = make_engine(f"sqlite:///{tmp_path / 'elsewhere.db'}")
        upgrade(engine)
        with MemoryFile(home.root, "x").changing() as changes:
            changes.set(trouble="none")
        background.write(home, {"pid": 1})
        write_error(home, "e1", ["x\n"])
        process = Process("true", ["true"], log=home.log_dir / "true.log")
        process.start()
        process.stop()
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
        engine.dispose()
    finally:
        os.umask(before)

    assert {"elsewhere.db", "elsewhere.db-wal", "gate.json", "up.json", "true.log", "evoctl.log"} <= found.keys()
    assert set(found.values()) == {0o600}
