"""The RQ worker that `evoctl env` names in RQ_WORKER_CLASS: it runs our six jobs and nothing else.

Whoever can write to Redis can leave a job there, and a stock worker calls whatever that job names. This one reads plain
data only, knows six functions, and takes two numbers for them; what it refuses lands among the failed jobs with a reason
of ours. Stock workers and the dashboard read what it writes, and it reads what they write.
"""

from __future__ import annotations

import logging
import pickle
import re
import zlib
from collections.abc import Sequence
from typing import Any, cast

from redis import Redis
from rq import Queue, Worker
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.logutils import colorizer

from pipeline.algorithms.invisible import visible
from workers.plain_data import PlainPickle, plain_loads
from workers.queues import FUNCTIONS, are_numbers

JOB_ID = re.compile(rb"[A-Za-z0-9_-]{1,200}")
MAX_DATA = 16 * 1024  # bytes of a job's call or meta, unpacked; ours take less than two KiB
MAX_WORDS = 200  # characters of a description
MAX_LOGGED = 20_000  # characters of one entry in the log
INDENT = "\n    "  # before each further line of an entry, so that no text can pass for an entry of its own
PARTS = 4  # of a call: function, instance, arguments, named arguments
# What we use of RQ. Callbacks and webhooks name functions and addresses; retries, repeats and dependencies go round us.
FIELDS = (
    b"data", b"meta", b"description", b"origin", b"status", b"timeout", b"result_ttl", b"failure_ttl", b"created_at",
    b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat", b"worker_name",
)  # fmt: skip
UNREADABLE = "Refused: this job's record cannot be read."
REASONS = {
    "data": "Refused: this job is not plain data.",
    "name": "Refused: this job asks for a function that is none of the six jobs.",
    "numbers": "Refused: a job takes two whole numbers, of a step and of an attempt.",
}


class EvolutionJob(Job):
    """A job as it was found in Redis, which may have been written by anyone."""

    _unreadable = False

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: Any = None) -> None:  # noqa: A002, ARG002 - RQ's signature
        super().__init__(id, connection, PlainPickle)

    def restore(self, raw_data: dict[Any, Any]) -> None:
        """Take over the fields that we use; a record that RQ cannot read becomes a job that is refused."""
        kept = {name: value for name, value in raw_data.items() if name in FIELDS}
        try:
            kept |= {name: _unpacked(kept[name]) for name in (b"data", b"meta") if name in kept}
            super().restore(kept)
        except Exception:  # noqa: BLE001 - a hostile record makes RQ raise anything, which would end the worker
            self._unreadable = True
            super().restore({b"data": b"", b"origin": kept.get(b"origin", b"").decode("ascii", "replace").encode()})
        self.description = visible(self.description or "")[:MAX_WORDS]
        self.meta = _checked_meta(self.meta)

    def refusal(self) -> str:
        """Return why this job is not run, empty when it may be."""
        if self._unreadable:
            return UNREADABLE
        try:
            call = plain_loads(self.data)
        except pickle.UnpicklingError:
            return REASONS["data"]
        if not isinstance(call, tuple | list) or len(call) != PARTS:
            return REASONS["data"]
        name, instance, args, named = call
        if instance is not None or not isinstance(name, str) or name not in FUNCTIONS.values():
            return REASONS["name"]
        return "" if isinstance(args, tuple | list) and are_numbers(args) and not named else REASONS["numbers"]

    @property  # type: ignore[misc]  # RQ's can be set, which no worker does
    def func_name(self) -> str:
        """The function's name; never one that is not ours."""
        self._refuse()
        return str(super().func_name)

    @property
    def func(self) -> Any:
        """The function itself."""
        self._refuse()
        return cast("Any", Job.func).fget(self)

    def _refuse(self) -> None:
        reason = self.refusal()
        if reason:
            raise PoisonJob(reason)


class PoisonJob(Exception):
    """A job in Redis is none of ours; the message says why in words of ours."""


class EvolutionQueue(Queue):
    """A queue that passes over entries which cannot be the id of a job."""

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> Any:
        """Take the next id, as RQ does; an odd one would end the worker."""
        while True:
            found = super().lmove(connection, queue_key, timeout)
            if found is None or JOB_ID.fullmatch(found[1]):
                return found
            connection.lrem(IntermediateQueue(queue_key, connection).key, 1, found[1])


class EvolutionWorker(Worker):
    """A forking worker for our six jobs alone; what others wrote reaches neither a function nor a terminal.

    Whatever job class, queue class or serializer the command line names, these three are ours.
    """

    def __init__(self, queues: Any, *args: Any, **kwargs: Any) -> None:
        names = [one if isinstance(one, str) else one.name for one in _listed(queues)]
        if kwargs.get("connection") is None and names:
            kwargs["connection"] = _listed(queues)[0].connection
        ours = {"job_class": EvolutionJob, "queue_class": EvolutionQueue, "serializer": PlainPickle}
        super().__init__(names, *args, **kwargs | ours)
        log_harmlessly()

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Log a refusal in one line, and everything else as RQ does."""
        reason = job.refusal() if isinstance(job, EvolutionJob) else ""
        if reason:
            self.log.error("Worker %s: job %s: %s", self.name, job.id, reason)
            return
        super().handle_exception(job, *exc_info)

    def handle_job_failure(
        self, job: Job, queue: Queue, started_job_registry: Any = None, exc_string: str = ""
    ) -> None:
        """Keep the reason alone of a refused job: a traceback would be of RQ, and says less."""
        reason = job.refusal() if isinstance(job, EvolutionJob) else ""
        super().handle_job_failure(job, queue, started_job_registry, reason or exc_string)


class HarmlessRecord(logging.LogRecord):
    """An entry of the log that a terminal shows and does not obey: tracebacks and words of jobs stand in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info:
            self.exc_text = _harmless(logging.Formatter().formatException(cast("Any", self.exc_info)))

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the entry, made harmless."""
        return _harmless(super().getMessage())


def log_harmlessly() -> None:
    """Make every later entry of this process's log, and of its children's, harmless; RQ's colours go."""
    logging.setLogRecordFactory(HarmlessRecord)
    colorizer.notty = True


def _harmless(text: str) -> str:
    return visible(text[:MAX_LOGGED], newlines=True).replace("\n", INDENT)


def _listed(queues: Any) -> Sequence[Any]:
    return queues if isinstance(queues, list | tuple) else [queues]


def _unpacked(value: bytes) -> bytes:
    """Unpack a field as far as ours go; a few packed bytes can hold gigabytes.

    Raises:
        ValueError: it holds more.
    """
    try:
        unpacking = zlib.decompressobj()
        plain = unpacking.decompress(value, MAX_DATA + 1)
    except zlib.error:
        plain = value  # RQ writes meta, and reads data, as they are
    if len(plain) > MAX_DATA:
        raise ValueError("larger than any of ours")
    return plain


def _checked_meta(meta: Any) -> dict[str, Any]:
    """Return what a job may be told; a job that is told less waits later and in more memory, no more."""
    if not isinstance(meta, dict) or "unserialized" in meta:
        return {}
    told = {key: value for key, value in meta.items() if isinstance(key, str)}
    hold = told.get("hold")
    if hold is not None and not _is_hold(hold):
        del told["hold"]
    return told


def _is_hold(hold: Any) -> bool:
    kinds = {"settings": dict, "wish": dict, "own": list | tuple, "tag": str}
    return isinstance(hold, dict) and all(isinstance(hold.get(name), kind) for name, kind in kinds.items())
