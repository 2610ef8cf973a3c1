"""`up`: everything that runs in the background, under one process."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ops.cli.background import LOCK, MARK, PID_FILE, end, left_behind, mark_of, read, until, write
from ops.cli.call import Call, command, pass_call
from ops.cli.output import show
from pipeline.errors import Blocked, ConfigError, Unreachable

if TYPE_CHECKING:
    from ops.supervise import Process
    from workers.home import Home
    from workers.lock import Lock

PORT = 9182  # of the page
LOG = "up.log"
WEB_URL = "web.url"  # where the page writes its address
ADDRESS_STEP_S = 0.5  # between looks for the address of the page
REDIS_S, READY_S = 10.0, 30.0  # until Redis answers, until everything runs


@command("up", examples="evoctl up\nevoctl up --detach\nevoctl up --no-web --no-worker")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Of the page; 0 takes a free one."
)
@click.option("--no-web", is_flag=True, help="Without the page.")
@click.option("--no-worker", is_flag=True, help="Without the RQ worker: it runs elsewhere.")
@click.option("--detach", is_flag=True, help="Return when everything runs; `evoctl down` stops it.")
@pass_call
def up(call: Call, *, port: int, no_web: bool, no_worker: bool, detach: bool) -> None:
    """Run everything in the background: Valkey, tick, worker, web.

    Valkey is left out when RQ_REDIS_URL names another Redis. Each process is restarted when it ends. Ctrl-C stops them all.
    """
    home = call.home.ensure()
    if not home.config.is_file():
        raise ConfigError(f"There is no configuration at {home.config}.", hint="evoctl init --example")
    _say_where_texts_go(call, home)
    if detach:
        _detach(call, home, port, no_web=no_web, no_worker=no_worker)
        return
    with _only_one(home):
        _migrate(home)
        _run(call, home, None if no_web else port, worker=not no_worker)


def _say_where_texts_go(call: Call, home: Home) -> None:
    """Warn when the Ollama server is on another machine; a configuration that cannot be read is another command's word."""
    from pipeline.errors import EvolutionError
    from workers.host_config import load_host_config
    from workers.llm.light_http import other_machine
    from workers.llm.tags import leaving

    with contextlib.suppress(EvolutionError):
        if host := other_machine(load_host_config(home.config).settings.models.ollama_url):
            call.note(show(f"Ollama runs elsewhere: {leaving(host)}."))


@contextlib.contextmanager
def _only_one(home: Home) -> Iterator[None]:
    from workers.lock import PROBED_S, Lock

    lock: Lock = Lock(home.locks / LOCK)
    if not lock.take(PROBED_S):
        from psutil import pid_exists

        pid = read(home).get("pid")  # of one that was killed, while the next one has not yet written its own
        why = f"It is process {pid}." if pid and pid_exists(pid) else ""
        raise Blocked("An `evoctl up` of this home runs already.", why=why, hint="evoctl down")
    with lock:
        try:
            yield
        finally:
            (home.pid_dir / PID_FILE).unlink(missing_ok=True)


def _migrate(home: Home) -> None:
    from ops.cli.setup import bring_up_to_date

    bring_up_to_date(home)


def _run(call: Call, home: Home, port: int | None, *, worker: bool) -> None:
    """Start everything, say where it is, and watch until a signal comes."""
    from ops.supervise import Supervisor, stop_on_signal
    from workers.lock import WEB_LOCK, held

    done = threading.Event()
    stop_on_signal(done)
    mark = mark_of(home)
    end(left_behind(home, read(home)))  # by an `up` that was killed
    write(home, {"pid": os.getpid(), "mark": mark, "ready": False})
    with contextlib.ExitStack() as stack:
        if not held(home.locks / WEB_LOCK):
            (home.root / WEB_URL).unlink(missing_ok=True)  # of a page that was killed
        services = stack.enter_context(Supervisor(_services(home, mark)))
        _wait_for_redis(home, done)
        processes = _processes(home, mark, port, worker=worker)
        rest = stack.enter_context(Supervisor(processes))
        for supervisor in (services, rest):
            threading.Thread(target=supervisor.watch, daemon=True).start()
        names = [process.name for process in (*services.processes, *processes)]
        write(home, {"pid": os.getpid(), "mark": mark, "ready": True, "processes": names})
        call.result(
            "up", {"pid": os.getpid(), "processes": names, "logs": str(home.log_dir)}, lambda: _running(home, names)
        )
        sys.stdout.flush()
        _warn(call, home)
        _wait(done, call, home)
        call.note("Stopping ...")


