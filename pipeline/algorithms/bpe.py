"""Exact token counts of byte-level BPE models from their own vocabulary, in pure Python.

Only the kinds of splitting that are known here are counted; of any other the count would be a guess, so there is none.
"""

from __future__ import annotations

import heapq
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

MOST_TOKENS = 1_000_000  # of a vocabulary; the largest known ones have 262,144
MOST_CHARS = 1_000_000  # of a text that is counted
_KEPT = 50_000  # pieces whose counts are kept
_BASE = 256
_PLANES = 0x20000  # characters whose class is looked up; beyond are rare Han characters, which are letters


@dataclass(slots=True, repr=False)
class Vocabulary:
    """A byte-level BPE vocabulary, ready to count; made by `vocabulary`.

    Attributes:
        tokens: all of them, in the bytes' printable form.
        ranks: of each pair that is merged, the lowest first.
        splits: the patterns that cut a text into pieces, one after the other.
        whole: a piece that is a token stays whole, whatever the merges say.
    """

    tokens: frozenset[str]
    ranks: dict[tuple[str, str], int]
    splits: tuple[re.Pattern[str], ...]
    whole: bool
    _counts: dict[str, int] = field(default_factory=dict)

    def count(self, text: str) -> int:
        """Return the number of tokens of *text* as plain text, without template and special tokens.

        Raises:
            ValueError: the text is longer than `MOST_CHARS`.
        """
        if len(text) > MOST_CHARS:
            raise ValueError(f"{len(text)} characters are too many to count")
        return sum(self._piece(piece) for piece in pieces(text, self.splits))

    def _piece(self, piece: str) -> int:
        known = self._counts.get(piece)
        if known is None:
            known = self._merged(piece)
            if len(self._counts) < _KEPT:
                self._counts[piece] = known
        return known

    def _merged(self, piece: str) -> int:
        """Merge the best pair again and again; a symbol that is no token falls apart into its bytes."""
        symbols = [_BYTES[byte] for byte in piece.encode("utf-8", "replace")]
        if self.whole and "".join(symbols) in self.tokens:
            return 1
        after = [*range(1, len(symbols)), -1]
        before = list(range(-1, len(symbols) - 1))
        heap: list[tuple[int, int, str, str]] = []
        for left in range(len(symbols) - 1):
            self._offer(heap, left, symbols[left], symbols[left + 1])
        while heap:
            _, left, one, other = heapq.heappop(heap)
            right = after[left]
            if symbols[left] != one or right < 0 or symbols[right] != other:
                continue  # one of the two has been merged meanwhile
            symbols[left], symbols[right] = one + other, ""
            after[left] = after[right]
            if after[left] >= 0:
                before[after[left]] = left
                self._offer(heap, left, symbols[left], symbols[after[left]])
            if before[left] >= 0:
                self._offer(heap, before[left], symbols[before[left]], symbols[left])
        return sum(1 if symbol in self.tokens else len(symbol) for symbol in symbols if symbol)

    def _offer(self, heap: list[tuple[int, int, str, str]], left: int, one: str, other: str) -> None:
        rank = self.ranks.get((one, other))
        if rank is not None:
            heapq.heappush(heap, (rank, left, one, other))


def vocabulary(model: str, pre: str, tokens: Sequence[str], merges: Sequence[str]) -> Vocabulary | None:
    """Make a vocabulary of what a GGUF file says of its tokenizer; None when its counts would not be exact.

    Args:
        model: `tokenizer.ggml.model`; only `gpt2` is byte-level BPE.
        pre: `tokenizer.ggml.pre`, how a text is split before it is merged.
        tokens: all tokens.
        merges: "left right", the best first.
    """
    splits = _splits(pre)
    sized = 0 < len(tokens) <= MOST_TOKENS and 0 < len(merges) <= MOST_TOKENS
    if model != "gpt2" or not splits or not sized:
        return None
    ranks: dict[tuple[str, str], int] = {}
    for rank, merge in enumerate(merges):
        one, _, other = merge.partition(" ")
        if one and other:
            ranks.setdefault((sys.intern(one), sys.intern(other)), rank)
    return Vocabulary(tokens=frozenset(tokens), ranks=ranks, splits=splits, whole=pre in _WHOLE)


def pieces(text: str, splits: Iterable[re.Pattern[str]]) -> Iterator[str]:
    """Cut *text* by each pattern in turn: its matches and what is left between them."""
    parts: Iterable[str] = (text,)
    for pattern in splits:
        parts = _cut(parts, pattern)
    yield from parts


def _cut(parts: Iterable[str], pattern: re.Pattern[str]) -> Iterator[str]:
    for part in parts:
        end = 0
        for match in pattern.finditer(part):
            if match.start() > end:
                yield part[end : match.start()]
            if match.end() > match.start():
                yield match[0]
            end = match.end()
        if end < len(part):
            yield part[end:]


@lru_cache(maxsize=8)
def _splits(pre: str) -> tuple[re.Pattern[str], ...]:
    """Write the patterns of one kind with what the standard library knows; empty when the kind is not known.

    Its classes of letters and digits are not those of Unicode: other numbers count as letters there, so they are named.
    """
    patterns = _PATTERNS.get(pre, ())
    if not patterns:
        return ()
    numbers = _class("Nl", "No")
    words = {"L": rf"[^\W\d_{numbers}]", "N": rf"[\d{numbers}]", "O": r"(?:[^\s\w]|_)"}
    words |= {"NOT": r"(?:[^\w\r\n]|_)", "P": f"[{_class('P')}$+<=>^~|]"}
    return tuple(re.compile(pattern.format(**words)) for pattern in patterns)


def _class(*categories: str) -> str:
    """Return every character of these categories for a set in a pattern."""
    return re.escape("".join(c for c in map(chr, range(_PLANES)) if unicodedata.category(c).startswith(categories)))


def _printable() -> tuple[str, ...]:
    """Return the printable character that stands for each byte (GPT-2)."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, _BASE)}
    others = (byte for byte in range(_BASE) if byte not in plain)
    shifted = {byte: chr(_BASE + place) for place, byte in enumerate(others)}
    return tuple(shifted.get(byte, chr(byte)) for byte in range(_BASE))


_BYTES = _printable()
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?{L}+| ?{N}+| ?{O}+|\s+(?!\S)|\s+"
_LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{NOT}?{L}+|{N}{{1,3}}| ?{O}+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PATTERNS: dict[str, tuple[str, ...]] = {
    "gpt-2": (_GPT2,),
    "smollm": (r"{N}", _GPT2),
    "llama-bpe": (_LLAMA,),
    "qwen2": (_LLAMA.replace("{{1,3}}", ""),),
    "default": (r"{P}+", _GPT2, r"{N}+", r"[0-9][0-9][0-9]"),
}
_WHOLE = frozenset({"llama-bpe"})
