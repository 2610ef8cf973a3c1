"""One backup as one file: a zip with a manifest that names every member by size and hash.

Writing ends with a whole file or none. Reading trusts nothing: a member that the manifest does not name, or that is
no plain file of a backup, refuses the whole archive before anything is written.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from pipeline.errors import BadInput, ConfigError, Refused
from workers.host_templates import check_relative, sync_folder
from workers.yaml_tree import MAX_BYTES, is_unsafe, plain

FORMAT = 1
MANIFEST, DATABASE, CONFIG = "manifest.json", "evolution.db", "config.yaml"
BESIDE = "beside/"  # files that the configuration names, by their paths relative to it
VERSION = re.compile(r"versions/[a-z][a-z0-9-]{0,63}/v[1-9]\d{0,8}\.md")
MAX_MEMBERS = 20_000
MAX_MANIFEST = 8_000_000  # bytes; a member takes about 150
ABANDONED_S = 3_600.0  # a temporary file that nobody has written to for so long is of a killed call
PIECE = 1 << 20  # bytes copied at a time
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Member:
    """What the manifest says of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is.

    Attributes:
        revision: schema of its database.
        program: version of the program that wrote it.
        created_at: ISO 8601, UTC.
        files: every member but the manifest itself.
    """

    revision: str
    program: str
    created_at: str
    files: Mapping[str, Member]


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive whose members all passed; use `opened`."""

    name: str
    manifest: Manifest
    _zip: zipfile.ZipFile

    def content(self, name: str) -> bytes:
        """Return a small member.

        Raises:
            BadInput: it is not what the manifest says.
        """
        kept = BytesIO()
        self._copy(name, kept)
        return kept.getvalue()

    def extract(self, name: str, path: Path) -> None:
        """Write a member to a new private file and make it durable.

        Raises:
            BadInput: it is not what the manifest says.
            OSError: it cannot be written.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            self._copy(name, file)
            file.flush()
            os.fsync(descriptor)

    def check(self) -> None:
        """Read every member and compare it with its hash.

        Raises:
            BadInput: one is not what the manifest says.
        """
        for name in self.manifest.files:
            self._copy(name, None)

    def _copy(self, name: str, target: IO[bytes] | None) -> None:
        wanted, size, digest = self.manifest.files[name], 0, hashlib.sha256()
        try:
            with self._zip.open(name) as source:
                while (piece := source.read(PIECE)) and size <= wanted.size:
                    size += len(piece)
                    digest.update(piece)
                    if target is not None and size <= wanted.size:
                        target.write(piece)
        except BROKEN as error:
            raise _bad(self.name, f"{plain(name)} cannot be read: {plain(str(error))}.") from error
        if (size, digest.hexdigest()) != (wanted.size, wanted.sha256):
            raise _bad(self.name, f"{plain(name)} is not what the manifest says.")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a backup for reading and check its table of contents.

    Raises:
        BadInput: it is missing, no backup, of a newer format, or holds what no backup holds.
    """
    shown = plain(str(path), 400)
    try:
        if not path.is_file():
            raise BadInput(f"There is no file {shown}.", hint="Name a file that 'evoctl backup' wrote.")
        with zipfile.ZipFile(path) as found:
            yield Archive(path.name, _manifest(found, path.name), found)
    except OSError as error:
        if error.filename not in (None, str(path)):
            raise
        raise BadInput(f"The file {shown} cannot be read.", why=f"{error.strerror or error}.") from error
    except zipfile.BadZipFile as error:
        raise _bad(path.name, "It is no zip file, or not a whole one.") from error


def write(target: Path, members: Mapping[str, bytes | Path], facts: Mapping[str, str], *, force: bool) -> Manifest:
    """Write a backup, readable by its owner only; *target* appears when it is whole.

    Args:
        target: the file to write.
        members: content, or the file that has it, by name.
        facts: `revision`, `program` and `created_at` of the manifest.
        force: replace a file that is there.

    Raises:
        Refused: *target* exists, and *force* was not given; or it is a folder.
        OSError: it cannot be written.
    """
    if target.is_dir():
        raise Refused(f"{plain(str(target), 400)} is a folder.", hint="Name a file in it, such as evolution.zip.")
    if os.path.lexists(target) and not force:
        raise _exists(target)
    _remove_leftovers(target)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent)
    temporary = Path(name)  # its own: another backup may be on its way to the same file
    try:
        with os.fdopen(descriptor, "w+b") as file:
            manifest = _write(file, members, facts)
            file.flush()
            os.fsync(descriptor)
        if force:
            temporary.replace(target)
        else:
            _appear(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)
    return manifest


