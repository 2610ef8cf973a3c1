"""The client against replies that a healthy server would never send, byte by byte."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.domain import Role
from pipeline.errors import ModelMissing, Refused, Unreachable
from pipeline.flow import Embedded, Failed, FailureKind, Generate, Generated, Sampling
from workers.llm.ollama import OllamaClient
from workers.llm.retry import RunnerCrashed, Transient

OWN, THEIRS = "smollm2:360m-instruct-q4_K_M", "qwen2.5-coder:3b"
LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt",
    '{"error":{"code":400,"message":"request (9001 tokens) exceeds the available context size (8192 tokens)"}}',
    '{"error":{"code":400,"type":"exceed_context_size_error","n_prompt_tokens":9001,"n_ctx":8192}}',
    "the input length exceeds the context length",
)


class Stop(BaseException):
    """What a signal handler raises."""


def asking(**changes: Any) -> Generate:
    """Return a small request."""
    sampling = Sampling(temperature=0.7, seed=5, num_predict=32, min_p=0.05, stop=("END",))
    return Generate(role=Role.GENERATOR, sampling=sampling, **({"prompt": "Rename"} | changes))


def word(text: str, *logprobs: float) -> dict[str, object]:
    """Return a chunk in the middle of a stream."""
    entries = [{"token": text, "logprob": value} for value in logprobs]
    return {"model": OWN, "response": text, "done": False} | ({"logprobs": entries} if entries else {})


def end(**changes: object) -> dict[str, object]:
    """Return the last chunk of a stream."""
    last = {"model": OWN, "response": "", "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 2}
    return last | changes


@pytest.fixture
def client(script: Any) -> Iterator[OllamaClient]:
    """Connect to the scripted server."""
    with OllamaClient(script.url, connect_s=1.0, read_s=0.4) as made:
        yield made


def write(client: OllamaClient, num_ctx: int = 512, keep_alive: str | None = "60s", **changes: Any) -> Any:
    """Generate with the usual load options."""
    return client.generate(OWN, asking(**changes), load_options={"num_ctx": num_ctx}, keep_alive=keep_alive)


def test_a_stream_becomes_one_reply(script: Any, client: OllamaClient) -> None:
    """Texts are joined, log-probabilities averaged, counts taken from the last chunk."""
    script.acts["/api/generate"] = [script.stream(word("one", -1.0), word(" two", -0.5, -1.5), end())]

    reply = write(client, logprobs=True)

    assert isinstance(reply, Generated)
    assert (reply.text, reply.done_reason, reply.prompt_tokens, reply.tokens) == ("one two", "stop", 7, 2)
    assert (reply.mean_logprob, reply.min_logprob) == (-1.0, -1.5)
    assert 0 < reply.duration_s < 1


def test_every_option_is_sent(script: Any, client: OllamaClient) -> None:
    """The body spells out sampling, load options, truncation and thinking, so that no server default matters."""
    script.acts["/api/generate"] = [script.stream(end())]

    write(client, system="Be brief.", schema='{"type":"object"}', logprobs=True)

    (body,) = script.bodies("/api/generate")
    expected = {"temperature": 0.7, "seed": 5, "num_predict": 32, "top_p": 0.9, "top_k": 40, "min_p": 0.05}
    expected |= {"repeat_penalty": 1.0, "repeat_last_n": 64, "typical_p": 1.0, "stop": ["END"], "num_ctx": 512}
    assert body.pop("options") == expected | {"presence_penalty": 0.0, "frequency_penalty": 0.0}
    assert body == {
        "model": OWN,
        "prompt": "Rename",
        "system": "Be brief.",
        "stream": True,
        "truncate": False,
        "think": False,
        "logprobs": True,
        "keep_alive": "60s",
        "format": {"type": "object"},
    }


def test_no_keep_alive_is_sent_for_the_foreground_model(script: Any, client: OllamaClient) -> None:
    """None leaves the user's own value alone: the key is absent."""
    script.acts["/api/generate"] = [script.stream(end())]

    write(client, keep_alive=None)

    assert "keep_alive" not in script.bodies("/api/generate")[0]


