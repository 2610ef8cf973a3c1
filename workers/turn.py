"""A job's turn: wait where waiting is cheap, take the lock, then load what is heavy and work.

Everything here is light (standard library, rq and redis, which the worker has loaded anyway), so a job that must wait
does so in some 20 MiB. Nothing is lost by ending without having worked: the step stays ready and is rung again.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from pipeline.domain import Stage
from pipeline.errors import BadInput
from pipeline.gate import Wish
from pipeline.machine_settings import GateSettings
from pipeline.setting import from_data
from workers import queues, stage_child
from workers.home import Home, find_home
from workers.lock import LOCK, POLL_S, WAITING, Lock

for _name in ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")  # one thread is faster here (measured x120), and keeps off the user's cores

WAIT_STEP_S = 0.5  # between looks of a waiting job: half a second of a quiet minute is nothing to anybody
MOST_WAIT_S = 600.0  # whatever Redis says; the most that the setting may be
LOCK_WAIT_S = 20.0  # a second worker's job waits this long for the first one's, then makes room
OTHER_JOB = "another evolution job is running"


def take_turn(stage: Stage, step_id: int, attempt: int, home: Home | None = None) -> str:
    """Work on one step, alone on this machine; return what came of it in words without any text of others.

    Raises:
        BadInput: these are no numbers of a step and an attempt; a stock worker hands over whatever Redis holds.
    """
    if not queues.are_numbers((step_id, attempt)):
        raise BadInput("A job takes two whole numbers, of a step and of an attempt.")
    place = (home or find_home()).ensure()
    hold = queues.current_meta().get("hold")
    held_back = False
    with contextlib.suppress(OSError, LookupError, TypeError, ValueError, AttributeError):
        # A full disk keeps the gate from its notes, and Redis may say anything: the job asks the gate itself and says so.
        held_back = _wait_quietly(place, hold) if hold else False
    lock = Lock(place.locks / LOCK)
    if not lock.take(LOCK_WAIT_S, on_wait=lambda: queues.note_waiting(OTHER_JOB)):
        return OTHER_JOB
    queues.note_waiting("")
    with lock:
        turn = stage_child.run if stage_child.wanted() else stage_child.work_and_ring
        return turn(place, lock, stage, step_id, attempt, waited=held_back)


def _wait_quietly(home: Home, hold: dict[str, Any]) -> bool:
    """Wait for the gate before loading anything heavy; True when it is still shut after the set time.

    A decision or promotion that comes to the head of the queue ends the wait: the single worker must be free for it.
    """
    from workers.llm.gate import Gate  # noqa: PLC0415 - only jobs that were told to wait need it
    from workers.llm.memory import watched_server  # noqa: PLC0415 - same
    from workers.shared_lease import SharedLease  # noqa: PLC0415 - same

    url = watched_server(home.root, str(hold["tag"]))
    if not url:
        return False  # tick watches another model than Redis says: the job itself asks by its own rules
    settings = from_data(GateSettings, hold["settings"])
    wish = from_data(Wish, hold.get("wish", {}))
    lease = SharedLease(home.redis_url)
    gate = Gate(home.root, settings, hold["tag"], url, own=hold.get("own", ()), shared=lease)
    bells, waiting = queues.Bells(home.redis_url), Lock(home.locks / WAITING)
    end = time.monotonic() + min(settings.wait_s, MOST_WAIT_S)
    try:
        waiting.take(POLL_S * 2)  # long enough for a reconciliation that looks at it just now
        while not (verdict := gate.ask(wish)).open:
            queues.note_waiting(verdict.reason)
            if time.monotonic() >= end or _urgent(bells):
                return True
            time.sleep(min(WAIT_STEP_S, max(settings.poll_s, verdict.waits_s or WAIT_STEP_S)))
    finally:
        waiting.release()
        bells.close()
        lease.close()
    return False


def _urgent(bells: queues.Bells) -> bool:
    """Tell whether the next job decides without a model; a check whose canary waits for quiet is as patient as we are."""
    job_id = bells.next_job()
    return any(f"-{stage}-" in job_id for stage in (Stage.DETECT, Stage.PROMOTE)) and not bells.holds(job_id)
