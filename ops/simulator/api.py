"""The paths that ask a model for something: `/api/generate`, `/api/chat`, `/api/embed`, `/api/embeddings`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ops.simulator.core import Visit
from ops.simulator.errors import ServerError
from ops.simulator.inference import Generation, load_only
from ops.simulator.render import Native
from ops.simulator.scheduler import Wanted
from ops.simulator.store import Stored
from ops.simulator.stream import deliver
from ops.simulator.vectors import embedded
from ops.simulator.wire import (
    LOAD_OPTIONS,
    Body,
    Json,
    integer_of,
    number_of,
    read_body,
    read_format,
    read_keep_alive,
    read_options,
    text_of,
)
from ops.simulator.world import Ask, Message, canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A decoded request for text; the checks that come after the model look-up are still to be made."""

    body: Body
    ask: Ask
    keep_alive: int | None
    chat: bool

    @property
    def empty(self) -> bool:
        """Tell whether it only loads or unloads."""
        return not any(message.content for message in self.ask.messages if message.role != "system")


def generate(visit: Visit) -> None:
    """Answer `/api/generate`."""
    body = read_body(visit.raw, "GenerateRequest")
    prompt, system = text_of(body, "prompt"), text_of(body, "system")
    turns = [Message("system", system)] if system else []
    _text(visit, body, (*turns, Message("user", prompt)), chat=False)


def chat(visit: Visit) -> None:
    """Answer `/api/chat`."""
    body = read_body(visit.raw, "ChatRequest")
    _text(visit, body, read_messages(body.get("messages")), chat=True)


def read_messages(value: Json) -> tuple[Message, ...]:
    """Read the turns of a conversation."""
    rows = value if isinstance(value, list) else []
    return tuple(Message(text_of(row, "role"), text_of(row, "content")) for row in rows if isinstance(row, dict))


def _text(visit: Visit, body: Body, messages: tuple[Message, ...], *, chat: bool) -> None:
    name = text_of(body, "model")
    keep_alive = read_keep_alive(body.get("keep_alive"))
    ask = Ask(tag=plain(name), messages=messages)
    asked = Asked(body=body, ask=ask, keep_alive=keep_alive, chat=chat)
    visit.begin(
        plain(name), "" if asked.empty else visit.core.world.mind(_hinted(asked)), body, inference=not asked.empty
    )
    top = integer_of(body, "top_logprobs", 0)
    if not 0 <= top <= 20:  # noqa: PLR2004 - the protocol's own bounds
        raise ServerError(400, "top_logprobs must be between 0 and 20")
    if chat and not name:
        raise ServerError(400, "model is required")
    stored = visit.stored(name)
    render = Native(visit.core.clock, name, chat, bool(body.get("logprobs")), top, bool(body.get("raw")))
    if asked.empty and keep_alive == 0:
        visit.core.scheduler.expire(stored.card)
        visit.exchange.reply_json(render.at_once("unload"))
        return
    check(body, stored, name, chat=chat)
    options = read_options(body)
    wanted = wanted_of(visit, stored, options, keep_alive, body)
    if asked.empty:
        visit.exchange.watch()
        load_only(visit.core.engine(), wanted)
        visit.exchange.reply_json(render.at_once("load"))
        return
    job = job_of(visit, replace(asked, ask=complete(asked.ask, stored, body, options)), wanted, options)
    deliver(visit, job, render, stream=body.get("stream") is not False)


def _hinted(asked: Asked) -> Ask:
    # A wrong `format` is refused later; until then it is as if there were none.
    value = asked.body.get("format")
    schema, json_mode = read_format(value) if isinstance(value, dict) or value == "json" else ("", False)
    return replace(asked.ask, schema=schema, json_mode=json_mode)


def check(body: Body, stored: Stored, name: str, *, chat: bool) -> None:
    """Refuse what the model cannot do.

    Raises:
        ServerError: 400, in the order in which Ollama checks.
    """
    if body.get("raw") and (body.get("system") or body.get("template") or body.get("context")):
        raise ServerError(400, "raw mode does not support template, system, or context")
    if stored.card.embeds_only:
        raise ServerError(400, f'"{name}" does not support {"chat" if chat else "generate"}')
    if body.get("tools") and "tools" not in stored.card.capabilities:
        raise ServerError(400, f"registry.ollama.ai/library/{stored.name} does not support tools")
    think = body.get("think")
    if isinstance(think, str) and think not in ("high", "medium", "low", "max"):
        raise ServerError(
            400, f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
        )
    if think and "thinking" not in stored.card.capabilities:
        raise ServerError(400, f'"{name}" does not support thinking')


