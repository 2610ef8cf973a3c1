"""Files that the host's configuration names: prompt templates and schemas, never outside its folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pipeline.errors import ConfigError
from workers.yaml_tree import decode, plain, read_bytes

MAX_TEMPLATE = 256 * 1024  # bytes
NAMES_TRIED = 100  # -v2.md, -v2-2.md, ... before giving up


def read_template(config_path: Path, relative: str) -> str:
    """Read a prompt template that the configuration at *config_path* names.

    Raises:
        ConfigError: the path is absolute, leaves the configuration's folder or is no `.md`, or the file cannot be read.
    """
    return read_beside(config_path, relative, ".md")


def read_beside(config_path: Path, relative: str, suffix: str) -> str:
    """Read a text file of at most 256 KB in the configuration's folder or below it.

    Raises:
        ConfigError: the path or the file cannot be used.
    """
    content = read_bytes(locate(config_path, relative, suffix), MAX_TEMPLATE)
    return decode(content, plain(relative))


def locate(config_path: Path, relative: str, suffix: str = ".md") -> Path:
    """Return the real path of a file that the configuration names; the file need not exist.

    A configuration that is a symbolic link has two folders, the link's and the target's; both count.

    Raises:
        ConfigError: the path is absolute, leaves the folder, or has another suffix.
    """
    check_relative(relative, suffix)
    folders = _folders(config_path)
    found = next((folder for folder in folders if os.path.lexists(folder / relative)), folders[0])
    with suppress(OSError, RuntimeError):  # a loop of links; reading it then says so
        real = (found / relative).resolve()
        if not any(real.is_relative_to(folder) for folder in folders):
            raise ConfigError(
                f"{plain(relative)} leads out of the configuration's folder.",
                why="It is a symbolic link, or lies behind one.",
                hint=f"Keep the file itself below {folders[0]}.",
            )
        return real
    return found / relative


def check_relative(relative: str, suffix: str) -> None:
    """Check the form of a path in the configuration.

    Raises:
        ConfigError: it is absolute, has `..`, backslashes or unprintable characters, or another suffix.
    """
    path, shown = PurePosixPath(relative), plain(relative)
    hint = f"Give a path such as skills/file-naming{suffix}, relative to the configuration's folder."
    if not relative or not relative.isprintable() or "\\" in relative:
        raise ConfigError(f"'{shown}' cannot be a file's path.", hint=hint)
    if path.is_absolute() or relative.startswith("~"):
        raise ConfigError(f"The path {shown} is not relative to the configuration's folder.", hint=hint)
    if ".." in path.parts:
        raise ConfigError(f"The path {shown} has '..' in it.", hint=hint)
    if path.suffix != suffix:
        raise ConfigError(f"The path {shown} does not end in {suffix}.", hint=hint)


def add_template(config_path: Path, current: str, wanted: str, text: str) -> str:
    """Write a new template and return its path, relative to the configuration's folder.

    The file appears under its name only when it is whole. A file that is there already is never changed: with the same
    text it is used, with another the next free name is taken. The caller holds the configuration's lock.

    Args:
        config_path: the host's configuration.
        current: the template in use; a configuration behind a symbolic link has two folders, and this tells which.
        wanted: the path to write.
        text: the whole content.

    Raises:
        ConfigError: the path cannot be used, or too many names are taken.
        OSError: the file cannot be written.
    """
    folder = next((f for f in _folders(config_path) if (f / current).exists()), _folders(config_path)[0])
    content = text.encode("utf-8")
    for name in alternatives(wanted):
        check_relative(name, ".md")
        target = _target(folder, name, config_path)
        temporary = target.with_name(f".{target.name}.{config_path.name}.new")
        temporary.unlink(missing_ok=True)  # of a process that was killed
        if not os.path.lexists(target) and _create(target, temporary, content):
            return name
        if not target.is_symlink() and target.is_file() and read_bytes(target, MAX_TEMPLATE) == content:
            return name
    raise ConfigError(f"There are too many files such as {plain(wanted)}.", hint="Move some of them away.")


def alternatives(wanted: str) -> list[str]:
    """Return *wanted* and the names to try when it is taken.

    >>> alternatives("skills/a-v2.md")[:3]
    ['skills/a-v2.md', 'skills/a-v2-2.md', 'skills/a-v2-3.md']
    """
    stem = wanted.removesuffix(".md")
    return [wanted, *(f"{stem}-{number}.md" for number in range(2, NAMES_TRIED))]


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a whole new file and make it durable; a leftover of a killed process under its name goes first.

    Raises:
        OSError: it cannot be written.
    """
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _folders(config_path: Path) -> tuple[Path, ...]:
    given, real = config_path.parent.resolve(), config_path.resolve().parent
    return (given,) if given == real else (given, real)


def _target(folder: Path, name: str, config_path: Path) -> Path:
    parent = (folder / name).parent.resolve()
    if not any(parent.is_relative_to(allowed) for allowed in _folders(config_path)):
        raise ConfigError(f"{plain(name)} leads out of the configuration's folder.")
    return parent / PurePosixPath(name).name


def _create(target: Path, temporary: Path, content: bytes) -> bool:
    """Create *target* in one step; False when somebody else was faster."""
    write_new(temporary, content, 0o666)  # the umask decides, as for any file of the host's
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            return False
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)
    return True