def test_log_probabilities_may_be_missing(script: Any, client: OllamaClient) -> None:
    """A server before 0.12.11 sends none."""
    script.acts["/api/generate"] = [script.stream(word("a"), end())]

    assert write(client, logprobs=True).mean_logprob is None


def test_the_connection_is_used_again(script: Any, client: OllamaClient) -> None:
    """A stream is read to its end, so the next request needs no new connection."""
    ports = []
    plain = script.stream(end())
    script.acts["/api/generate"] = [lambda handler: (ports.append(handler.client_address[1]), plain(handler))]

    write(client)
    write(client)

    assert len(ports) == 2
    assert len(set(ports)) == 1


def test_a_stream_without_done_is_unfinished(script: Any, client: OllamaClient) -> None:
    """The server's guard against repeat loops ends the stream so."""
    script.acts["/api/generate"] = [script.stream(*[word("the")] * 31)]

    assert write(client).kind is FailureKind.UNFINISHED


@pytest.mark.parametrize("text", LONG)
def test_a_prompt_that_does_not_fit_fails(script: Any, client: OllamaClient, text: str) -> None:
    """All wordings of the refusal mean the same."""
    script.acts["/api/generate"] = [script.say({"error": text}, 400)]

    assert write(client).kind is FailureKind.TOO_LONG


@pytest.mark.parametrize("text", LONG)
def test_a_prompt_that_does_not_fit_fails_mid_stream_too(script: Any, client: OllamaClient, text: str) -> None:
    """The same refusal as a line of a stream that began well."""
    script.acts["/api/generate"] = [script.stream({"error": text})]

    assert write(client).kind is FailureKind.TOO_LONG


def test_a_hopelessly_long_prompt_is_not_sent(script: Any, client: OllamaClient) -> None:
    """More than sixteen characters for each token of context cannot fit."""
    reply = write(client, num_ctx=256, prompt="x" * 5000)

    assert reply.kind is FailureKind.TOO_LONG
    assert script.bodies("/api/generate") == []


def test_a_prompt_that_filled_the_context_fails(script: Any, client: OllamaClient) -> None:
    """An old server cuts in silence; the count gives it away."""
    script.acts["/api/generate"] = [script.stream(word("a"), end(prompt_eval_count=512))]

    assert write(client).kind is FailureKind.TOO_LONG


@pytest.mark.parametrize("status", [307, 400, 403, 404, 405, 413, 501])
def test_a_refused_request_fails_for_good(script: Any, client: OllamaClient, status: int) -> None:
    """Another 4xx, "not implemented" or a redirection (which is not followed) will not get better."""
    script.acts["/api/generate"] = [script.say_text("no such thing", status)]

    assert write(client) == Failed(kind=FailureKind.REJECTED, message="no such thing")


def test_a_model_that_vanished_is_missing(script: Any, client: OllamaClient) -> None:
    """404 with Ollama's words names the pull command."""
    script.acts["/api/generate"] = [script.say({"error": f"model '{OWN}' not found"}, 404)]

    with pytest.raises(ModelMissing) as caught:
        write(client)
    assert caught.value.hint == f"ollama pull {OWN}"


@pytest.mark.parametrize(
    "answer",
    [
        lambda script: script.say({"error": "llama-server process has terminated: exit status 1"}, 500),
        lambda script: script.stream(word("a"), {"error": "an error was encountered while running the model: CUDA"}),
    ],
    ids=["500", "mid-stream"],
)
def test_a_broken_runner_is_a_crash(script: Any, client: OllamaClient, answer: Callable[[Any], Any]) -> None:
    """The server lives, the model's process does not."""
    script.acts["/api/generate"] = [answer(script)]

    with pytest.raises(RunnerCrashed):
        write(client)


