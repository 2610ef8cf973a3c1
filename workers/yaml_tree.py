"""Read a YAML file into a tree that knows its lines, and say what is wrong with it by file and line."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from pipeline.errors import ConfigError

MAX_BYTES = 1_000_000  # of one configuration file
MAX_VALUES = 10_000  # in one value given as a whole, such as a schema; an alias inside an alias grows without end
MAX_DEPTH = 100  # of such a value
MERGE, NULL = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:null"
BOM = "\ufeff"
LINE_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value; `merged` when it came through `<<`."""

    name: str
    key: Node
    value: Node
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed YAML file.

    Attributes:
        name: the file's name, for messages.
        text: what was parsed, without a byte order mark; the marks of the nodes count its characters.
        root: None when the file is empty.
        yaml: the reader, which knows the version of YAML that the file asks for.
    """

    name: str
    text: str
    root: Node | None
    yaml: YAML = field(repr=False, compare=False)

    def line(self, node: Node) -> int:
        """Return the line of *node*, counted from 1."""
        return int(node.start_mark.line) + 1

    def error(self, node: Node, what: str, *, why: str = "", hint: str = "") -> ConfigError:
        """Return the error to raise about *node*; *why* defaults to the line itself."""
        return ConfigError(what, why=f"{self.name} line {self.line(node)}: {why or self._shown(node)}", hint=hint)

    def entries(self, node: Node, what: str) -> tuple[Entry, ...]:
        """Return the entries of a mapping, merged ones last; an empty value counts as an empty mapping.

        Raises:
            ConfigError: *node* is no mapping, or a key appears twice.
        """
        if node.tag == NULL:
            return ()
        if not isinstance(node, MappingNode):
            raise self.error(node, f"{what} must be a mapping of keys to values.")
        own: dict[str, Entry] = {}
        for key, value in node.value:
            if key.tag == MERGE or not isinstance(key, ScalarNode):
                continue
            name = str(key.value)
            if name in own:
                first = f"first on line {self.line(own[name].key)}, again here."
                raise self.error(key, f"The key '{plain(name)}' of {what} appears twice.", why=first)
            own[name] = Entry(name, key, value)
        for entry in self._merged(node, what):
            own.setdefault(entry.name, entry)
        return tuple(own.values())

    def scalar(self, entry: Entry, what: str) -> Any:
        """Return the value of *entry*, which must be a scalar.

        Raises:
            ConfigError: it is a list or mapping, has an unknown tag, or is a number too long to read.
        """
        return self._scalar(entry.value, what, at=entry.key)

    def data(self, entry: Entry, what: str) -> Any:
        """Return the whole value of *entry*, lists and mappings included.

        Raises:
            ConfigError: something in it cannot be read, or it is too large or holds itself.
        """
        return self._data(entry.value, what, [MAX_VALUES], 0)

    def constructed(self, node: ScalarNode) -> Any:
        """Return the value of a scalar as the file's version of YAML reads it.

        Raises:
            YAMLError: its tag is unknown.
            ValueError: it is no value of its tag, or a number too long to read.
        """
        return self.yaml.constructor.construct_object(node)

    def _merged(self, node: MappingNode, what: str) -> Iterator[Entry]:
        todo, seen = [node], set[int]()
        while todo:
            mapping = todo.pop()
            if id(mapping) in seen:
                continue
            seen.add(id(mapping))
            sources: list[MappingNode] = []
            for key, value in mapping.value:
                if key.tag == MERGE:
                    sources += value.value if isinstance(value, SequenceNode) else [value]
                elif mapping is not node and isinstance(key, ScalarNode):
                    yield Entry(str(key.value), key, value, merged=True)
            if not all(isinstance(source, MappingNode) for source in sources):
                raise self.error(mapping, f"{what} merges something that is no mapping.")
            todo += reversed(sources)

    def _scalar(self, node: Node, what: str, at: Node) -> Any:
        if not isinstance(node, ScalarNode):
            raise self.error(at, f"{what} must be one value, not a list or mapping.")
        try:
            value = self.constructed(node)
        except (YAMLError, ValueError, OverflowError) as error:
            raise self.error(at, f"{what} cannot be read.", why=_first(error)) from error
        if isinstance(value, str) and any(is_unsafe(c) for c in value):
            raise self.error(at, f"{what} has a control character or half of a surrogate pair.")
        return value

    def _data(self, node: Node, what: str, left: list[int], depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            raise self.error(node, f"{what} is too large, or holds itself.")
        if isinstance(node, SequenceNode):
            return [self._data(item, what, left, depth + 1) for item in node.value]
        if isinstance(node, MappingNode):
            return {e.name: self._data(e.value, what, left, depth + 1) for e in self.entries(node, what)}
        return self._scalar(node, what, at=node)

    def _shown(self, node: Node) -> str:
        lines = LINE_BREAK.split(self.text)
        return plain(lines[min(self.line(node), len(lines)) - 1].strip())


def read_bytes(path: Path, limit: int, *, hint: str = "") -> bytes:
    """Read a regular file of at most *limit* bytes; never waits, as a FIFO would make it.

    Raises:
        ConfigError: it is missing, larger, no regular file or not readable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = _read(descriptor, limit + 1) if regular else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise ConfigError(f"The file {plain(str(path), 400)} does not exist.", hint=hint) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"The file {plain(str(path), 400)} cannot be read.", why=f"{reason}.", hint=hint) from error
    if not regular:
        raise ConfigError(f"{path} is not a regular file.", hint=hint)
    if len(content) > limit:
        raise ConfigError(f"The file {path} is larger than {limit:,} bytes.")
    return content


