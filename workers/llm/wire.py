"""The body of a generation and the texts of its refusals, as Ollama's API spells them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pipeline.flow import Generate

STEADY_OPTIONS = {"repeat_last_n": 64, "typical_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
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
    extras = {"system": request.system, "logprobs": request.logprobs, "keep_alive": keep_alive}
    body |= {key: value for key, value in extras.items() if value}
    if request.schema:
        body["format"] = json.loads(request.schema)
    return body


def says_too_long(text: str) -> bool:
    """Tell whether a refusal means that the prompt does not fit the context; servers word it in four ways."""
    return any(known in text for known in TOO_LONG_TEXTS)
