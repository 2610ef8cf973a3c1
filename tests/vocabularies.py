"""Simulated vocabularies: real byte-level BPE in form, but with merges made from a text's commonest words, not trained.

No model has them. They are exact counters to hold estimates and budgets against, small enough to be made by a test.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pipeline.algorithms.bpe import Vocabulary, pieces, vocabulary

ROOT = Path(__file__).parent.parent
GPT2 = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
WORDS = 4000  # whose letters are merged from the front until each is one token


def documents() -> str:
    """Return the repository's own prose, which the simulated vocabulary is made from."""
    return "\n".join(path.read_text("utf-8") for path in sorted(ROOT.glob("docs/*.md")))


def printable() -> list[str]:
    """Return the printable character of each byte, in the bytes' order (GPT-2's own table, written independently)."""
    table, spare = list[str](), 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255:
            table.append(chr(byte))
        else:
            table.append(chr(spare))
            spare += 1
    return table


def arrays(text: str, words: int = WORDS) -> tuple[list[str], list[str]]:
    """Return tokens and merges that make the commonest pieces of *text* one token each."""
    table = printable()
    merges: dict[str, None] = {}
    tokens = dict.fromkeys(table)
    for piece, _ in Counter(pieces(text, (GPT2,))).most_common(words):
        symbols = [table[byte] for byte in piece.encode()]
        for end in range(1, len(symbols)):
            merges.setdefault(f"{''.join(symbols[:end])} {symbols[end]}")
            tokens.setdefault("".join(symbols[: end + 1]))
    return list(tokens), list(merges)


@lru_cache(maxsize=16)
def simulated(pre: str = "smollm", words: int = WORDS) -> Vocabulary:
    """Return a simulated vocabulary of the repository's prose."""
    made = vocabulary("gpt2", pre, *arrays(documents(), words))
    assert made is not None
    return made


def gguf(tokens: Sequence[str], merges: Sequence[str], *, model: str = "gpt2", pre: str = "smollm") -> bytes:
    """Write a GGUF file of version 3 with the keys that real ones have, and some bytes that stand for its tensors."""
    keys = [
        text("general.architecture", "llama"), number("llama.context_length", 8192), text("tokenizer.ggml.model", model),
        text("tokenizer.ggml.pre", pre), strings("tokenizer.ggml.tokens", tokens),
        named("tokenizer.ggml.token_type") + struct.pack(f"<IIQ{len(tokens)}i", 9, 5, len(tokens), *[1] * len(tokens)),
        strings("tokenizer.ggml.merges", merges), number("tokenizer.ggml.bos_token_id", 1),
        named("tokenizer.ggml.add_bos_token") + struct.pack("<I?", 7, False),
    ]  # fmt: skip
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(keys)) + b"".join(keys) + b"\0" * 4096


def named(name: str) -> bytes:
    """Write a string as GGUF does: its length, then its bytes."""
    return struct.pack("<Q", len(name.encode())) + name.encode()


def text(name: str, value: str) -> bytes:
    """Write a key with a string."""
    return named(name) + struct.pack("<I", 8) + named(value)


def number(name: str, value: int) -> bytes:
    """Write a key with an unsigned integer of 32 bits."""
    return named(name) + struct.pack("<II", 4, value)


def strings(name: str, values: Sequence[str]) -> bytes:
    """Write a key with an array of strings."""
    return named(name) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(named, values))
