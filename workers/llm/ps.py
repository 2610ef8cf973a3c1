"""What Ollama's list of loaded models tells about the use of one of them, as far as it can be known.

The list has no busy field. A model's `expires_at` is the end of its last request plus its keep-alive, and stays so while
a warm model works. What can be told: a request ended between two looks (it changed), the first request after a load runs
(it moves with the clock), a long one runs (it lies in the past, yet the model is listed). A first look at a listed model
tells nothing, so it counts as used just now; an absent model was not used for its keep-alive.
"""

from __future__ import annotations

import datetime as dt
import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

from workers.llm.light_http import Unknown, fetch, is_here
from workers.llm.replies import parsed
from workers.llm.tags import normal

USUAL_KEEP_ALIVE_S = 300.0  # Ollama's default
MATCH_S = 1.0  # between the end of our call and the server's own idea of it
CANCEL_S = 3.0  # a dropped prefill runs on for up to two seconds
PAST_S = 1.0  # an expiry older than this is in the past; the server drops an idle model at once
DATE_S = 1.0  # resolution of the Date header


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at one model.

    Attributes:
        at: when, by our clock, in seconds since 1970.
        expires: the server's `expires_at` in seconds since 1970; None while the model is not listed.
        overdue: whether `expires` lies in the past by the server's clock.
        down: no server runs there, so that there was no list to read.
    """

    at: float
    expires: float | None
    overdue: bool = False
    down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCall:
    """One request of evolution's own to the foreground model; `ended` is None while it runs."""

    started: float
    ended: float | None
    pid: int
    cancelled: bool = False


class Sign(StrEnum):
    """What two looks say."""

    QUIET = "quiet"  # no sign of use
    USED = "used"  # a request ended since the last look
    BUSY = "busy"  # a request runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is known after a look.

    Attributes:
        used_at: the latest moment at which the user may have used the model, None when no later than known before.
        keep_alive: the model's keep-alive as far as known, our clock's difference to the server's included.
    """

    sign: Sign
    used_at: float | None
    keep_alive: float | None


def look_at(url: str, tag: str, *, timeout_s: float, now: float) -> Look:
    """Ask the server for its list and pick out *tag*.

    Raises:
        Down: nobody listens at *url*.
        Unknown: anything else than a list came, or nothing in time.
    """
    answer = fetch(url, "/api/ps", timeout_s)
    try:
        if answer.status != http.client.OK:
            raise Unknown(f"status {answer.status}")
        models = parsed(answer.body)["models"] or ()
        found = [model["expires_at"] for model in models if normal(str(model["name"])) == normal(tag)]
        expires = max((dt.datetime.fromisoformat(text).timestamp() for text in found), default=None)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise Unknown(f"no list: {error}") from error
    skew = 0.0 if is_here(url) else _server_time(answer.date, now) - now
    return Look(at=now, expires=expires, overdue=expires is not None and expires < now + skew - PAST_S)


def compare(before: Look | None, after: Look, own: Sequence[OwnCall], keep_alive: float | None) -> Finding:
    """Tell what happened between two looks, our own calls subtracted."""
    own = [call for call in own if call.started <= after.at + MATCH_S]  # later ones are of a clock that was put back
    if after.expires is None:
        return _absent(before, after, keep_alive)
    if before is None or after.at < before.at:  # never looked, or the clock was put back
        return Finding(sign=Sign.USED, used_at=after.at, keep_alive=None)
    if before.expires is None:
        return _appeared(before, after, own)
    if after.expires != before.expires:
        return _moved(before, after, own, keep_alive)
    if after.overdue and not any(call.ended is None for call in own):
        return Finding(sign=Sign.BUSY, used_at=after.at, keep_alive=keep_alive)
    return Finding(sign=Sign.QUIET, used_at=None, keep_alive=keep_alive)


def _absent(before: Look | None, after: Look, keep_alive: float | None) -> Finding:
    unused_s = USUAL_KEEP_ALIVE_S if keep_alive is None else max(0.0, keep_alive)
    watched = before is not None and 0 <= after.at - before.at <= unused_s
    return Finding(sign=Sign.QUIET, used_at=None if watched else after.at - unused_s, keep_alive=keep_alive)


def _appeared(before: Look, after: Look, own: Sequence[OwnCall]) -> Finding:
    ours = any(call.ended is None or call.ended >= before.at - CANCEL_S for call in own)
    if ours:
        return Finding(sign=Sign.QUIET, used_at=None, keep_alive=None)
    return Finding(sign=Sign.USED, used_at=after.at, keep_alive=None)


def _moved(before: Look, after: Look, own: Sequence[OwnCall], keep_alive: float | None) -> Finding:
    """`expires_at` changed: by a call of ours, by the first request after a load, or by the end of another one."""
    assert before.expires is not None
    assert after.expires is not None
    if any(call.ended is None and call.started <= before.at for call in own):
        return Finding(sign=Sign.QUIET, used_at=None, keep_alive=keep_alive)
    last = _last_own_end(before, own)
    if last is not None and last.ended is not None:
        lasted_s = after.expires - last.ended  # the keep-alive, if this end is what moved the expiry
        late_s = 0.0 if keep_alive is None else lasted_s - keep_alive
        if -MATCH_S <= late_s <= (CANCEL_S if last.cancelled else MATCH_S):
            if keep_alive is None and after.at - last.ended <= MATCH_S and not last.cancelled:
                keep_alive = lasted_s
            return Finding(sign=Sign.QUIET, used_at=None, keep_alive=keep_alive)
    gap = after.at - before.at
    if abs(after.expires - before.expires - gap) <= max(0.05, min(0.25, gap / 4)):
        return Finding(sign=Sign.BUSY, used_at=after.at, keep_alive=keep_alive)
    ended = after.expires - keep_alive if keep_alive is not None else after.at
    if before.at - MATCH_S <= ended <= after.at + MATCH_S:
        return Finding(sign=Sign.USED, used_at=min(ended, after.at), keep_alive=keep_alive)
    return Finding(sign=Sign.USED, used_at=after.at, keep_alive=None)  # another keep-alive than the one we know


def _last_own_end(before: Look, own: Sequence[OwnCall]) -> OwnCall | None:
    """Return the call of ours that ended last, if it can have ended on the server since *before*."""
    ended = [call for call in own if call.ended is not None and call.ended >= before.at - CANCEL_S]
    return max(ended, key=lambda call: call.ended or 0.0, default=None)


def _server_time(date: str, now: float) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()  # cut to seconds: never ahead of the server, so never too early
    except (ValueError, TypeError):
        return now
