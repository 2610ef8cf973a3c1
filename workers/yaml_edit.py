"""Change a few values of a YAML file and no other byte.

A round trip through a YAML library re-indents and re-quotes a person's file. Here the tree only tells where the values
stand; the text between them is copied, and the result is parsed again and compared with what was wanted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress

from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.errors import ConfigError
from workers.yaml_tree import BOM, NULL, Document, Entry, parse, plain

Value = str | int | float | None
Edit = tuple[int, int, str]  # replace text[start:end]

ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
COLON = re.compile(r"[ \t]*:")
LINE_END = re.compile(r"[^\r\n]*(\r\n|\r|\n|$)")


def replace_values(text: str, name: str, trail: tuple[str, ...], values: Mapping[str, Value]) -> str:
    """Return *text* with *values* in the mapping that *trail* leads to.

    A value that is already there is left as it is written. A missing key becomes a line of its own, after the keys of
    *values* that stand before it.

    Args:
        text: one YAML document; a byte order mark and any line ends stay.
        name: the file's name, for messages.
        trail: keys from the root, such as `("skills", "file-naming")`.
        values: new values by key, in the order in which missing ones are added; the first must be there.

    Raises:
        ConfigError: the mapping is missing or written in a way that cannot be edited safely.
    """
    body = text.removeprefix(BOM)
    document = parse(body, name)
    entries = {entry.name: entry for entry in editable_entries(document, trail)}
    edits, missing, anchor = list[Edit](), dict[Entry, list[tuple[str, Value]]](), None
    for key, value in values.items():
        entry = entries.get(key)
        if entry is None and anchor is None:
            raise ConfigError(f"{name} has no {plain('.'.join(trail))}.{key}.", hint="Add the line by hand.")
        if entry is None and anchor is not None:
            missing.setdefault(anchor, []).append((key, value))
        elif entry is not None:
            edits += _edit(document, entry, ".".join((*trail, key)), value)
            anchor = entry
    edits += [_insertion(body, entry, lines) for entry, lines in missing.items()]
    changed = _apply(body, edits)
    if not _is_as_wanted(document, changed, trail, values):
        what = f"{name} could not be edited without changing something else; nothing was changed."
        raise ConfigError(what, hint="Write the entry in the plain style, one key a line.")
    return text[: len(text) - len(body)] + changed


def editable_entries(document: Document, trail: tuple[str, ...]) -> tuple[Entry, ...]:
    """Walk down to a mapping that can be edited: in block style, not shared, not merged from elsewhere.

    Raises:
        ConfigError: it is missing, or cannot be edited.
    """
    node, walked = document.root, document.name
    for step in (*trail, None):
        if node is None or not isinstance(node, MappingNode):
            raise ConfigError(f"{document.name} has no entry {plain('.'.join(trail))}.")
        if node.flow_style:
            what = f"{walked} is written in braces; evolution changes only entries with one key a line."
            raise document.error(node, what, hint="Write it with one key a line.")
        entries = document.entries(node, walked)
        if step is None:
            return entries
        entry = next((e for e in entries if e.name == step), None)
        if entry is None:
            raise ConfigError(f"{document.name} has no entry {plain('.'.join(trail))}.")
        node, walked = entry.value, plain(step)
        _refuse_shared(document, entry, walked)
    raise AssertionError("the last step returns")


def write_value(value: Value) -> str:
    r"""Write one value so that every YAML reader, old or new, reads it alike; text stands between double quotes.

    Raises:
        ConfigError: a number is not finite, or text has half of a surrogate pair.

    >>> write_value('a "b"'), write_value(2), write_value(0.91), write_value(None), write_value("\U0001f600")
    ('"a \\"b\\""', '2', '0.91', 'null', '"\\U0001f600"')
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return f'"{"".join(map(_escape, value))}"'
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"The number {value} cannot be written to a configuration.")
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")  # 1e+16 is text to older readers
    return str(int(value))


def _escape(character: str) -> str:
    code = ord(character)
    if character in ESCAPES:
        return ESCAPES[character]
    if "\ud800" <= character <= "\udfff":
        raise ConfigError("The text to write has half of a surrogate pair.")
    if character > "\uffff":
        return f"\\U{code:08x}"
    return character if character.isprintable() else f"\\u{code:04x}"


def _refuse_shared(document: Document, entry: Entry, name: str) -> None:
    if entry.merged or entry.value.anchor or entry.key.anchor:
        what = f"{name} is shared with another place of {document.name}, by an anchor, an alias or a merge."
        raise document.error(entry.key, what, hint="Write it out in full, so that changing it changes nothing else.")


