"""The words a naming mind knows: which say nothing, which have other names, which have short forms."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ops.simulator.worlds.vocabulary import vocabulary

WORD = re.compile(r"[a-z0-9]+")
STOP_WORDS = vocabulary(
    "a an the of in on at to for with from by and or is are was were be been that this these those how your you its it as ",
    "can using via up into under over which where when while some their our my we i not no s t has have will within through",
)
FILLERS = vocabulary(
    "screenshot screenshots screen shot image images picture pictures photo illustration illustrating showing shows show ",
    "shown example sample following click clicking called successfully containing depicting displaying displays visual ",
    "graphic demonstrating",
)
WEAK = vocabulary(
    "dialog box icon button panel window windows option options new page tab menu open section highlighted selected area",
    "different various multiple custom notification message step right left upper lower corner top bottom text field bar",
    "input allow enable access name line start box toast get ready",
)
EMBELLISHMENTS = (
    ("detailed", "screenshot"),
    ("high", "quality"),
    ("colorful", "modern"),
    ("a", "clear"),
    ("visual", "overview"),
)
GENERIC = ("image", "screenshot", "picture", "untitled", "document", "photo")
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "button": ("control", "knob"), "dialog": ("popup", "prompt-box"), "window": ("pane", "frame"), "settings": ("preferences", "configuration"),
    "app": ("application", "program"), "menu": ("dropdown", "choices"), "chart": ("graph", "plot"), "list": ("overview", "collection"),
    "user": ("person", "member"), "users": ("people", "members"), "folder": ("directory", "container"), "file": ("document", "item"),
    "search": ("lookup", "finder"), "link": ("reference", "connection"), "create": ("make", "build"), "select": ("pick", "choose"),
    "view": ("look", "glance"), "diagram": ("drawing", "scheme"), "table": ("grid", "matrix"), "page": ("sheet", "site"),
    "code": ("program", "script"), "status": ("state", "condition"), "share": ("spread", "distribute"), "open": ("launch", "unfold"),
}  # fmt: skip
SHORT_FORMS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("visual", "studio", "code"), "vscode"), (("vs", "code"), "vscode"), (("visual", "studio"), "vs"),
    (("analysis", "services"), "as"), (("sql", "server"), "sql"), (("windows", "subsystem", "for", "linux"), "wsl"),
    (("application",), "app"), (("information",), "info"), (("configuration",), "config"), (("administrator",), "admin"),
    (("user", "interface"), "ui"), (("resource", "identifier"), "id"),
)  # fmt: skip


def split_words(text: str) -> list[str]:
    """Cut a description into lower-case words and numbers.

    >>> split_words("VS_Code: Debug 2")
    ['vs', 'code', 'debug', '2']
    """
    return WORD.findall(text.lower().replace("'s", "").replace("\u2019s", ""))


def shortened_terms(words: list[str]) -> list[str]:
    """Put well-known short forms in the place of long terms.

    >>> shortened_terms(["vs", "code", "menu"])
    ['vscode', 'menu']
    """
    short: list[str] = []
    index = 0
    while index < len(words):
        for term, form in SHORT_FORMS:
            if tuple(words[index : index + len(term)]) == term:
                short.append(form)
                index += len(term)
                break
        else:
            short.append(words[index])
            index += 1
    return short