@pytest.mark.parametrize(
    "answer",
    [
        lambda script: script.say({"error": "server busy, please try again."}, 503),
        lambda script: script.stream(word("a"), cut=True),
        lambda script: script.stall(word("a"), seconds=1.0),
        lambda script: script.say_text("<html>proxy</html>"),
        lambda script: script.say_text("[1, 2]"),
        lambda script: script.stream('"text"'),
        lambda script: script.stream({"response": {"not": "text"}}),
        lambda _: lambda handler: setattr(handler, "close_connection", True),
    ],
    ids=["busy", "reset", "silence", "html", "list", "string", "wrong-type", "closed"],
)
def test_trouble_on_the_way_is_transient(script: Any, client: OllamaClient, answer: Callable[[Any], Any]) -> None:
    """Whatever the libraries raise for it, the retry layer sees one error."""
    script.acts["/api/generate"] = [answer(script)]

    with pytest.raises(Transient) as caught:
        write(client)
    assert script.url in caught.value.what
    assert caught.value.why


def test_garbage_in_a_refusal_is_transient(script: Any, client: OllamaClient) -> None:
    """An error body that is JSON but no object trips the client library itself."""
    script.acts["/api/generate"] = [script.say_text("[1]", 500)]

    with pytest.raises(Transient):
        write(client)


