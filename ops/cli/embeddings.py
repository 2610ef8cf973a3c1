"""`embeddings`: how well prompts can be compared by their vectors, and the limits that follow from it."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, Group, command, pass_call
from ops.cli.output import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.redundancy import Limits
    from pipeline.settings import Settings
    from workers.overview import Overview

HEAD = ("PROFILE", "NEAR", "FAR", "RECALL", "CHANGES LOST", "NOTES' RECALL", "NOTES' CHANGES LOST")
CHUNK = 26  # texts of one request: eight of them for all pairs


@click.group("embeddings", cls=Group, examples="evoctl embeddings show\nevoctl embeddings calibrate")
def embeddings() -> None:
    """Show and calibrate how prompts are compared."""


@command("show", examples="evoctl embeddings show\nevoctl embeddings show --json")
@pass_call
def show_command(call: Call) -> None:
    """Show the limits of each profile that is calibrated.

    A profile is an embedding model with a prefix and a number of dimensions. Recall is the share of 28 paraphrases that
    count as redundant by their words alone; changes lost the share of 60 real changes that would. The notes' rule is a
    cosine above 0.90. Where two prompts were run on the same tasks, their outputs decide and none of this.
    """
    from models.embeddings import calibrated

    with call.overview().read() as session:
        found = calibrated(session)
    call.result("embeddings.show", {"profiles": found}, lambda: _text(found, plain=call.plain))


@command("calibrate", examples="evoctl embeddings calibrate")
@pass_call
def calibrate(call: Call) -> None:
    """Embed the labelled pairs with the embedder that is set.

    The first dedupe under a new model does the same by itself. It is refused while the gate is closed.
    """
    from pipeline.errors import Blocked, Refused

    overview = call.overview()
    settings = overview.config.settings
    models = settings.models
    if not models.embedder:
        raise Refused("No embedder is set, so hashed letters compare prompts.", hint="evoctl embeddings show")
    gate = overview.gate()
    if not gate.open:
        raise Blocked("The gate is closed.", why=gate.detail, hint="Try again in a moment; see evoctl gate.")
    found = _calibrated(overview, settings)
    call.result("embeddings.calibrate", {"profiles": found}, lambda: _text(found, plain=call.plain))


embeddings.add_command(show_command)
embeddings.add_command(calibrate)


def _calibrated(overview: Overview, settings: Settings) -> list[Limits]:
    """Embed the labelled pairs, keep the vectors, and return the limits that follow."""
    from models.embeddings import calibrated, kit, remember
    from pipeline.errors import Unreachable
    from pipeline.flow import Embedded
    from workers.clock import now
    from workers.llm.ollama import OllamaClient
    from workers.sessions import database

    models = settings.models
    texts = list(dict.fromkeys(text for pair in kit() for text in (pair.a, pair.b)))
    options = {"num_ctx": models.embedder_num_ctx}
    with (
        OllamaClient(
            models.ollama_url, connect_s=models.connect_s, read_s=models.read_s, reply_s=models.reply_s
        ) as client,
        database(overview.home.ensure()) as opened,
    ):
        client.require([models.embedder])
        profile = ""
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            reply = client.embed(
                models.embedder, part, prefix=settings.deduping.prefix, dims=settings.deduping.dims,
                load_options=options, keep_alive=models.keep_alive,
            )  # fmt: skip
            if not isinstance(reply, Embedded):
                raise Unreachable(f"{models.embedder} gave no vectors.", why=reply.message)
            with opened.write() as session:
                remember(session, reply.profile, part, reply.vectors, now())
            profile = reply.profile
        with opened.read() as session:
            return [one for one in calibrated(session) if one.profile == profile]


def _text(found: Sequence[Limits], *, plain: bool) -> str:
    rows = [
        (
            one.profile, f"{one.near:.2f}", f"{one.far:.2f}", f"{one.recall:.0%}", f"{one.lost:.0%}",
            f"{one.seeds_recall:.0%}", f"{one.seeds_lost:.0%}",
        )
        for one in found
    ]  # fmt: skip
    return table(HEAD, rows, plain=plain)
