"""What the server says of itself and of the models on its disk."""

from __future__ import annotations

from collections.abc import Callable

from ops.simulator.knobs import Knobs
from ops.simulator.probe import Caller
from ops.simulator.server import SimulatorServer

QWEN, SMOL = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M"


def test_it_says_that_it_is_simulated(call: Caller) -> None:
    """The version and every model's details say so, while the root greets as the real one."""
    models = call("GET", "/api/tags").json()["models"]

    assert call("GET", "/api/version").json() == {"version": "0.33.0-simulated"}
    assert {model["details"]["format"] for model in models} == {"simulated"}
    assert (call("GET", "/").text, call("HEAD", "/").status) == ("Ollama is running", 200)


def test_each_tag_is_also_served_under_an_alias(call: Caller) -> None:
    """The alias has the digest of its model, and answers under the spelling of the request."""
    models = {model["name"]: model["digest"] for model in call("GET", "/api/tags").json()["models"]}

    assert models[QWEN] == models[f"simulated/{QWEN}"]
    assert call.generate(model=f"simulated/{QWEN}").json()["model"] == f"simulated/{QWEN}"


def test_names_are_found_in_any_case(call: Caller) -> None:
    """A lower-case spelling of a tag is found, and shown as it was asked for."""
    assert call.generate(model=SMOL.lower()).json()["model"] == SMOL.lower()


def test_show_knows_the_context_length_under_the_architecture(call: Caller) -> None:
    """`model_info` holds `<architecture>.context_length`; capabilities are listed."""
    body = call("POST", "/api/show", {"model": SMOL}).json()

    assert body["model_info"]["llama.context_length"] == 8192
    assert body["capabilities"] == ["completion", "tools"]


def test_show_refuses_what_is_not_there(call: Caller) -> None:
    """The missing name is given with its tag; an empty one is required."""
    assert call("POST", "/api/show", {"model": "x"}).json()["error"] == "model 'x:latest' not found"
    assert call("POST", "/api/show", {}).status == 400


def test_an_absent_model_can_be_pulled(serve: Callable[..., SimulatorServer], caller: type[Caller]) -> None:
    """It is 404 before; the pull reports its progress; then it answers."""
    ask = caller(serve(absent=[QWEN]).port)
    before = ask.generate()

    lines = ask("POST", "/api/pull", {"model": QWEN}).lines()

    assert before.status == 404
    assert lines[0] == {"status": "pulling manifest"}
    assert lines[1]["digest"].startswith("sha256:")
    assert lines[-2]["status"] == "writing manifest"
    assert lines[-1] == {"status": "success"}
    assert ask.generate().status == 200


def test_an_unknown_model_cannot_be_pulled(call: Caller) -> None:
    """Streaming it is a line after a 200, otherwise a 500."""
    text = "pull model manifest: file does not exist"
    stream = call("POST", "/api/pull", {"model": "nope"})

    assert (stream.status, stream.lines()) == (200, [{"status": "pulling manifest"}, {"error": text}])
    assert call("POST", "/api/pull", {"model": "nope", "stream": False}).json() == {"error": text}


def test_a_whole_pull_answers_with_the_last_line(serve: Callable[..., SimulatorServer], caller: type[Caller]) -> None:
    """`stream` off gives only `success`."""
    ask = caller(serve(knobs=Knobs(pull_seconds=0.01), absent=[QWEN]).port)

    assert ask("POST", "/api/pull", {"model": QWEN, "stream": False}).json() == {"status": "success"}


def test_delete_takes_a_model_off_the_disk(call: Caller) -> None:
    """The reply is an empty 200; the second time it is missing."""
    call.generate()
    first = call("DELETE", "/api/delete", {"model": QWEN})

    assert (first.status, first.body, call.ps()) == (200, b"", [])
    assert call("DELETE", "/api/delete", {"model": QWEN}).json()["error"] == f"model '{QWEN}' not found"
