"""Embeds texts one after another, cuts and normalises the vectors as the server does."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ops.simulator.core import Visit
from ops.simulator.errors import ServerError
from ops.simulator.scheduler import Wanted
from ops.simulator.wire import Body, Json
from ops.simulator.world import pieces


def embedded(
    visit: Visit, wanted: Wanted, texts: Sequence[str], dimensions: int, *, truncate: bool
) -> tuple[list[Json], Body]:
    """Give one vector per text, and the metrics of the reply.

    Raises:
        ServerError: the model cannot embed (501), or a text is too long and may not be cut (400).
        Cancelled: the client went away.
    """
    core, token = visit.core, visit.exchange.token
    visit.exchange.watch()
    began = core.clock.now_ns()
    runner, load = core.scheduler.take(wanted)
    try:
        core.scheduler.enter(runner, token)
        try:
            if "embedding" not in wanted.card.capabilities:
                raise ServerError(501, "This server does not support embeddings. Start it with `--embeddings`")
            counts, vectors = 0, []
            for text in texts:
                read = cut(text, wanted.context, truncate=truncate)
                counts += len(read)
                speed = core.knobs.prefill_tokens_per_second
                core.clock.pause(len(read) / speed if speed > 0 else 0.0, token)
                vector = core.world.embed(wanted.card.tag, "".join(read), wanted.card.dimensions)
                vectors.append(shortened(vector, dimensions))
        finally:
            core.scheduler.leave(runner)
    finally:
        core.scheduler.give_back(runner)
    visit.prompt_tokens = counts
    total = max(core.clock.now_ns() - began, 1)
    return vectors, {"total_duration": total, "load_duration": max(load, 1), "prompt_eval_count": counts}


def cut(text: str, context: int, *, truncate: bool) -> list[str]:
    """Cut a text to the context."""
    tokens = pieces(text)
    if len(tokens) > context and not truncate:
        raise ServerError(400, "the input length exceeds the context length")
    return tokens[:context]


def shortened(vector: Sequence[float], dimensions: int) -> Json:
    """Keep the first *dimensions* values and normalise again; 0 or too many keeps all."""
    kept = list(vector[:dimensions] if 0 < dimensions < len(vector) else vector)
    norm = math.sqrt(sum(value * value for value in kept)) or 1.0
    return [value / norm for value in kept]