def _warn(call: Call, home: Home) -> None:
    """Say what of the Ollama server's own settings would cost memory, and what to do."""
    from ops.cli.checks import State
    from ops.cli.server_checks import server_checks
    from workers.host_config import load_host_config

    try:
        settings = load_host_config(home.config).settings
    except ConfigError:
        return  # tick says so, and goes on saying it
    for check in server_checks(settings.models.ollama_url, settings.memory):
        if check.state is not State.OK:
            call.note(f"{check.name}: {show(check.words)}\n  {show(check.hint)}")


def _wait(done: threading.Event, call: Call, home: Home) -> None:
    """Wait for the end; tell the page's address when there is one."""
    file, before = home.root / WEB_URL, ""
    while not done.wait(ADDRESS_STEP_S):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            address = file.read_text(encoding="utf-8").strip()
            if address and address != before and not before:
                call.note(f"Page: {show(address)}")
            before = before or address


def _running(home: Home, names: list[str]) -> str:
    return f"Running: {', '.join(names)}.\nLogs:    {show(home.log_dir)}\nCtrl-C (or evoctl down) stops them."


def _services(home: Home, mark: str) -> list[Process]:
    """Return the embedded Valkey, unless another Redis is named or it runs already."""
    from ops.cli.setup import embedded
    from ops.supervise import Process
    from ops.valkey import prepare, server
    from workers.home import OTHERS

    if not embedded(home):
        return []
    if server(home) is not None:
        return []
    _, words = prepare(home)
    os.environ.pop("RQ_REDIS_URL", None)  # it named this server, perhaps at another port
    return [Process("valkey", words, log=home.log_dir / "valkey.log", env={MARK: mark}, umask=OTHERS)]


def _processes(home: Home, mark: str, port: int | None, *, worker: bool) -> list[Process]:
    """Return tick, worker and page."""
    from ops.cli.processes import search_path
    from ops.cli.setup import environment
    from ops.supervise import Process

    variables = {**environment(home), MARK: mark, "PATH": search_path(os.environ)}
    logs, evoctl = home.log_dir, [sys.executable, "-m", "ops.cli"]
    found = [Process("tick", [*evoctl, "tick"], log=logs / "tick.log", env=variables)]
    if worker:
        rq = shutil.which("rq", path=variables["PATH"])
        if rq is None:
            raise Unreachable("The command rq is not installed.", hint="Install tinyarms-evolution with what it needs.")
        command_line = [rq, "worker", "evolution"]
        found.append(
            Process(
                "worker", command_line, log=logs / "worker.log", env=variables, needs_redis=home.redis_url, low=True
            )
        )
    if port is not None:
        found.append(
            Process("web", [*evoctl, "web", "--wait", "--port", str(port)], log=logs / "web.log", env=variables)
        )
    return found


def _wait_for_redis(home: Home, done: threading.Event) -> None:
    from ops.supervise import redis_run

    url = home.redis_url
    place = url.rpartition("@")[2]
    error = Unreachable(f"Redis does not answer at {place}.", hint=f"See {home.log_dir / 'valkey.log'}")
    until(lambda: done.is_set() or bool(redis_run(url)), REDIS_S, error)


def _detach(call: Call, home: Home, port: int, *, no_web: bool, no_worker: bool) -> None:
    """Start `up` as a process of its own and wait until everything runs.

    Raises:
        Blocked: one runs already.
        Unreachable: it ended, or was not ready in time.
    """
    from workers.home import private
    from workers.lock import held

    if held(home.locks / LOCK):
        raise Blocked("An `evoctl up` of this home runs already.", hint="evoctl down")
    words = [
        sys.executable,
        "-m",
        "ops.cli",
        "--home",
        str(home.root),
        "--config",
        str(home.config),
        "up",
        "--port",
        str(port),
    ]
    words += ["--no-web"] * no_web + ["--no-worker"] * no_worker
    log = home.log_dir / LOG
    with open(log, "ab", opener=private) as file:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)  # noqa: S603 - our own command
    failed = Unreachable("`evoctl up` did not start.", hint=f"See {log}")
    until(lambda: child.poll() is not None or _is_ready(home, child.pid), READY_S, failed)
    if child.poll() is not None:
        if held(home.locks / LOCK):  # another one was faster
            raise Blocked("An `evoctl up` of this home runs already.", hint="evoctl down")
        raise failed
    child.returncode = 0  # it lives on by itself: Python need not warn that nobody waits for it
    names = read(home).get("processes", [])
    data = {"pid": child.pid, "processes": names, "logs": str(home.log_dir)}
    call.result("up", data, lambda: f"Running: {', '.join(names)}.\nLogs:    {show(home.log_dir)}")
    call.next("evoctl status", "evoctl down")


def _is_ready(home: Home, pid: int) -> bool:
    """Tell whether it is the `up` of that process which runs; another one started at the same moment is not."""
    found = read(home)
    return bool(found.get("ready")) and found.get("pid") == pid
