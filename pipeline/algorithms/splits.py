"""A number that belongs to a text for ever: the same on every machine, in every release."""

from __future__ import annotations

import hashlib

_BITS = 53  # as many as a double holds exactly


def fraction(key: str) -> float:
    """Return a uniform number in [0, 1) drawn from *key* alone.

    >>> fraction("a") == fraction("a"), fraction("a") == fraction("b")
    (True, False)
    """
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS))
