"""`service`: let the machine run `evoctl up` from login on, at the lowest priority."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from ops.cli.call import Call, Command, Group, pass_call
from ops.cli.failures import NEGATIVE, UNREACHABLE
from ops.cli.output import show
from ops.cli.up import PORT
from pipeline.errors import ConfigError, NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.deploy.managers import Manager
    from ops.deploy.service import Options, Service
    from workers.home import Home

LABEL = {"launchd": "dev.tinyarms.evolution", "systemd": "tinyarms-evolution"}
LOG = "service.log"
LARGEST = 65536  # bytes of a service's file that may be ours
MODE = 0o644  # as is usual for such files; nothing secret is in them
SYSTEM = tuple(map(Path, ("/usr", "/boot", "/efi", "/etc")))  # what ProtectSystem=full makes read-only
LINGER = Path("/var/lib/systemd/linger")
F = TypeVar("F", bound="Callable[..., Any]")


@click.group("service", cls=Group, examples="evoctl service install\nevoctl service status\nevoctl service uninstall")
def service() -> None:
    """Run `evoctl up` from login on, at the lowest priority."""


def _choices(function: F) -> F:
    """Add the options of `evoctl up`."""
    for option in (
        click.option("--no-worker", is_flag=True, help="Without the RQ worker: it runs elsewhere."),
        click.option("--no-web", is_flag=True, help="Without the page."),
        click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Of the page."),
    ):
        function = option(function)
    return function


@service.command("install", cls=Command, examples="evoctl service install\nevoctl service install --no-web --no-start")
@_choices
@click.option("--no-start", is_flag=True, help="Only write the file.")
@click.option("--force", is_flag=True, help="Also over a file that evoctl did not write.")
@pass_call
def install(call: Call, *, port: int, no_web: bool, no_worker: bool, no_start: bool, force: bool) -> int:
    """Write the service's file and start it.

    On macOS a launchd agent, on Linux a systemd user service. Exit code 5 means that the file is written and the service
    manager did not answer.
    """
    from ops.deploy.managers import line_of

    home, manager = call.home.ensure(), _manager()
    if not home.config.is_file():
        raise ConfigError(f"There is no configuration at {home.config}.", hint="evoctl init --example")
    wanted = _service(home, manager, _options(port, no_web=no_web, no_worker=no_worker))
    path, text = manager.path(wanted.label), manager.text(wanted)
    other = _other_up(home, manager, wanted.label)
    changed = _write(path, text, force=force)
    trouble = "" if no_start else manager.start(wanted.label, changed=changed)
    by_hand = line_of(manager.commands(wanted.label))
    data = {
        "path": str(path), "manager": manager.name, "label": wanted.label, "changed": changed,
        "started": not (no_start or trouble), "trouble": trouble, "command": by_hand if no_start or trouble else "",
    }  # fmt: skip

    def words() -> str:
        lines = [f"{'Written' if changed else 'Unchanged'}: {show(path)}"]
        if data["started"]:
            lines.append("Started; it starts again at every login.")
        else:
            lines += [f"Not started. {show(trouble)}".rstrip(), f"Start it: {show(by_hand)}"]
        return "\n".join(lines)

    call.result("service-install", data, words)
    _hints(call, manager, other=other)
    return UNREACHABLE if trouble else 0


@service.command("uninstall", cls=Command, examples="evoctl service uninstall")
@pass_call
def uninstall(call: Call) -> int:
    """Stop the service and remove its file."""
    home, manager = call.home, _manager()
    label = _label(home, manager)
    path = manager.path(label)
    if not os.path.lexists(path):
        call.result("service-uninstall", {"removed": False, "trouble": ""}, lambda: "It is not installed.")
        return 0
    if _ours(path) is None:
        raise Refused(f"{path} was not written by evoctl.", hint="Remove it yourself.")
    trouble = manager.stop(label)
    path.unlink()
    manager.forget(label)

    def words() -> str:
        return f"Removed: {show(path)}" + (f"\nIt may still run. {show(trouble)}" if trouble else "")

    call.result("service-uninstall", {"removed": True, "path": str(path), "trouble": trouble}, words)
    return UNREACHABLE if trouble else 0


@service.command("status", cls=Command, examples="evoctl service status\nevoctl service status --json")
@pass_call
def status(call: Call) -> int:
    """Tell whether the service is installed, loaded, running and up to date; exit code 6 when something is missing."""
    home, manager = call.home, _manager()
    label = _label(home, manager)
    path, standing = manager.path(label), manager.standing(label)
    options = _ours(path)
    outdated = options is not None and path.read_text(encoding="utf-8") != manager.text(
        _service(home, manager, options)
    )
    exists = os.path.lexists(path)
    data = {
        "path": str(path), "manager": manager.name, "label": label, "installed": options is not None,
        "foreign": exists and options is None, "outdated": outdated, "loaded": standing.loaded,
        "running": standing.running, "trouble": standing.trouble, "up": _up_runs(home),
    }  # fmt: skip

    def words() -> str:
        kind = "yes" if options is not None else "a file that evoctl did not write" if exists else "no"
        rows = [
            ("installed", f"{kind} ({show(path)})"),
            ("up to date", "no: evoctl service install" if outdated else "yes" if options is not None else "-"),
            ("loaded", "unknown" if standing.trouble else _yes(standing.loaded)),
            ("running", f"unknown: {show(standing.trouble)}" if standing.trouble else _yes(standing.running)),
            ("evoctl up", "runs" if data["up"] else "does not run"),
        ]
        return "\n".join(f"{name:10}  {value}" for name, value in rows)

    call.result("service-status", data, words)
    return 0 if options is not None and not outdated and standing.running else NEGATIVE


@service.command(
    "print", cls=Command, examples="evoctl service print --systemd\nevoctl service print --launchd --no-web"
)
@_choices
@click.option("--launchd", "kind", flag_value="launchd", help="For macOS.")
@click.option("--systemd", "kind", flag_value="systemd", help="For Linux.")
@pass_call
def print_command(call: Call, *, port: int, no_web: bool, no_worker: bool, kind: str | None) -> None:
    """Print the service's file; nothing is changed."""
    home, manager = call.home, _manager(kind)
    wanted = _service(home, manager, _options(port, no_web=no_web, no_worker=no_worker))
    text = manager.text(wanted)
    data = {"path": str(manager.path(wanted.label)), "manager": manager.name, "text": text}
    call.result("service-print", data, lambda: _shown(text.rstrip("\n")))