def decode(content: bytes, name: str) -> str:
    """Decode UTF-8; a byte order mark stays.

    Raises:
        ConfigError: a byte is not UTF-8, or NUL.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        why = f"{name} line {line}: byte 0x{content[error.start]:02x} is not UTF-8."
        raise ConfigError(f"{name} is not UTF-8 text.", why=why, hint="Save it as UTF-8.") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError(f"{name} is not a text file.", why=f"{name} line {line}: a NUL character.")
    return text


def parse(text: str, name: str) -> Document:
    """Parse one YAML document.

    Raises:
        ConfigError: it is not valid YAML, or more than one document.
    """
    text = text.removeprefix(BOM)
    broken = partial(ConfigError, f"{name} is not valid YAML.")
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # legal, and the host's own affair
    try:
        return Document(name, text, yaml.compose(text), yaml)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise broken(why=f"{name} line {line}: {_reason(error)}", hint=_advice(error)) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise broken(why=f"{name} line {line}: a character that YAML does not allow.") from error
    except RecursionError as error:
        raise broken(why=f"{name} line 1: it is nested too deeply.") from error
    except (YAMLError, ValueError, OverflowError) as error:
        raise broken(why=f"{name} line 1: {_first(error)}") from error


def plain(text: str, width: int = 120) -> str:
    r"""Return *text* fit for one line of a terminal.

    >>> plain("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: width + 1])
    return safe if len(safe) <= width else f"{safe[: width - 1]}…"


def is_unsafe(character: str) -> bool:
    r"""Tell whether a character has no place in a value: a control other than tab and newline, or half a surrogate.

    >>> [is_unsafe(c) for c in "a\n\t\x00\x9f\ud800"]
    [False, False, False, True, True, True]
    """
    code = ord(character)
    control = code < 0x20 and character not in "\t\n\r"  # noqa: PLR2004 - the first printable character
    return control or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF  # noqa: PLR2004 - Unicode's C1 and surrogates


def _read(descriptor: int, limit: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(limit)


def _reason(error: MarkedYAMLError) -> str:
    parts = [str(part) for part in (error.context, error.problem) if part]
    return plain(", ".join(dict.fromkeys(parts))) + "."


def _advice(error: MarkedYAMLError) -> str:
    problem = str(error.problem or "")
    if "'\\t'" in problem:
        return "Indent with spaces; YAML allows no tab there."
    if "another document" in problem:
        return "Keep one document: remove the second '---'."
    return ""


def _first(error: Exception) -> str:
    return plain(str(error).splitlines()[0]) if str(error) else type(error).__name__
