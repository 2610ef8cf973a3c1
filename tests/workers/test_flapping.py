"""A user who comes and goes ten times a second: evolution waits it out, loads next to nothing, and goes on afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from sqlalchemy import select

from models.work_tables import CancelledCallRow
from pipeline.domain import StepState
from workers.lease import foreground

OWN = "smollm2:360m-instruct-q4_K_M"
FLAPS_S = 3.0
QUIET_S = 0.4  # longer than a flap's pause: that is the hysteresis


def test_a_flapping_user_neither_starves_nor_thrashes(site: Any) -> None:
    """At most one call is cut off in three seconds of flapping, the model is loaded at most twice, and the step is done."""
    site.change(
        gate={"resume_idle_s": QUIET_S, "wait_s": 0.5, "poll_s": 0.02},
        models={"judge": OWN, "keep_alive": "60s"},
        memory={"again_s": 0.1},
    )
    site.server.turn({"tokens_per_second": 60.0})
    bell, stop = site.judging(3), threading.Event()

    def user() -> None:
        while not stop.is_set():
            with foreground(site.home.root):
                time.sleep(0.05)
            stop.wait(0.05)

    thread = threading.Thread(target=user)
    began = time.monotonic()
    thread.start()
    while site.step(bell).state != StepState.DONE and time.monotonic() - began < 60:
        if time.monotonic() - began > FLAPS_S:
            stop.set()
        outcome = site.work(bell)
        bell = outcome.bells[0] if outcome.bells and outcome.bells[0].stage == bell.stage else bell
    stop.set()
    thread.join()

    with site.opened.read() as session:
        cut_off = len(session.scalars(select(CancelledCallRow)).all())
    loads = Counter(one.tag for one in site.server.core.scheduler.history() if one.what == "load")
    assert site.step(bell).state == StepState.DONE
    assert site.step(bell).crashes == 0
    assert cut_off <= 1
    assert loads[OWN] <= 2
    assert site.server.counts().paid_twice == {}
