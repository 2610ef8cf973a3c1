"""The same text as a machine, a quick reader and a guesser of disguises would read it: one spelling instead of many."""

# ruff: noqa: RUF001, RUF002 - letters that look like others are its subject
from __future__ import annotations

import html
import re
import unicodedata

from pipeline.algorithms.invisible import is_hidden

# Letters that pass for Latin ones (a small part of Unicode's confusables): Cyrillic, Greek, Armenian, Cherokee, small capitals.
_ALIKE = (
    ("аᴀɑαաАΑᎪ", "a"), ("вʙβВΒᏴ", "b"), ("сᴄϲСᏟ", "c"), ("ԁᴅđᎠ", "d"), ("еᴇεєЕΕᎬ", "e"), ("ꜰғϝ", "f"), ("ɢɡցԍᏀ", "g"),
    ("нһʜհНΗᎻ", "h"), ("іıɪιІΙ", "i"), ("јᴊЈᎫ", "j"), ("кᴋκКΚᏦ", "k"), ("ӏʟłᏞ", "l"), ("мᴍМΜ", "m"), ("ɴηոΝ", "n"),
    ("оᴏοօøОΟ", "o"), ("рᴘρРΡᏢ", "p"), ("ԛզ", "q"), ("ʀᎡ", "r"), ("ѕꜱЅᏚ", "s"), ("тᴛτТΤᎢ", "t"), ("ᴜυսᴗ", "u"),
    ("ѵᴠνᏙ", "v"), ("ԝᴡωᏔ", "w"), ("хχХΧ", "x"), ("уүγʏУΥ", "y"), ("ᴢΖᏃ", "z"), ("։⁚∶ː꞉׃", ":"), ("⁄∕", "/"), ("∖", "\\"),
    ("․。", "."),
)  # fmt: skip
_LATIN = {ord(char): latin for alike, latin in _ALIKE for char in alike}
_FOREIGN = re.compile(r"[\u0370-\u03ff\u0400-\u052f\u0530-\u058f\u13a0-\u13ff]")
_MIXED = 4  # letters of a word from which two alphabets in it are a disguise; shorter ones are formulas: "µm", "Δx"
_LETTERS = re.compile(r"[^\W\d_]+")
_DIGIT_LETTERS = str.maketrans("013457@$", "oieastas")
_BREAKS = re.compile(r"[\u2028\u2029\x0b\x0c\x85]|\r\n?")
_FENCED_MARK = re.compile(r"[ ]?[\[({<][ ]?(dot|at|[.:@/]{1,3})[ ]?[\])}>][ ]?", re.IGNORECASE)
_SPELLED = {"dot": ".", "at": "@"}
_HEX = re.compile(r"%([2-7][0-9a-fA-F])")


def clear(text: str) -> str:
    r"""Return *text* in one spelling: compatible forms as plain ones, escapes resolved, nothing invisible, no `[.]` for a dot.

    >>> clear("ｈｔｔｐ[:]//e\u200bvil[.]com"), clear("a&#58;b")
    ('http://evil.com', 'a:b')
    """
    text = html.unescape(text) if "&" in text else text
    text = _HEX.sub(lambda match: chr(int(match[1], 16)), _BREAKS.sub("\n", text))
    text = unicodedata.normalize("NFKC", text)
    text = "".join(char for char in text if char in "\n\t" or not is_hidden(char))
    return _FENCED_MARK.sub(lambda match: _SPELLED.get(match[1].lower(), match[1]), text)


def latin(text: str) -> str:
    """Return *text* with Latin letters for those that look like them, and without accents.

    >>> latin("Ignorе précédent")
    'Ignore precedent'
    """
    if text.isascii():
        return text
    bare = unicodedata.normalize("NFKD", text.translate(_LATIN))
    return "".join(char for char in bare if not unicodedata.combining(char))


def lettered(text: str) -> str:
    """Return *text* with letters for the digits and marks that stand for them.

    >>> lettered("1gn0re 4ll")
    'ignore all'
    """
    return text.translate(_DIGIT_LETTERS)


def mixed(text: str) -> list[str]:
    """Return the words that have letters of two alphabets that look alike.

    >>> mixed("Ignorе the µm, слово"), mixed("plain")
    (['Ignorе'], [])
    """
    if text.isascii():
        return []
    words = (match[0] for match in _LETTERS.finditer(text))
    return [word for word in words if len(word) >= _MIXED and re.search(r"[A-Za-z]", word) and _FOREIGN.search(word)]
