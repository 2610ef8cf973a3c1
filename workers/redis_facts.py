"""What Redis and the RQ workers say of themselves, for doctor and the page; nothing is changed.

Worker records are read by their keys: loading rq's own class would take 0.2 s to learn two fields.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from socket import gethostname
from typing import Any, cast

from redis.exceptions import RedisError

from pipeline.errors import Unreachable
from workers.clock import now
from workers.queues import QUEUE, connect

ALIVE_S = 480.0  # rq renews an idle worker's record every 405 s at the latest


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """One RQ worker of our queue.

    Attributes:
        state: rq's own word: `idle`, `busy`, `started`, `suspended`.
        seen_s: seconds since it last renewed its record.
        alive: it did so recently enough and, on this machine, its process exists.
    """

    name: str
    state: str
    seen_s: float
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """One server.

    Attributes:
        server: `valkey` or `redis`.
        password: whether one is needed; None where it cannot be told.
        durable: whether it keeps an append-only file; None where it cannot be told.
        process: its process id on its own machine.
    """

    server: str
    version: str
    password: bool | None
    durable: bool | None
    process: int
    queued: int
    workers: tuple[WorkerFacts, ...]


def redis_facts(url: str) -> RedisFacts:
    """Ask the server at *url*.

    Raises:
        Unreachable: it does not answer, or refuses to.
    """
    place = url.rpartition("@")[2] or url
    door = cast("Any", connect(url))
    try:
        info = door.info()
        return RedisFacts(
            server="valkey" if "valkey_version" in info else "redis",
            version=str(info.get("valkey_version", info.get("redis_version", "unknown"))),
            password=_needs_password(url),
            durable=bool(info["aof_enabled"]) if "aof_enabled" in info else None,
            process=int(info.get("process_id", 0)),
            queued=int(door.llen(f"rq:queue:{QUEUE}")),
            workers=_workers(door),
        )
    except (RedisError, OSError) as error:
        raise Unreachable(f"Redis does not answer at {place}.", why=str(error), hint="evoctl up starts one.") from error
    finally:
        door.close()


def _needs_password(url: str) -> bool | None:
    """Knock without the password that *url* has; None when it has none, for then nothing can be learnt."""
    scheme, _, rest = url.partition("://")
    if "@" not in rest:
        return False
    door = cast("Any", connect(f"{scheme}://{rest.rpartition('@')[2]}"))
    try:
        door.ping()
    except (RedisError, OSError):
        return True
    finally:
        door.close()
    return False


def _workers(door: Any) -> tuple[WorkerFacts, ...]:
    found: list[WorkerFacts] = []
    for key in sorted(door.smembers(f"rq:workers:{QUEUE}")):
        state, seen, host, pid = door.hmget(key, "state", "last_heartbeat", "hostname", "pid")
        if seen is None:
            continue  # its record has expired
        name = key.decode(errors="replace").removeprefix("rq:worker:")
        age = (now() - _moment(seen.decode())) / timedelta(seconds=1)
        alive = age <= ALIVE_S and not _gone(host, pid)
        found.append(
            WorkerFacts(name=name, state=(state or b"").decode(errors="replace"), seen_s=max(0.0, age), alive=alive)
        )
    return tuple(found)


def _gone(host: bytes | None, pid: bytes | None) -> bool:
    """Tell whether a worker of this machine has died without saying so."""
    if host is None or pid is None or host.decode(errors="replace") != gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
