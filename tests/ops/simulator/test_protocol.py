"""What goes over the wire for `/api/generate`, `/api/chat` and `/api/embed`, byte for byte where it matters."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from ops.simulator.knobs import Knobs
from ops.simulator.probe import Caller
from ops.simulator.server import SimulatorServer

QWEN, SMOL, GEMMA = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M", "embeddinggemma:300m"


def test_a_stream_is_chunked_ndjson_that_ends_with_done(
    serve: Callable[..., SimulatorServer], caller: type[Caller]
) -> None:
    """Middle lines carry text and no reason; the last one carries no text, the reason and the metrics."""
    ask = caller(serve(knobs=Knobs(chunk_tokens=1)).port)
    reply = ask.generate(stream=True)
    *middle, last = reply.lines()

    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.headers["transfer-encoding"] == "chunked"
    assert len(middle) > 3
    assert all(set(line) == {"model", "created_at", "response", "done"} and not line["done"] for line in middle)
    assert (last["response"], last["done"], last["done_reason"]) == ("", True, "stop")
    assert {"context", "total_duration", "load_duration", "prompt_eval_count", "eval_count", "eval_duration"} <= set(
        last
    )


def test_streaming_is_the_default(call: Caller) -> None:
    """A request without `stream` is answered as a stream."""
    reply = call("POST", "/api/generate", {"model": QWEN, "prompt": "Name it."})

    assert reply.headers["content-type"] == "application/x-ndjson"


def test_the_whole_answer_is_the_stream_joined(call: Caller) -> None:
    """Streamed and unstreamed text are equal, and so are the counts."""
    options = {"temperature": 0, "seed": 3}
    lines = call.generate(stream=True, options=options).lines()
    whole = call.generate(options=options)

    assert whole.headers["content-type"] == "application/json; charset=utf-8"
    assert whole.json()["response"] == "".join(line["response"] for line in lines)
    assert whole.json()["eval_count"] == lines[-1]["eval_count"]


def test_created_at_is_utc_with_nine_digits(call: Caller) -> None:
    """The time ends with Z after nine fractional digits."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", call.generate().json()["created_at"])


def test_logprobs_come_with_every_token(call: Caller) -> None:
    """One entry per token with bytes and as many alternatives as asked for, led by the token itself."""
    body = call.generate(logprobs=True, top_logprobs=2).json()
    first = body["logprobs"][0]

    assert len(body["logprobs"]) == body["eval_count"]
    assert "".join(one["token"] for one in body["logprobs"]) == body["response"]
    assert first["bytes"] == list(first["token"].encode())
    assert next(one["logprob"] for one in first["top_logprobs"]) == first["logprob"] < 0
    assert len(first["top_logprobs"]) == 2


def test_chat_says_message_and_no_context(call: Caller) -> None:
    """The text stands in `message`, and the deprecated context is absent."""
    messages = [{"role": "system", "content": "Name files."}, {"role": "user", "content": "Description: a cat"}]
    body = call("POST", "/api/chat", {"model": QWEN, "messages": messages, "stream": False}).json()

    assert body["message"]["role"] == "assistant"
    assert "context" not in body
    assert body["done_reason"] == "stop"


@pytest.mark.parametrize(
    ("path", "keys", "reason"),
    [
        ("/api/generate", {}, "load"),
        ("/api/generate", {"prompt": "", "keep_alive": 0}, "unload"),
        ("/api/generate", {"prompt": "", "keep_alive": "0s"}, "unload"),
        ("/api/chat", {"messages": []}, "load"),
        ("/api/chat", {"messages": [], "keep_alive": 0}, "unload"),
    ],
)
def test_an_empty_prompt_loads_or_unloads(
    call: Caller, server: SimulatorServer, path: str, keys: dict[str, Any], reason: str
) -> None:
    """The reply is one JSON object even when streaming, and it is no inference."""
    reply = call("POST", path, {"model": QWEN} | keys)

    assert reply.headers["content-type"].startswith("application/json")
    assert (reply.json()["done"], reply.json()["done_reason"]) == (True, reason)
    assert server.counts().inference == 0
    assert len(call.ps()) == (reason == "load")


def test_num_predict_cuts_the_answer(call: Caller) -> None:
    """The reason is `length` and the count is the limit."""
    body = call.generate(options={"num_predict": 2}).json()

    assert (body["done_reason"], body["eval_count"]) == ("length", 2)


