"""What is seen of the server's own processes; real ones, that only bear the names of Ollama's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.ports import free_port, listens
from workers.llm.light_http import is_here
from workers.llm.lists import blob_of
from workers.llm.processes import ServerProcess, free_bytes, runner_bytes, server_process, total_bytes

SLEEP = "import time; time.sleep(60)"
HOLD = "import time; held = bytearray(64 * 2**20); time.sleep(60)"
LISTEN = (
    "import socket, sys, time; s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); time.sleep(60)"
)
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(name="start")
def _start(tmp_path: Path) -> Iterator[Start]:
    """Return a starter of processes by name, with their arguments and variables; all end with the test."""
    with ExitStack() as ending:

        def start(name: str, code: str, *words: str, **variables: str) -> subprocess.Popen[bytes]:
            # The system names a process by the file that was started, and its command line is what it was given.
            program = tmp_path / name
            if not program.exists():
                program.symlink_to(sys.executable)
            (tmp_path / words[0]).write_text(code, encoding="utf-8")
            home = {"PYTHONHOME": sys.base_prefix}
            process = subprocess.Popen([str(program), *words], cwd=tmp_path, env={**home, **variables})
            ending.callback(process.wait)
            ending.callback(process.kill)
            end = time.monotonic() + 10
            while psutil.Process(process.pid).name() != name:
                assert time.monotonic() < end
                time.sleep(0.01)
            return process

        yield start


def seen(port: int) -> ServerProcess:
    """Wait until the server at *port* is seen."""
    end = time.monotonic() + 10
    while (found := server_process(f"http://localhost:{port}")) is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_the_servers_variables_are_read(start: Start) -> None:
    """The three that cost memory are read of a process of the same user; one that is no number counts as not set."""
    port = free_port()
    variables = {"LLAMA_ARG_CACHE_RAM": "64", "OLLAMA_NUM_PARALLEL": "2", "OLLAMA_MAX_LOADED_MODELS": "x"}
    server = start("ollama", LISTEN, "serve", str(port), **variables)

    found = seen(port)

    assert (found.pid, found.cache_ram_mib, found.num_parallel, found.max_loaded) == (server.pid, 64, 2, None)


def test_of_two_servers_the_one_at_the_port_counts(start: Start) -> None:
    """Another server of the same user says nothing about this one."""
    port = free_port()
    start("ollama", SLEEP, "serve", LLAMA_ARG_CACHE_RAM="1")
    time.sleep(0.1)  # the two share the file of their code
    right = start("ollama", LISTEN, "serve", str(port), LLAMA_ARG_CACHE_RAM="2")

    found = seen(port)

    assert (found.pid, found.cache_ram_mib) == (right.pid, 2)


def test_no_server_and_another_machines_are_not_seen(start: Start) -> None:
    """A client of Ollama's is no server, and a server elsewhere is not looked for here."""
    port = free_port()
    start("ollama", LISTEN, "run", str(port))
    end = time.monotonic() + 10
    while not listens(port):
        assert time.monotonic() < end
    assert server_process(f"http://127.0.0.1:{port}") is None

    assert server_process(f"http://nas.example:{port}") is None
    assert not is_here("https://nas.example")


def test_a_runners_memory_is_that_of_the_process_with_the_model_file(start: Start) -> None:
    """The file's name counts, not its folder; another model's runner is another."""
    start("llama-server", HOLD, "s.py", "--model", "/models/blobs/sha256-ab", "--port", "1")
    start("llama-server", SLEEP, "s2.py", "--model", "/models/blobs/sha256-cd", "--port", "2")
    end = time.monotonic() + 10

    while (size := runner_bytes("/elsewhere/sha256-ab") or 0) < 64 * 2**20:
        assert time.monotonic() < end
        time.sleep(0.05)

    assert 0 < (runner_bytes("sha256-cd") or 0) < size
    assert runner_bytes("sha256-ef") is None
    assert runner_bytes("") is None


@pytest.mark.parametrize(
    ("modelfile", "expected"),
    [
        ("# FROM x:1b\n\nFROM /Users/u/.ollama/models/blobs/sha256-ab\nTEMPLATE x", "sha256-ab"),
        ("FROM C:\\models\\blobs\\sha256-ab\n", "sha256-ab"),
        ("FROM x:1b\n", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_model_file_stands_in_the_modelfile(modelfile: object, expected: str) -> None:
    """Only a blob's name is a file; a tag is none."""
    assert blob_of(modelfile) == expected


def test_the_machines_memory_is_known() -> None:
    """What is free is part of what there is."""
    assert 0 < free_bytes() < total_bytes()
