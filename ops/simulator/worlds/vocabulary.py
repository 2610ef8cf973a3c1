"""Word lists, written as running text."""

from __future__ import annotations


def vocabulary(*texts: str) -> frozenset[str]:
    """Make a set of the words in *texts*.

    >>> sorted(vocabulary("the a", "of"))
    ['a', 'of', 'the']
    """
    return frozenset(word for text in texts for word in text.split())