def test_stop_texts_end_the_answer_before_them(call: Caller) -> None:
    """Nothing from the stop text on is returned."""
    whole = call.generate(options={"temperature": 0}).json()["response"]

    cut = call.generate(options={"temperature": 0, "stop": [whole[3:5]]}).json()

    assert (cut["response"], cut["done_reason"]) == (whole[: whole.find(whole[3:5])], "stop")


def test_unknown_keys_and_options_are_ignored(call: Caller) -> None:
    """Neither a strange key nor a strange option is refused."""
    assert call.generate(nonsense=1, options={"mirostat": "x", "tfs_z": 1}).status == 200


@pytest.mark.parametrize(
    ("keys", "status", "error"),
    [
        ({"model": "nope:1b"}, 404, "model 'nope:1b' not found"),
        ({"model": ""}, 404, "model '' not found"),
        ({"model": "a b"}, 400, "invalid model name"),
        ({"model": GEMMA}, 400, f'"{GEMMA}" does not support generate'),
        ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        (
            {"top_logprobs": "x"},
            400,
            "json: cannot unmarshal string into Go struct field GenerateRequest.top_logprobs of type int",
        ),
        ({"raw": True, "system": "x"}, 400, "raw mode does not support template, system, or context"),
        ({"keep_alive": "300"}, 400, 'time: missing unit in duration "300"'),
        ({"options": {"num_ctx": "big"}}, 500, 'option "num_ctx" must be of type integer'),
        ({"options": {"stop": "x"}}, 500, 'option "stop" must be of type array'),
        ({"options": {"temperature": "x"}}, 500, 'option "temperature" must be of type float32'),
        ({"format": "yaml"}, 500, 'invalid format: "\\"yaml\\""; expected "json" or a valid JSON Schema object'),
        ({"think": True}, 400, f'"{QWEN}" does not support thinking'),
        ({"think": "x"}, 400, 'invalid think value: "x" (must be "high", "medium", "low", "max", true, or false)'),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_have_a_status_and_a_text(
    call: Caller, keys: dict[str, Any], status: int, error: str, stream: Any
) -> None:
    """Before the first byte an error has its own status, also when streaming."""
    reply = call.generate(**keys, stream=stream)

    assert (reply.status, reply.json()) == (status, {"error": error})
    assert reply.headers["content-type"].startswith("application/json")


def test_chat_has_its_own_words_for_some_errors(call: Caller) -> None:
    """An empty model is 400 on chat, and an embedding model does not support chat."""
    empty = call("POST", "/api/chat", {"messages": [{"role": "user", "content": "x"}]})
    gemma = call("POST", "/api/chat", {"model": GEMMA, "messages": [{"role": "user", "content": "x"}]})

    assert (empty.status, empty.json()["error"]) == (400, "model is required")
    assert (gemma.status, gemma.json()["error"]) == (400, f'"{GEMMA}" does not support chat')


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "missing request body"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b'{"model": ', "unexpected EOF"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.GenerateRequest"),
    ],
)
def test_malformed_bodies_are_refused_in_gos_words(call: Caller, raw: bytes, error: str) -> None:
    """The decoder's text is the error."""
    reply = call("POST", "/api/generate", raw=raw)

    assert (reply.status, reply.json()["error"]) == (400, error)


def test_unknown_paths_and_verbs_are_text(call: Caller) -> None:
    """404 and 405 are plain text."""
    assert (call("GET", "/api/nope").status, call("GET", "/api/nope").text) == (404, "404 page not found")
    assert call("GET", "/api/generate").status == 405


def test_a_foreign_host_is_refused(call: Caller) -> None:
    """A `Host` that is not local gives 403 without a body; local and private ones pass."""
    foreign = call("GET", "/api/version", headers={"Host": "evil.example"})

    assert (foreign.status, foreign.body) == (403, b"")
    for host in ("localhost:1", "127.0.0.1", "[::1]:11434", "box.local", "10.0.0.7:80", "a.internal"):
        assert call("GET", "/api/version", headers={"Host": host}).status == 200


def test_an_over_long_prompt_is_cut_to_half_the_context(call: Caller) -> None:
    """By default nothing is refused: about half of num_ctx remains."""
    body = call.generate(prompt="word " * 900, options={"num_ctx": 200}).json()

    assert (body["done"], body["prompt_eval_count"]) == (True, 100)


