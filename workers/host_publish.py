"""Put a prompt into the host's configuration: the one place that writes files of the host's.

The effect is idempotent and killable at any point: the template is whole before config.yaml names it, config.yaml is
replaced in one step, and a repeated request finds that it is done and touches nothing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import BadInput, Blocked, ConfigError
from pipeline.flow import Publish, Published
from pipeline.skills import parse_template
from workers.exchange import exchange
from workers.host_templates import (
    MAX_TEMPLATE,
    add_template,
    alternatives,
    check_relative,
    locate,
    read_template,
    sync_folder,
    write_new,
)
from workers.trouble import of_file
from workers.yaml_edit import Value, editable_entries, replace_values
from workers.yaml_tree import MAX_BYTES, decode, is_unsafe, parse, read_bytes

LOCK_WAIT_S = 10.0  # a publication takes milliseconds; a lock held longer belongs to something that hangs
KEYS = ("prompt_template", "prompt_version")
ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
SETTLE_S = 0.02  # an editor that opened the file before it was replaced has written by then
HALF_SAVED_S = 0.05  # an editor that empties the file before it writes needs less
TRIES = 3  # an editor that saves between our read and our write is met again at most so often


class _ReadOnly(ConfigError):
    """The file may not be written; a person can change that at any time."""


@dataclass(frozen=True, slots=True)
class _InUse:
    """What the configuration says of one skill, at one moment."""

    before: bytes
    template: str
    version: int


def publish(path: Path, request: Publish, *, lock_wait_s: float = LOCK_WAIT_S) -> Published:
    """Write the prompt's template and name it in the skill's entry of the configuration at *path*.

    Nothing is changed, and the answer says why, when another version than the expected one is in use, or when the
    entry cannot be edited without touching something else.

    Raises:
        Blocked: another process held the configuration's lock for *lock_wait_s* seconds.
        Unreachable: the disk is full, or a file or folder may not be written.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - 50 ms that readers of the configuration need not spend

    real = path.resolve()
    if not real.parent.is_dir():  # the lock would create it
        return _refusal(request, f"The folder {real.parent} does not exist.")
    lock = real.with_name(f"{real.name}.lock")
    try:
        with FileLock(lock, timeout=lock_wait_s):
            return _publish(path, real, request)
    except Timeout as error:
        why = f"The lock {lock} was held for more than {lock_wait_s:g} s."
        raise Blocked(f"Another process is changing {path}.", why=why, hint="Try again in a moment.") from error
    except _ReadOnly as error:
        return _refusal(request, str(error), later=True)
    except (ConfigError, BadInput) as error:
        return _refusal(request, str(error))
    except OSError as error:
        passing = of_file(error)
        if passing is not None:
            raise passing from error
        return _refusal(request, f"{error.filename or path} cannot be written: {error.strerror or error}.")


