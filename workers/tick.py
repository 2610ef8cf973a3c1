"""`evoctl tick`: a small process beside the worker that repairs, wakes timers, and watches while nobody works."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from datetime import timedelta

from models import checks, feedback, journal
from pipeline.errors import BadInput, ConfigError, EvolutionError
from pipeline.gate import Wish
from pipeline.rules import Rules, own_tags
from workers.clock import now
from workers.home import Home, find_home
from workers.host_config import HostConfig, file_stamp, load_host_config, read_template
from workers.llm.gate import Gate
from workers.queues import Bells
from workers.relay import Seen, reconcile
from workers.sessions import Database, check_release, database
from workers.shared_lease import SharedLease
from workers.trouble import of_file

log = logging.getLogger("evolution.tick")

CONFIG_EVERY = 20  # ticks between looks at the configuration and the drift timers
KEEP_REPLIES_D = 14  # days after a run's end for which its reply texts are kept


class Tick:
    """One reconciler: keeps its database and its Redis connection open, and reads the configuration when it changes.

    Args:
        home: where things are.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen = Seen()
        self._complaint = ""
        self._count = 0
        self._config: HostConfig | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._gate: Gate | None = None

    def run(self, stop: threading.Event) -> None:
        """Reconcile until *stop*; trouble is logged once, and tried again: a tick outlives what the others wait for."""
        while not stop.is_set():
            try:
                with database(self._home) as opened, contextlib.closing(Bells(self._home.redis_url)) as bells:
                    while not stop.is_set():
                        self.once(opened, bells)
                        self._complaint = ""
                        stop.wait(self._pause_s)
            except (EvolutionError, OSError) as trouble:  # OSError: the gate's notes on a full disk
                self._complain((isinstance(trouble, OSError) and of_file(trouble)) or trouble)
                stop.wait(self._pause_s)

    def once(self, opened: Database, bells: Bells) -> None:
        """Do one round. Repairs come first: what runs goes by its frozen rules and needs no configuration.

        Raises:
            EvolutionError: Redis, the database or the configuration cannot be used.
            OSError: the gate cannot write down what it saw.
        """
        check_release(opened)  # a newer program may have migrated the database under us: then nothing more is written
        reconcile(self._home, opened, bells, self._seen)
        config = self._fresh_config()
        self._watch(config)
        self._count += 1
        if self._count % CONFIG_EVERY == 1:
            _timers(opened, config)

    def _watch(self, config: HostConfig) -> None:
        """Look at the user's model, so that a job knows since when it has been quiet."""
        if self._gate is None:
            settings = config.settings
            rules = [Rules(settings=settings, skill=spec) for spec in config.skills.values()]
            self._gate = Gate(
                self._home.root, settings.gate, settings.foreground.model, settings.models.ollama_url,
                own=own_tags(rules), shared=SharedLease(self._home.redis_url),
            )  # fmt: skip
        self._gate.ask(Wish())

    @property
    def _pause_s(self) -> float:
        return self._config.settings.work.tick_s if self._config else 0.5

    def _fresh_config(self) -> HostConfig:
        stamp = file_stamp(self._home.config)
        if self._config is None or stamp != self._stamp:
            self._config, self._stamp, self._gate = load_host_config(self._home.config), stamp, None
        return self._config

    def _complain(self, trouble: Exception) -> None:
        if str(trouble) != self._complaint:  # once, not twice a second
            log.warning("tick.trouble %s", trouble)
        self._complaint = str(trouble)


def run(home: Home) -> None:
    """Reconcile until SIGTERM or SIGINT."""
    Tick(home).run(_stop_on_signal())


def _timers(opened: Database, config: HostConfig) -> None:
    """Start the drift checks that are due, let silence count as ok, and drop old reply texts.

    Raises:
        EvolutionError: a skill's template cannot be read; the other skills have been seen to first.
    """
    at = now()
    troubles: list[ConfigError | BadInput] = []
    for spec in config.skills.values():
        rules = Rules(settings=config.settings, skill=spec)
        with opened.write() as session:
            feedback.mature(session, rules, at)
            try:
                text = read_template(config.path, spec.template)
                checks.notice(session, rules, text, at)
                checks.start_due(session, rules, text, at)
            except (ConfigError, BadInput) as trouble:
                troubles.append(trouble)
    with opened.write() as session:
        journal.prune(session, at - timedelta(days=KEEP_REPLIES_D))
    if troubles:
        raise troubles[0]


def _stop_on_signal() -> threading.Event:
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    return done


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
    run(find_home())
