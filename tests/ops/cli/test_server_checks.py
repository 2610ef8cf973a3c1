"""What doctor says of the Ollama server's own settings and of the user's own model, and `show` of loads."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from models import loads
from models.steps import claim
from ops.cli.checks import Check, State, everything
from ops.cli.server_checks import server_checks
from ops.simulator.server import SimulatorServer
from ops.simulator.worlds.file_naming import FileNamingWorld
from pipeline.errors import Refused
from pipeline.machine_settings import MemorySettings
from workers.client import Evolution
from workers.clock import now
from workers.home import Home
from workers.llm.processes import server_process

LISTEN = (
    "import socket, sys, time; s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); time.sleep(60)"
)
Seen = Callable[..., dict[str, Check]]


@pytest.fixture(name="seen")
def _seen(tmp_path: Path) -> Iterator[Seen]:
    """Return what the checks say of a process that bears the server's name and was started with *variables*."""
    with ExitStack() as ending:

        def seen(**variables: str) -> dict[str, Check]:
            (tmp_path / "ollama").symlink_to(sys.executable)
            (tmp_path / "serve").write_text(LISTEN, encoding="utf-8")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            words = [str(tmp_path / "ollama"), "serve", str(port)]
            process = subprocess.Popen(words, cwd=tmp_path, env={"PYTHONHOME": sys.base_prefix, **variables})
            ending.callback(process.wait)
            ending.callback(process.kill)
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + 10
            while server_process(url) is None:
                assert time.monotonic() < end
                time.sleep(0.02)
            return {check.name: check for check in server_checks(url, MemorySettings())}

        yield seen


def test_a_server_that_is_set_as_wanted_is_ok(seen: Seen) -> None:
    """A bounded cache, one request at a time and two models."""
    found = seen(LLAMA_ARG_CACHE_RAM="64", OLLAMA_NUM_PARALLEL="1", OLLAMA_MAX_LOADED_MODELS="2")

    assert {name: check.state for name, check in found.items()} == {
        "prompt cache": State.OK,
        "parallel": State.OK,
        "loaded models": State.OK,
    }


def test_a_server_as_it_comes_hides_a_cache(seen: Seen) -> None:
    """Without the variable each runner hides up to 8 GiB, which is bad and comes with what to do."""
    found = seen()

    cache = found["prompt cache"]
    assert cache.state is State.BAD
    assert "up to 8192 MiB" in cache.words
    assert "LLAMA_ARG_CACHE_RAM=64 OLLAMA_NUM_PARALLEL=1 OLLAMA_MAX_LOADED_MODELS=2" in cache.hint
    assert found["parallel"].state is State.OK
    assert found["loaded models"].state is State.NOTE


@pytest.mark.parametrize(
    ("variable", "value", "name", "state", "words"),
    [
        ("LLAMA_ARG_CACHE_RAM", "-1", "prompt cache", State.BAD, "without bound"),
        ("LLAMA_ARG_CACHE_RAM", "0", "prompt cache", State.OK, "=0"),
        ("OLLAMA_NUM_PARALLEL", "4", "parallel", State.NOTE, "4 times its memory"),
        ("OLLAMA_MAX_LOADED_MODELS", "1", "loaded models", State.BAD, "no model of evolution's fits"),
        ("OLLAMA_MAX_LOADED_MODELS", "3", "loaded models", State.NOTE, "2 suit 8 GB"),
    ],
)
def test_each_value_has_its_words(seen: Seen, variable: str, value: str, name: str, state: State, words: str) -> None:
    """What costs memory is named with its cost."""
    check = seen(**{variable: value})[name]

    assert check.state is state
    assert words in check.words


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nas.example:11434"])
def test_a_server_that_cannot_be_seen_is_a_note_with_what_to_do(url: str) -> None:
    """It may be another user's, or run elsewhere: nothing is claimed of it."""
    (check,) = server_checks(url, MemorySettings())

    assert check.state is State.NOTE
    assert "cannot be seen" in check.words
    assert "LLAMA_ARG_CACHE_RAM" in check.hint


def test_doctor_says_what_the_users_model_needs(host: Home) -> None:
    """Without `foreground.options` it is bad, in the words of the refusal that a run would meet."""
    text = host.config.read_text(encoding="utf-8").replace("    options: {}\n", "")
    with SimulatorServer(FileNamingWorld()) as server:
        host.config.write_text(text.replace("http://127.0.0.1:1\n", f"{server.url}\n"), encoding="utf-8")
        found = {check.name: check for check in everything(host)}

    assert found["foreground"].state is State.BAD
    assert "foreground: {options: {}}" in found["foreground"].hint
    with Evolution(host) as evolution, pytest.raises(Refused) as refused:
        evolution.create("file-naming", ("Name it well.",), reason="try")
    assert refused.value.hint == found["foreground"].hint


def test_show_tells_how_often_models_were_loaded(evoctl: Any, evolution: Evolution) -> None:
    """By tag, and in all; they count as no calls."""
    run = evolution.create("file-naming", ("Name it well.",), reason="try").run
    with evolution.database.write() as session:
        mine = claim(session, 1, 1, now())
        assert mine is not None
        for tag in ("a:1b", "b:1b", "a:1b"):
            loads.record_load(session, mine, tag, now())

    assert "Models were loaded 3 times: a:1b 2, b:1b 1" in evoctl("show", f"r{run}").out
    data = evoctl("show", f"r{run}", "--json").data
    assert data["loads"] == [{"tag": "a:1b", "loads": 2}, {"tag": "b:1b", "loads": 1}]
    assert data["calls"] == []
