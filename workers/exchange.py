"""Swap the names of two files in one step, so that what was replaced can still be looked at, and put back."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

HERE = -100  # AT_FDCWD: paths are relative to the working directory
SWAP = 2  # RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS


def exchange(one: Path, other: Path) -> bool:
    """Swap two files of one folder; False, with nothing changed, where the kernel or the file system cannot."""
    first, second = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return bool(library.renamex_np(first, second, ctypes.c_uint(SWAP)) == 0)
        return bool(library.renameat2(HERE, first, HERE, second, ctypes.c_uint(SWAP)) == 0)
    except (OSError, AttributeError):  # no such call in this C library
        return False
