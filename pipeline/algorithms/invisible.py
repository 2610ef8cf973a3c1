"""Characters that a reader does not see, or that move what a reader sees."""

from __future__ import annotations

import unicodedata

CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Unicode's Default_Ignorable_Code_Point outside those categories, and blanks that pass for letters.
IGNORABLE = frozenset(
    (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10),
     *range(0xE0100, 0xE01F0))
)  # fmt: skip
BYTE, PLANE = 0xFF, 0xFFFF


def is_hidden(char: str) -> bool:
    r"""Tell whether *char* is a control, formatting, surrogate, unassigned or ignorable character; line ends count too.

    >>> is_hidden("a"), is_hidden("\u202e"), is_hidden("\U000e0141"), is_hidden("\n")
    (False, True, True, True)
    """
    return unicodedata.category(char) in CATEGORIES or ord(char) in IGNORABLE


def visible(text: str, *, newlines: bool = False) -> str:
    r"""Return *text* with every hidden character as its escape.

    Args:
        text: of any origin.
        newlines: leave line feeds as they are.

    >>> visible("a\x1b[2J\u202e")
    'a\\x1b[2J\\u202e'
    """
    return "".join(c if (newlines and c == "\n") or not is_hidden(c) else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    if code <= BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= PLANE else f"\\U{code:08x}"
