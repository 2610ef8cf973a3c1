"""The foreground lease for hosts on other machines: the same promise as `workers.lease`, kept in Redis.

Each holder is a member of a sorted set, its score the moment at which its lease lapses; so a holder that dies stops
counting by itself. Taking it publishes a message, which a running evolution hears at once. Times are Redis' own, so the
machines' clocks need not agree. The commands for a host in any language:

    ZADD evolution:foreground <milliseconds since 1970 when it lapses> <any name of yours>
    PUBLISH evolution:foreground <the name>
    ZREM evolution:foreground <the name>
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

from redis.exceptions import RedisError

from workers.queues import connect

KEY = "evolution:foreground"
LAST = "evolution:foreground:last"  # when it was last taken, given back or lapsed
LEASE_S = 10.0  # of one promise; it is renewed three times in that
HEAR_S = 1.0  # between looks of an ear, which may have missed a message
KEPT_MS = 7 * 24 * 3600 * 1000  # for which the time of last use is kept

_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
_TAKE = _NOW + (
    "local ttl = tonumber(ARGV[2]) redis.call('ZADD', KEYS[1], now + ttl, ARGV[1]) "
    "if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl + 60000) end "
    "redis.call('SET', KEYS[2], now, 'PX', ARGV[3]) redis.call('PUBLISH', KEYS[1], ARGV[1]) return now"
)
_GIVE_BACK = _NOW + ("redis.call('ZREM', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], now, 'PX', ARGV[2]) return now")
_LOOK = _NOW + (
    "if redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf') > 0 then return 0 end "
    "local lapsed = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES') local last = tonumber(redis.call('GET', KEYS[2])) "
    "if lapsed[2] and (not last or tonumber(lapsed[2]) > last) then last = tonumber(lapsed[2]) end "
    "if not last then return -1 end return math.max(1, now - last)"
)


class SharedLease:
    """The lease in one Redis; for one thread.

    Args:
        url: of Redis or Valkey.
    """

    def __init__(self, url: str) -> None:
        self._door = cast("Any", connect(url))

    def __call__(self) -> float | None:
        """Tell for how many seconds it has been free: 0 while it is held, None when it never was.

        Raises:
            OSError: Redis does not answer.
        """
        found = int(self._run(_LOOK))
        return None if found < 0 else found / 1000

    def take(self, holder: str, ttl_s: float = LEASE_S) -> None:
        """Take it, or renew it, for *ttl_s* seconds; raises as a call does."""
        self._run(_TAKE, holder, round(ttl_s * 1000), KEPT_MS)

    def give_back(self, holder: str) -> None:
        """Give it back; raises as a call does."""
        self._run(_GIVE_BACK, holder, KEPT_MS)

    def close(self) -> None:
        """Close the connection."""
        self._door.close()

    def _run(self, script: str, *words: str | int) -> Any:
        try:
            return self._door.eval(script, 2, KEY, LAST, *words)
        except RedisError as error:
            raise ConnectionError(f"Redis does not answer: {type(error).__name__}") from error


@contextlib.contextmanager
def shared_foreground(
    url: str, *, lease_s: float = LEASE_S, told: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the shared lease while the user waits for the model; a thread renews it.

    The user's work goes first: a Redis that is away is passed over, and *told* hears why.

    Args:
        url: of Redis or Valkey.
        lease_s: for how long the lease outlives a holder that dies.
        told: called with the trouble.
    """
    lease, holder, done = SharedLease(url), f"host-{secrets.token_hex(8)}", threading.Event()

    def renew() -> None:
        while not done.wait(lease_s / 3):
            with contextlib.suppress(OSError):
                lease.take(holder, lease_s)

    try:
        lease.take(holder, lease_s)
    except OSError as error:
        if told is not None:
            told(str(error))
    thread = threading.Thread(target=renew, name="lease-renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(OSError):
            lease.give_back(holder)
        lease.close()


class Ear:
    """Hears, in a thread of its own, that the shared lease is taken.

    Args:
        url: of Redis or Valkey.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._tell: Callable[[], None] | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="lease-ear", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    @contextlib.contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call *tell*, in the ear's thread, when the lease is taken while the body runs."""
        self._tell = tell
        try:
            yield
        finally:
            self._tell = None

    def close(self) -> None:
        """Stop listening; the thread ends by itself within a second."""
        self._done.set()

    def _listen(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(RedisError, OSError):
                self._hear()
            self._done.wait(HEAR_S)

    def _hear(self) -> None:
        door, lease = cast("Any", connect(self._url)), SharedLease(self._url)
        with contextlib.closing(door), contextlib.closing(lease):
            channel = door.pubsub()
            channel.subscribe(KEY)
            while not self._done.is_set():
                heard = channel.get_message(timeout=HEAR_S)
                told = heard is not None and heard["type"] == "message"
                if self._tell is not None and (told or lease() == 0):
                    self._said()

    def _said(self) -> None:
        tell = self._tell
        if tell is not None:
            tell()
