"""Chance without state: every draw is a hash of what it depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def chance(*parts: object) -> float:
    """Draw a number in [0, 1), uniform over *parts* and the same for the same parts.

    >>> chance("a", 1) == chance("a", 1) != chance("a", 2)
    True
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def choose(options: Sequence[T], *parts: object) -> T:
    """Draw one of *options*, each as likely as the others."""
    return options[int(chance(*parts) * len(options))]


def between(low: int, high: int, *parts: object) -> int:
    """Draw a whole number from *low* to *high*, both included."""
    return low + int(chance(*parts) * (high - low + 1))


def shuffled(items: Sequence[T], *parts: object) -> list[T]:
    """Put *items* into an order drawn from *parts*."""
    order = sorted(range(len(items)), key=lambda index: chance("shuffled", index, *parts))
    return [items[index] for index in order]
