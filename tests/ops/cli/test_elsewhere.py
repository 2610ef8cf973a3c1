"""What evoctl says about texts that leave this machine, and about prompts that a person wrote with an address in them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from models.tables import VariantRow
from pipeline.domain import Fate
from workers.llm.light_http import is_here, other_machine

WARNING = "prompts, inputs and answers of your tasks leave this machine for gpu.example"


@pytest.fixture(name="elsewhere")
def _elsewhere(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the configuration name a server on another machine; the contact that doctor tries is refused, and no failure."""
    monkeypatch.setenv("EVOCTL_TEST_SOCKETS", str(tmp_path / "refused"))
    text = host.config.read_text(encoding="utf-8")
    assert "http://127.0.0.1:1\n" in text
    host.config.write_text(text.replace("http://127.0.0.1:1\n", "http://gpu.example:11434\n"), encoding="utf-8")
    return host


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:11434", ""),
        ("127.8.8.8:1", ""),
        ("http://localhost", ""),
        ("http://a.localhost:1", ""),
        ("http://[::1]:11434", ""),
        ("http://0.0.0.0:11434", ""),
        ("https://ollama.com", "ollama.com"),
        ("192.168.1.7:11434", "192.168.1.7"),
        ("http://localhost.evil.example", "localhost.evil.example"),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        ("http://127.0.0.1@evil.example", "evil.example"),
        ("http://[fe80::1%25eth0]:1", "fe80::1"),
    ],
)
def test_another_machine_is_told_from_this_one(url: str, found: str) -> None:
    """By address and name, whatever stands around it."""
    assert other_machine(url) == found
    assert is_here(url) is (not found)


def test_doctor_says_where_texts_go(evoctl: Any, elsewhere: Any) -> None:
    """A server on another machine is a note of its own, also while it does not answer."""
    checks = {one["name"]: one for one in evoctl("--json", "doctor").data["checks"]}

    assert checks["ollama host"]["state"] == "note"
    assert checks["ollama host"]["words"] == WARNING


def test_init_says_where_texts_go(evoctl: Any, elsewhere: Any) -> None:
    """It is said before anything is sent."""
    said = evoctl("init")

    assert WARNING in said.err
    assert evoctl("--json", "init").data["ollama_elsewhere"] == "gpu.example"


def test_a_server_of_this_machine_needs_no_word(evoctl: Any, host: Any) -> None:
    """Neither doctor nor init mentions it."""
    assert "leave this machine" not in evoctl("init").err + evoctl("doctor").out


def test_up_says_where_texts_go(elsewhere: Any) -> None:
    """Before the first process runs."""
    words = [sys.executable, "-m", "ops.cli", "up", "--no-web", "--no-worker"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        first, end = process.stderr.readline(), time.monotonic() + 30
        process.send_signal(signal.SIGTERM)
        process.wait(end - time.monotonic())

    assert WARNING in first


def test_a_person_is_warned_and_not_refused(evoctl: Any, host: Any, tmp_path: Path) -> None:
    """A prompt that a person wrote is tested as it is, with a word on what a model's would be refused for."""
    mine = tmp_path / "mine.md"
    mine.write_text("Name the file as https://wiki.example/names says.", encoding="utf-8")

    said = evoctl("create", "file-naming", "--variant-a", str(mine))

    assert said.code == 0, said.err
    assert "variant_a has a web address." in said.err


def test_a_refused_variant_is_counted_and_not_promoted(evoctl: Any, host: Any, trial: Any) -> None:
    """What leaked is told by its reason, and a person who wants it all the same must say so twice."""
    with trial.evolution.database.write() as session:
        row = session.get_one(VariantRow, trial.variants[1])
        row.fate, row.fate_reason = Fate.REFUSED, "leak: a secret"

    said = evoctl("promote", "file-naming", str(trial.variants[1]), "--yes")

    assert said.code != 0
    assert "leak: a secret" in said.err
    assert "Refused before they were run: leak: a secret 1" in evoctl("show", f"r{trial.run}").out
    assert evoctl("promote", "file-naming", str(trial.variants[1]), "--yes", "--force").code == 0
