"""What each fault of the plan does, and how the moment is met at which it bites."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import psutil
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.command import send_kill_horse_command, send_stop_job_command
from rq.exceptions import InvalidJobOperation
from rq.job import Job
from sqlalchemy import select

from models.work_tables import StepRow
from ops.demo.scene import tool
from ops.supervise import answers
from pipeline.domain import Stage, StepState
from tests.chaos.people import People
from tests.chaos.plan import CALL, COMMIT, GATE, HANDOFF, IDLE, Fault
from tests.chaos.world import SKILLS
from workers.lease import foreground
from workers.queues import FUNCTIONS, QUEUE, connect

LOG_END = 2000  # characters of a log that tell why a server does not come
VALKEY_S = 30.0  # for Valkey to answer again; killed often, it is kept back for up to 15 s
COLD_S = 1.1  # between two SIGTERM, since RQ ignores a second one within a second
FLAP_S = 0.05  # half a period at 10 Hz
GATE_S = 1.5  # a job says that it waits only after a second of waiting
SHORT_S = 0.4  # how long a job is kept from its commit
FAILURES = {
    "model-500": {"how": "status", "status": 500},
    "model-error-line": {"how": "error_line"},
    "model-reset": {"how": "reset"},
    "model-no-done": {"how": "no_done"},
}
LOCKER = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)\n"
LOCKER += "c.execute('BEGIN IMMEDIATE'); time.sleep(float(sys.argv[2]))"


class Faults:
    """Strikes. For the people's thread.

    Args:
        people: of the world that is struck.

    Attributes:
        met: by moment, the faults whose moment came.
    """

    def __init__(self, people: People) -> None:
        self.people, self.world = people, people.world
        self.met = dict[str, int]()

    def strike(self, fault: Fault, patience_s: float) -> None:
        """Wait *patience_s* for the fault's moment, and do it; Valkey answers again when this returns."""
        with self._at(fault.moment, patience_s):
            self._do(fault)
        came = self.world.watch.wait(lambda: answers(self.world.scene.home.redis_url), VALKEY_S)
        log = self.world.scene.home.log_dir / "valkey.log"
        assert came, f"Valkey stays away: {log.read_text(encoding='utf-8')[-LOG_END:]}"

    # --- moments ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _at(self, moment: str, patience_s: float) -> Iterator[None]:
        watch = self.world.watch
        with ExitStack() as held:
            if moment == GATE:
                held.enter_context(foreground(self.world.scene.home.root))
                came = watch.wait(
                    lambda: any(s.waiting_for for s in list(watch.steps.values())), max(patience_s, GATE_S)
                )
            elif moment == COMMIT:
                came = watch.wait(lambda: watch.running, patience_s)
                held.enter_context(self._nobody_commits())
            elif moment == HANDOFF:
                before = watch.handoffs
                came = watch.wait(lambda: watch.handoffs > before, patience_s)
            elif moment == CALL:
                came = watch.wait(lambda: bool(watch.in_flight), patience_s)
            else:
                came = moment != IDLE or watch.wait(lambda: not watch.due, patience_s)
            self.met[moment] = self.met.get(moment, 0) + came
            yield

    @contextmanager
    def _nobody_commits(self) -> Iterator[None]:
        """Hold the database's write lock until a running job has come to its next transaction."""
        path = self.world.scene.home.root / "evolution.db"
        with closing(sqlite3.connect(path, timeout=20.0, isolation_level=None)) as opened:
            opened.execute("BEGIN IMMEDIATE")
            time.sleep(SHORT_S)
            yield
            opened.execute("ROLLBACK")

    # --- faults -----------------------------------------------------------------------------------------------------

    def _do(self, fault: Fault) -> None:
        kind = fault.kind
        if kind in FAILURES:
            self._order(times=1 + round(3 * fault.strength), **FAILURES[kind])
        elif kind.startswith("valkey-down-"):
            self._valkey(float(kind.removeprefix("valkey-down-").removesuffix("s")))
        else:
            name = "_" + kind.replace("-", "_")
            method: Callable[[Fault], None] = getattr(self, name)
            method(fault)

    def _kill_horse(self, _: Fault) -> None:
        self.world.kill(self.world.horse())

    def _kill_worker(self, _: Fault) -> None:
        self.world.kill(self.world.pid("worker"))

    def _kill_both(self, _: Fault) -> None:
        self.world.kill(self.world.horse(), self.world.pid("worker"))

    def _term_once(self, _: Fault) -> None:
        self._signal(self.world.pid("worker"), signal.SIGTERM)

    def _term_twice(self, _: Fault) -> None:
        worker = self.world.pid("worker")
        self._signal(worker, signal.SIGTERM)
        time.sleep(COLD_S)
        self._signal(worker, signal.SIGTERM)

    def _stop_job(self, _: Fault) -> None:
        with self._redis() as redis, suppress(InvalidJobOperation):
            for job_id in Queue(QUEUE, connection=redis).started_job_registry.get_job_ids(cleanup=False):
                send_stop_job_command(redis, job_id)

    def _kill_horse_command(self, _: Fault) -> None:
        with self._redis() as redis:
            for name in redis.smembers("rq:workers"):
                send_kill_horse_command(redis, name.decode().removeprefix("rq:worker:"))

    def _valkey_kill(self, _: Fault) -> None:
        self.world.kill(self.world.pid("valkey"))

    def _valkey_flush(self, _: Fault) -> None:
        with self._redis() as redis:
            redis.flushall()

    def _valkey(self, away_s: float) -> None:
        with self.world.down("valkey"):
            time.sleep(away_s)

    def _valkey_full(self, fault: Fault) -> None:
        with self._redis() as redis:
            redis.config_set("maxmemory", "1mb")
            time.sleep(0.5 + fault.strength)
            redis.config_set("maxmemory", "64mb")

    def _tick_kill(self, _: Fault) -> None:
        self.world.kill(self.world.pid("tick"))

    def _two_ticks(self, fault: Fault) -> None:
        self.world.start([sys.executable, "-m", "workers.tick"], 2 + 4 * fault.strength)

    def _second_worker(self, fault: Fault) -> None:
        self.world.start([str(tool("rq")), "worker", QUEUE], 2 + 4 * fault.strength)

    def _duplicate_job(self, _: Fault) -> None:
        self._send(StepState.READY, StepState.RUNNING, as_it_is=True)

    def _stale_job(self, _: Fault) -> None:
        self._send(StepState.DONE, as_it_is=False)

    def _poison_job(self, _: Fault) -> None:
        with self._redis() as redis:
            queue = Queue(QUEUE, connection=redis)
            queue.enqueue(FUNCTIONS[Stage.MUTATE], 10**9, 1, job_id="r1000000000-mutate-1-a1")
            queue.enqueue(FUNCTIONS[Stage.BANDIT], "no number", None)
            queue.enqueue("workers.jobs.no_such_job")
            redis.rpush(queue.key, "r0-no-such-job-a1")

    def _freeze(self, fault: Fault) -> None:
        """Stop worker and horse as a closing lid does, and let `rq info` find them without a heartbeat."""
        worker = self.world.pid("worker")
        with suppress(psutil.Error):
            family = [worker, *worker.children(recursive=True)] if worker else []
            for one in family:
                self._signal(one, signal.SIGSTOP)
            info = [str(tool("rq")), "info", "--url", self.world.scene.home.redis_url]
            subprocess.run(info, capture_output=True, check=False, timeout=60)
            time.sleep(2 + 3 * fault.strength)
            for one in family:
                self._signal(one, signal.SIGCONT)

    def _lease(self, fault: Fault) -> None:
        with foreground(self.world.scene.home.root):
            time.sleep(0.3 + 1.2 * fault.strength)

    def _lease_flaps(self, fault: Fault) -> None:
        end = time.monotonic() + 1 + 2 * fault.strength
        while time.monotonic() < end:
            with foreground(self.world.scene.home.root):
                time.sleep(FLAP_S)
            time.sleep(FLAP_S)

    def _database_locked(self, fault: Fault) -> None:
        held_s = 1 + 3 * fault.strength
        path = str(self.world.scene.home.root / "evolution.db")
        subprocess.run([sys.executable, "-c", LOCKER, path, str(held_s)], check=False, timeout=60)

    def _model_hangs(self, fault: Fault) -> None:
        self._order(times=1, how="stall", seconds=1 + 3 * fault.strength)

    def _model_server_kill(self, _: Fault) -> None:
        self.world.kill(self.world.pid("simulator"))

    def _person_votes(self, _: Fault) -> None:
        self.people.vote_by_command()

    def _person_undoes(self, _: Fault) -> None:
        self.people.undo_by_command()

    def _person_enqueues(self, _: Fault) -> None:
        self.world.evoctl("enqueue", "file-naming", "--force")

    def _person_looks(self, fault: Fault) -> None:
        words = (("status",), ("runs",), ("stats",), ("results", "file-naming"))[int(4 * fault.strength)]
        self.world.evoctl(*words)

    def _person_cancels(self, _: Fault) -> None:
        self.people.cancel_by_command()

    def _person_rolls_back(self, _: Fault) -> None:
        changed = [skill for skill in SKILLS if self.world.evolution.config.skill(skill).version > 1]
        self.world.evoctl("rollback", self.people.rng.choice(changed or SKILLS), "--yes")  # else it is refused

    # --- what they use ----------------------------------------------------------------------------------------------

    @staticmethod
    def _signal(process: psutil.Process | None, number: signal.Signals) -> None:
        with suppress(psutil.Error):
            if process is not None:
                process.send_signal(number)

    @contextmanager
    def _redis(self) -> Iterator[Redis]:
        """Open a connection; a Valkey that is not there has its fault already."""
        with closing(connect(self.world.scene.home.redis_url)) as redis, suppress(RedisError):
            yield redis

    def _send(self, *states: StepState, as_it_is: bool) -> None:
        """Enqueue a job that is already there once more, or one whose step has been done under a new id."""
        wanted = select(StepRow.id, StepRow.run_id, StepRow.stage, StepRow.visit, StepRow.attempt)
        with self.world.evolution.database.read() as session:
            rows = session.execute(wanted.where(StepRow.state.in_(states)).order_by(StepRow.id.desc()).limit(3)).all()
        with self._redis() as redis:
            for step, run, stage, visit, attempt in rows:
                job_id = f"r{run}-{stage}-{visit}-a{attempt}" + ("" if as_it_is else f"-late-{time.monotonic_ns()}")
                job = Job.create(FUNCTIONS[Stage(stage)], (step, attempt), id=job_id, connection=redis, timeout=-1)
                Queue(QUEUE, connection=redis).enqueue_job(job)

    def _order(self, **fault: object) -> None:
        """Order a failure from the simulator; one that is just being restarted has its fault already."""
        self.world.tell_simulator("fail", **fault)
