"""The doorbell. It carries ids and words of ours, never a text.

With `worker` and `redis_facts` the only module that imports rq or redis.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry
from rq import Queue, get_current_job
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job

from pipeline.domain import Stage
from pipeline.errors import Unreachable
from workers.plain_data import PlainPickle

QUEUE = "evolution"
FUNCTIONS = {
    Stage.DETECT: "workers.jobs.detect_drift",
    Stage.MUTATE: "workers.jobs.mutate_population",
    Stage.JUDGE: "workers.jobs.judge_variants",
    Stage.DEDUPE: "workers.jobs.dedupe_variants",
    Stage.BANDIT: "workers.jobs.launch_bandit",
    Stage.PROMOTE: "workers.jobs.promote_or_rollback",
}
RESULT_TTL_S = 3600  # a finished job stays in the dashboard this long
FAILURE_TTL_S = 30 * 24 * 3600
NUMBERS = range(1, 2**31)  # what the ids of a database may be
SOCKET_S = 1.0  # a bell is best effort: an absent Redis may not cost more


class BellState(StrEnum):
    """What Redis knows of a bell."""

    MISSING = "missing"  # never rung, or Redis was wiped
    QUEUED = "queued"  # in the list; a worker will come
    TAKEN = "taken"  # a worker has it, or had it when it died
    OVER = "over"  # finished, failed or stopped


@dataclass(frozen=True, slots=True)
class Ring:
    """One bell to ring.

    Attributes:
        job_id: unique; ringing the same id twice changes nothing.
        words: description for the dashboard, ours alone.
        meta: shown by the dashboard: what the step waits for.
    """

    stage: Stage
    step: int
    attempt: int
    job_id: str
    front: bool
    words: str
    meta: dict[str, Any]


class Bells:
    """Rings and looks at bells.

    Args:
        url: of Redis or Valkey.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._redis = connect(url)
        self._queue = Queue(QUEUE, connection=self._redis)

    def ring(self, rings: Iterable[Ring]) -> None:
        """Ring each bell once.

        Raises:
            Unreachable: Redis does not answer; the steps stay ready and are rung by the next reconciliation.
        """
        with _reachable(self.url):
            for one in rings:
                with contextlib.suppress(DuplicateJobError):
                    self._queue.enqueue(
                        FUNCTIONS[one.stage], one.step, one.attempt, job_id=one.job_id, unique=True, at_front=one.front,
                        job_timeout=-1, result_ttl=RESULT_TTL_S, failure_ttl=FAILURE_TTL_S, description=one.words,
                        meta=one.meta,
                    )  # fmt: skip

    def states(self, job_ids: list[str]) -> dict[str, BellState]:
        """Return what Redis knows of each bell.

        Raises:
            Unreachable: Redis does not answer.
        """
        with _reachable(self.url):
            pipe = self._redis.pipeline(transaction=False)
            for key in (self._queue.key, self._queue.intermediate_queue_key):
                pipe.lrange(key, 0, -1)
            for job_id in job_ids:
                pipe.hget(Job.key_for(job_id), "status")
            queued, between, *statuses = pipe.execute()
        listed = {item.decode(errors="replace") for item in queued}
        popped = {item.decode(errors="replace") for item in between}
        return {
            job_id: _state(status, in_list=job_id in listed, popped=job_id in popped)
            for job_id, status in zip(job_ids, statuses, strict=True)
        }

    def next_job(self) -> str:
        """Return the id at the head of the queue, empty when there is none or Redis is away."""
        with contextlib.suppress(RedisError, OSError):
            head = cast("list[bytes]", self._redis.lrange(self._queue.key, 0, 0))
            return head[0].decode(errors="replace") if head else ""
        return ""

    def holds(self, job_id: str) -> bool:
        """Tell whether a job was rung to wait for a quiet moment itself; False when Redis is away."""
        with contextlib.suppress(RedisError, OSError):
            meta = cast("bytes | None", self._redis.hget(Job.key_for(job_id), "meta"))
            return meta is not None and b"hold" in meta  # the key's own letters, whichever serializer wrote it
        return False

    def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            Unreachable: it does not.
        """
        with _reachable(self.url):
            self._redis.ping()

    def run_id(self) -> str:
        """Return the name that the server gave its present life: another one means that it was restarted.

        Raises:
            Unreachable: it does not answer.
        """
        with _reachable(self.url):
            return str(cast("dict[str, object]", self._redis.info("server"))["run_id"])

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


def connect(url: str) -> Redis:
    """Open a connection that fails at once: redis-py would try for four seconds by itself."""
    return Redis.from_url(
        url, socket_timeout=SOCKET_S, socket_connect_timeout=SOCKET_S, retry=Retry(NoBackoff(), 0), protocol=2
    )


def are_numbers(args: Sequence[Any]) -> bool:
    """Tell whether a job was given what our jobs take: the number of a step and of an attempt.

    >>> are_numbers((42, 1)), are_numbers((True, 1)), are_numbers(("42", 1)), are_numbers((42,))
    (True, False, False, False)
    """
    return len(args) == len(("step", "attempt")) and all(type(one) is int and one in NUMBERS for one in args)


_adopted: list[Job] = []  # of a process that works for a job of its parent


def adopt_job(url: str, job_id: str) -> None:
    """Let this process speak for a job that its parent runs; without effect when Redis is away or *job_id* is empty."""
    if not job_id:
        return
    with contextlib.suppress(RedisError, OSError, NoSuchJobError):
        _adopted[:] = [Job.fetch(job_id, connection=connect(url), serializer=PlainPickle)]


def current_job_id() -> str:
    """Return the id of the RQ job that runs this code; empty outside a job."""
    job = _current_job()
    return str(job.id) if job is not None else ""


def current_meta() -> dict[str, Any]:
    """Return the meta of the RQ job that runs this code; empty outside a job, or when it is no object."""
    job = _current_job()
    return dict(job.meta) if job is not None and isinstance(job.meta, dict) else {}


def note_waiting(reason: str) -> None:
    """Show in the dashboard what the running job waits for; without effect outside a job or when Redis is away."""
    job = _current_job()
    if job is None or job.meta.get("waiting_for", "") == reason:
        return
    job.meta["waiting_for"] = str(reason)  # of an enumeration only the word: nobody unpacks a name from Redis
    with contextlib.suppress(RedisError, OSError):
        job.save_meta()  # type: ignore[no-untyped-call]  # rq leaves it without annotations


def _current_job() -> Job | None:
    return get_current_job() or (_adopted[0] if _adopted else None)


def _state(status: bytes | None, *, in_list: bool, popped: bool) -> BellState:
    if status is None:
        return BellState.MISSING
    if in_list:
        return BellState.QUEUED
    if status in (b"finished", b"failed", b"stopped", b"canceled"):
        return BellState.OVER  # also when a killed horse left the id in the intermediate list
    return BellState.TAKEN if popped or status in (b"started", b"queued") else BellState.OVER


@contextlib.contextmanager
def _reachable(url: str) -> Iterator[None]:
    place = url.rpartition("@")[2] or url
    try:
        yield
    except AuthenticationError as error:
        raise Unreachable(
            "Redis refused the password.", why=f"{place}: {error}", hint='eval "$(evoctl env)" sets RQ_REDIS_URL.'
        ) from error
    except (RedisError, OSError) as error:
        raise Unreachable(f"Redis does not answer at {place}.", why=str(error), hint="evoctl up starts one.") from error
