"""The guard that lets no test contact another machine, and the hosts that the product contacts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ELSEWHERE = "192.0.2.1"  # of a network that is for documents (RFC 5737)


@pytest.fixture(name="refused")
def _refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of refused contacts, one of this test alone, so that the run itself does not fail."""
    path = tmp_path / "refused"
    monkeypatch.setenv("EVOCTL_TEST_SOCKETS", str(path))
    return path


def test_the_guard_stops_this_process(refused: Path) -> None:
    """A connection, a name and a datagram are refused before a byte leaves, and each is noted."""
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        with pytest.raises(OSError, match="may not contact"):
            stream.connect((ELSEWHERE, 9))
        with pytest.raises(OSError, match="may not contact"):
            datagram.sendto(b"x", (ELSEWHERE, 9))
        with pytest.raises(OSError, match="may not contact"):
            socket.getaddrinfo("telemetry.invalid", 443)

    assert [line.partition(" ")[0] for line in refused.read_text().splitlines()] == [
        "socket.connect",
        "socket.sendto",
        "socket.getaddrinfo",
    ]


@pytest.mark.parametrize("flags", [[], ["-P"]], ids=["plain", "safe-path"])
def test_the_guard_stops_every_python_process(refused: Path, flags: list[str]) -> None:
    """A child has the guard from its environment, also the one that runs a skill's own scorer."""
    code = f"import socket; socket.create_connection(('{ELSEWHERE}', 9), 1)"

    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "may not contact" in done.stderr
    assert ELSEWHERE in refused.read_text()


def test_a_contact_fails_the_whole_run(tmp_path: Path) -> None:
    """Also when the code that made it hid the error."""
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text().replace(
        'Path(__file__).parent / "guard"', repr(Path(__file__).parent / "guard").replace("PosixPath", "Path")
    ))  # fmt: skip
    (tmp_path / "test_it.py").write_text(
        f"import socket\ndef test_it():\n    try:\n        socket.create_connection(('{ELSEWHERE}', 9), 1)\n"
        "    except OSError:\n        pass\n"
    )
    outside = {name: value for name, value in os.environ.items() if not name.startswith("EVOCTL_TEST_")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=outside, cwd=tmp_path)

    assert "1 passed" in done.stdout
    assert f"refused: socket.getaddrinfo '{ELSEWHERE}'" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_may_be_contacted(refused: Path, address: str) -> None:
    """Every loopback address and name."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as stream:
        assert stream.connect_ex((address, 1)) != 0

    assert not refused.exists()
