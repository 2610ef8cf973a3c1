"""An open home: its database, its configuration as it is now, and its doorbell."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from models.runs import Bell
from pipeline.errors import Unreachable
from pipeline.rules import Rules
from pipeline.settings import Settings
from workers.home import Home
from workers.host_config import HostConfig, file_stamp, load_host_config, read_template
from workers.queues import Bells
from workers.relay import relay
from workers.sessions import Database, database

RING_AGAIN_S = 30.0  # after a Redis that was away; `evoctl tick` rings everything in the meantime


class OpenHome:
    """What every command needs of a home. For one thread; use it as a context manager.

    Args:
        home: where things are.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self._stack = contextlib.ExitStack()
        self._database: Database | None = None
        self._config: HostConfig | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._silent_until = 0.0  # monotonic; until then Redis is not tried again

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the database."""
        self._stack.close()
        self._database = None

    @property
    def database(self) -> Database:
        """The database, opened at the first use.

        Raises:
            EvolutionError: it is away, or of another release.
        """
        if self._database is None:
            self._database = self._stack.enter_context(database(self.home.ensure()))
        return self._database

    @property
    def config(self) -> HostConfig:
        """The host's configuration as it is now: read again whenever the file changed.

        Raises:
            ConfigError: it cannot be used.
        """
        stamp = file_stamp(self.home.config)
        if self._config is None or stamp != self._stamp:
            self._config, self._stamp = load_host_config(self.home.config), stamp
        return self._config

    def rules(self, skill: str, settings: Settings | None = None) -> Rules:
        """Return the rules that a run of *skill* started now goes by.

        Raises:
            NotFound: the configuration has no such skill.
        """
        return Rules(settings=settings or self.config.settings, skill=self.config.skill(skill))

    def template(self, rules: Rules) -> str:
        """Return the text of the skill's template file."""
        return read_template(self.config.path, rules.skill.template)

    def ring(self, bells: Iterable[Bell]) -> bool:
        """Ring bells and whatever else Redis lost; False when Redis is away, which loses nothing.

        A Redis that takes connections and says nothing costs a second; a person who votes pays that once, not at each key.
        """
        if time.monotonic() < self._silent_until:
            return False
        door = Bells(self.home.redis_url)
        try:
            relay(self.home, door, bells)
        except Unreachable:
            self._silent_until = time.monotonic() + RING_AGAIN_S
            return False
        finally:
            door.close()
        return True
