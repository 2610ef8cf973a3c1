"""What feedback cannot be used, before any of it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.prompts import fields_read
from models.tables import PromptVersionRow
from pipeline.errors import BadInput
from pipeline.rules import Rules

MAX_TASK_ID = 200  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a skill knows of its prompts.

    Attributes:
        versions: that have been in use; empty where none was noted yet.
        in_use: the one that is in use.
        read: fields of the input that the prompt in use reads; empty where none was noted yet.
    """

    versions: tuple[int, ...]
    in_use: int
    read: frozenset[str]

    def problem(self, fields: Mapping[str, str], version: int | None, *, history: bool = False) -> str:
        """Say why feedback of such an input and version cannot be used; empty when it can.

        Fields that the prompt does not read may be there, and some that it reads may be missing: they are empty then. What
        another prompt than the one in use reads is not looked at.

        Args:
            fields: the input's named texts.
            version: that wrote the output; None where nobody says.
            history: an import, whose outputs may be older than what is known here.
        """
        if version is not None and not history and self.versions and version not in self.versions:
            known = ", ".join(f"v{one}" for one in self.versions)
            return f"there is no prompt version {version} (known: {known})"
        if fields and self.read and version in (None, self.in_use) and not self.read & fields.keys():
            wanted = ", ".join(sorted(self.read))
            return f"the input has none of the fields that the prompt reads ({wanted}), only {', '.join(fields)[:200]}"
        return ""

    def missing(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        """Return the fields that the prompt reads and an input does not have."""
        return tuple(sorted(self.read - fields.keys())) if fields else ()


def known_of(session: Session, rules: Rules) -> Known:
    """Return what a skill knows of its prompts."""
    name = rules.skill.name
    noted = set(session.scalars(select(PromptVersionRow.version).where(PromptVersionRow.skill_name == name)))
    versions = sorted({*noted, rules.skill.version} if noted else ())
    return Known(versions=tuple(versions), in_use=rules.skill.version, read=fields_read(session, name))


def refuse_unusable(
    known: Known,
    task_id: str,
    fields: tuple[tuple[str, str], ...],
    texts: tuple[str, ...],
    version: int | None,
    *,
    history: bool,
) -> None:
    """Refuse feedback that cannot be kept, or that would count for no prompt.

    Raises:
        BadInput: says which task, and why.
    """
    if not 1 <= len(task_id) <= MAX_TASK_ID:
        raise BadInput(f"A task id has 1 to {MAX_TASK_ID} characters: {task_id[:40]!r}...")
    if any(map(_unkeepable, (task_id, *texts, *sum(fields, ())))):
        raise BadInput(f"Task {task_id!r} has a zero byte or half a surrogate pair in its text.")
    if problem := known.problem(dict(fields), version, history=history):
        raise BadInput(f"Task {task_id!r} cannot be used: {problem}.", why="It would count for no prompt.")


def _unkeepable(text: str) -> bool:
    """Tell whether some database refuses *text*."""
    return "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)