def put_back(path: Path, content: bytes, beside: Mapping[str, bytes], *, lock_wait_s: float = LOCK_WAIT_S) -> None:
    """Write a whole configuration and the files that it names, each in one step, the configuration last.

    Args:
        path: the configuration.
        content: its new text.
        beside: content of the files by their paths, relative to the configuration's folder.
        lock_wait_s: as for `publish`.

    Raises:
        Blocked: another process held the lock.
        ConfigError: a path leaves the configuration's folder.
        OSError: a file cannot be written.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - as above

    real = path.resolve()
    real.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(real.with_name(f"{real.name}.lock"), timeout=lock_wait_s):
            for name, text in beside.items():
                target = locate(path, name, PurePosixPath(name).suffix)
                target.parent.mkdir(parents=True, exist_ok=True)
                _put(target, text)
            _put(real, content)
    except Timeout as error:
        raise Blocked(f"Another process is changing {path}.", hint="Try again in a moment.") from error


def _put(target: Path, content: bytes) -> None:
    temporary = _part(target)
    if target.exists():
        temporary = _whole(target, content, target.stat())
    else:
        write_new(temporary, content, 0o666)  # the umask decides, as for any file of the host's
    temporary.replace(target)
    sync_folder(target.parent)


def _publish(path: Path, real: Path, request: Publish) -> Published:
    _check(request)
    for _ in range(TRIES):
        now = _once_saved(path, request.skill)
        _part(real).unlink(missing_ok=True)  # of a process that was killed
        if _is_done(path, request, now):
            return Published(ok=True, template=now.template, message="It was in use already.")
        if now.version != request.expected_version:
            what = f"{path.name} names version {now.version} of {request.skill}"
            return _refusal(request, f"{what}, not {request.expected_version}: a person or another run was faster.")
        _edited(path, request, now, request.template)  # refuses before any file is written
        template = _ready_template(path, request, now)
        if _replace(path, real, now.before, _edited(path, request, now, template)):
            return Published(ok=True, template=template)
    busy = f"{path.name} was changed by another program each time it was about to be written."
    return _refusal(request, busy, later=True)


def _check(request: Publish) -> None:
    """Refuse a text that could not be read back."""
    check_relative(request.template, ".md")
    if not request.text:
        return
    if any(is_unsafe(character) for character in request.text):
        raise BadInput("The prompt has a control character or half of a surrogate pair.")
    if len(request.text.encode("utf-8")) > MAX_TEMPLATE:
        raise BadInput(f"The prompt is larger than {MAX_TEMPLATE // 1024} KB.")
    parse_template(request.text)


def _once_saved(path: Path, skill: str) -> _InUse:
    """Read what is in use; a file that makes no sense is perhaps just being saved."""
    for _ in range(TRIES):
        with suppress(ConfigError):
            return _in_use(path, skill)
        time.sleep(HALF_SAVED_S)
    return _in_use(path, skill)


def _in_use(path: Path, skill: str) -> _InUse:
    before = read_bytes(path, MAX_BYTES)
    document = parse(decode(before, path.name), path.name)
    entries = {entry.name: entry for entry in editable_entries(document, ("skills", skill))}
    values = {key: document.scalar(entries[key], f"skills.{skill}.{key}") for key in KEYS if key in entries}
    template, version = values.get("prompt_template"), values.get("prompt_version", 1)
    if not isinstance(template, str) or type(version) is not int:
        what = f"The entry of {skill} in {path.name} has no readable prompt_template and prompt_version."
        raise ConfigError(what, hint="Run 'evoctl doctor'.")
    return _InUse(before, template, version)


def _is_done(path: Path, request: Publish, now: _InUse) -> bool:
    """Tell whether an earlier try got through, be it under another file name."""
    if now.version != request.version:
        return False
    if not request.text:
        return now.template == request.template
    if now.template not in alternatives(request.template):
        return False
    with suppress(ConfigError):
        return read_template(path, now.template) == request.text
    return False


def _ready_template(path: Path, request: Publish, now: _InUse) -> str:
    if request.text:
        return add_template(path, now.template, request.template, request.text)
    parse_template(read_template(path, request.template))
    return request.template


def _edited(path: Path, request: Publish, now: _InUse, template: str) -> bytes:
    values: dict[str, Value] = {
        "prompt_template": template,
        "prompt_version": request.version,
        "evolved_at": request.evolved_at,
        "previous_accuracy": _rounded(request.previous_accuracy),
        "current_accuracy": _rounded(request.current_accuracy),
    }
    text = decode(now.before, path.name)
    return replace_values(text, path.name, ("skills", request.skill), values).encode("utf-8")


def _rounded(accuracy: float | None) -> float | None:
    return None if accuracy is None else round(float(accuracy), 4)


def _replace(path: Path, real: Path, before: bytes, after: bytes) -> bool:
    """Put *after* in the place of *before* in one step; False when the file is no longer *before*."""
    info = real.stat()
    if not info.st_mode & ANY_WRITE or not os.access(real, os.W_OK):
        raise _ReadOnly(f"{path} is read-only.", hint="Make it writable, or promote by hand.")
    _copy(real.with_name(f"{real.name}.bak"), before, info)
    temporary = _whole(real, after, info)
    try:
        if path.resolve() != real or read_bytes(real, MAX_BYTES) != before:
            return False
        if not exchange(temporary, real):
            temporary.replace(real)
        elif not _stays(temporary, before):
            _give_way(temporary, real, after)
            return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(real.parent)
    return True


def _stays(replaced: Path, before: bytes) -> bool:
    """Tell whether nobody saved between our last look and the swap, or had the file open and writes into it now."""
    if not _was(replaced, before):
        return False
    time.sleep(SETTLE_S)
    return _was(replaced, before)


def _was(replaced: Path, before: bytes) -> bool:
    with suppress(ConfigError):
        return read_bytes(replaced, MAX_BYTES) == before
    return False


def _give_way(temporary: Path, real: Path, after: bytes) -> None:
    """Put back what another program saved just before the swap; what it saved after it is newer."""
    exchange(temporary, real)
    if not _was(temporary, after):
        exchange(temporary, real)


def _copy(target: Path, content: bytes, like: os.stat_result) -> None:
    _whole(target, content, like).replace(target)


def _whole(target: Path, content: bytes, like: os.stat_result) -> Path:
    """Write a durable file beside *target*, with the mode and, where allowed, the owner of *like*."""
    temporary = _part(target)
    write_new(temporary, content, 0o600)
    with suppress(OSError):
        os.chown(temporary, like.st_uid, like.st_gid, follow_symlinks=False)
    temporary.chmod(stat.S_IMODE(like.st_mode))
    return temporary


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.new")


def _refusal(request: Publish, message: str, *, later: bool = False) -> Published:
    return Published(ok=False, template=request.template, message=message, later=later)
