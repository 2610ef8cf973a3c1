"""Every error this project raises on purpose, one tree.

::

    EvolutionError                     the root; callers can catch it
    ├── ConfigError                    a setting is wrong; carries file, line and what to try
    ├── NotFound                       a skill, run, variant or version does not exist
    ├── Refused                        a rule says no; --force is named where it helps
    ├── Unreachable                    Redis, Ollama, the database or the disk cannot be used just now
    ├── ModelMissing                   a model is not installed; carries the pull command
    ├── OtherRelease                   the database's tables are of another release
    ├── Blocked                        another evoctl holds a lock
    └── BadInput                       a file or a value handed in cannot be used
"""

from __future__ import annotations


class EvolutionError(Exception):
    """Something went wrong that a person can act on.

    Attributes:
        what: one sentence saying what happened.
        why: the reason, with file and line of the setting where there is one; may be empty.
        hint: what to try next, a command where possible; may be empty.
    """

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.hint = what, why, hint

    def __str__(self) -> str:
        """Join the three parts into one line for logs."""
        return " ".join(part for part in (self.what, self.why, self.hint) if part)


class ConfigError(EvolutionError):
    """A setting in the host's configuration cannot be used."""


class NotFound(EvolutionError):
    """The named thing does not exist."""


class Refused(EvolutionError):
    """A rule of the pipeline says no."""


class Unreachable(EvolutionError):
    """A service that is needed does not answer, or a file cannot be written just now."""


class ModelMissing(Unreachable):
    """A model that is needed is not installed in Ollama."""


class OtherRelease(EvolutionError):
    """The database belongs to an older or a newer release of this program."""


class Blocked(EvolutionError):
    """Another process holds the lock."""


class BadInput(EvolutionError):
    """A file or value that was handed in cannot be used; nothing was changed."""
