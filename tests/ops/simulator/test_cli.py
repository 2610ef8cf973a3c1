"""`python -m ops.simulator`, as a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.simulator.__main__ import load_world, parser
from ops.simulator.probe import Caller


def test_it_says_where_it_listens_and_stops_on_sigterm(tmp_path: Path) -> None:
    """The first line names the address, the port file holds the port, SIGTERM ends it with 0."""
    port_file, log = tmp_path / "port", tmp_path / "log.jsonl"
    command = [
        sys.executable,
        "-m",
        "ops.simulator",
        "--port",
        "0",
        "--port-file",
        str(port_file),
        "--request-log",
        str(log),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        url = re.fullmatch(r"simulated Ollama 0\.33\.0-simulated on (http://127\.0\.0\.1:(\d+))\n", line)
        version = Caller(int(url[2]))("GET", "/api/version").json()
        process.send_signal(signal.SIGTERM)
        code = process.wait(10)

    assert (version, code) == ({"version": "0.33.0-simulated"}, 0)
    assert port_file.read_text(encoding="utf-8").strip() == url[2]
    assert len(log.read_text(encoding="utf-8").splitlines()) == 2


def test_another_world_can_be_named() -> None:
    """`module:Class` is imported and made with the seed."""
    world = load_world("ops.simulator.worlds.json_tasks:JsonTasksWorld", 3)

    assert type(world).__name__ == "JsonTasksWorld"


@pytest.mark.parametrize(
    "option", ["--seed", "--world", "--request-log", "--tokens-per-second", "--load-seconds", "--port-file"]
)
def test_every_option_has_its_place_in_the_help(option: str) -> None:
    """The help names the option."""
    assert option in parser().format_help()
