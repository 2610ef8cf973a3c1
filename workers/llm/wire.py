"""The body of a generation, the texts of its refusals and the parts of its reply, as Ollama's API spells them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.flow import Failed, FailureKind, Generate, Generated

STEADY_OPTIONS = {"repeat_last_n": 64, "typical_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
ROUNDING = 1e-6  # by which a log-probability may be above 0
MOST_COUNTED = 2**31 - 1  # what every database keeps as a whole number
MOST_PARTS = 50_000  # of one stream; the longest reply that can be asked for has 2,000 tokens
MOST_ALTERNATIVES, MOST_TOKEN_CHARS = 20, 100  # of one token, as Ollama lists them; longer texts are no answers
MESSAGE_CHARS = 500  # of what a server says about a failure
TOO_LONG_TEXTS = (
    "exceed_context_size_error",
    "exceeds the available context size",
    "exceeds the context length",
    "longer than the context length",
)


def generate_body(
    name: str, request: Generate, load_options: Mapping[str, int], keep_alive: str | None
) -> dict[str, object]:
    """Write the body of a streamed `/api/generate` with every sampling option spelled out."""
    sampling = request.sampling
    options: dict[str, object] = {
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        "num_predict": sampling.num_predict,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        **STEADY_OPTIONS,
        **load_options,
    }
    if sampling.stop:  # an empty list would take away the model's own
        options["stop"] = list(sampling.stop)
    body: dict[str, object] = {"model": name, "prompt": request.prompt, "stream": True, "options": options}
    body |= {"truncate": False, "think": False}  # a thinking model would think the whole num_predict away
    extras = {
        "system": request.system, "logprobs": request.logprobs or request.top_logprobs > 0,
        "top_logprobs": request.top_logprobs, "keep_alive": keep_alive,
    }  # fmt: skip
    body |= {key: value for key, value in extras.items() if value}
    if request.schema:
        body["format"] = json.loads(request.schema)
    return body


def says_too_long(text: str) -> bool:
    """Tell whether a refusal means that the prompt does not fit the context; servers word it in four ways."""
    return any(known in text for known in TOO_LONG_TEXTS)


def gathered(parts: Sequence[Mapping[str, Any]], duration_s: float) -> Generated | Failed:
    """Put the parts of a stream together.

    Raises:
        TypeError: a part is not what Ollama sends.
    """
    text = storable("".join(part.get("response") or "" for part in parts))
    last = next((part for part in reversed(parts) if part.get("done") is True), None)
    if last is None:
        return Failed(kind=FailureKind.UNFINISHED, message="the stream ended before the reply was done")
    reason = last.get("done_reason") or "stop"
    if reason not in ("stop", "length"):
        return Failed(kind=FailureKind.REJECTED, message=summary(f"nothing was written: {reason}"))
    entries = [entry for part in parts for entry in part.get("logprobs") or ()]
    logprobs = [_logprob(entry) for entry in entries]
    usable = bool(logprobs) and all(math.isfinite(value) for value in logprobs)
    return Generated(
        text=text,
        done_reason=reason,
        prompt_tokens=_count(last.get("prompt_eval_count")),
        tokens=_count(last.get("eval_count")),
        duration_s=duration_s,
        mean_logprob=math.fsum(logprobs) / len(logprobs) if usable else None,
        min_logprob=min(logprobs) if usable else None,
        alternatives=_alternatives(entries),
    )


def storable(text: str) -> str:
    r"""Replace what no database keeps as text: zero characters, and halves of surrogate pairs; two that fit are joined.

    >>> storable("a\0b\ud83d\ude00\ud83d")
    'a�b😀�'
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "\ufffd")


def summary(text: str) -> str:
    """Return the beginning of what a server said, fit to be stored."""
    return storable(text[:MESSAGE_CHARS])


def _logprob(entry: object) -> float:
    """Return an entry's log-probability; not a number when it is none, so that none is used."""
    value = entry.get("logprob") if isinstance(entry, Mapping) else None
    if isinstance(value, int | float) and -MOST_COUNTED < value <= ROUNDING:
        return min(float(value), 0.0)
    return math.nan


def _alternatives(entries: Sequence[object]) -> tuple[tuple[str, float], ...]:
    """Return what the first token might have been; what is no text with a log-probability is passed over."""
    first = entries[0] if entries else None
    listed = first.get("top_logprobs") if isinstance(first, Mapping) else None
    pairs = [
        (storable(str(one.get("token", ""))[:MOST_TOKEN_CHARS]), _logprob(one))
        for one in (listed if isinstance(listed, list) else [])[:MOST_ALTERNATIVES]
        if isinstance(one, Mapping)
    ]
    return tuple((text, value) for text, value in pairs if value <= 0)


def _count(value: object) -> int:
    """Return a count that can be one; 0 otherwise."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_COUNTED else 0
