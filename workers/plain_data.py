"""Pickles without power: numbers, texts and containers of them are read, whatever could run code is refused."""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

MAX_BYTES = 256 * 1024  # of one pickle; a job of ours takes less than two KiB, and the dashboard shows jobs of others


# Python's own and not C's, which allocates whatever a few bytes ask for (LONG_BINPUT: up to 64 GiB).
class PlainUnpickler(pickle._Unpickler):  # noqa: SLF001 - the name is private, but as old as Python 3
    """Reads numbers, texts and containers of them; a pickle that names a function or class is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:  # noqa: ARG002 - an attacker's words are not repeated
        """Refuse every global: calling one is how a pickle runs code."""
        raise pickle.UnpicklingError("it names a function or a class")


def plain_loads(data: bytes) -> Any:
    """Read a pickle of plain data.

    Raises:
        pickle.UnpicklingError: it names a function or class, is broken, or is larger than any of ours.
    """
    if len(data) > MAX_BYTES:
        raise pickle.UnpicklingError("it is too large")
    try:
        return PlainUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # hostile bytes make it raise anything
        raise pickle.UnpicklingError("it is not a pickle") from error


class PlainPickle:
    """RQ's default serializer that reads plain data only; a stock worker reads what it writes, and it what that writes."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        """Write a pickle, as RQ does."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def loads(data: bytes) -> Any:
        """Read a pickle of plain data."""
        return plain_loads(data)