def wanted_of(visit: Visit, stored: Stored, options: Body, keep_alive: int | None, body: Body) -> Wanted:
    """Say what the scheduler must have ready."""
    load = {name: options[name] for name in LOAD_OPTIONS if name in options}
    if body.get("shift") is False:
        load["shift"] = False
    context = min(integer_of(options, "num_ctx", visit.core.knobs.default_num_ctx), stored.card.context_length)
    return Wanted(stored.card, stored.name, canonical(load), max(context, 4), keep_alive, visit.exchange.token)


def complete(ask: Ask, stored: Stored, body: Body, options: Body) -> Ask:
    """Add to *ask* what the options and the format say."""
    schema, json_mode = read_format(body.get("format"))
    return replace(
        ask, tag=stored.card.tag, schema=schema, json_mode=json_mode,
        seed=integer_of(options, "seed", -1) if "seed" in options else None,
        temperature=number_of(options, "temperature", 0.8),
    )  # fmt: skip


def job_of(visit: Visit, asked: Asked, wanted: Wanted, options: Body) -> Generation:
    """Say what to write."""
    stop = options.get("stop")
    return Generation(
        ask=asked.ask, wanted=wanted, fault=visit.fault,
        num_predict=integer_of(options, "num_predict", -1), num_keep=max(integer_of(options, "num_keep", 4), 0),
        stop=tuple(text for text in stop if isinstance(text, str)) if isinstance(stop, list) else (),
        truncate=asked.body.get("truncate") is not False, shift=asked.body.get("shift") is not False,
    )  # fmt: skip


def embed(visit: Visit) -> None:
    """Answer `/api/embed`: unit-length vectors for one text or a list of texts."""
    body = read_body(visit.raw, "EmbedRequest")
    name, value = text_of(body, "model"), body.get("input")
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    keep_alive = read_keep_alive(body.get("keep_alive"))
    empty = not texts or texts == [""]
    visit.begin(plain(name), "" if empty else "embedding", body, inference=not empty)
    if value is not None and not isinstance(value, str | list):
        raise ServerError(400, "invalid input type")
    words = [text for text in texts if isinstance(text, str)]
    if len(words) != len(texts):
        raise ServerError(400, "invalid input type")
    stored = visit.stored(name, quoted_as='model "{}" not found, try pulling it first')
    wanted = wanted_of(visit, stored, read_options(body), keep_alive, {})
    if empty:
        visit.exchange.watch()
        load_only(visit.core.engine(), wanted)
        visit.exchange.reply_json({"model": name, "embeddings": []})
        return
    vectors, metrics = embedded(
        visit, wanted, words, integer_of(body, "dimensions", 0), truncate=body.get("truncate") is not False
    )
    visit.exchange.reply_json({"model": name, "embeddings": vectors, **metrics})


def embeddings(visit: Visit) -> None:
    """Answer the deprecated `/api/embeddings`: one vector for one prompt."""
    body = read_body(visit.raw, "EmbedRequest")
    name, prompt = text_of(body, "model"), text_of(body, "prompt")
    visit.begin(plain(name), "embedding" if prompt else "", body, inference=bool(prompt))
    stored = visit.stored(name, quoted_as='model "{}" not found, try pulling it first')
    wanted = wanted_of(visit, stored, read_options(body), read_keep_alive(body.get("keep_alive")), {})
    if not prompt:
        visit.exchange.watch()
        load_only(visit.core.engine(), wanted)
        visit.exchange.reply_json({"embedding": []})
        return
    vectors, _ = embedded(visit, wanted, [prompt], 0, truncate=True)
    visit.exchange.reply_json({"embedding": vectors[0]})


def plain(name: str) -> str:
    """Take the alias prefix off a name."""
    return name.removeprefix("simulated/")
