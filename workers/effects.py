"""Effects outside the database: changes of the host's configuration."""

from __future__ import annotations

import hashlib
import os
import shlex
from dataclasses import replace
from pathlib import Path

from models.stages.promote import intend
from models.steps import Claim
from pipeline.errors import Blocked, ConfigError, EvolutionError, Unreachable
from pipeline.flow import Publish, Published, Reply
from workers import host_publish
from workers.clock import now
from workers.home import Home
from workers.host_config import load_host_config, read_template
from workers.host_publish import ANY_WRITE
from workers.sessions import Database


def publish(home: Home, opened: Database, mine: Claim, request: Publish) -> Reply:
    """Write the intention down under the fence, then change the configuration; repeating it changes nothing.

    Raises:
        Unreachable: the configuration or its folder is read-only, the disk is full, or another process holds the
            configuration's lock. That is no answer: the step waits.
    """
    _check_writable(home.config)
    before = hashlib.sha256(home.config.read_bytes()).hexdigest() if home.config.is_file() else ""
    with opened.write() as session:
        intend(session, mine, request, before, now())
    edited = _edited_meanwhile(home, request)
    if edited:
        return Published(ok=False, template="", message=edited)
    if request.back and _template_text(home, request.template) is not None:
        request = replace(request, text="")  # the file is there: a person's later corrections of it stay
    try:
        published = host_publish.publish(home.config, request)
    except Blocked as trouble:
        raise _later(trouble.what) from trouble
    if published.later:
        raise _later(published.message)
    return published


def _later(why: str) -> Unreachable:
    """Return the error that lets the step wait and try again: what votes decided is not given up for a busy file."""
    return Unreachable(f"The prompt cannot be put in use yet: {why}")


def _check_writable(config: Path) -> None:
    """Stop before a person's file that is read-only; by its mode, so that root is held to it as well.

    Raises:
        Unreachable: it or its folder may not be written.
    """
    real = config.resolve()
    for place in (real, real.parent):
        if place.exists() and not (place.stat().st_mode & ANY_WRITE and os.access(place, os.W_OK)):
            raise Unreachable(
                f"{place} is read-only.",
                hint=f"chmod u+w {shlex.quote(str(place))}",
            )


def _edited_meanwhile(home: Home, request: Publish) -> str:
    """Say so when the prompt in use is not the one that was tested; empty when it is, or when all is done already."""
    if not request.expected_text:
        return ""
    try:
        spec = load_host_config(home.config).skill(request.skill)
    except ConfigError as trouble:  # perhaps an editor is just saving it
        raise _later(f"{trouble.what} {trouble.why}") from trouble
    except EvolutionError as trouble:
        return str(trouble)
    if spec.version != request.expected_version or _template_text(home, spec.template) == request.expected_text:
        return ""
    return f"{spec.template} was edited by hand since this began, so what is known of it does not hold any more"


def _template_text(home: Home, template: str) -> str | None:
    try:
        return read_template(home.config, template)
    except EvolutionError:
        return None