def _edit(document: Document, entry: Entry, name: str, value: Value) -> list[Edit]:
    node = entry.value
    _refuse_shared(document, entry, plain(name))
    if not isinstance(node, ScalarNode):
        raise document.error(entry.key, f"{plain(name)} is a list or mapping, not one value.")
    if node.style in ("|", ">"):
        raise document.error(entry.key, f"{plain(name)} is written as a block.", hint="Write it on one line.")
    if _holds(document, node, value):
        return []
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if start < end:
        return [(start, end, write_value(value))]
    colon = COLON.match(document.text, int(entry.key.end_mark.index))  # an empty value: its mark is behind the comment
    if colon is None:
        raise document.error(entry.key, f"{plain(name)} has no value.", hint="Write one.")
    return [(colon.end(), colon.end(), f" {write_value(value)}")]


def _insertion(text: str, after: Entry, lines: list[tuple[str, Value]]) -> Edit:
    """Add lines below the line on which *after* ends, with its indentation and its kind of line end."""
    node = after.value
    end = after.key.end_mark.index if node.start_mark.index == node.end_mark.index else node.end_mark.index
    match = LINE_END.match(text, int(end))
    at, ending = (match.end(), match.group(1)) if match else (len(text), "")
    indent = " " * int(after.key.start_mark.column)
    written = [f"{indent}{key}: {write_value(value)}" for key, value in lines]
    if ending:
        return at, at, "".join(f"{line}{ending}" for line in written)
    before = LINE_END.match(text)  # the file's last line has no end; its first tells the kind
    ending = (before.group(1) if before else "") or "\n"
    return at, at, "".join(f"{ending}{line}" for line in written)


def _apply(text: str, edits: list[Edit]) -> str:
    pieces, copied = list[str](), 0
    for start, end, new in sorted(edits, key=lambda edit: edit[0]):
        pieces += (text[copied:start], new)
        copied = end
    return "".join((*pieces, text[copied:]))


def _is_as_wanted(old: Document, changed: str, trail: tuple[str, ...], values: Mapping[str, Value]) -> bool:
    """Tell whether *changed* parses to the old tree but for the wanted values."""
    try:
        new = parse(changed, old.name)
    except ConfigError:
        return False
    left, right, seen = old.root, new.root, set[tuple[int, int]]()
    for step in trail:
        if not _same_pairs(left, right, {step}, seen):
            return False
        left, right = _value_of(left, step), _value_of(right, step)
    if not _same_pairs(left, right, set(values), seen):
        return False
    return all(_holds(new, _value_of(right, key), value) for key, value in values.items())


def _same_pairs(left: Node | None, right: Node | None, but: set[str], seen: set[tuple[int, int]]) -> bool:
    """Compare two mappings, the values of the keys *but* aside; those of *right* may be new."""
    if not (isinstance(left, MappingNode) and isinstance(right, MappingNode)):
        return False
    ours, theirs = ([pair for pair in node.value if _text(pair[0]) not in but] for node in (left, right))
    if len(ours) != len(theirs):
        return False
    return all(_same(a, b, seen) and _same(x, y, seen) for (a, x), (b, y) in zip(ours, theirs, strict=True))


def _same(left: Node, right: Node, seen: set[tuple[int, int]]) -> bool:
    if (id(left), id(right)) in seen:  # shared by an alias, or holding itself
        return True
    seen.add((id(left), id(right)))
    if (type(left), left.tag, left.anchor) != (type(right), right.tag, right.anchor):
        return False
    if isinstance(left, MappingNode):
        return _same_pairs(left, right, set(), seen)
    if isinstance(left, SequenceNode):
        pairs = zip(left.value, right.value, strict=False)
        return len(left.value) == len(right.value) and all(_same(a, b, seen) for a, b in pairs)
    return bool(left.value == right.value)


def _value_of(mapping: Node | None, key: str) -> Node | None:
    pairs = mapping.value if isinstance(mapping, MappingNode) else ()
    return next((value for name, value in pairs if _text(name) == key), None)


def _text(node: Node) -> str | None:
    return str(node.value) if isinstance(node, ScalarNode) else None


def _holds(document: Document, node: Node | None, value: Value) -> bool:
    """Tell whether *node* already says *value*, type included."""
    if not isinstance(node, ScalarNode):
        return False
    if value is None:
        return node.tag == NULL and bool(node.value)  # an empty value is written out, for the person who reads it
    with suppress(YAMLError, ValueError, OverflowError):
        found = document.constructed(node)
        return type(found) is type(value) and bool(found == value)
    return False
