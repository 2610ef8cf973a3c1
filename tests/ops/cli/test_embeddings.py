"""`embeddings`: limits of each profile, beside the notes' rule, and a calibration on a real server."""

from __future__ import annotations

from typing import Any

import pytest

from ops.simulator.server import SimulatorServer
from ops.simulator.worlds.file_naming import FileNamingWorld
from pipeline.redundancy import HASHED
from workers.home import Home
from workers.lease import foreground


@pytest.fixture(name="server")
def _server(host: Home) -> Any:
    """Run a simulated Ollama that the configuration names."""
    with SimulatorServer(FileNamingWorld(seed=1)) as server:
        text = host.config.read_text(encoding="utf-8")
        host.config.write_text(text.replace("http://127.0.0.1:1", server.url), encoding="utf-8")
        yield server


def test_hashed_letters_are_always_calibrated(evoctl: Any, host: Home) -> None:
    """No model is needed for them."""
    (found,) = evoctl("embeddings", "show", "--json").data["profiles"]

    assert found["profile"] == HASHED
    assert found["lost"] == 0
    assert found["seeds_lost"] > 0.3
    assert "CHANGES LOST" in evoctl("embeddings", "show").out


def test_a_model_is_calibrated_once(evoctl: Any, host: Home, server: Any) -> None:
    """Its vectors are kept under its digest, prefix and dimensions."""
    (found,) = evoctl("embeddings", "calibrate", "--json").data["profiles"]
    shown = evoctl("embeddings", "show", "--json").data["profiles"]

    assert len(found["profile"].split("|")[0]) == 64
    assert found["profile"] in {one["profile"] for one in shown}
    assert len(shown) == 2
    assert server.counts().by_path["/api/embed"] >= 2


def test_the_user_goes_first(evoctl: Any, host: Home, server: Any) -> None:
    """While a foreground command runs nothing is asked."""
    with foreground(host.root):
        said = evoctl("embeddings", "calibrate")

    assert said.code == 8
    assert "The gate is closed" in said.err
    assert server.counts().inference == 0


def test_without_an_embedder_there_is_nothing_to_calibrate(evoctl: Any, host: Home) -> None:
    """It says what compares prompts instead."""
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("  models:\n", '  models:\n    embedder: ""\n', 1), encoding="utf-8")
    said = evoctl("embeddings", "calibrate")

    assert said.code == 4
    assert "hashed letters" in said.err
