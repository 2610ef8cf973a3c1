"""The long-running commands that a Procfile names, and `foreground`, which stands around a program of the user's."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import click

from ops.cli.call import Call, command, pass_call
from pipeline.errors import BadInput, Blocked, Refused

NOT_FOUND, NOT_RUN = 127, 126  # what shells say of a command that is missing, and of one that cannot be run
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
SIGNALLED = 128  # added to the number of the signal that ended a command
REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@command("foreground", examples="evoctl foreground -- my-linter src/", context_settings=dict(REST))
@click.option("--shared", is_flag=True, help="Tell evolutions on other machines too, through Redis.")
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_call
def foreground(call: Call, words: tuple[str, ...], *, shared: bool) -> int:
    """Run a command while evolution stays out of the way.

    The foreground lease is held while the command runs: a running model request of evolution's is cancelled within a
    second and none starts. The command's exit code and the signals sent to it are passed on.
    """
    from workers.lease import foreground as lease

    home = call.home.ensure()
    with ExitStack() as held:
        held.enter_context(lease(home.root))
        if shared:
            from workers.shared_lease import shared_foreground

            held.enter_context(shared_foreground(home.redis_url, told=lambda why: call.note(f"Not shared: {why}.")))
        return _run_in_front(words)


@command("redis", examples="evoctl redis")
@pass_call
def redis(call: Call) -> None:
    """Run the embedded Redis (Valkey).

    This process becomes the server and stays in the foreground.
    """
    from ops.cli.setup import embedded
    from ops.valkey import prepare, server
    from workers.home import OTHERS

    home = call.home
    if not embedded(home):
        raise Refused("RQ_REDIS_URL names another Redis, so the embedded one is not needed.", hint="unset RQ_REDIS_URL")
    if server(home) is not None:
        raise Blocked("The embedded Redis of this home runs already.", hint="evoctl down")
    _, words = prepare(home)
    os.umask(OTHERS)
    sys.stdout.flush()
    os.execv(words[0], words)  # noqa: S606 - our own command line, no shell


@command("tick", examples="evoctl tick")
@pass_call
def tick(call: Call) -> None:
    """Repair, wake timers and watch, until stopped.

    One tick runs beside the worker; a second one of the same home is refused.
    """
    from ops.cli.logs import log_to_terminal
    from workers.lock import PROBED_S, TICK_LOCK, Lock
    from workers.tick import run

    log_to_terminal(call.verbose)
    home = call.home.ensure()
    lock = Lock(home.locks / TICK_LOCK)
    if not lock.take(PROBED_S):
        raise Blocked("A tick of this home runs already.", hint="evoctl down")
    with lock:
        run(home)


@command(
    "supervise",
    examples="evoctl supervise -- rq worker evolution\nevoctl supervise --server -- evoctl redis",
    context_settings=dict(REST),
)
@click.option("--server", is_flag=True, help="It is no worker: normal priority, and Redis is not looked at.")
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_call
def supervise(call: Call, words: tuple[str, ...], *, server: bool) -> int:
    """Run a command and restart it whenever it ends.

    A worker also ends when its Redis goes away; it is started again, and once more when Redis is back. It runs at the
    lowest priority.
    """
    import shutil

    from ops.cli.logs import log_to_terminal
    from ops.cli.setup import environment
    from ops.supervise import run_one

    log_to_terminal(call.verbose)
    home = call.home.ensure()
    os.environ.update(environment(home))
    os.environ["PATH"] = search_path(os.environ)
    found = shutil.which(words[0])
    if found is None:
        raise BadInput(f"There is no command '{words[0]}'.", hint="Give its path.")
    return run_one([found, *words[1:]], "" if server else home.redis_url)


@command("web", examples="evoctl web --open\nevoctl web --port 9200")
@click.option("--port", type=click.IntRange(0, 65535), default=9182, show_default=True, help="0 takes a free one.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@click.option("--wait", is_flag=True, hidden=True, help="Begin when the page that runs has ended.")
@pass_call
def web(call: Call, *, port: int, open_page: bool, wait: bool) -> None:
    """Serve the web page on 127.0.0.1.

    Only who has the address that it prints gets in. A home has one page: where it runs already, its address is told.
    """
    from ops.cli.logs import log_to_terminal
    from ops.web.server import serve

    log_to_terminal(call.verbose)
    serve(call.home, port, open_page=open_page, wait=wait)


@command("demo", examples="evoctl demo\nevoctl demo --keep /tmp/evolution-demo")
@click.option("--real", is_flag=True, help="Use the models of this machine's Ollama.")
@click.option("--keep", metavar="DIR", help="Leave everything in a new folder, to look around in.")
@click.option("--seed", type=int, help="Of the simulated models and the voter.")
@pass_call
def demo(call: Call, *, real: bool, keep: str | None, seed: int | None) -> int:
    """Run the whole pipeline on simulated models.

    Real Valkey, real jobs, a real database and Ollama's protocol; only the models and the voter are simulated, and the
    report says so.
    """
    from ops.demo.run import run_demo

    return run_demo(real=real, keep=keep, seed=seed, as_json=call.json)


@command(
    "simulator",
    examples="evoctl simulator --port 11435 --seed 7\nevoctl simulator -- --help",
    context_settings=dict(REST),
)
@click.argument("words", metavar="[OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def simulator(words: tuple[str, ...]) -> None:
    """Run a simulated Ollama.

    It speaks Ollama's protocol with seeded models, and says "simulated" in its version and its tags.
    """
    from ops.simulator.__main__ import main

    main(words)


def search_path(variables: Mapping[str, str]) -> str:
    """Return the PATH with this program's own folder first, where `rq` stands beside `evoctl`."""
    here = str(Path(sys.executable).parent)
    return os.pathsep.join([here, *filter(None, [variables.get("PATH")])])


def _run_in_front(words: tuple[str, ...]) -> int:
    """Run a command with our terminal, pass signals on, and return what a shell would say of its end."""
    with closing(_Forwarding()) as forwarding:
        try:
            child = subprocess.Popen(words)  # noqa: S603 - the user's own command, no shell
        except FileNotFoundError:
            click.echo(f"evoctl foreground: {words[0]}: command not found", err=True)
            return NOT_FOUND
        except OSError as error:
            click.echo(f"evoctl foreground: {words[0]}: {error.strerror}", err=True)
            return NOT_RUN
        forwarding.to(child)
        code = child.wait()
    return code if code >= 0 else SIGNALLED - code


class _Forwarding:
    """Passes signals on to a child, also those that come while it starts; a terminal's Ctrl-C reaches it by itself."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before = {number: signal.signal(number, self._pass_on) for number in FORWARDED}
        # A handler and not SIG_IGN, which the child would inherit.
        self._before[signal.SIGINT] = signal.signal(signal.SIGINT, (lambda *_: None) if os.isatty(0) else self._pass_on)

    def to(self, child: subprocess.Popen[bytes]) -> None:
        """Name the child, and give it what came before."""
        self._child = child
        for number in self._early:
            child.send_signal(number)

    def close(self) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _pass_on(self, number: int, _: object) -> None:
        if self._child is None:
            self._early.append(number)
        else:
            self._child.send_signal(number)
