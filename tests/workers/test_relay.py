"""Redis is only a doorbell: whatever it forgets, repeats or refuses, the step table says what is to be done."""

from __future__ import annotations

import base64
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rq.job import Job, JobStatus

from models import steps
from models.work_tables import StepRow
from pipeline.domain import Ending, RunKind, Stage, StepState, Waiting
from pipeline.errors import Unreachable
from workers.lease import foreground
from workers.lock import LOCK, WAITING, Lock
from workers.queues import Bells, BellState
from workers.turn import take_turn
from workers.worker import EvolutionJob

TICK_S = 0.05


def claimed(site: Any, bell: Any) -> Any:
    """Leave a step running without a process that works on it."""
    with site.opened.write() as session:
        return steps.claim(session, bell.step, bell.attempt, datetime.now(UTC))


def test_a_bell_that_was_never_rung_is_rung(site: Any) -> None:
    """A process that died between its commit and its ring loses nothing: the bell keeps its name."""
    bell = site.judging()

    assert site.reconcile() == 1
    assert site.queued() == [bell.job_id]
    assert site.reconcile() == 0


def test_a_wiped_redis_is_rung_full_again(site: Any) -> None:
    """After FLUSHALL every ready step is in the queue again."""
    bell = site.judging()
    site.relay(bell)
    site.redis.flushall()

    site.relay()

    assert site.queued() == [bell.job_id]


def test_ringing_twice_queues_once(site: Any) -> None:
    """The same bell from two processes is one job."""
    bell = site.judging()

    site.relay(bell, bell)
    site.relay(bell)

    assert site.queued() == [bell.job_id]


def test_a_job_that_is_gone_from_the_list_is_rung_anew(site: Any, until: Callable[..., None]) -> None:
    """The job's hash is there, but in no list and in nobody's hands: after the grace it gets a fresh attempt."""
    bell = site.judging()
    site.relay(bell)
    site.redis.delete("rq:queue:evolution")

    assert site.reconcile() == 0
    until(lambda: site.reconcile() == 1, 3)

    assert site.queued() == ["r1-judge-1-a2"]


def test_a_job_over_whose_step_is_ready_is_rung_anew(site: Any) -> None:
    """A job that failed before it could claim leaves its step ready: the next round gives a fresh attempt."""
    bell = site.judging()
    site.relay(bell)
    job = site.job(bell)
    job.set_status(JobStatus.FAILED)
    site.redis.delete("rq:queue:evolution")

    site.reconcile()

    assert site.queued() == ["r1-judge-1-a2"]


def test_a_dead_running_step_is_revived_only_when_the_lock_is_free(site: Any) -> None:
    """While any process holds the kernel lock, a running step is taken for alive; then it is dead at once."""
    bell = site.judging()
    claimed(site, bell)
    lock = Lock(site.home.locks / LOCK)
    assert lock.take()

    with lock:
        assert site.reconcile() == 0
        assert site.step(bell).state == StepState.RUNNING

    assert site.reconcile() == 1
    assert (site.step(bell).state, site.queued()) == (StepState.READY, ["r1-judge-1-a2"])


def test_a_step_that_dies_again_waits_before_its_next_try(site: Any) -> None:
    """The second death in a row is not rung in the round that finds it, but when it is due."""
    bell = site.judging()
    claimed(site, bell)
    site.reconcile()
    claimed(site, replace(bell, attempt=2))

    assert site.reconcile() == 0
    assert site.queued() == ["r1-judge-1-a2"]
    with site.opened.write() as session:
        session.get_one(StepRow, bell.step).due_at = datetime.now(UTC)
    assert site.reconcile() == 1
    assert site.queued()[-1] == "r1-judge-1-a3"


def test_a_poisoned_step_fails_its_run_and_frees_the_way(site: Any) -> None:
    """A step that kills its process every time ends as failed after `max_crashes`, and is never rung again."""
    bell = site.judging()
    for attempt in (1, 2, 3):
        claimed(site, replace(bell, attempt=attempt))
        site.reconcile()

    assert (site.run(bell).ending, site.step(bell).state) == (Ending.FAILED, StepState.FAILED)
    site.redis.flushall()
    assert site.reconcile() == 0


def test_without_redis_the_dead_are_revived_all_the_same(site: Any, store: Any) -> None:
    """The repair of the table does not need the doorbell; the bell is rung when it is back."""
    bell = site.judging()
    claimed(site, bell)
    store.kill()
    try:
        with pytest.raises(Unreachable):
            site.reconcile()
    finally:
        store.start()

    assert site.step(bell).state == StepState.READY
    site.reconcile()
    assert site.queued() == ["r1-judge-1-a2"]


