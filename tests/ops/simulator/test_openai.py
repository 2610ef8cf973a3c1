"""The OpenAI-compatible paths."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.simulator.probe import Caller
from ops.simulator.server import SimulatorServer

QWEN = "qwen2.5-coder:3b"
ASK = {
    "model": QWEN,
    "messages": [{"role": "user", "content": "Name it.\n---\nDescription: a cat\nOriginal name: a.png"}],
}


def test_a_whole_answer_has_choices_and_usage(call: Caller, server: SimulatorServer) -> None:
    """The reply is one object in OpenAI's shape, counted as inference."""
    body = call("POST", "/v1/chat/completions", ASK).json()

    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert server.counts().by_path == {"/v1/chat/completions": 1}


def test_a_stream_is_server_sent_events(call: Caller) -> None:
    """Events carry deltas, then the reason, the usage when asked for, and the closing mark."""
    reply = call("POST", "/v1/chat/completions", ASK | {"stream": True, "stream_options": {"include_usage": True}})
    *deltas, reason, usage, mark = reply.events()

    assert reply.headers["content-type"] == "text/event-stream"
    assert "".join(delta["choices"][0]["delta"]["content"] for delta in deltas)
    assert reason["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["completion_tokens"] > 0) == ([], True)
    assert mark == "[DONE]"


def test_a_json_schema_is_kept(call: Caller) -> None:
    """`response_format` with a schema gives JSON with the schema's keys."""
    schema = {"type": "object", "properties": {"coherence": {"type": "integer"}, "overall": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    body = call("POST", "/v1/chat/completions", ASK | {"response_format": wanted}).json()

    assert list(json.loads(body["choices"][0]["message"]["content"])) == ["coherence", "overall"]


def test_logprobs_are_in_the_choice(call: Caller) -> None:
    """Tokens with log-probabilities stand under `content`, with alternatives when asked for."""
    body = call("POST", "/v1/chat/completions", ASK | {"logprobs": True, "top_logprobs": 2}).json()

    assert len(body["choices"][0]["logprobs"]["content"]) == body["usage"]["completion_tokens"]
    assert len(body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2


@pytest.mark.parametrize(
    ("keys", "status", "kind"),
    [({"model": "nope:1b"}, 404, "not_found_error"), ({"messages": []}, 400, "invalid_request_error")],
)
def test_errors_have_openais_shape(call: Caller, keys: dict[str, Any], status: int, kind: str) -> None:
    """The error is an object with a message and a type."""
    reply = call("POST", "/v1/chat/completions", ASK | keys)

    assert (reply.status, reply.json()["error"]["type"]) == (status, kind)


def test_max_tokens_and_stop_are_understood(call: Caller) -> None:
    """Both spellings of the limit cut, and one stop text may stand alone."""
    for key in ("max_tokens", "max_completion_tokens"):
        body = call("POST", "/v1/chat/completions", ASK | {key: 1, "stop": "zzz"}).json()
        assert (body["choices"][0]["finish_reason"], body["usage"]["completion_tokens"]) == ("length", 1)


def test_models_are_listed(call: Caller) -> None:
    """`/v1/models` names every tag."""
    body = call("GET", "/v1/models").json()

    assert QWEN in [model["id"] for model in body["data"]]


def test_a_json_object_can_be_asked_for(call: Caller) -> None:
    """`json_object` gives some JSON."""
    body = call("POST", "/v1/chat/completions", ASK | {"response_format": {"type": "json_object"}}).json()

    assert json.loads(body["choices"][0]["message"]["content"])
