"""Fits a prompt into the context as Ollama does: whole, cut to about half, or refused."""

from __future__ import annotations

import json
from dataclasses import replace

from ops.simulator.errors import ServerError
from ops.simulator.world import Ask, Message, pieces

TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the "
    "context length in settings, or use a model with a longer context length"
)


def fitted(
    ask: Ask,
    context: int,
    keep: int,
    mode: str,
    truncate: bool,  # noqa: FBT001 - a field of the request, passed on
    shift: bool,  # noqa: FBT001 - same
) -> tuple[Ask, list[str]]:
    """Give what the model reads, and its tokens.

    Raises:
        ServerError: 400, the prompt is longer than the context and may not be cut.
    """
    tokens = pieces(ask.text)
    if len(tokens) <= context:
        return ask, tokens
    if not truncate:
        raise ServerError(400, exceeded(len(tokens), context))
    if not shift:
        raise ServerError(400, TOO_LONG)
    if len(ask.messages) > 1:
        # Whole old turns go first; system text and the last turn stay.
        shorter = without_oldest(ask)
        if shorter is not None:
            return fitted(shorter, context, keep, mode, truncate, shift)
    room = context if mode == "full" else context // 2
    kept = tokens[:keep] + tokens[len(tokens) - max(room - keep, 1) :]
    last = Message(ask.messages[-1].role, "".join(kept))
    return replace(ask, messages=(last,)), kept


def without_oldest(ask: Ask) -> Ask | None:
    """Drop the oldest turn that is neither system text nor the last one; None when there is none."""
    for index, message in enumerate(ask.messages[:-1]):
        if message.role != "system":
            return replace(ask, messages=ask.messages[:index] + ask.messages[index + 1 :])
    return None


def exceeded(tokens: int, context: int) -> str:
    """Write llama-server's own error, a JSON object inside the error text."""
    message = f"request ({tokens} tokens) exceeds the available context size ({context} tokens), try increasing it"
    error = {
        "code": 400,
        "message": message,
        "type": "exceed_context_size_error",
        "n_prompt_tokens": tokens,
        "n_ctx": context,
    }
    return json.dumps({"error": error}, separators=(",", ":"))
