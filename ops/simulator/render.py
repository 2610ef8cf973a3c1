"""The JSON shapes of generated text: `/api/generate`, `/api/chat`, and OpenAI's `/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ops.simulator.clock import SECOND, Clock, utc_text
from ops.simulator.inference import Chunk, Finish
from ops.simulator.wire import Body, Json
from ops.simulator.world import Token


class Renderer(Protocol):
    """Writes one kind of reply."""

    def chunk(self, chunk: Chunk) -> Body:
        """Write one streamed piece."""
        ...

    def last(self, finish: Finish) -> Body:
        """Write the last line of a stream."""
        ...

    def whole(self, chunks: Sequence[Chunk], finish: Finish | None) -> Body:
        """Write the reply in one piece; without *finish* it ended without `done`."""
        ...


@dataclass(frozen=True, slots=True)
class Native:
    """Ollama's own shapes; *chat* chooses between `message` and `response`.

    Attributes:
        logprobs: whether tokens carry log-probabilities.
        top: how many alternatives each token lists.
        raw: leaves the deprecated `context` out.
    """

    clock: Clock
    model: str
    chat: bool
    logprobs: bool = False
    top: int = 0
    raw: bool = False

    def chunk(self, chunk: Chunk) -> Body:
        """Write one line in the middle of a stream."""
        body = self._base(chunk.text) | {"done": False}
        if self.logprobs:
            body["logprobs"] = [logprob(token, self.top) for token in chunk.tokens if token.text]
        return body

    def last(self, finish: Finish) -> Body:
        """Write the line with `done` and the metrics."""
        return self._base("") | self._metrics(finish)

    def whole(self, chunks: Sequence[Chunk], finish: Finish | None) -> Body:
        """Write all text at once."""
        body = self._base("".join(chunk.text for chunk in chunks))
        if self.logprobs:
            body["logprobs"] = [logprob(token, self.top) for chunk in chunks for token in chunk.tokens if token.text]
        return body | ({"done": False} if finish is None else self._metrics(finish))

    def at_once(self, reason: str) -> Body:
        """Write the reply to a request without a prompt: `load` or `unload`."""
        return self._base("") | {"done": True, "done_reason": reason}

    def _base(self, text: str) -> Body:
        said: Body = {"message": {"role": "assistant", "content": text}} if self.chat else {"response": text}
        return {"model": self.model, "created_at": utc_text(self.clock.now_ns()), **said}

    def _metrics(self, finish: Finish) -> Body:
        body: Body = {"done": True, "done_reason": finish.reason}
        if not self.chat and not self.raw:
            body["context"] = [1, finish.prompt_tokens, finish.tokens]
        return body | {
            "total_duration": finish.total, "load_duration": finish.load,
            "prompt_eval_count": finish.prompt_tokens, "prompt_eval_duration": finish.prompt,
            "eval_count": finish.tokens, "eval_duration": finish.eval,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenAi:
    """OpenAI's shapes, as Ollama serves them under `/v1`."""

    clock: Clock
    model: str
    number: int
    logprobs: bool = False
    top: int = 0

    def chunk(self, chunk: Chunk) -> Body:
        """Write one event in the middle of a stream."""
        delta: Body = {"index": 0, "delta": {"role": "assistant", "content": chunk.text}, "finish_reason": None}
        if self.logprobs:
            delta["logprobs"] = {"content": [logprob(token, self.top) for token in chunk.tokens if token.text]}
        return self._base("chat.completion.chunk", [delta])

    def last(self, finish: Finish) -> Body:
        """Write the event with the reason of the end."""
        end: Body = {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "finish_reason": finish.reason or "stop",
        }
        return self._base("chat.completion.chunk", [end])

    def usage(self, finish: Finish) -> Body:
        """Write the event that a client gets who asked for the usage."""
        return self._base("chat.completion.chunk", []) | {"usage": used(finish)}

    def whole(self, chunks: Sequence[Chunk], finish: Finish | None) -> Body:
        """Write all text at once."""
        text = "".join(chunk.text for chunk in chunks)
        choice: Body = {
            "index": 0, "message": {"role": "assistant", "content": text},
            "finish_reason": None if finish is None else finish.reason or None,
        }  # fmt: skip
        if self.logprobs:
            tokens = [token for chunk in chunks for token in chunk.tokens if token.text]
            choice["logprobs"] = {"content": [logprob(token, self.top) for token in tokens]}
        return self._base("chat.completion", [choice]) | ({} if finish is None else {"usage": used(finish)})

    def _base(self, kind: str, choices: list[Json]) -> Body:
        return {
            "id": f"chatcmpl-{self.number}", "object": kind, "created": self.clock.now_ns() // SECOND,
            "model": self.model, "system_fingerprint": "fp_ollama", "choices": choices,
        }  # fmt: skip


def used(finish: Finish) -> Body:
    """Count tokens in OpenAI's words."""
    total = finish.prompt_tokens + finish.tokens
    return {"prompt_tokens": finish.prompt_tokens, "completion_tokens": finish.tokens, "total_tokens": total}


def logprob(token: Token, top: int) -> Body:
    """Write a token's log-probability, with *top* alternatives that begin with the token itself."""
    body = one_logprob(token.text, token.logprob)
    if top > 0:
        known = token.alternatives or [
            (f"{token.text}{'~' * rank}", token.logprob - 0.7 * rank) for rank in range(1, top)
        ]
        others = [one_logprob(text, value) for text, value in known[: top - 1]]
        body["top_logprobs"] = [one_logprob(token.text, token.logprob), *others]
    return body


def one_logprob(text: str, value: float) -> Body:
    """Write text, value and bytes of one token."""
    return {"token": text, "logprob": round(value, 6), "bytes": list(text.encode())}
