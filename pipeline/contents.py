"""The content of a task: what tells two tasks apart, whatever ids a host gave them.

The same input under many ids is one observation. So a content has one part of the history, is replayed once and is put to the
vote once. Case and spaces make no other content. Nor does a field that the prompt does not read, such as a time or a
number. Words do: near-copies cannot be told from tasks that happen to be alike, and count each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping


def content_of(fields: Mapping[str, str], read: Collection[str] = ()) -> str:
    """Return a short name of an input's content.

    Args:
        fields: the input's named texts.
        read: fields that the prompt reads; the others do not count. All count where none is known, or none is there.

    >>> content_of({"text": "A  cat "}) == content_of({"text": "a cat"}) == content_of({"text": "a cat", "id": "7"}, {"text"})
    True
    """
    names = [name for name in sorted(fields) if name in read] or sorted(fields)
    pairs = [(name, " ".join(fields[name].split()).casefold()) for name in names]
    text = json.dumps(pairs, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