def test_the_old_way_keeps_the_whole_context(serve: Callable[..., SimulatorServer], caller: type[Caller]) -> None:
    """`truncate_mode` full keeps num_ctx tokens, as before v0.30."""
    ask = caller(serve(knobs=Knobs(truncate_mode="full")).port)

    assert ask.generate(prompt="word " * 900, options={"num_ctx": 200}).json()["prompt_eval_count"] == 200


def test_an_over_long_prompt_may_be_refused(call: Caller) -> None:
    """`shift` off gives a plain text, `truncate` off llama-server's own JSON inside the error."""
    long = {"prompt": "word " * 900, "options": {"num_ctx": 200}}
    unshifted, untruncated = call.generate(**long, shift=False), call.generate(**long, truncate=False)

    assert (unshifted.status, untruncated.status) == (400, 400)
    assert unshifted.json()["error"].startswith("the prompt is longer than the context length")
    assert '"n_prompt_tokens":901,"n_ctx":200' in untruncated.json()["error"]


def test_chat_drops_old_turns_first(call: Caller) -> None:
    """System text and the last turn survive a full context."""
    turns = [{"role": "user", "content": "old " * 300}, {"role": "user", "content": "Name it."}]
    body = {"model": QWEN, "messages": turns, "stream": False, "options": {"num_ctx": 100}}

    assert call("POST", "/api/chat", body).json()["prompt_eval_count"] == 3


def test_json_is_cut_by_num_predict(call: Caller) -> None:
    """A schema does not protect from the token limit."""
    schema = {"type": "object", "properties": {"overall": {"type": "integer"}, "why": {"type": "string"}}}
    body = call.generate(format=schema, options={"num_predict": 2}).json()

    assert (body["done_reason"], body["response"].endswith("}")) == ("length", False)


def test_embed_returns_unit_vectors(call: Caller) -> None:
    """One vector per text, each of length 1, with durations and the token count."""
    body = call("POST", "/api/embed", {"model": GEMMA, "input": ["one text", "another"]}).json()

    assert [len(vector) for vector in body["embeddings"]] == [768, 768]
    assert all(math.isclose(sum(x * x for x in vector), 1.0, abs_tol=1e-9) for vector in body["embeddings"])
    assert (body["prompt_eval_count"], body["total_duration"] > 0) == (4, True)


def test_dimensions_cut_and_normalise_again(call: Caller) -> None:
    """256 dimensions are the first 256 of all, scaled to length 1; more than there are changes nothing."""
    ask = {"model": GEMMA, "input": "a red bus"}
    (whole,) = call("POST", "/api/embed", ask).json()["embeddings"]
    (cut,) = call("POST", "/api/embed", ask | {"dimensions": 256}).json()["embeddings"]
    (more,) = call("POST", "/api/embed", ask | {"dimensions": 5000}).json()["embeddings"]
    scale = math.sqrt(sum(x * x for x in whole[:256]))

    assert cut == pytest.approx([x / scale for x in whole[:256]])
    assert more == whole


def test_nothing_to_embed_loads_the_model(call: Caller) -> None:
    """No input is no error: an empty list without durations."""
    for value in ("", [], None):
        assert call("POST", "/api/embed", {"model": GEMMA, "input": value}).json() == {"model": GEMMA, "embeddings": []}
    assert len(call.ps()) == 1


@pytest.mark.parametrize(
    ("keys", "status", "error"),
    [
        ({"input": ["a", 1]}, 400, "invalid input type"),
        ({"input": 1}, 400, "invalid input type"),
        ({"model": "nope:1b"}, 404, 'model "nope:1b" not found, try pulling it first'),
        ({"input": "w " * 3000, "truncate": False}, 400, "the input length exceeds the context length"),
        ({"model": SMOL}, 501, "This server does not support embeddings. Start it with `--embeddings`"),
    ],
)
def test_embed_refusals(call: Caller, keys: dict[str, Any], status: int, error: str) -> None:
    """Embedding has its own words for what it cannot do."""
    reply = call("POST", "/api/embed", {"model": GEMMA, "input": "x"} | keys)

    assert (reply.status, reply.json()["error"]) == (status, error)


def test_the_old_embedding_path_gives_one_vector(call: Caller) -> None:
    """`/api/embeddings` answers one prompt; an empty one gives an empty vector."""
    assert len(call("POST", "/api/embeddings", {"model": GEMMA, "prompt": "x"}).json()["embedding"]) == 768
    assert call("POST", "/api/embeddings", {"model": GEMMA, "prompt": ""}).json() == {"embedding": []}
