"""The `ollama` package's client against the simulator: what our worker will see."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Iterator

import httpx
import ollama
import pytest

from ops.simulator.knobs import Fault, Knobs
from ops.simulator.server import SimulatorServer

QWEN, SMOL, GEMMA = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M", "embeddinggemma:300m"


@pytest.fixture(name="client")
def _client(server: SimulatorServer) -> Iterator[ollama.Client]:
    with closing_client(server) as client:
        yield client


class closing_client:  # noqa: N801 - used like a function
    """A client that does not look at the environment and closes its sockets."""

    def __init__(self, server: SimulatorServer) -> None:
        self.client = ollama.Client(host=server.url, timeout=5, trust_env=False)

    def __enter__(self) -> ollama.Client:
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client._client.close()


def test_generate_and_chat_answer(client: ollama.Client) -> None:
    """Text, reason and counts arrive typed."""
    reply = client.generate(
        model=QWEN, prompt="Name it.\n---\nDescription: a red bus\nOriginal name: a.png", logprobs=True
    )
    talk = client.chat(model=QWEN, messages=[{"role": "user", "content": "Hello"}])

    assert (reply.done, reply.done_reason) == (True, "stop")
    assert len(reply.logprobs) == reply.eval_count > 0
    assert talk.message.content


def test_a_stream_can_be_left(serve: Callable[..., SimulatorServer], until: Callable[..., None]) -> None:
    """Closing the generator is seen by the server at once."""
    server = serve(knobs=Knobs(tokens_per_second=20.0))
    with closing_client(server) as client:
        stream = client.generate(model=QWEN, prompt="Name it.\n---\nDescription: a red bus", stream=True)
        next(stream)
        left = time.monotonic()
        stream.close()
        until(lambda: server.requests()[0].outcome)

    assert server.requests()[0].outcome == "cancelled"
    assert server.requests()[0].end - left < 0.5


def test_an_async_call_can_be_cancelled(serve: Callable[..., SimulatorServer], until: Callable[..., None]) -> None:
    """Cancelling the task closes the connection, streaming or not."""
    server = serve(knobs=Knobs(tokens_per_second=1.0))

    async def give_up() -> None:
        client = ollama.AsyncClient(host=server.url, timeout=5, trust_env=False)
        try:
            async with asyncio.timeout(0.1):
                await client.generate(model=QWEN, prompt="Name it.")
        finally:
            await client._client.aclose()

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    until(lambda: server.requests()[0].outcome)

    assert server.requests()[0].outcome == "cancelled"


def test_errors_arrive_as_response_errors(client: ollama.Client) -> None:
    """Status and text of a refusal are in the exception."""
    with pytest.raises(ollama.ResponseError, match="model 'nope:1b' not found") as caught:
        client.generate(model="nope:1b", prompt="x")

    assert caught.value.status_code == 404


def test_an_error_line_has_no_status(server: SimulatorServer, client: ollama.Client) -> None:
    """Mid-stream the client raises with status -1."""
    server.fail_next(Fault(how="error_line", error="boom"))
    server.turn({"chunk_tokens": 1})

    with pytest.raises(ollama.ResponseError, match="boom") as caught:
        list(client.generate(model=QWEN, prompt="Name it.\n---\nDescription: a red bus", stream=True))

    assert caught.value.status_code == -1


def test_a_reset_is_a_protocol_error(server: SimulatorServer, client: ollama.Client) -> None:
    """A broken connection arrives as httpx's own error."""
    server.fail_next(Fault(how="reset"))

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        list(client.generate(model=QWEN, prompt="Name it.", stream=True))


def test_a_stream_without_done_raises_nothing(server: SimulatorServer, client: ollama.Client) -> None:
    """The loop just ends: the caller has to look at `done`."""
    server.fail_next(Fault(how="no_done"))

    chunks = list(client.generate(model=QWEN, prompt="Name it.\n---\nDescription: a red bus", stream=True))

    assert not any(chunk.done for chunk in chunks)


def test_a_slow_answer_times_out(serve: Callable[..., SimulatorServer]) -> None:
    """The client's own timeout ends the wait."""
    server = serve(knobs=Knobs(load_seconds=30.0))
    client = ollama.Client(host=server.url, timeout=0.1, trust_env=False)
    try:
        with pytest.raises(httpx.ReadTimeout):
            client.generate(model=QWEN, prompt="x")
    finally:
        client._client.close()


def test_embed_gives_lists_of_numbers(client: ollama.Client) -> None:
    """Both texts get a vector of the wanted length."""
    reply = client.embed(model=GEMMA, input=["a", "b"], dimensions=64, truncate=False)

    assert [len(vector) for vector in reply.embeddings] == [64, 64]


def test_ps_list_show_pull_and_delete_are_understood(client: ollama.Client) -> None:
    """The client's typed replies can be built from ours."""
    client.generate(model=QWEN, keep_alive=-1)

    assert client.ps().models[0].expires_at > dt.datetime(2300, 1, 1, tzinfo=dt.UTC)
    assert QWEN in [model.model for model in client.list().models]
    assert client.show(QWEN).modelinfo["qwen2.context_length"] == 32768
    assert client.delete(SMOL).status == "success"
    assert [progress.status for progress in client.pull(SMOL, stream=True)][-1] == "success"
