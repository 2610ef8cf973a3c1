"""The paths about models themselves: what is loaded, what is on the disk, pull and delete."""

from __future__ import annotations

from ops.simulator.clock import local_text
from ops.simulator.core import Visit
from ops.simulator.errors import ServerError
from ops.simulator.exchange import TEXT
from ops.simulator.store import details, shown, tag_row, with_tag
from ops.simulator.wire import Body, read_body, text_of

MISSING = "pull model manifest: file does not exist"


def root(visit: Visit) -> None:
    """Answer `/`."""
    visit.begin("", "", None, inference=False)
    visit.exchange.reply(200, b"Ollama is running", TEXT)


def version(visit: Visit) -> None:
    """Answer `/api/version`."""
    visit.begin("", "", None, inference=False)
    visit.exchange.reply_json({"version": visit.core.knobs.version})


def ps(visit: Visit) -> None:
    """Answer `/api/ps`: what is loaded, and until when it stays."""
    visit.begin("", "", None, inference=False)
    if visit.core.knobs.ps_delay > 0:
        visit.exchange.watch()
        visit.core.clock.pause(visit.core.knobs.ps_delay, visit.exchange.token)
    rows = []
    for runner, expires_ns in visit.core.scheduler.listed():
        card, size = runner.card, runner.card.loaded_bytes(runner.context, visit.core.knobs.num_parallel)
        row: Body = {"name": runner.name, "model": runner.name, "size": size, "digest": card.digest,
                     "details": details(card), "expires_at": local_text(expires_ns), "size_vram": size,
                     "context_length": runner.context}  # fmt: skip
        rows.append(row)
    visit.exchange.reply_json({"models": rows})


def tags(visit: Visit) -> None:
    """Answer `/api/tags`."""
    visit.begin("", "", None, inference=False)
    visit.exchange.reply_json({"models": [tag_row(stored) for stored in visit.core.store.listed()]})


def show(visit: Visit) -> None:
    """Answer `/api/show`."""
    body = read_body(visit.raw, "ShowRequest")
    name = text_of(body, "model")
    visit.begin(name, "", body, inference=False)
    if not name:
        raise ServerError(400, "model is required")
    found = visit.core.store.find(name)
    if found is None:
        raise ServerError(404, f"model '{with_tag(name)}' not found")
    visit.exchange.reply_json(shown(found))


def delete(visit: Visit) -> None:
    """Answer `DELETE /api/delete` with an empty body; a loaded model is unloaded."""
    body = read_body(visit.raw, "DeleteRequest")
    name = text_of(body, "model")
    visit.begin(name, "", body, inference=False)
    stored = visit.stored(name)
    visit.core.store.delete(name)
    visit.core.scheduler.expire(stored.card)
    visit.exchange.reply(200, b"", "")


def pull(visit: Visit) -> None:
    """Answer `/api/pull`: progress lines for a model of the catalogue, an error line for any other."""
    body = read_body(visit.raw, "PullRequest")
    name = text_of(body, "model")
    visit.begin(name, "", body, inference=False)
    stream = body.get("stream") is not False
    exchange, core = visit.exchange, visit.core
    known = core.store.known(name)
    if not stream and known is None:
        raise ServerError(500, MISSING)
    exchange.watch()
    lines: list[Body] = [{"status": "pulling manifest"}]
    if known is None:
        lines.append({"error": MISSING})
    else:
        blob: Body = {"status": f"pulling {known.digest[:12]}", "digest": f"sha256:{known.digest}", "total": known.size}
        lines += [blob, *(blob | {"completed": known.size * part // 4} for part in range(1, 5))]
        lines += [{"status": text} for text in ("verifying sha256 digest", "writing manifest", "success")]
    if stream:
        exchange.begin_stream()
    for line in lines:
        core.clock.pause(core.knobs.pull_seconds / len(lines), exchange.token)
        if stream:
            exchange.send(line)
    if known is None:
        visit.outcome = "failed"
    else:
        core.store.pull(name, core.clock.now_ns())
    if stream:
        exchange.end_stream()
    else:
        exchange.reply_json(lines[-1])
