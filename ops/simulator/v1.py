"""The OpenAI-compatible paths: `/v1/chat/completions` and `/v1/models`."""

from __future__ import annotations

import json

from ops.simulator.api import Asked, check, complete, job_of, plain, read_messages, wanted_of
from ops.simulator.clock import SECOND
from ops.simulator.core import Visit
from ops.simulator.errors import ServerError
from ops.simulator.exchange import EVENTS
from ops.simulator.inference import Finish
from ops.simulator.render import OpenAi
from ops.simulator.stream import deliver
from ops.simulator.wire import Body, Json, integer_of, read_body, read_options, text_of
from ops.simulator.world import Ask

PASSED_ON = ("seed", "temperature", "top_p", "presence_penalty", "frequency_penalty")


def completions(visit: Visit) -> None:
    """Answer `/v1/chat/completions`."""
    body = read_body(visit.raw, "ChatCompletionRequest")
    name = text_of(body, "model")
    native = native_body(body)
    asked = Asked(
        body=native, ask=Ask(tag=plain(name), messages=read_messages(body.get("messages"))), keep_alive=None, chat=True
    )
    options = read_options(native)
    hinted = complete_without_card(asked, options)
    visit.begin(plain(name), visit.core.world.mind(hinted), body, inference=True)
    if not asked.ask.messages:
        raise ServerError(400, "[] is too short - 'messages'")
    stored = visit.stored(name)
    check(native, stored, name, chat=True)
    wanted = wanted_of(visit, stored, options, None, native)
    ready = Asked(body=native, ask=complete(asked.ask, stored, native, options), keep_alive=None, chat=True)
    render = OpenAi(
        visit.core.clock,
        name,
        visit.core.next_number(),
        bool(body.get("logprobs")),
        integer_of(body, "top_logprobs", 0),
    )

    def usage_and_end(finish: Finish) -> None:
        asked_for = body.get("stream_options")
        if isinstance(asked_for, dict) and asked_for.get("include_usage"):
            visit.exchange.send(render.usage(finish))
        visit.exchange.send("[DONE]")

    job = job_of(visit, ready, wanted, options)
    deliver(visit, job, render, stream=body.get("stream") is True, kind=EVENTS, finally_send=usage_and_end)


def complete_without_card(asked: Asked, options: Body) -> Ask:
    """Fill in the format before the model is known, for the log."""
    schema = asked.body.get("format")
    text = json.dumps(schema, separators=(",", ":"), ensure_ascii=False) if isinstance(schema, dict) else ""
    return Ask(
        tag=asked.ask.tag,
        messages=asked.ask.messages,
        schema=text,
        json_mode=schema is not None or bool(options.get("json")),
    )


def native_body(body: Body) -> Body:
    """Translate OpenAI's keys into Ollama's."""
    options: Body = {name: body[name] for name in PASSED_ON if body.get(name) is not None}
    options.setdefault("temperature", 1.0)
    options.setdefault("top_p", 1.0)
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    if most is not None:
        options["num_predict"] = most
    stop = body.get("stop")
    if stop is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    native: Body = {"model": body.get("model"), "messages": body.get("messages"), "options": options}
    wanted = response_format(body.get("response_format"))
    return native if wanted is None else native | {"format": wanted}


def response_format(value: Json) -> Json:
    """Translate `response_format` into `format`."""
    if not isinstance(value, dict):
        return None
    if value.get("type") == "json_object":
        return "json"
    holder = value.get("json_schema")
    return holder.get("schema") if value.get("type") == "json_schema" and isinstance(holder, dict) else None


def models(visit: Visit) -> None:
    """Answer `/v1/models`."""
    visit.begin("", "", None, inference=False)
    rows = [
        {"id": stored.name, "object": "model", "created": stored.modified_ns // SECOND, "owned_by": "library"}
        for stored in visit.core.store.listed()
    ]
    visit.exchange.reply_json({"object": "list", "data": rows})


def error_body(status: int, text: str) -> Body:
    """Write an error in OpenAI's shape."""
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    return {"error": {"message": text, "type": kind, "param": None, "code": None}}
