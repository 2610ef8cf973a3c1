"""Where things are: the home folder, the host's configuration, the database and Redis.

The standard library is enough for this module, so that every process can afford to import it first.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError

APP = "tinyarms-evolution"
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"
PRIVATE_DIR, PRIVATE_FILE = 0o700, 0o600
OTHERS = 0o077  # any right of anybody but the owner
MARKS = ("locks", "evolution.db")  # a folder with one of them is a home of ours


@dataclass(frozen=True, slots=True)
class Home:
    """The places of one installation.

    Attributes:
        root: absolute path of the folder with the database, the logs and everything else of ours.
        config: absolute path of the host's config.yaml; it need not exist yet.
    """

    root: Path
    config: Path

    @property
    def database_url(self) -> str:
        """URL for SQLAlchemy: `DATABASE_URL`, else a SQLite file in the home."""
        given = os.environ.get("DATABASE_URL", "")
        scheme, colon, rest = given.partition("://")
        if scheme == "postgres" and colon:  # what hosting providers still hand out; SQLAlchemy knows the long name only
            return f"postgresql://{rest}"
        return given or f"sqlite:///{self.root / 'evolution.db'}"

    @property
    def redis_url(self) -> str:
        """URL of Redis: `RQ_REDIS_URL`, else what `evoctl up` wrote down, else the default port."""
        return os.environ.get("RQ_REDIS_URL") or _first_line(self.redis_url_file) or DEFAULT_REDIS

    @property
    def redis_url_file(self) -> Path:
        """File with the URL of the private Redis that `evoctl up` started."""
        return self.root / "redis.url"

    @property
    def locks(self) -> Path:
        """Folder of the lock files."""
        return self.root / "locks"

    @property
    def log_dir(self) -> Path:
        """Folder of the log files."""
        return self.root / "logs"

    @property
    def pid_dir(self) -> Path:
        """Folder of the process id files."""
        return self.root / "pids"

    def ensure(self) -> Home:
        """Create the folders that are missing, readable by their owner only, and return the home itself.

        A folder with things of somebody else is left as it is: closing it to others could break what they serve.

        Raises:
            ConfigError: a folder cannot be created, or the home holds other things and is open to others.
        """
        if _is_foreign(self.root):
            raise ConfigError(
                f"The folder {self.root} holds other things and is open to others.",
                why="The home holds private texts and a password, and would be closed to everybody else.",
                hint="Name a folder of its own by --home DIR or EVOCTL_HOME (it need not exist yet).",
            )
        for folder in (self.root, self.locks, self.log_dir, self.pid_dir):
            try:
                folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
                if folder.stat().st_mode & OTHERS and folder.stat().st_uid == os.getuid():
                    folder.chmod(PRIVATE_DIR)  # it holds people's texts and a password
            except OSError as error:
                raise ConfigError(
                    f"The folder {folder} cannot be created.",
                    why=error.strerror or str(error),
                    hint="Name another home by --home DIR or EVOCTL_HOME.",
                ) from error
        return self


def _is_foreign(folder: Path) -> bool:
    """Tell whether a folder is open to others and holds things, none of which say that it is a home."""
    try:
        open_to_others = bool(folder.stat().st_mode & OTHERS)
        return open_to_others and any(folder.iterdir()) and not any((folder / name).exists() for name in MARKS)
    except OSError:
        return False  # what cannot be looked at is refused where it is used


def find_home(root: str | None = None, config: str | None = None) -> Home:
    """Find the home and the host's configuration; nothing is created.

    The arguments win over `EVOCTL_HOME` and `EVOCTL_CONFIG`, and those over the defaults: the user's data folder, and
    `./config.yaml`, the configuration used last, or `config.yaml` in the home, whichever exists first.

    Raises:
        ConfigError: a path cannot be used.
    """
    named_root, named_config = root or os.environ.get("EVOCTL_HOME"), config or os.environ.get("EVOCTL_CONFIG")
    place = _absolute(named_root, "home") if named_root else _user_folder()
    if "?" in str(place):  # it would begin the options of the database's URL
        raise ConfigError("The home's path must not contain '?'.", hint="Name another by --home DIR or EVOCTL_HOME.")
    return Home(place, _absolute(named_config, "configuration") if named_config else _default_config(place))


def remember_config(home: Home) -> None:
    """Write down the configuration's path, so that a call from another folder finds it."""
    write_private(home.ensure().root / "config.path", f"{home.config}\n")


def remembered_config(home: Home) -> Path | None:
    """Return the configuration that the home remembers, when it is another one than *home* names."""
    known = _first_line(home.root / "config.path")
    return Path(known) if known and Path(known) != home.config else None


def remember_redis(home: Home, url: str) -> None:
    """Write down the URL of the private Redis for the other processes of this user."""
    write_private(home.ensure().redis_url_file, f"{url}\n")


def _user_folder() -> Path:
    from platformdirs import user_data_path  # noqa: PLC0415 - only asked when nobody named a home

    return user_data_path(APP).absolute()


def _default_config(root: Path) -> Path:
    here = Path("config.yaml").absolute()
    if here.exists():
        return here
    remembered = _first_line(root / "config.path")
    return Path(remembered) if remembered else root / "config.yaml"


def _absolute(path: str, what: str) -> Path:
    if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in path):
        raise ConfigError(f"The {what}'s path {path[:80]!r} has characters that no path should have.")
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"The {what}'s path {path[:80]!r} cannot be used.", why=str(error)) from error


def _first_line(path: Path) -> str:
    """Return the first line of a small file, empty when there is none."""
    with suppress(OSError, UnicodeDecodeError):
        lines = path.read_text(encoding="utf-8").splitlines()
        return lines[0].strip() if lines else ""
    return ""


def private(path: str, flags: int) -> int:
    """Open a file, for `open` as its opener: one that is missing is created readable by its owner only."""
    return os.open(path, flags | os.O_CLOEXEC, PRIVATE_FILE)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; nobody ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # what a full disk has left of it
