"""Looking without touching: configuration and database for the commands and pages that only show something.

It loads neither rq nor redis, which cost a third of a second that a person would wait for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property

from sqlalchemy.orm import Session

from pipeline.gate import Verdict, wish_of
from pipeline.rules import Rules, own_tags
from workers.home import Home
from workers.host_config import HostConfig, load_host_config
from workers.llm.gate import Gate
from workers.lock import LOCK, TICK_LOCK, UP_LOCK, held
from workers.sessions import database


class Overview:
    """What can be seen of one home.

    Args:
        home: where things are.
    """

    def __init__(self, home: Home) -> None:
        self.home = home

    @cached_property
    def config(self) -> HostConfig:
        """The host's configuration.

        Raises:
            ConfigError: it cannot be used.
        """
        return load_host_config(self.home.config)

    def rules(self, skill: str) -> Rules:
        """Return the rules of a skill as they are now.

        Raises:
            NotFound: the configuration has no such skill.
        """
        return Rules(settings=self.config.settings, skill=self.config.skill(skill))

    def all_rules(self) -> tuple[Rules, ...]:
        """Return the rules of every skill, in the configuration's order."""
        return tuple(self.rules(name) for name in self.config.skills)

    def gate(self) -> Verdict:
        """Tell whether evolution could ask a model now; it asks Ollama at most once in `ps_poll_s`."""
        settings = self.config.settings
        gate = Gate(
            self.home.ensure().root, settings.gate, settings.foreground.model, settings.models.ollama_url,
            own=own_tags(self.all_rules()),
        )  # fmt: skip
        return gate.ask(wish_of(settings.gate, begun=True, asked=True, search=False, night=False))

    def alive(self) -> bool:
        """Tell whether some job of this home works now; True where its lock cannot be asked."""
        return self._held(LOCK)

    def attended(self) -> bool:
        """Tell whether anything of this home runs in the background: `up`, `tick` or a job."""
        return any(self._held(name) for name in (TICK_LOCK, UP_LOCK, LOCK))

    def _held(self, name: str) -> bool:
        try:
            return held(self.home.ensure().locks / name)
        except OSError:
            return True

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that writes nothing.

        Raises:
            EvolutionError: the database is away, or of another release.
        """
        with database(self.home.ensure()) as opened, opened.read() as session:
            yield session
