"""Reading the tokenizer of a GGUF file: there and back, and files that lie about their lengths."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.gguf import read_tokenizer
from tests import vocabularies

TOKENS, MERGES = ["a", "b", "ab", "Ġ", "ü"], ["a b", "Ġ a"]


@pytest.fixture(name="data")
def _data() -> bytes:
    """Return a small file."""
    made: bytes = vocabularies.gguf(TOKENS, MERGES, pre="qwen2")
    return made


def test_what_was_written_is_read(data: bytes) -> None:
    """Arrays and words, whatever other keys stand between them."""
    found = read_tokenizer(data)

    assert found.complete
    assert (found.words["model"], found.words["pre"]) == ("gpt2", "qwen2")
    assert (found.lists["tokens"], found.lists["merges"]) == (TOKENS, MERGES)


def test_a_file_that_ends_too_early_is_told_from_a_whole_one(data: bytes) -> None:
    """Wherever within the tokenizer it ends."""
    needed = data.index(b"tokenizer.ggml.bos_token_id") - 8

    assert read_tokenizer(data[:needed]).complete
    for end in range(needed):
        with pytest.raises(ValueError, match=r"ends within|no GGUF"):
            read_tokenizer(data[:end])


@pytest.mark.parametrize(
    ("at", "lie"),
    [(0, b"GGML"), (4, struct.pack("<I", 99)), (16, struct.pack("<Q", 2**60)), (24, struct.pack("<Q", 2**63))],
)
def test_a_head_that_lies_is_refused(data: bytes, at: int, lie: bytes) -> None:
    """Another magic, another version, more keys than any file has, a name longer than the file."""
    with pytest.raises(ValueError, match=r"GGUF|ends within"):
        read_tokenizer(data[:at] + lie + data[at + len(lie) :])


def test_an_array_larger_than_the_file_takes_no_memory() -> None:
    """A count of items is checked before anything is made of it."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1)
    for inner in (4, 8, 9, 77):
        array = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, inner, 10**15)
        with pytest.raises(ValueError, match=r"items|not known|ends within"):
            read_tokenizer(head + array)


@given(place=st.integers(0, 400), byte=st.integers(0, 255))
def test_one_wrong_byte_is_an_answer_or_a_refusal(place: int, byte: int) -> None:
    """Nothing else than ValueError comes out of a damaged file."""
    data = bytearray(vocabularies.gguf(TOKENS, MERGES))
    data[place % len(data)] = byte
    with contextlib.suppress(ValueError):
        read_tokenizer(bytes(data))