def test_a_server_that_is_down_is_named() -> None:
    """Nobody listens: the facts say so with the command that starts it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = OllamaClient(f"127.0.0.1:{taken.getsockname()[1]}", connect_s=0.5, read_s=0.5)

        with pytest.raises(Unreachable) as caught:
            client.facts()
    assert caught.value.hint == "ollama serve"
    assert "ConnectError" in caught.value.why


def test_something_else_on_the_port_is_no_ollama(script: Any, client: OllamaClient) -> None:
    """A page, or other JSON, is not taken for a server without models."""
    script.acts["/api/version"] = [script.say({"hello": 1})]

    with pytest.raises(Unreachable):
        client.facts()


def test_tags_are_compared_without_case_and_sent_as_stored(script: Any, client: OllamaClient) -> None:
    """Ollama compares so; the stored spelling is what `/api/ps` shows later."""
    script.acts["/api/generate"] = [script.stream(end())]

    client.require(["SMOLLM2:360m-instruct-q4_k_m"])
    client.generate("smollm2:360M-instruct-q4_k_m", asking(), load_options={}, keep_alive=None)

    assert script.bodies("/api/generate")[0]["model"] == OWN


def test_every_missing_model_is_named(script: Any, client: OllamaClient) -> None:
    """One error tells all commands that are needed."""
    with pytest.raises(ModelMissing) as caught:
        client.require([OWN, "b:2b", "a"])

    assert caught.value.hint == "ollama pull a && ollama pull b:2b"


def test_a_model_pulled_meanwhile_is_found(script: Any, client: OllamaClient) -> None:
    """A tag that was missing is looked up again."""
    client.facts()
    script.acts["/api/tags"] = [script.say({"models": [{"name": "new:latest", "digest": "c"}]})]

    assert client.resolve("New") == "new:latest"
    assert client.digest("new") == "c"


def test_cloud_models_are_refused(script: Any, client: OllamaClient) -> None:
    """By their name, and by what the list says of them."""
    hosted = {"name": "mine:1b", "digest": "d", "remote_host": "https://ollama.com:443"}
    script.acts["/api/tags"] = [script.say({"models": [hosted, {"name": "big:120b-cloud", "digest": "e"}]})]

    for tag in ("mine:1b", "big:120b-cloud"):
        with pytest.raises(Refused):
            client.require([tag])
        with pytest.raises(Refused):
            client.resolve(tag)


def test_a_simulated_server_says_so(script: Any, client: OllamaClient) -> None:
    """Its version carries the word."""
    script.acts["/api/version"] = [script.say({"version": "0.33.0-simulated"})]

    assert client.facts().simulated


def test_vectors_carry_their_profile(script: Any, client: OllamaClient) -> None:
    """Digest, prefix and size: vectors of two profiles never compare."""
    script.acts["/api/embed"] = [script.say({"model": OWN, "embeddings": [[0.6, 0.8], [1.0, 0.0]]})]

    reply = client.embed(OWN, ["a", "b"], prefix="query: ", load_options={"num_ctx": 64}, keep_alive="1s")

    assert isinstance(reply, Embedded)
    assert reply.vectors == ((0.6, 0.8), (1.0, 0.0))
    assert reply.profile == f"{'a' * 64}|query: |2"
    (body,) = script.bodies("/api/embed")
    expected = {"model": OWN, "input": ["query: a", "query: b"], "truncate": False, "keep_alive": "1s"}
    assert body == expected | {"options": {"num_ctx": 64}}


@pytest.mark.parametrize("vectors", [[[0.1, 0.2]], [[0.1], [0.1, 0.2]], [[], []], [[0.1], [float("nan")]]])
def test_unusable_vectors_fail(script: Any, client: OllamaClient, vectors: list[list[float]]) -> None:
    """Too few, uneven, empty or not a number."""
    script.acts["/api/embed"] = [script.say_text(json.dumps({"embeddings": vectors}))]

    reply = client.embed(OWN, ["a", "b"], prefix="", load_options={}, keep_alive=None)

    assert reply == Failed(kind=FailureKind.REJECTED, message="the server sent vectors that cannot be used")


def test_a_text_too_long_to_embed_fails(script: Any, client: OllamaClient) -> None:
    """Nothing is cut in silence."""
    script.acts["/api/embed"] = [script.say({"error": "the input length exceeds the context length"}, 400)]

    reply = client.embed(OWN, ["a"], prefix="", load_options={}, keep_alive=None)

    assert reply.kind is FailureKind.TOO_LONG


def test_no_texts_need_no_server(script: Any, client: OllamaClient) -> None:
    """An empty batch is answered at once."""
    assert client.embed(OWN, [], prefix="", load_options={}, keep_alive=None).vectors == ()
    assert script.bodies("/api/embed") == []


def test_unload_never_raises(script: Any, client: OllamaClient) -> None:
    """It is called on the way out, when the server may be gone."""
    script.acts["/api/generate"] = [script.say({"done": True, "done_reason": "unload"}), script.say({}, 500)]

    assert client.unload(OWN)
    assert not client.unload(OWN)
    assert not client.unload("absent:1b")
    assert script.bodies("/api/generate")[0] == {"model": OWN, "prompt": "", "keep_alive": 0, "stream": False}


@pytest.mark.parametrize("lines", [(), (word("a"),)], ids=["before-the-first-word", "mid-stream"])
def test_an_exception_from_a_signal_closes_the_connection(
    script: Any, client: OllamaClient, lines: tuple[object, ...]
) -> None:
    """The server sees the client go at once, and the client can be used again."""
    script.acts["/api/generate"] = [script.stall(*lines), script.stream(end())]
    sent: list[float] = []

    def boom(*_: object) -> None:
        raise Stop

    def kick() -> None:
        while not script.bodies("/api/generate"):
            time.sleep(0.002)
        time.sleep(0.02)
        sent.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    client.resolve(OWN)
    old = signal.signal(signal.SIGUSR1, boom)
    thread = threading.Thread(target=kick)
    thread.start()
    try:
        with pytest.raises(Stop):
            write(client)
    finally:
        signal.signal(signal.SIGUSR1, old)
        thread.join()

    end_s = time.monotonic() + 5.0
    while not script.gone and time.monotonic() < end_s:
        time.sleep(0.001)
    assert script.gone[0] - sent[0] < 0.5
    assert isinstance(write(client), Generated)