def _remove_leftovers(target: Path) -> None:
    """Remove what killed calls left beside *target*; the file of a call that works is young."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.new"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime >= ABANDONED_S:
                left.unlink()


def _write(file: IO[bytes], members: Mapping[str, bytes | Path], facts: Mapping[str, str]) -> Manifest:
    files: dict[str, Member] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            with made.open(_info(name), "w", force_zip64=True) as target:
                files[name] = _pour(content, target)
        data: dict[str, Any] = {"format": FORMAT, **facts}
        data["files"] = {name: {"size": one.size, "sha256": one.sha256} for name, one in files.items()}
        made.writestr(_info(MANIFEST), json.dumps(data, indent=1, ensure_ascii=True))
    return Manifest(facts["revision"], facts["program"], facts["created_at"], files)


def _pour(content: bytes | Path, target: IO[bytes]) -> Member:
    size, digest = 0, hashlib.sha256()
    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        while piece := source.read(PIECE):
            size += len(piece)
            digest.update(piece)
            target.write(piece)
    return Member(size, digest.hexdigest())


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # its time is 1980: the manifest has the true one
    info.external_attr = (stat.S_IFREG | 0o600) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _appear(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise _exists(target) from None
        temporary.rename(target)


def _manifest(found: zipfile.ZipFile, name: str) -> Manifest:
    infos = found.infolist()
    names = [info.filename for info in infos]
    if len(names) > MAX_MEMBERS or len(names) != len(set(names)):
        raise _bad(name, "It has too many files, or one of them twice.")
    if MANIFEST not in names or found.getinfo(MANIFEST).file_size > MAX_MANIFEST:
        raise _bad(name, "It has no readable manifest.")
    for info in infos:
        _check_member(info, name)
    try:
        with found.open(MANIFEST) as file:
            data = json.loads(file.read(MAX_MANIFEST + 1))
        if data["format"] != FORMAT:
            why = f"Its format is {plain(str(data['format']), 20)}; this program knows {FORMAT}."
            raise _bad(name, why, hint="Use the release that wrote it, or a newer one.")
        files = {str(key): Member(int(value["size"]), str(value["sha256"])) for key, value in data["files"].items()}
        manifest = Manifest(str(data["revision"]), str(data["program"]), str(data["created_at"]), files)
    except (*BROKEN, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _bad(name, "It has no readable manifest.") from error
    if {MANIFEST, *files} != set(names) or DATABASE not in files:
        raise _bad(name, "Its manifest does not name the files that it has.")
    if any(one.size != found.getinfo(key).file_size for key, one in files.items()):
        raise _bad(name, "A file has another size than the manifest says.")
    return manifest


def _check_member(info: zipfile.ZipInfo, archive: str) -> None:
    """Refuse what is no plain file under a name that a backup uses."""
    name, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or info.is_dir():
        raise _bad(archive, f"{plain(name)} is a link, a folder or a device.")
    if name in (MANIFEST, DATABASE):
        return
    if info.file_size > MAX_BYTES:
        raise _bad(archive, f"{plain(name)} is larger than {MAX_BYTES:,} bytes.")
    if name == CONFIG or VERSION.fullmatch(name):
        return
    relative, suffix = name.removeprefix(BESIDE), ".json" if name.endswith(".json") else ".md"
    try:
        if relative == name or any(map(is_unsafe, relative)):
            raise _bad(archive, f"{plain(name)} is no file of a backup.")
        check_relative(relative, suffix)
    except ConfigError as error:
        raise _bad(archive, f"{plain(name)} is no file of a backup.") from error


def _exists(target: Path) -> Refused:
    return Refused(f"{plain(str(target), 400)} exists already.", hint="Name another file, or add --force.")


def _bad(name: str, why: str, *, hint: str = "") -> BadInput:
    return BadInput(f"{plain(name)} cannot be restored; nothing was changed.", why=why, hint=hint)
