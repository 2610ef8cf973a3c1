"""The embedded Redis: whose it is, and what another user on its port gets."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from ops.supervise import answers
from ops.valkey import prepare, server
from workers.home import Home, find_home


def _home(tmp_path: Path) -> Home:
    return find_home(str(tmp_path / "home"), str(tmp_path / "config.yaml")).ensure()


@contextmanager
def _started(url: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as valkey:
        try:
            end = time.monotonic() + 10
            while not answers(url):
                assert time.monotonic() < end
                time.sleep(0.02)
            yield valkey
        finally:
            valkey.terminate()


def test_the_address_stays_while_the_port_is_free(tmp_path: Path) -> None:
    """What `evoctl env` printed still holds after a restart."""
    home = _home(tmp_path)

    assert prepare(home)[0] == prepare(home)[0]


def test_a_taken_port_is_left_and_its_holder_not_believed(tmp_path: Path) -> None:
    """Something that listens on the remembered port is not the home's server, and the next start takes another port."""
    home = _home(tmp_path)
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        home.redis_url_file.write_text(f"redis://:old@127.0.0.1:{port}/0\n", encoding="utf-8")

        found, url = server(home), prepare(home)[0]

    assert found is None
    assert f":{port}/" not in url
    assert "old" not in url


def test_the_homes_own_server_is_found(tmp_path: Path) -> None:
    """The running server is known by its process, its user and its port; secrets are for the owner only."""
    home = _home(tmp_path)
    url, command = prepare(home)
    with _started(url, command) as valkey:
        found = server(home)

    assert found is not None
    assert found.pid == valkey.pid
    assert home.redis_url_file.stat().st_mode & 0o077 == 0
    assert Path(command[1]).stat().st_mode & 0o077 == 0


def test_another_homes_server_on_the_same_port_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    """Two homes that were given one port before either ran: the second takes another one, and a password of its own."""
    first, second = _home(tmp_path), find_home(str(tmp_path / "two"), str(tmp_path / "config.yaml")).ensure()
    url, command = prepare(first)
    second.redis_url_file.write_text(f"{url.replace('//:', '//:x')}\n", encoding="utf-8")
    with _started(url, command):
        found, (other, _) = server(second), prepare(second)

    assert found is None
    assert other.rpartition(":")[2] != url.rpartition(":")[2]
    assert "//:x" not in other


def test_the_server_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It listens on 127.0.0.1 only, wants its password, drops no bell when full, and keeps an append-only file."""
    home = find_home(str(tmp_path / 'ho"me \\ x'), str(tmp_path / "config.yaml")).ensure()
    url, command = prepare(home)
    with _started(url, command) as valkey:
        listening = {
            (c.laddr.ip, c.laddr.port) for c in psutil.Process(valkey.pid).net_connections() if c.status == "LISTEN"
        }
        with Redis.from_url(url) as owner, Redis.from_url(url.replace("//:", "//:x")) as other:
            wanted = (
                "bind",
                "protected-mode",
                "maxmemory",
                "maxmemory-policy",
                "appendonly",
                "save",
                "port",
                "dir",
            )
            found = {name: owner.config_get(name)[name] for name in wanted}
            with pytest.raises(AuthenticationError):
                other.ping()
        with Redis(port=int(found["port"])) as stranger, pytest.raises(AuthenticationError):
            stranger.set("rq:job:x", "y")

    assert listening == {("127.0.0.1", int(found["port"]))}
    assert found | {"port": ""} == {
        "bind": "127.0.0.1", "protected-mode": "yes", "maxmemory": str(64 * 1024 * 1024), "maxmemory-policy": "noeviction",
        "appendonly": "yes", "save": "", "port": "", "dir": str(home.root / "valkey"),
    }  # fmt: skip
    assert (home.root / "valkey").stat().st_mode & 0o077 == 0
    assert len(url.partition("//:")[2].partition("@")[0]) == 32
