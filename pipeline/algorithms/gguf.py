"""What a GGUF file says of its tokenizer, read from the file's first bytes; every length in it is checked."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_KEYS = 100_000  # most keys of a file; real ones have some dozens
_ITEMS = 2_000_000  # most items of one array
_NAME = 65_535  # longest name of a key, bytes (GGUF)
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes by type of value
WANTED = "tokenizer.ggml."


@dataclass(slots=True)
class Tokenizer:
    """The tokenizer's arrays and words, by their names without `tokenizer.ggml.`."""

    words: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all that a byte-level BPE needs was found."""
        return {"model", "pre"} <= self.words.keys() and {"tokens", "merges"} <= self.lists.keys()


def read_tokenizer(data: bytes) -> Tokenizer:
    """Read the tokenizer from the beginning of a GGUF file.

    Args:
        data: as many of its first bytes as the metadata takes; all keys of the tokenizer must lie within.

    Raises:
        ValueError: it is no such file, ends before the tokenizer does, or has lengths that no file has.
    """
    try:
        return _read(data)
    except (struct.error, IndexError) as error:
        raise ValueError("the file ends within its metadata") from error


def _read(data: bytes) -> Tokenizer:
    magic, version, _tensors, keys = struct.unpack_from("<4sIQQ", data)
    if magic != MAGIC or version not in _VERSIONS or keys > _KEYS:
        raise ValueError("it is no GGUF file of a known version")
    found, at = Tokenizer(), 24
    for _ in range(keys):
        name, at = _text(data, at, _NAME)
        (kind,) = struct.unpack_from("<I", data, at)
        at = _value(data, at + 4, kind, name, found)
        if found.complete:
            break
    return found


def _value(data: bytes, at: int, kind: int, name: str, found: Tokenizer) -> int:
    """Read or pass over one value; return where the next one begins."""
    wanted = name.removeprefix(WANTED) if name.startswith(WANTED) else ""
    if kind == _STRING:
        text, at = _text(data, at, len(data))
        if wanted:
            found.words[wanted] = text
        return at
    if kind != _ARRAY:
        return _past(data, at + _size(kind))
    inner, items = struct.unpack_from("<IQ", data, at)
    at += 12
    if items > _ITEMS:
        raise ValueError(f"an array of {items} items is no tokenizer's")
    if inner != _STRING:
        return _past(data, at + items * _size(inner))
    texts: list[str] = []
    for _ in range(items):
        text, at = _text(data, at, len(data))
        texts.append(text)
    if wanted:
        found.lists[wanted] = texts
    return at


def _text(data: bytes, at: int, most: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if length > most or end > len(data):
        raise ValueError("the file ends within its metadata")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _size(kind: int) -> int:
    if kind not in _SIZES:
        raise ValueError(f"values of type {kind} are not known")
    return _SIZES[kind]


def _past(data: bytes, at: int) -> int:
    if at > len(data):
        raise ValueError("the file ends within its metadata")
    return at