def test_redis_down_while_handing_over_loses_nothing(site: Any, store: Any) -> None:
    """The job ends well without a doorbell; the next round rings the stage after it."""
    bell = site.judging(1)
    store.kill()
    try:
        words = take_turn(Stage.JUDGE, bell.step, bell.attempt, site.home)
    finally:
        store.start()
    site.redis.flushall()

    assert words == "done: judge visit 1"
    assert site.reconcile() == 1
    assert site.queued() == ["r1-dedupe-1-a1"]


def test_a_timer_wakes_a_waiting_step(site: Any) -> None:
    """A wait whose time has come is ready again, in a fresh attempt; one whose time has not is left alone."""
    bell = site.judging()
    mine = claimed(site, bell)
    due = datetime.now(UTC) + timedelta(seconds=60)
    with site.opened.write() as session:
        steps.advance(session, mine, Waiting.FOR_VOTES, datetime.now(UTC), due=due)

    assert site.reconcile() == 0
    with site.opened.write() as session:
        session.get_one(StepRow, bell.step).due_at = datetime.now(UTC)
    assert site.reconcile() == 1
    assert site.queued() == ["r1-judge-1-a2"]


def test_a_released_step_is_not_rung_before_it_is_due(site: Any) -> None:
    """A step that waits for a server is rung when its pause is over, and then under the name it has."""
    bell = site.judging()
    mine, due = claimed(site, bell), datetime.now(UTC) + timedelta(seconds=60)
    with site.opened.write() as session:
        steps.release(session, mine, datetime.now(UTC), waiting_for="Ollama", due=due)

    assert site.reconcile() == 0
    with site.opened.write() as session:
        session.get_one(StepRow, bell.step).due_at = datetime.now(UTC)
    assert site.reconcile() == 1


def test_decisions_go_to_the_head_of_the_queue(site: Any) -> None:
    """A search slice stands at the tail; ballots, drift checks and promotions go before it."""
    search = site.judging()
    site.relay(search)
    front = [replace(search, stage=stage, run=9) for stage in (Stage.BANDIT, Stage.DETECT, Stage.PROMOTE)]

    for bell in front:
        site.relay(bell)

    assert site.queued() == ["r9-promote-1-a1", "r9-detect-1-a1", "r9-bandit-1-a1", "r1-judge-1-a1"]


def test_a_bell_says_in_our_words_what_it_is(site: Any) -> None:
    """The dashboard shows skill, stage, run, visit and attempt; the arguments are two numbers."""
    bell = site.judging()
    site.relay(bell)

    job = site.job(bell)

    assert job.description == "file-naming: judge, run 1, visit 1, attempt 1"
    assert (job.args, job.kwargs, job.meta) == ((bell.step, 1), {}, {"skill": "file-naming"})
    assert (job.timeout, job.func_name) == (-1, "workers.jobs.judge_variants")


def held(site: Any, bell: Any) -> Any:
    """Let a job meet a user at work, and ring the bell that it leaves."""
    with foreground(site.home.root):
        outcome = site.work(bell, waited=True)
    site.relay(*outcome.bells)
    return outcome.bells[0]


def test_a_held_bell_carries_what_its_job_needs_to_wait(site: Any) -> None:
    """The fresh job is told gate, model, server and quiet time, so that it can wait before it loads anything."""
    bell = held(site, site.judging())

    meta = site.job(bell).meta

    assert meta["waiting_for"] == "a quiet moment"
    assert meta["hold"]["wish"]["quiet_s"] == site.rules.settings.gate.resume_idle_s
    assert meta["hold"]["tag"] == site.rules.settings.foreground.model


@pytest.mark.parametrize(("trigger", "quiet_s"), [("timer", 1800.0), ("person", 60.0)])
def test_a_search_that_nobody_asked_for_waits_for_the_long_quiet(site: Any, trigger: str, quiet_s: float) -> None:
    """Before its first call a drift's evolution waits the long time cheaply; a person's order the short one."""
    site.change(gate={"start_idle_min": 30.0, "resume_idle_s": 60.0, "night_to_h": 1.0})  # no night

    bell = held(site, site.judging(trigger=trigger))

    assert site.job(bell).meta["hold"]["wish"]["quiet_s"] == quiet_s