def installed(home: Home) -> bool:
    """Tell whether the service of *home* is installed, so that something starts `up` again."""
    try:
        manager = _manager()
    except NotFound:
        return False
    return _ours(manager.path(_label(home, manager))) is not None


def _manager(kind: str | None = None) -> Manager:
    from ops.deploy.managers import Launchd, Systemd

    if kind == "launchd" or (kind is None and sys.platform == "darwin"):
        return Launchd()
    if kind == "systemd" or sys.platform == "linux":
        return Systemd()
    raise NotFound("This system has neither launchd nor systemd.", hint="evoctl up --detach")


def _options(port: int, *, no_web: bool, no_worker: bool) -> Options:
    from ops.deploy.service import Options

    return Options(port=port, no_web=no_web, no_worker=no_worker)


def _label(home: Home, manager: Manager) -> str:
    """Name the service; each home but the default one has a name of its own."""
    from platformdirs import user_data_path

    from ops.cli.background import mark_of
    from workers.home import APP

    dot = "." if manager.name == "launchd" else "-"
    own = "" if home.root == user_data_path(APP).absolute() else f"{dot}{mark_of(home)[:8]}"
    return LABEL[manager.name] + own


def _service(home: Home, manager: Manager, options: Options) -> Service:
    from ops.deploy.service import Service

    places = (home.root, home.config)
    words = ("-m", "ops.cli", "--home", str(home.root), "--config", str(home.config), "up", *options.words)
    return Service(
        label=_label(home, manager),
        command=(str(Path(sys.executable).absolute()), *words),
        log=str(home.log_dir / LOG),
        options=options,
        variables=_carried(home),
        protect=not any(place.is_relative_to(folder) for place in places for folder in SYSTEM),
    )


def _carried(home: Home) -> dict[str, str]:
    """Return the variables of this call that the service needs as well.

    Raises:
        Refused: one holds a password, which has no place in a service's file.
    """
    from ops.cli.setup import embedded

    found = {name: os.environ[name] for name in ("DATABASE_URL", "XDG_CACHE_HOME") if os.environ.get(name)}
    if not embedded(home):
        found["RQ_REDIS_URL"] = os.environ["RQ_REDIS_URL"]
    for name, value in found.items():
        try:
            secret = name.endswith("_URL") and (urlsplit(value).password is not None or "password" in value)
        except ValueError:
            secret = True
        if secret:
            raise Refused(
                f"{name} holds a password, and a service's file must not.",
                why="Such files are readable by others, and the service would not see the variable otherwise.",
                hint=f"unset {name}, or keep the password where its client finds it (~/.pgpass).",
            )
    return found


def _ours(path: Path) -> Options | None:
    """Return the options of a file that evoctl wrote; None for any other, a link included."""
    from ops.deploy.service import options_in

    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
            return None
        return options_in(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str, *, force: bool) -> bool:
    """Write the file unless it says the same already; return whether that was needed."""
    from workers.home import write_private

    if os.path.lexists(path) and not force and _ours(path) is None:
        raise Refused(f"{path} was not written by evoctl.", hint="evoctl service install --force")
    try:
        if not path.is_symlink() and path.is_file() and path.read_bytes() == text.encode():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text)
        path.chmod(MODE)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written.", why=error.strerror or str(error)) from error
    return True


def _up_runs(home: Home) -> bool:
    from ops.cli.background import LOCK
    from workers.lock import held

    return (home.locks / LOCK).exists() and held(home.locks / LOCK)


def _other_up(home: Home, manager: Manager, label: str) -> bool:
    """Tell whether somebody else than the service runs `up`."""
    return _up_runs(home) and not manager.standing(label).running


def _hints(call: Call, manager: Manager, *, other: bool) -> None:
    if other:
        call.note("An `evoctl up` of this home runs already; after `evoctl down` the service takes over.")
    if manager.name == "systemd" and not (LINGER / os.environ.get("USER", "-")).exists():
        call.note("It ends with your last session; to keep it running without one: loginctl enable-linger")


def _shown(text: str) -> str:
    """Make a path's odd letters harmless on a terminal; a file or another program gets them as they are."""
    return show(text, newlines=True, limit=LARGEST) if sys.stdout.isatty() else text


def _yes(true: bool) -> str:  # noqa: FBT001 - a word for one value
    return "yes" if true else "no"
