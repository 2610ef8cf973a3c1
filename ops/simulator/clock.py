"""Where the simulator takes its time from: the machine's clock, or one that a test moves by hand."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import Protocol

from ops.simulator.cancel import CancelToken

SECOND = 1_000_000_000  # nanoseconds
FOREVER = 2**63 - 1  # nanoseconds; the largest Go duration, about 292 years


class Clock(Protocol):
    """A wall clock in nanoseconds since 1970 that can also wait."""

    def now_ns(self) -> int:
        """Give the time of day, never going backwards."""
        ...

    def pause(self, seconds: float, token: CancelToken) -> None:
        """Wait *seconds*; raises `Cancelled` as soon as *token* is cancelled."""
        ...


class MachineClock:
    """The machine's time of day at start, moved on by its monotonic clock."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Give the time of day in nanoseconds."""
        return time.monotonic_ns() + self._offset

    def pause(self, seconds: float, token: CancelToken) -> None:
        """Wait *seconds* or until the client is gone."""
        if seconds > 0:
            token.wait(seconds)
        else:
            token.check()


class SteppedClock:
    """A clock that stands still until `advance` moves it; pauses end when it passes them."""

    def __init__(self, start_ns: int = 1_787_338_102 * SECOND) -> None:
        self._now = start_ns
        self._moved = threading.Condition()
        self._pausing = 0

    @property
    def pausing(self) -> int:
        """Count the pauses under way: a test moves the clock only once the pause it means has begun."""
        with self._moved:
            return self._pausing

    def now_ns(self) -> int:
        """Give the time of day in nanoseconds."""
        with self._moved:
            return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock on by *seconds* and wake those whose pause is over."""
        with self._moved:
            self._now += round(seconds * SECOND)
            self._moved.notify_all()

    def pause(self, seconds: float, token: CancelToken) -> None:
        """Wait until the clock has moved on by *seconds*, or the client is gone."""
        token.when_gone(self._wake)
        with self._moved:
            end = self._now + round(seconds * SECOND)
            self._pausing += 1
            while self._now < end and not token.gone:
                self._moved.wait()
            self._pausing -= 1
        token.check()

    def _wake(self) -> None:
        with self._moved:
            self._moved.notify_all()


def utc_text(ns: int) -> str:
    """Write a time as Ollama's `created_at`: UTC, nine fractional digits.

    >>> utc_text(1_000_000_001)
    '1970-01-01T00:00:01.000000001Z'
    """
    seconds, fraction = divmod(ns, SECOND)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def local_text(ns: int) -> str:
    """Write a time as Ollama's `expires_at`: the server's own offset, nine fractional digits."""
    seconds, fraction = divmod(ns, SECOND)
    moment = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)).astimezone()
    offset = moment.strftime("%z")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}{offset[:3]}:{offset[3:5]}"