def test_our_worker_takes_the_hold_of_a_held_bell(site: Any) -> None:
    """What the relay tells a job to wait by is what the worker class lets through: else every wait is a heavy one."""
    bell = held(site, site.judging())

    job = EvolutionJob.fetch(bell.job_id, connection=site.redis)

    assert job.meta["hold"]["wish"]["quiet_s"] == site.rules.settings.gate.resume_idle_s


def test_a_killed_job_that_waited_for_the_gate_goes_on_waiting(site: Any) -> None:
    """The step's row says what for before and after the death, and the fresh job waits cheaply."""
    bell = site.judging()
    mine = claimed(site, bell)
    with site.opened.write() as session:
        steps.note_waiting(session, mine, "A foreground command runs.")

    site.reconcile()

    step = site.step(bell)
    assert (step.state, step.waiting_for) == (StepState.READY, "A foreground command runs.")
    assert "hold" in Job.fetch(f"r{bell.run}-judge-1-a2", connection=site.redis).meta


def test_a_waiting_job_is_not_taken_for_dead(site: Any) -> None:
    """A job that waits for the gate holds no work, but it is there: it is not rung again, and works when it may."""
    site.change(gate={"wait_s": 20.0}, work={"ring_grace_s": 0.2}, judging={"pass_mark": 100.0})
    bell = held(site, site.judging(1))
    busy, stop = threading.Event(), threading.Event()

    def user() -> None:
        with foreground(site.home.root):
            busy.set()
            time.sleep(1.0)

    def tick() -> None:
        while not stop.wait(TICK_S):
            site.reconcile()

    threads = [threading.Thread(target=user), threading.Thread(target=tick)]
    threads[0].start()
    busy.wait()
    threads[1].start()
    site.burst()
    stop.set()
    for thread in threads:
        thread.join()

    step = site.steps()[0]
    assert (step.state, step.attempt) == (StepState.DONE, bell.attempt)
    assert not Lock(site.home.locks / WAITING)._fd


def _bytes_of(redis: Any, key: bytes) -> bytes:
    """Read everything under *key*, whatever its type; compressed pickles unpacked."""
    kind = redis.type(key)
    if kind == b"hash":
        values = [*redis.hgetall(key).items()]
        return b" ".join(part for pair in values for value in pair for part in (value, _unpacked(value)))
    if kind == b"stream":
        return repr(redis.xrange(key)).encode() + b" ".join(
            _unpacked(base64.b64decode(v)) for _, entry in redis.xrange(key) for v in entry.values() if _is_base64(v)
        )
    return redis.dump(key) or b""


def _is_base64(value: bytes) -> bool:
    try:
        return bool(base64.b64decode(value, validate=True))
    except ValueError:
        return False


def _unpacked(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error:
        return b""


def test_no_prompt_ever_reaches_redis(site: Any) -> None:
    """After whole stages in a real worker, no byte in Redis holds a prompt, an input or a reply: ids and words only."""
    bell = site.judging(4, kind=RunKind.EVOLUTION)
    site.relay(bell)
    site.burst()
    keys = site.redis.keys("*")
    found = b"".join(_bytes_of(site.redis, key) for key in keys)

    assert [step.stage for step in site.steps()] == ["judge", "dedupe", "bandit"]
    assert len(keys) > 3
    assert b"judge, run 1" in found
    for text in ("Name the file", "Mind rule", "actionability", "coherence", "reasoning", "hyphens"):
        assert text.encode() not in found


def test_states_are_what_redis_knows(site: Any, store: Any) -> None:
    """A bell is missing, queued, taken or over; an absent Redis is an error at once."""
    bells = [site.judging() for _ in range(4)]
    site.relay(*bells)
    site.redis.lrem("rq:queue:evolution", 0, bells[1].job_id)
    site.redis.lrem("rq:queue:evolution", 0, bells[2].job_id)
    site.job(bells[2]).set_status(JobStatus.FINISHED)
    site.redis.delete(Job.key_for(bells[3].job_id))

    states = site.bells.states([bell.job_id for bell in bells])

    assert list(states.values()) == [BellState.QUEUED, BellState.TAKEN, BellState.OVER, BellState.MISSING]
    store.kill()
    began = time.monotonic()
    try:
        with pytest.raises(Unreachable, match="does not answer"):
            Bells(store.url).states(["x"])
        assert Bells(store.url).next_job() == ""
    finally:
        store.start()
    assert time.monotonic() - began < 3
