"""What a run takes from the configuration as it is now, whatever its own rules say.

A run's rules are a text in the database, and a database may come from elsewhere. So they never choose whom we talk to,
and never which program runs here: both are said by config.yaml alone.
"""

from __future__ import annotations

import time
from dataclasses import replace

from pipeline.domain import SkillName
from pipeline.errors import ConfigError, Unreachable
from pipeline.rules import Rules
from workers.home import Home
from workers.host_config import HostConfig, file_stamp, load_host_config, load_settings
from workers.stepping import RunOver
from workers.yaml_tree import plain

SETTLED_S = 5.0  # a configuration that was changed so lately is perhaps still being written


class Present:
    """The configuration as it is now, read again when its file has changed; for one job.

    Args:
        home: where it is.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.config
        self._config: HostConfig | None = None
        self._stamp: tuple[int, int, int] | None = None

    def rules(self, frozen: Rules) -> Rules:
        """Return *frozen* with the server's address of now, and the host's load options where the run began without any.

        Raises:
            Unreachable: the configuration cannot be read now, so nobody says whom to ask.
        """
        try:
            settings = load_settings(self._path)
        except ConfigError as error:
            raise _later(error) from error
        foreground = frozen.settings.foreground
        if foreground.options is None:
            foreground = replace(foreground, options=settings.foreground.options)
        models = replace(frozen.settings.models, ollama_url=settings.models.ollama_url)
        return replace(frozen, settings=replace(frozen.settings, models=models, foreground=foreground))

    def check_scorer(self, skill: SkillName, scorer: str) -> None:
        """Make sure that the configuration names this very program as the skill's scorer.

        Raises:
            RunOver: it names another one.
            Unreachable: the configuration cannot be read now, or lacks the skill, or is perhaps just being saved.
        """
        stamp = file_stamp(self._path)
        if self._config is None or stamp != self._stamp:
            try:
                self._config, self._stamp = load_host_config(self._path), stamp
            except ConfigError as error:
                raise _later(error) from error
        spec = self._config.skills.get(skill)
        if spec is not None and spec.scorer == scorer:
            return
        if spec is None or stamp is None or abs(time.time() - stamp[0] / 1e9) < SETTLED_S:
            self._config = None  # a file that is half written lacks what comes last
            found = "no such skill" if spec is None else "another scorer"
            raise Unreachable(f"{self._path.name} names {found} now.", why="Perhaps it is just being saved.")
        words = f"it scores {plain(skill)} by {plain(scorer)}, but {self._path.name} names scorer {plain(spec.scorer)}"
        raise RunOver(
            f"{words}; only a program named there is run (`evoctl enqueue {plain(skill)} --force` starts anew)"
        )


def _later(error: ConfigError) -> Unreachable:
    """Return the error that lets a step wait: perhaps an editor is just saving the file."""
    return Unreachable(f"The configuration cannot be read: {error.what}", why=error.why, hint=error.hint)
